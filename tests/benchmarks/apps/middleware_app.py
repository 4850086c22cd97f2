"""The app as a user of trioweb writes it, behind three middlewares."""

from __future__ import annotations

from tests.benchmarks.apps.trioweb_app import app
from trioweb import Request, Response
from trioweb.middleware import CallNext


async def pass_on(request: Request, call_next: CallNext) -> Response:
    """Do nothing."""
    return await call_next(request)


async def mark(request: Request, call_next: CallNext) -> Response:
    """Add a header."""
    response = await call_next(request)
    response.headers["x-served-by"] = "one"
    return response


app.middleware(pass_on)
app.middleware(pass_on)
app.middleware(mark)
