"""The app under test, behind two function middlewares and compression that only stores: so sizes stay what they are."""

from __future__ import annotations

from tests.server.app import app
from trioweb import Compression, Request, Response
from trioweb.middleware import CallNext


async def mark(request: Request, call_next: CallNext) -> Response:
    """Add a header on the way back."""
    response = await call_next(request)
    response.headers["x-seen"] = request.path
    return response


async def pass_on(request: Request, call_next: CallNext) -> Response:
    """Add nothing."""
    return await call_next(request)


app.middleware(mark)
app.middleware(pass_on)
app.middleware(Compression(minimum_size=1, gzip_level=0, types=r".*"))
