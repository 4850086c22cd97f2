"""trioweb: a web framework for trio, run by ``hypercorn -k trio module:app``."""

from __future__ import annotations

from trioweb.app.app import App
from trioweb.app.router import Route, Router
from trioweb.app.static import StaticFiles
from trioweb.ground.errors import (
    ClientDisconnected,
    ContentLengthError,
    HTTPError,
    InputError,
    RouteError,
    StreamTimeout,
    WebSocketDisconnect,
)
from trioweb.ground.http.events import ServerSentEvent
from trioweb.ground.http.headers import Headers
from trioweb.handlers.markers import Body, Cookie, File, Form, Header, Provide, Query
from trioweb.messages.connection import State
from trioweb.messages.files import FileResponse
from trioweb.messages.forms import FormData
from trioweb.messages.parts import Part
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.request import Request
from trioweb.messages.response import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from trioweb.messages.stream_responses import CSVResponse, EventStreamResponse, JSONLinesResponse, StreamingResponse
from trioweb.messages.uploads import UploadFile
from trioweb.messages.websocket import WebSocket
from trioweb.middleware import CORS, Compression, RequestID, SecurityHeaders, Sessions, Timing, TrustedHosts

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
