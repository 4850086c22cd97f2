"""trioweb: a web framework for trio, run by ``hypercorn -k trio module:app``."""

from __future__ import annotations

from trioweb.app import App
from trioweb.connection import State
from trioweb.files import FileResponse
from trioweb.ground.errors import ClientDisconnected, ContentLengthError, HTTPError, RouteError, StreamTimeout
from trioweb.ground.events import ServerSentEvent
from trioweb.ground.headers import Headers
from trioweb.request import Request
from trioweb.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from trioweb.routing import Route, Router
from trioweb.streaming import CSVResponse, EventStreamResponse, JSONLinesResponse, StreamingResponse

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
