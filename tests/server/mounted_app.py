"""The app under test, mounted in another one, whose middleware stands around it."""

from __future__ import annotations

from tests.server.app import app as inner
from trioweb import App, Request, Response
from trioweb.middleware import CallNext

app = App()
app.mount("/", inner)


@app.middleware
async def mark(request: Request, call_next: CallNext) -> Response:
    """Add a header on the way back."""
    response = await call_next(request)
    response.headers["x-seen"] = request.path
    return response
