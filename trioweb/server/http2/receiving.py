"""The request of a stream of HTTP/2 for an ASGI app: its body as the app takes it, and the disconnect."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Generic

import trio

from trioweb.ground.http.asgi import Message, Receive
from trioweb.ground.pace import AUTO, UNLIMITED, Pace
from trioweb.io.transport import Transport
from trioweb.server.http1.framing import DONE, STARTED, WAITING
from trioweb.server.http2.fields import StreamResponse, early_block
from trioweb.server.http2.flow import Flow
from trioweb.server.http2.link import Link
from trioweb.server.http2.output import F
from trioweb.server.refusals import LATE_BODY


class Incoming(Flow, Transport, Generic[F]):
    """A request.

    Args:
        connection: the connection.
        number: the stream's id.
        window: bytes of the body that the client takes.

    Attributes:
        connection: the connection.
        response: the response.
        fault: status and reason of a refusal of the request. The exception itself would keep its frames alive.
        gone: the client has reset the stream, or disconnected.
    """

    __slots__ = ("_changed", "_expects", "_pace", "_received", "connection", "fault", "gone", "response")

    response: StreamResponse
    wakes_writes = True

    def __init__(self, connection: Link[F], number: int, window: int) -> None:
        super().__init__(number, window)
        self.connection = connection
        self.min_rate = connection.pulse.min_rate
        self.fault: tuple[int, str] | None = None
        self.gone = False
        self._expects = False
        self._received = False  # the app has received the whole request
        self._pace: Pace | None = None  # of the request's body
        self._changed: trio.lowlevel.ParkingLot | None = None  # tasks that wait in `receive`

    def begin(self) -> None:
        """The request begins."""
        head = self.head
        self.response = StreamResponse("GET", "2", True)
        self.fault = self.refusal
        if head is not None:
            self.response.method, self.response.takes_trailers = head.method, head.takes_trailers
            self._expects = head.expects_continue

    @property
    def empty(self) -> bool:  # type: ignore[override]  # read only
        """See ``Transport``."""
        return self.remote_ended and not self.received

    @property
    def over(self) -> bool:
        """The response has ended, or the stream was reset."""
        return self.response.state is DONE or self.is_lost

    @property
    def is_lost(self) -> bool:
        """It was reset, by either side, or its connection has ended."""
        return self.code is not None or self.gone

    def heard(self) -> None:
        """See ``Flow``."""
        if self._changed is not None:
            self._changed.unpark_all()

    async def receive(self) -> Message:
        """ASGI's ``receive``. Waits for the client. A cancellation loses nothing, and several tasks may wait."""
        while not self.over and self.fault is None:
            message = self._take_body()
            if message is not None:
                return message
            if self._changed is None:
                self._changed = trio.lowlevel.ParkingLot()
            if self._received:
                await self._changed.park()
            else:
                await self._wait_for_body(self._changed)
        return {"type": "http.disconnect"}

    def receive_nowait(self, receive: Receive) -> Message | None:
        """See ``Transport``."""
        return None if receive != self.receive or self.over or self.fault is not None else self._take_body()

    def _take_body(self) -> Message | None:
        if self._received or not (self.body or self.remote_ended):
            return None
        body = bytes(self.body)
        self._expects = False
        self._received = self.remote_ended
        if body:
            self.body.clear()
            self.connection.engine.take(self, len(body))
            self.connection.flush()
        return {"type": "http.request", "body": body, "more_body": not self._received}

    async def _wait_for_body(self, changed: trio.lowlevel.ParkingLot) -> None:
        connection = self.connection
        if self._expects and self.response.state in (WAITING, STARTED):
            connection.engine.head(self, early_block(100, ()), end=False)
            connection.flush()
        self._expects = False
        config, pace = connection.config, self._pace
        if pace is None:
            unlimited = config.body_timeout is None and config.min_rate == AUTO
            pace = self._pace = Pace(None if unlimited else connection.pulse.min_rate)
        patience = pace.start(trio.current_time(), self.received)
        limit = math.inf if config.body_timeout is None else config.body_timeout
        with trio.move_on_after(min(limit, patience)) as scope:
            await changed.park()
        pace.look(trio.current_time(), self.received)
        if scope.cancelled_caught:
            self.fault = LATE_BODY

    def paces_body(self) -> None:
        """See ``Transport``."""
        self._pace = UNLIMITED

    def hold_to(self, min_rate: float | None) -> None:
        """See ``Transport``."""
        self.min_rate = min_rate

    def has_left(self) -> bool:
        """See ``Transport``."""
        return self.is_lost or self.connection.wire.has_left()

    def start_task(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """See ``Transport``."""
        self.connection.pulse.nursery.start_soon(async_fn, name="a response that waits for its client")

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``."""
        connection = self.connection
        await connection.context.terminated.wait()
        on_stop(connection.config.graceful_timeout)
        await trio.sleep_forever()
