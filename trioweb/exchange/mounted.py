"""A mounted ASGI app as a handler: what it sends becomes a response that middleware can change like any other.

Rules that this module alone enforces:

* The app runs in the request's nursery, in a task of its own, and waits in ``send`` until its message is sent.
* A body in one message is sent whole, and any other is streamed. Each message is passed on at once: ASGI cannot send a
  head alone, and an empty first part of the body means that the head is to be sent without waiting for a chunk.
* A request that is cancelled is a client that has left, for the app: it hears of that as from a server, in ``receive``
  and ``send``, and is cancelled if it has not ended ``GRACE`` seconds later.
* An app that fails before it sends has failed as a handler; one that fails later has its response aborted.
* The object is also the transport of the mounted app, if that is an app of this package.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Self

import trio

from trioweb.exchange.policy import report
from trioweb.ground.chunks import encode_any
from trioweb.ground.errors import BrokenOff, ClientDisconnected, forget, unwrap
from trioweb.ground.http.asgi import ASGIApp, LifespanState, Message, Scope
from trioweb.ground.http.headers import Headers
from trioweb.handlers.route import Route, pass_out
from trioweb.io.transport import PLAIN, Transport
from trioweb.messages.body import BodyStream
from trioweb.messages.limits import make_stream
from trioweb.messages.request import Request
from trioweb.messages.response import Response

GRACE: Final = 0.5
"""Seconds that a mounted app has to end by itself. Servers cancel no apps: some take a cancellation for a failure."""


def where_mounted(mount: Route) -> str:
    """The mounted app of a route, for messages."""
    return f"the app mounted at {mount.path}"


def as_handler(app: ASGIApp, mount: Route, state: LifespanState) -> Callable[[Request], Awaitable[Response]]:
    """A handler that calls the mounted app of a route, whose lifespan leaves ``state`` to its requests."""

    async def answer(request: Request) -> Response:
        return await MountedCall(app, mount, state, request).answer()

    return answer


class ResponseClosedError(OSError):
    """Raised by ``send`` after the response was closed, as ASGI specifies: a subclass of ``OSError``."""


class MountedCall(Transport):
    """One request to a mounted app; also the app's transport, and the source of its response's body."""

    __slots__ = (
        "_aborted", "_app", "_body", "_changed", "_closed", "_complete", "_ended", "_failure", "_headers", "_inbox",
        "_inner", "_mount", "_part", "_reported", "_request", "_returned", "_shield", "_state", "_status", "_transport",
        "_uploaded", "_yielded",
    )  # fmt: skip

    def __init__(self, app: ASGIApp, mount: Route, state: LifespanState, request: Request) -> None:
        self._app = app
        self._mount = mount
        self._state = state
        self._request = request
        self._inbox = request._origin.inbox
        self._inbox.timeout = None  # the mounted app has its own
        self._transport = request._origin.find_transport()
        self._inner = self._scope()
        self._body: BodyStream | None = None
        self._uploaded = False  # the app has received the end of the body
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._part: tuple[bytes, bool] | None = None  # the message that the app sends, and whether more follow
        self._yielded = False  # the part was; the next `__anext__` removes it
        self._changed = trio.lowlevel.ParkingLot()
        self._complete = False  # the app has sent the end of its response
        self._aborted = False  # the app has aborted it, and logged the reason
        self._returned = False
        self._failure: Exception | None = None
        self._reported: Exception | None = None  # the reason
        self._closed = False  # the response was: `send` raises
        self._shield = trio.CancelScope(shield=True)  # around the app
        self._ended = trio.Event()

    async def answer(self) -> Response:
        """Call the app, and wait until it sends.

        Raises:
            Exception: if the app raises before it sends.
            RuntimeError: if it returns without sending.
        """
        self._request.nursery.start_soon(self._run)
        self._request.nursery.start_soon(self._limit)
        body, more = await self._next_part()
        if not more:
            response = Response(body, self._status)
            self._take()
        else:
            # The mounted app has time limits of its own.
            stream = make_stream(self, encode_any, {"idle_timeout": None, "max_duration": None})
            stream.head_first, stream.buffered = not body, True
            response = Response(None, self._status)
            response._stream = stream
        response.headers = Headers.from_raw(self._headers)
        return response

    @property
    def _where(self) -> str:
        return where_mounted(self._mount)

    # The parts of its response

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._yielded:
            self._take()
        while not self._complete or self._part is not None:
            body, more = await self._next_part()
            self._yielded = True
            if body:
                return body
            self._take()
            if not more:
                break
        raise StopAsyncIteration

    async def _next_part(self) -> tuple[bytes, bool]:
        while self._part is None:
            # Plain ASGI is told of an abort only by an exception: there wait for the app to return with the reason.
            if self._returned or (self._aborted and self._transport is not PLAIN):
                failure, self._failure = self._failure, None
                reason, self._reported = self._reported, None
                try:
                    if self._aborted and failure is None:
                        raise BrokenOff(f"{self._where} has broken its response off") from reason
                    if failure is None and self._inbox.gone:
                        raise ClientDisconnected("the client left before its response")
                    raise failure or RuntimeError(f"{self._where} returned before its response was whole")
                finally:
                    del failure, reason
            await self._changed.park()
        return self._part

    def _take(self) -> None:
        self._part, self._yielded = None, False
        self._changed.unpark_all()

    async def aclose(self) -> None:
        """Have the app's ``send`` raise from now on."""
        self._closed = True
        self._changed.unpark_all()

    # The app's side

    async def _run(self) -> None:
        try:
            with self._shield:
                await self._app(self._inner, self._receive, self._send)
        except Exception as group:
            self._failure = unwrap(group)
        finally:
            self._returned = True
            self._ended.set()
            self._pass_out()
            self._changed.unpark_all()
        if self._failure is not None and (self._complete or self._closed) and not was_closed(self._failure):
            failure, self._failure = self._failure, None
            report(failure, self._request.scope, f"{self._where} failed after its response")
            forget(failure)

    def _pass_out(self) -> None:
        pass_out(self._request.scope, self._inner, self._mount)  # type: ignore[arg-type]  # a dict, by ASGI

    async def _limit(self) -> None:
        """Wait for the app's end; after a cancellation, let it have only so much time."""
        try:
            await self._ended.wait()
        finally:
            self._shield.deadline = trio.current_time() + GRACE
            await self.aclose()

    def _scope(self) -> Scope:
        scope = self._request.scope
        extensions = scope.get("extensions") or {}
        return {
            **scope,
            "root_path": scope.get("root_path", "") + self._mount.path.rstrip("/"),
            "state": {**scope.get("state", {}), **vars(self._request.state), **self._state},
            # Extensions that send responses would bypass the middleware.
            "extensions": {
                **{name: extensions[name] for name in extensions if not name.startswith("http.response.")},
                "trioweb": self,
            },
        }

    async def _receive(self) -> Message:
        if not self._uploaded:
            try:
                chunk = await self._read()
            except (ClientDisconnected, RuntimeError):  # of a body that was discarded unread
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
            except RuntimeError:  # a middleware has read it all
                return b""
        return await self._body.read()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._closed:
            raise ResponseClosedError(f"nobody takes what {self._where} sends")
        if kind == "http.response.start" and not self._status:
            self._status, self._headers = message["status"], list(message.get("headers", ()))
            self._pass_out()
        elif kind == "http.response.body" and self._status and not self._complete:
            await self._pass_on(bytes(message.get("body", b"")), message.get("more_body", False))
        else:
            raise RuntimeError(f"{self._where} sent {kind!r}, and it is not its turn")

    async def _pass_on(self, body: bytes, more: bool) -> None:
        self._complete = not more
        self._part = body, more
        self._changed.unpark_all()
        while self._part is not None:
            if self._closed:
                raise ResponseClosedError(f"nobody takes what {self._where} sends")
            await self._changed.park()

    # The app's transport

    def paces_body(self) -> None:
        """See ``Transport``."""
        self._inbox.min_rate = None

    def hold_to(self, min_rate: float | None) -> None:
        """See ``Transport``."""
        self._transport.hold_to(min_rate)

    async def abort(self) -> None:
        """See ``Transport``."""
        self._aborted = True
        self._changed.unpark_all()

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - a send is woken, not cancelled
        """See ``Transport``."""
        self._closed = True
        self._changed.unpark_all()

    def has_left(self) -> bool:
        """See ``Transport``."""
        return self._closed or self._transport.has_left()

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``."""
        await self._transport.watch_stop(on_stop)

    def failed(self, error: Exception) -> None:
        """See ``Transport``."""
        if self._transport is PLAIN:  # a plain server is told by an exception only
            self._reported = error
        self._transport.failed(error)


def was_closed(failure: BaseException | None) -> bool:
    """Whether an app has failed only by a ``ResponseClosedError``, also if its framework has wrapped that."""
    while failure is not None:
        if isinstance(failure, ResponseClosedError):
            return True
        failure = failure.__cause__ or failure.__context__
    return False
