"""trioweb: a web framework for trio, run by ``hypercorn -k trio module:app``."""

from __future__ import annotations

from trioweb.app import App
from trioweb.ground.errors import ClientDisconnected, ContentLengthError, HTTPError, RouteError, StreamTimeout
from trioweb.ground.events import ServerSentEvent
from trioweb.ground.headers import Headers
from trioweb.request import Request, State
from trioweb.responses import (
    CSVResponse,
    EventStreamResponse,
    FileResponse,
    HTMLResponse,
    JSONLinesResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from trioweb.routing import Route, Router

__version__ = "0.1.0"

__all__ = [
    "App",
    "CSVResponse",
    "ClientDisconnected",
    "ContentLengthError",
    "EventStreamResponse",
    "FileResponse",
    "HTMLResponse",
    "HTTPError",
    "Headers",
    "JSONLinesResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Request",
    "Response",
    "Route",
    "RouteError",
    "Router",
    "ServerSentEvent",
    "State",
    "StreamTimeout",
    "StreamingResponse",
]
