"""WSGI apps, such as those of Flask and Django, mounted in an app: each request in a worker thread (PEP 3333).

Rules that this module alone enforces:

* The app is called, its response iterated and closed in one thread, which waits for the client at each chunk.
* A cancellation is raised in the thread where it waits for the event loop: at its next chunk, or read of the body.
* A client decides no variable but its own: header names with an underscore, and ``Proxy``, are left out.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import IO, TYPE_CHECKING, Final, TypeAlias

import trio

from trioweb.app.standing import StandingSite
from trioweb.ground.errors import ClientDisconnected, forget
from trioweb.ground.http.asgi import Scope
from trioweb.handlers.endpoint import plan
from trioweb.handlers.route import MOUNT, Route
from trioweb.handlers.signatures import Function, label_of
from trioweb.io.threads import in_thread
from trioweb.messages.request import Request
from trioweb.messages.response import Response
from trioweb.messages.stream_responses import StreamingResponse

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from _typeshed import WriteableBuffer

__all__ = ["WSGI"]

THREADS: Final = 64
"""Requests to one WSGI app that run at once; more wait for one of them to end."""
READ_SIZE: Final = 65536
"""Bytes of the buffer behind ``wsgi.input``, besides one chunk of the request's body."""

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]"


class WSGI(StandingSite):
    """A WSGI app, for ``app.mount("/shop", WSGI(flask_app))``. Also an ASGI app by itself.

    Each request takes a worker thread until its response is sent, or its client has left; more than ``threads`` of them
    wait. ``wsgi.input`` is the body as it arrives, of any size, and each chunk of the response is sent at once. The
    mounting app's middleware, limits and error handlers apply. A request that is cancelled has its thread cancelled
    at the next chunk that it sends or reads: there ``trio.Cancelled`` is raised, and the response is closed; until then
    the request waits for it.

    Args:
        app: the WSGI app.
        threads: how many requests run at once.

    Raises:
        TypeError: if ``app`` cannot be called.
        ValueError: if ``threads`` is below 1.
    """

    def __init__(self, app: WSGIApplication, threads: int = THREADS) -> None:
        if not callable(app) or isinstance(app, type):
            raise TypeError(
                f"WSGI takes a WSGI application, got {app!r}: write WSGI(app) with an app of Flask or Django"
            )
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads!r}")
        self._app = app
        self._where = f"WSGI({label_of(app)})"
        self._limiter = trio.CapacityLimiter(threads)
        self.endpoint = plan(Route("/", frozenset({MOUNT}), partial(self._answer, ""), ""), {})
        self.endpoint.label = self.endpoint.where = self._where

    def __repr__(self) -> str:
        return f"<{self._where}>"

    def find(self, scope: Scope, prefix: str, path: str) -> Function:  # noqa: ARG002
        """See ``Site``."""
        return partial(self._answer, prefix)

    async def _answer(self, prefix: str, request: Request) -> Response:
        call = _Call(self._app, self._where, request, prefix)
        await request.nursery.start(call.run, self._limiter)
        return StreamingResponse(call.chunks, status_code=call.status, headers=call.headers)


class _Call:
    """One request to a WSGI app.

    Attributes:
        status: of the response, 0 until the app has called ``start_response``.
        headers: those of the response.
        chunks: its body.
    """

    def __init__(self, app: WSGIApplication, where: str, request: Request, prefix: str) -> None:
        self._app = app
        self._where = where
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self._begun = False
        self._send, self.chunks = trio.open_memory_channel[bytes](0)
        self._body = io.BufferedReader(_Body(request), READ_SIZE)
        self._environ = _environ(request, prefix, self._body)

    async def run(self, limiter: trio.CapacityLimiter, *, task_status: trio.TaskStatus[None]) -> None:
        """Call the app in a thread. It has started when the head is known. Raises what the app raises."""
        self._task_status = task_status
        try:
            await in_thread(self._work, limiter=limiter)
        except trio.Cancelled as cancelled:
            forget(cancelled)  # trio's frames in the thread refer to it
            raise
        self._send.close()  # not after an error, or the response would end cleanly

    def _work(self) -> None:
        chunks: Iterable[bytes] = ()
        try:
            chunks = self._app(self._environ, self._start_response)
            for chunk in chunks:
                self._write(chunk)
            if not self._begun:
                self._begin()
        except trio.BrokenResourceError as error:  # nobody takes the body, as in an answer to HEAD
            forget(error)
        finally:
            if close := getattr(chunks, "close", None):
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        if exc_info is not None:
            try:
                if self._begun and exc_info[1] is not None:
                    raise exc_info[1]
            finally:
                exc_info = None
        elif self.status:
            raise RuntimeError(
                f"{self._where} called start_response twice: pass exc_info=sys.exc_info() after an error"
            )
        code = status[:3]
        if not (code.isdecimal() and 200 <= int(code) < 1000):
            raise ValueError(f"{self._where} gave the status {status!r}: write one such as '200 OK'")
        self.status, self.headers = int(code), list(headers)
        return self._write

    def _write(self, chunk: bytes) -> None:
        if not self.status:
            raise RuntimeError(f"{self._where} sent its body before it called start_response")
        if not isinstance(chunk, bytes):
            raise TypeError(f"{self._where} sent {type(chunk).__qualname__}, where WSGI has bytes")
        if chunk:
            if not self._begun:
                self._begin()
            trio.from_thread.run(self._send.send, chunk)

    def _begin(self) -> None:
        if not self.status:
            raise RuntimeError(f"{self._where} returned before it called start_response")
        self._begun = True
        trio.from_thread.run_sync(self._task_status.started)


class _BodyCutError(ClientDisconnected, OSError):
    """The client has left before its body was whole."""


class _Body(io.RawIOBase):
    """A request's body as a file: its reads wait for the client, in the event loop."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what there is, at least a byte before the end.

        Raises:
            OSError: if the client leaves: what frameworks of WSGI expect.
            HTTPError: 408 if it sends nothing for too long.
        """
        if not self._rest:
            try:
                self._rest = trio.from_thread.run(self._stream.read)
            except ClientDisconnected as error:
                raise _BodyCutError(str(error)) from None
        view = memoryview(buffer)
        size = min(len(view), len(self._rest))
        view[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _environ(request: Request, prefix: str, body: IO[bytes]) -> dict[str, object]:
    """The variables of a request (PEP 3333; RFC 3875), with text in Latin-1 as it has it."""
    scope = request.scope
    root = scope.get("root_path", "") + prefix
    path: str = scope["path"]
    host, port = scope.get("server") or ("localhost", None)
    environ: dict[str, object] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": path.removeprefix(root).encode().decode("latin-1"),
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or (443 if scope.get("scheme") == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.input_terminated": True,  # the file has an end, whatever the content-length says
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if request.client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = request.client[0], str(request.client[1])
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").upper(), raw_value.decode("latin-1")
        if "_" in name or name == "PROXY":
            continue  # `X_USER` would pass for the `X-User` of a proxy, and HTTP_PROXY is a setting of clients
        key = name.replace("-", "_")
        if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            key = f"HTTP_{key}"
        joint = "; " if name == "COOKIE" else ","
        environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    return environ
