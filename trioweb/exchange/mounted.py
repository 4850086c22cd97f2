"""A mounted app as a handler: what it sends becomes a response, which is data to middlewares like any other.

Rules that this module alone enforces:

* The app runs in the request's nursery, in a task of its own, and waits in ``send`` until what it sends is taken.
* What it sends in one piece is a body, all else a stream. Nothing is held back: ASGI has no head without a body, and an
  empty first piece is the sign that the head is to leave by itself.
* An app that fails before it sends has failed as a handler does; one that fails later breaks its response off.
* An app of this package finds a transport here, as it would on a server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

import trio

from trioweb.exchange.policy import report
from trioweb.ground.chunks import encode_any
from trioweb.ground.errors import BrokenOff, ClientDisconnected, forget, unwrap
from trioweb.ground.http.asgi import ASGIApp, Message, Scope
from trioweb.ground.http.headers import Headers
from trioweb.io.transport import PLAIN, Transport
from trioweb.messages.body import BodyStream
from trioweb.messages.limits import make_stream
from trioweb.messages.request import Request
from trioweb.messages.response import Response


def as_handler(app: ASGIApp, prefix: str) -> Callable[[Request], Awaitable[Response]]:
    """A handler that answers with what an app sends.

    Args:
        app: the app.
        prefix: where it is mounted.
    """

    async def answer(request: Request) -> Response:
        return await MountedCall(app, prefix, request).answer()

    return answer


class _NobodyTakesItError(OSError):
    """What ``send`` raises then, as ASGI has it."""


class MountedCall(Transport):
    """One request to a mounted app; the transport that the app finds; and its response's parts, for who sends them."""

    __slots__ = (
        "_app", "_body", "_broken", "_closed", "_complete", "_failure", "_handed", "_headers", "_inbox", "_news",
        "_part", "_prefix", "_request", "_returned", "_status", "_told", "_transport", "_uploaded",
    )  # fmt: skip

    def __init__(self, app: ASGIApp, prefix: str, request: Request) -> None:
        self._app = app
        self._prefix = prefix
        self._request = request
        self._inbox = request._origin.inbox
        self._inbox.timeout = None  # the app's own matter
        self._transport = request._origin.find_transport()
        self._body: BodyStream | None = None
        self._uploaded = False  # the app has heard of the end of the request
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._part: tuple[bytes, bool] | None = None  # what is being sent, and whether more comes
        self._handed = False  # it was handed on; with the next question it is taken
        self._news = trio.lowlevel.ParkingLot()
        self._complete = False  # the app has sent its end
        self._broken = False  # the app has broken it off, and logged why
        self._returned = False
        self._failure: Exception | None = None
        self._told: Exception | None = None  # what it was broken off for
        self._closed = False  # nobody takes what it sends

    async def answer(self) -> Response:
        """Call the app, and wait until it sends.

        Raises:
            Exception: what the app raised before that.
            RuntimeError: it returned, and sent nothing.
        """
        self._request.nursery.start_soon(self._run)
        body, more = await self._next_part()
        if not more:
            response = Response(body, self._status)
            self._take()
        else:
            # As in an app that stands alone: silence, and how long it all takes, are its own matter.
            stream = make_stream(self, encode_any, {"idle_timeout": None, "max_duration": None})
            stream.head_first, stream.buffered = not body, True
            response = Response(None, self._status)
            response._stream = stream
        response.headers = Headers.from_raw(self._headers)
        return response

    @property
    def _where(self) -> str:
        return f"the app mounted at {self._prefix or '/'}"

    # The parts of its response

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._handed:
            self._take()
        while not self._complete or self._part is not None:
            body, more = await self._next_part()
            self._handed = True
            if body:
                return body
            self._take()
            if not more:
                break
        raise StopAsyncIteration

    async def _next_part(self) -> tuple[bytes, bool]:
        while self._part is None:
            # Why it has broken off is known when it returns; only to plain ASGI does that make a difference.
            if self._returned or (self._broken and self._transport is not PLAIN):
                failure, self._failure = self._failure, None
                told, self._told = self._told, None
                try:
                    if self._broken and failure is None:
                        raise BrokenOff(f"{self._where} has broken its response off") from told
                    if failure is None and self._inbox.gone:
                        raise ClientDisconnected("the client left before its response")
                    raise failure or RuntimeError(f"{self._where} returned before its response was whole")
                finally:
                    del failure, told
            await self._news.park()
        return self._part

    def _take(self) -> None:
        self._part, self._handed = None, False
        self._news.unpark_all()

    async def aclose(self) -> None:
        """Nobody takes any more."""
        self._closed = True
        self._news.unpark_all()

    # The app's side

    async def _run(self) -> None:
        try:
            await self._app(self._scope(), self._receive, self._send)
        except Exception as group:
            self._failure = unwrap(group)
        finally:
            self._returned = True
            self._news.unpark_all()
        if self._failure is not None and (self._complete or self._closed) and not _is_departure(self._failure):
            failure, self._failure = self._failure, None
            report(failure, self._request.scope, f"{self._where} failed after its response")
            forget(failure)

    def _scope(self) -> Scope:
        scope = self._request.scope
        extensions = scope.get("extensions") or {}
        return {
            **scope,
            "root_path": scope.get("root_path", "") + self._prefix,
            "state": {**scope.get("state", {}), **vars(self._request.state)},
            # Those of responses would go past all that stands around the app.
            "extensions": {
                **{name: extensions[name] for name in extensions if not name.startswith("http.response.")},
                "trioweb": self,
            },
        }

    async def _receive(self) -> Message:
        if not self._uploaded:
            try:
                chunk = await self._read()
            except (ClientDisconnected, RuntimeError):  # it left; or the body was thrown away, unasked for till now
                return {"type": "http.disconnect"}
            self._uploaded = not chunk
            return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}
        if not (self._complete or self._closed):
            await self._inbox.departed()
        return {"type": "http.disconnect"}

    async def _read(self) -> bytes:
        if self._body is None:
            try:
                self._body = self._request.stream()
            except RuntimeError:  # a middleware has had all of it
                return b""
        return await self._body.read()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._closed:
            raise _NobodyTakesItError(f"nobody takes what {self._where} sends")
        if kind == "http.response.start" and not self._status:
            self._status, self._headers = message["status"], list(message.get("headers", ()))
        elif kind == "http.response.body" and self._status and not self._complete:
            await self._pass_on(bytes(message.get("body", b"")), message.get("more_body", False))
        else:
            raise RuntimeError(f"{self._where} sent {kind!r}, and it is not its turn")

    async def _pass_on(self, body: bytes, more: bool) -> None:
        self._complete = not more
        self._part = body, more
        self._news.unpark_all()
        while self._part is not None:
            if self._closed:
                raise _NobodyTakesItError(f"nobody takes what {self._where} sends")
            await self._news.park()

    # The transport of an app of ours

    def paces_body(self) -> None:
        """See ``Transport``."""
        self._inbox.min_rate = None

    def hold_to(self, min_rate: float | None) -> None:
        """See ``Transport``."""
        self._transport.hold_to(min_rate)

    async def abort(self) -> None:
        """See ``Transport``."""
        self._broken = True
        self._news.unpark_all()

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - a send is woken, and not cancelled
        """See ``Transport``."""
        self._closed = True
        self._news.unpark_all()

    def has_left(self) -> bool:
        """See ``Transport``."""
        return self._closed or self._transport.has_left()

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``."""
        await self._transport.watch_stop(on_stop)

    def failed(self, error: Exception) -> None:
        """See ``Transport``."""
        if self._transport is PLAIN:  # which hears of it only by what is raised
            self._told = error
        self._transport.failed(error)


def _is_departure(failure: BaseException | None) -> bool:
    """Whether an app has failed only because nobody takes what it sends, whatever its framework made of that."""
    while failure is not None:
        if isinstance(failure, _NobodyTakesItError):
            return True
        failure = failure.__cause__ or failure.__context__
    return False
