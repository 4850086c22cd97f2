"""One client's HTTP/1.1 connection, served by one trio task, in which the app answers one request after the other.

Rules that this module alone enforces:

* Requests are answered in order, and none begins before the previous one has ended.
* A connection is closed after a refused request, an aborted response, an interrupted write, or an unread body.
* Requests share the task, but no context variables.
* An app that goes on after its response does not delay the next request: another task takes over the connection.
* An app's error is logged, answered if that is still possible, and affects no other connection.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Coroutine
from contextlib import suppress

import trio

from trioweb.ground.http.asgi import MutableScope
from trioweb.server.faults import is_departure, log_app_fault, log_fault, split_fault
from trioweb.server.http1.access import ConnectionAccess
from trioweb.server.http1.checks import MAX_HEADERS, BadRequest, find_h2c_settings
from trioweb.server.http1.cycle import Cycle
from trioweb.server.http1.framing import DONE, STARTED, WAITING, Response
from trioweb.server.http1.head import Head
from trioweb.server.http1.line import Line
from trioweb.server.http1.parsing import RequestReader
from trioweb.server.http1.scopes import is_named, scope_of
from trioweb.server.refusals import BUSY, LATE_HEAD, UNNAMED
from trioweb.server.shared import Shared
from trioweb.server.streams import Stream, address_of, shared_address, socket_of
from trioweb.server.wire.secure import SecureWire
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import ClientLeftError


class HTTP1Connection(Line):
    """Serves one client until either side closes the connection, or the client asks for another protocol.

    Args:
        shared: what all connections of a worker share.
        stream: the connection; with TLS, after its handshake.
    """

    __slots__ = ("_access", "_cycle", "_early", "_gate", "_idle", "_requests", "_state",
                 "_takeovers", "_takeovers_ended", "asked", "client", "server")  # fmt: skip

    def __init__(self, shared: Shared, stream: Stream) -> None:
        self._gate, config, context, pulse, self._state = shared
        sock = socket_of(stream)
        self.client = address_of(sock.family, sock.getpeername())
        self.server = shared_address(address_of(sock.family, sock.getsockname()))
        wire = SecureWire(stream) if isinstance(stream, trio.SSLStream) else Wire(stream, pulse.poller)
        super().__init__(wire, RequestReader(config.h11_max_incomplete_size, MAX_HEADERS), config, context, pulse)
        self._requests = 0
        self._idle = True
        self._cycle: Cycle | None = None
        self._early: bytes | None = None
        self.asked: Head | None = None
        """The request that asks for another protocol; with the method PRI, the preface of HTTP/2."""
        self._takeovers = 0
        self._access = ConnectionAccess(config, self.client, secure=wire.secure) if self.logs else None

    def run(self) -> Coroutine[object, object, bytes | None]:
        """Serve. Returns ``None`` when the connection is closed; or, if the client asks for another protocol, the bytes
        that were read: the connection then stays open.

        A cancellation cancels the request, and closes the connection.
        """
        self.pulse.add(self)
        return self._serve()  # one frame for each of thousands of connections

    async def _serve(self, last: Cycle | None = None) -> bytes | None:  # noqa: C901 - its frame is all that waits
        """Answer requests until the connection ends, or another task takes over.

        Args:
            last: the previous request, in a task that takes over: its response is sent, but ``_end`` not called yet.
        """
        leads = last is None
        try:
            try:
                goes_on: bool | None = last is None or await self._end(last)
                del last
                while goes_on:
                    with trio.CancelScope() as scope:  # once for many requests: a scope takes 9 us
                        while goes_on:
                            head = await self._next_head()
                            if head is None or (head.upgrade and self._asks_for_other_protocol(head)):
                                if head is not None:
                                    self._early = self.reader.raw_head + self.reader.pending
                                    self.asked = head
                                goes_on = None
                                break
                            answering, cycle = self._begin(head, scope)
                            del head  # a response may take hours
                            try:
                                await answering
                            except BaseException as error:
                                await self._contain(error, cycle)
                            del answering
                            goes_on = await self._conclude(cycle)
                            del cycle
                    if scope.cancelled_caught:
                        goes_on = await self._resume()
                if goes_on is not None:
                    await self.close()
            except BadRequest as error:
                await self._refuse(error)
            except ClientLeftError:
                pass
            while leads and self._takeovers:
                await self._takeovers_ended.wait()
            return self._early
        finally:
            if leads:
                self._let_go()

    def _let_go(self) -> None:
        self.pulse.discard(self)
        self._cycle = self._writes = None  # these refer to this object: no reference cycle may be left
        if self._early is None:
            self.wire.close()

    def _asks_for_other_protocol(self, head: Head) -> bool:
        if head.upgrade == b"websocket":
            return head.method == "GET"
        if head.upgrade != b"h2c" and head.method != "PRI":
            return False
        able = self.config.h2c and not self.wire.secure  # under TLS there is ALPN
        if head.method != "PRI":
            return able and find_h2c_settings(head.headers) is not None
        if not (self._requests or self.wire.secure):  # prior knowledge: HTTP/2 from the first byte
            return True
        raise BadRequest(505, "HTTP/2 begins with a connection")

    async def _next_head(self) -> Head | None:
        """The next request's head; ``None`` if the connection ends without one."""
        reader, wire, pulse = self.reader, self.wire, self.pulse
        begun = bool(reader.pending)
        due = pulse.after(self.config.keep_alive_timeout if self._requests and not begun else self.config.head_timeout)
        if begun:  # a client with many pipelined requests must not block other tasks
            await trio.lowlevel.checkpoint()
        while not wire.broken:
            if reader.pending:
                head = reader.next_head()
                if head is not None:
                    return head
                if not begun and reader.pending:
                    begun = True
                    due = pulse.after(self.config.head_timeout)
            if self.late:
                if begun:
                    raise BadRequest(*LATE_HEAD)
                return None
            if not begun and self.stopping and not self._look_again():
                return None
            self._idle = not begun
            await self.read(due)
            self._idle = False
            if self._access is not None and not begun:
                self._access.begin()
        return None

    def _look_again(self) -> bool:
        """Whether, while the server stops, a request has come already: that is still answered."""
        self.reader.feed(self.wire.read_nowait() or b"")
        return bool(self.reader.pending)

    # Answering

    def _begin(self, head: Head, scope: trio.CancelScope) -> tuple[Awaitable[None], Cycle]:
        """Begin a request. Returns what answers it, without a reference to its head, and its cycle."""
        self._requests += 1
        self.min_rate = self.pulse.min_rate
        config = self.config
        close = self.stopping or self._requests > config.keep_alive_max_requests
        keep_alive = head.keep_alive and not close
        response = Response(head.method, head.version, keep_alive, head.takes_trailers)
        self._cycle = cycle = Cycle(self, scope, scope, response, head.expects_continue)
        called = scope_of(self, head, cycle, self.client, self.server, self._state)
        if self._access is not None:
            self._access.begin(called)
        if config.server_names or self._gate.limit is not None or self.context.max_requests is not None:
            return self._call_within_limits(called, cycle, close=close), cycle
        return self._gate.app(called, cycle.receive, cycle.send), cycle

    async def _call_within_limits(self, scope: MutableScope, cycle: Cycle, *, close: bool) -> None:
        """Call the app, unless the server's options refuse the request."""
        gate = self._gate
        if self.config.server_names and not is_named(scope["headers"], self.config.server_names):
            cycle.fault = UNNAMED
        elif gate.limit is not None and not gate.enter():
            with suppress(ClientLeftError):
                await self.reply(cycle.response, *BUSY, close=close or cycle.must_close())
                cycle.ended_at = trio.current_time()
        else:
            if self.context.max_requests is not None:
                await self.context.mark_request()
            answering = gate.app(scope, cycle.receive, cycle.send)
            del scope  # a response may take hours
            try:
                await answering
            finally:
                if gate.limit is not None:
                    gate.leave()

    async def _resume(self) -> bool | None:
        """After a cancellation: await what the app has given to ``Transport.resume_with``, or else end the connection.

        Returns whether it stays open; ``None`` if it needs no end.
        """
        cycle = self._cycle
        if cycle is None or cycle.rest is None:
            return None
        resuming, cycle.rest = cycle.rest(), None
        with trio.CancelScope() as cycle.cancels:
            try:
                await resuming
            except BaseException as error:
                await self._contain(error, cycle)
            return await self._conclude(cycle)
        return None

    async def _conclude(self, cycle: Cycle) -> bool | None:
        """After the app's call. Returns whether the connection stays open; ``None`` if another task has taken over."""
        goes_on: bool | None = None
        if self._cycle is cycle:
            self._cycle, self.due = None, math.inf
            goes_on = await self._end(cycle)
        # Takes effect at the task's next step, and each request begins in a new one.
        trio.lowlevel.current_task().context = self.pulse.context.copy()
        return goes_on

    async def _contain(self, error: BaseException, cycle: Cycle) -> None:
        cancelled = fault = None
        try:
            cancelled, fault = split_fault(error)
            if fault is not None and not (self.wire.broken and is_departure(fault)):
                await log_app_fault(self.config, fault)
            if cancelled is not None:
                raise cancelled
        except BaseException:
            if self._access is not None and self._cycle is cycle and cycle.rest is None:
                await self._access.end(cycle, left=self.wire.broken, slow=self.slow)
            raise
        finally:
            del error, cancelled, fault  # their tracebacks refer to this frame

    # Taking over from an app that has not returned

    def overdue(self) -> None:
        """See ``pulse.Timed``: the client is late; or the app has sent its response, but has not returned."""
        if self.wire.watcher is not None:  # a stream checks its own time limits
            self.due = self.wire.watcher.look()
            return
        cycle = self._cycle
        if cycle is None or cycle.response.state is not DONE:
            super().overdue()
            return
        self.due = math.inf
        self._cycle = None
        if not self._takeovers:
            self._takeovers_ended = trio.Event()
        self._takeovers += 1
        self.pulse.nursery.start_soon(self._take_over, cycle)

    async def _take_over(self, last: Cycle) -> None:
        """Serve the next requests, in another task."""
        try:
            await self._serve(last)
        except Exception as error:
            await log_fault(self.config, error)
            self.wire.cut(reset=False)
        finally:
            self._takeovers -= 1
            if not self._takeovers:
                self._takeovers_ended.set()

    # Ending

    async def _end(self, cycle: Cycle) -> bool:
        """End a response after the app has returned. Returns whether the connection stays open."""
        response = cycle.response
        ended = self.wire.broken or response.state is DONE
        try:
            if not ended and (response.state is WAITING or response.state is STARTED):  # the app has sent none
                await self.reply(response, *(cycle.fault or (500, "")), close=True)
                cycle.ended_at = trio.current_time()
            elif not ended:
                await cycle.abort()
        finally:
            if self._access is not None:
                await self._access.end(cycle, left=self.wire.broken, slow=self.slow)
        if not ended or self.wire.broken or self.stopping or not response.keep_alive:
            return False
        return self.reader.complete or await self.drain()

    async def _refuse(self, error: BadRequest) -> None:
        """Answer a request whose head is not valid, or did not come in time."""
        response = Response("GET", "1.1", keep_alive=False)
        with suppress(ClientLeftError):
            await self.reply(response, error.status, error.reason, close=True)
        if self._access is not None:
            await self._access.refuse(response, self.reader.raw_head or self.reader.pending)
        if not self.wire.broken:
            await self.close()

    def stop(self) -> None:
        """The server stops: close if idle, else after the current response. Does not block."""
        self.stopping = True
        if self._idle:
            self.wire.wake()

    def break_off(self) -> None:
        """Close at once: reads and writes of other tasks end. Safe to call twice. Does not block."""
        self.wire.cut(reset=False)
        self.wire.close()
