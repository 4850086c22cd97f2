"""trioweb: a web framework for trio, run by ``hypercorn -k trio module:app``.

A name is imported from its module when it is first asked for: an app loads what it uses, and the supervisor of
``trioweb run``, which serves nothing itself, loads no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trioweb.app.app import App
    from trioweb.app.router import Router
    from trioweb.app.static import StaticFiles
    from trioweb.ground.encoding import nan_as_null
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
    from trioweb.handlers.route import Route
    from trioweb.messages.connection import State
    from trioweb.messages.files import FileResponse
    from trioweb.messages.forms import FormData
    from trioweb.messages.parts import Part
    from trioweb.messages.ranges import RangeResponse
    from trioweb.messages.request import Request
    from trioweb.messages.response import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
    from trioweb.messages.stream_responses import (
        CSVResponse,
        EventStreamResponse,
        JSONLinesResponse,
        JSONSeqResponse,
        MultipartStreamResponse,
        StreamingResponse,
    )
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
    "JSONSeqResponse",
    "MultipartStreamResponse",
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
    "nan_as_null",
]

_FOLDERS = ("middleware", "streams")
_HOMES = {
    "app.app": "App",
    "app.router": "Router",
    "app.static": "StaticFiles",
    "ground.encoding": "nan_as_null",
    "ground.errors": "ClientDisconnected ContentLengthError HTTPError InputError RouteError StreamTimeout "
    "WebSocketDisconnect",
    "ground.http.events": "ServerSentEvent",
    "ground.http.headers": "Headers",
    "handlers.route": "Route",
    "handlers.markers": "Body Cookie File Form Header Provide Query",
    "messages.connection": "State",
    "messages.files": "FileResponse",
    "messages.forms": "FormData",
    "messages.parts": "Part",
    "messages.ranges": "RangeResponse",
    "messages.request": "Request",
    "messages.response": "HTMLResponse JSONResponse PlainTextResponse RedirectResponse Response",
    "messages.stream_responses": "CSVResponse EventStreamResponse JSONLinesResponse JSONSeqResponse "
    "MultipartStreamResponse StreamingResponse",
    "messages.uploads": "UploadFile",
    "messages.websocket": "WebSocket",
    "middleware": "CORS Compression RequestID SecurityHeaders Sessions Timing TrustedHosts",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name, or one of the folders with names of their own, the first time it is asked for."""
        if name in _FOLDERS:
            return import_module(f"trioweb.{name}")
        for module, names in _HOMES.items():
            if name in names.split():
                value = globals()[name] = getattr(import_module(f"trioweb.{module}"), name)
                return value
        raise AttributeError(f"module 'trioweb' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_FOLDERS})
