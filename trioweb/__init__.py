"""trioweb: a web framework for trio, run by ``hypercorn -k trio module:app``."""

from __future__ import annotations

from trioweb.app import App
from trioweb.files import FileResponse
from trioweb.ground.errors import ClientDisconnected, ContentLengthError, HTTPError, RouteError, StreamTimeout
from trioweb.ground.events import ServerSentEvent
from trioweb.ground.headers import Headers
from trioweb.ranges import RangeResponse
from trioweb.request import Request, State
from trioweb.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from trioweb.routing import Route, Router
from trioweb.static import StaticFiles
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
    "RangeResponse",
    "RedirectResponse",
    "Request",
    "Response",
    "Route",
    "RouteError",
    "Router",
    "ServerSentEvent",
    "State",
    "StaticFiles",
    "StreamTimeout",
    "StreamingResponse",
]
