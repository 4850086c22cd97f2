"""The WebSockets of the tests, behind middleware."""

from __future__ import annotations

from tests.server.socket_app import app
from trioweb import HTTPError, Request, Response
from trioweb.middleware import CallNext


@app.middleware
async def guard(request: Request, call_next: CallNext) -> Response:
    """Refuse before and after the handler has answered, and mark each response."""
    if request.query.get("refuse") == "early":
        raise HTTPError(401, "Not before the handler.", {"www-authenticate": "Bearer"})
    response = await call_next(request)
    if request.query.get("refuse") == "late":
        return Response("Not behind the handler.", 403)
    response.headers["x-status"] = str(response.status_code)
    return response


@app.middleware
async def pass_on(request: Request, call_next: CallNext) -> Response:
    """Stand in between."""
    return await call_next(request)
