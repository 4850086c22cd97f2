"""The app as a user of trioweb writes it, behind three middlewares."""

from __future__ import annotations

from tests.benchmarks.apps.trioweb_app import app
from trioweb import Request, Response
from trioweb.middleware import CallNext


async def pass_on(request: Request, call_next: CallNext) -> Response:
    """Do nothing."""
    return await call_next(request)


async def look(request: Request, call_next: CallNext) -> Response:
    """Look at the response. A header more would cost the server's own time too."""
    response = await call_next(request)
    if response.status_code != 200:
        response.headers["cache-control"] = "no-store"
    return response


app.middleware(pass_on)
app.middleware(pass_on)
app.middleware(look)
