"""trioweb: a web framework for trio, run by ``hypercorn -k trio module:app``."""

from __future__ import annotations

from trioweb.app import App
from trioweb.connection import State
from trioweb.files import FileResponse
from trioweb.forms import FormData
from trioweb.ground.errors import (
    ClientDisconnected,
    ContentLengthError,
    HTTPError,
    InputError,
    RouteError,
    StreamTimeout,
    WebSocketDisconnect,
)
from trioweb.ground.events import ServerSentEvent
from trioweb.ground.headers import Headers
from trioweb.markers import Body, Cookie, File, Form, Header, Provide, Query
from trioweb.middleware import CORS, Compression, RequestID, SecurityHeaders, Sessions, Timing, TrustedHosts
from trioweb.parts import Part
from trioweb.ranges import RangeResponse
from trioweb.request import Request
from trioweb.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from trioweb.routing import Route, Router
from trioweb.static import StaticFiles
from trioweb.streaming import CSVResponse, EventStreamResponse, JSONLinesResponse, StreamingResponse
from trioweb.uploads import UploadFile
from trioweb.websocket import WebSocket

__version__ = "0.1.0"

__all__ = [
    "CORS",
    "App",
    "Body",
    "CSVResponse",
    "ClientDisconnected",
    "Compression",
    "ContentLengthError",
    "Cookie",
    "EventStreamResponse",
    "File",
    "FileResponse",
    "Form",
    "FormData",
    "HTMLResponse",
    "HTTPError",
    "Header",
    "Headers",
    "InputError",
    "JSONLinesResponse",
    "JSONResponse",
    "Part",
    "PlainTextResponse",
    "Provide",
    "Query",
    "RangeResponse",
    "RedirectResponse",
    "Request",
    "RequestID",
    "Response",
    "Route",
    "RouteError",
    "Router",
    "SecurityHeaders",
    "ServerSentEvent",
    "Sessions",
    "State",
    "StaticFiles",
    "StreamTimeout",
    "StreamingResponse",
    "Timing",
    "TrustedHosts",
    "UploadFile",
    "WebSocket",
    "WebSocketDisconnect",
]
