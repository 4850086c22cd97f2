"""One WebSocket from its handshake to its close: runs the handler, hosts its nursery, and turns errors into closes.

Rules that this module alone enforces:

* If the handler fails or returns before it has accepted, the handshake is answered with an HTTP response, also by
  error handlers; afterwards errors are logged, and the WebSocket is closed with 1011.
* ``ws.nursery`` closes before the handler's resources do, and these before the close is sent: its code tells how all
  of them ended.
* A disconnect of the peer cancels ``ws.nursery``, and the handler only if its route says so: otherwise its sends and
  receives raise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.clock import Watch
from trioweb.exchange.policy import is_departure, report, split_cancelled
from trioweb.ground.errors import StreamTimeout, WebSocketDisconnect, forget, taken
from trioweb.ground.http.closing import FAULT, GOING_AWAY, NORMAL
from trioweb.io.duplex import CLOSED, CONNECTING, DENIED, Duplex
from trioweb.messages.connection import State
from trioweb.messages.resources import Resources
from trioweb.messages.websocket import WebSocket
from trioweb.sockets.denial import answer_failure, denial, handshake_request, no_body

CLOSING_SECONDS: Final = 2.0
"""Seconds to wait for the peer's close after ours (RFC 6455, section 7.1.1), for each WebSocket.

Until then what the peer sends is read and dropped: to close with unread bytes would reset the connection, and the peer
could lose our close.
"""


class Conversation:
    """One WebSocket. ``run`` is its only entry.

    Args:
        call: the endpoint and its scope.
        state: that of the handshake, behind middleware.
        refuse: behind middleware, takes what fails before the handshake is answered; it is answered here unless given.
        on_end: behind middleware, is awaited when the handler has ended, before the close is sent.
    """

    __slots__ = ("_call", "_duplex", "_failure", "_on_end", "_refuse", "_scope", "_state")

    def __init__(
        self,
        call: Call,
        state: State | None = None,
        refuse: Callable[[Exception], None] | None = None,
        on_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._call = call
        self._state = state
        self._refuse = refuse
        self._on_end = on_end
        self._duplex = Duplex(call.receive, call.send, call.policy.limits.write_timeout)
        self._duplex.transport = call.find_transport()
        self._duplex.on_left = self._peer_left
        self._scope = trio.CancelScope()
        self._failure: Exception | None = None  # that of `ws.nursery`

    async def run(self) -> None:
        """Serve the WebSocket. Returns when it and ``ws.nursery`` are closed.

        A cancellation from outside cancels the handler and aborts the connection; it never reaches ``send``.
        """
        if not await self._duplex.connected():
            return
        duplex = self._duplex
        duplex.direct = duplex.transport.is_direct(self._call.send)
        watching = None if duplex.direct else Watch(duplex, duplex)
        try:
            async with trio.open_nursery() as nursery:
                self._call.host = nursery.start_soon
                if watching is None:
                    duplex.transport.watch(duplex)
                else:
                    nursery.start_soon(watching.run)
                try:
                    self._call.policy.end_on_stop(self)
                    await self._end(await self._handle())
                finally:
                    self._call.policy.to_end.discard(self)
                    self._call.host = None  # a stop of the server has nothing to end any more
                    duplex.stop()
                    if watching is None:
                        duplex.transport.watch(None)
                    else:
                        watching.stop()
        finally:
            self._failure = self._call.interruptible = None
            duplex.on_left = bool  # bound methods would be reference cycles
        if duplex.timed_out:
            await duplex.transport.abort()

    def end(self) -> None:
        """The server stops: close with 1001; the handler may run on for as long as the server waits. Does not block."""
        if self._call.host is not None:
            self._call.host(self._go_away)

    async def _go_away(self) -> None:
        await self._duplex.answered()
        await self._duplex.close(GOING_AWAY, "", ended=True)
        self._peer_left()

    # The handler

    async def _handle(self) -> Exception | None:
        """Call the handler. Returns its failure, unwrapped, or that of its nursery."""
        call = self._call
        resources = Resources()
        ws = WebSocket(
            call.scope, call.policy.app, call.params, self._duplex, resources, self._open_nursery, self._state
        )
        call.open, call.interruptible = True, self._interrupt
        failure: Exception | None = None
        try:
            with self._scope:
                async with resources:  # around the handler: dependencies are closed after what it has opened
                    try:
                        if call.endpoint.takes_nursery:
                            await call.open_room().opened()
                        await call.endpoint.call(call.params, ws)
                    finally:
                        await self._close_nursery()
        except Exception as error:
            failure = taken(error)
        except BaseException as ended:
            cancelled, failure = split_cancelled(ended)
            try:
                if failure is not None:
                    report(failure, call.scope, f"{call.endpoint.label} failed")
                raise cancelled from None
            finally:
                del cancelled, failure
        try:
            return self._failure or failure
        finally:
            self._failure = None
            del failure

    def _open_nursery(self) -> trio.Nursery:
        nursery = self._call.nursery
        if self._duplex.gone or self._duplex.ended:  # the handler may not know yet
            self._call.dismiss()
        return nursery

    def _interrupt(self) -> None:
        """A task of the nursery has failed. After a disconnect or a close that may only say so."""
        if not (self._duplex.gone or self._duplex.state is CLOSED):
            self._scope.cancel()

    async def _close_nursery(self) -> None:
        call = self._call
        call.open = False
        was_cancelled = call.interrupted and self._scope.cancel_called and not self._duplex.gone
        failure: Exception | None = None
        with trio.CancelScope(shield=True):
            call.dismiss()
            failure = await call.close_room(None)
        if failure is None and was_cancelled:
            failure = call.endpoint.cut_short()
        if failure is not None and not is_departure(failure):
            self._failure = failure
        del failure

    def _peer_left(self) -> None:
        self._call.dismiss()
        if self._call.endpoint.cancel_on_disconnect and self._call.open:  # else dependencies are closing
            self._scope.cancel()

    # The end

    async def _end(self, failure: Exception | None) -> None:
        """Log a failure, and close the WebSocket with its code, or answer the handshake."""
        duplex = self._duplex
        failure = self._outcome(failure)
        try:
            if duplex.state is CONNECTING:
                await self._deny(failure)
                return
            if failure is not None:
                report(failure, self._call.scope, f"{self._call.endpoint.label} failed")
            if self._on_end is not None:
                await self._on_end()
            if duplex.state is not DENIED:
                code = NORMAL if failure is None or is_departure(failure) else FAULT
                await duplex.close(code, "", ended=True)
                with trio.move_on_after(CLOSING_SECONDS):
                    await duplex.disconnected()
        finally:
            forget(failure)
            del failure  # an exception's traceback may have this frame

    def _outcome(self, failure: Exception | None) -> Exception | None:
        """The failure of the WebSocket: the handler's, a write timeout, or a handshake without an answer."""
        duplex = self._duplex
        if duplex.timed_out:
            return StreamTimeout(
                f"{self._call.endpoint.where}: the peer took nothing for the write_timeout of "
                f"{self._call.policy.limits.write_timeout} s"
            )
        if failure is None and duplex.state is CONNECTING and not duplex.gone:
            return RuntimeError(
                f"{self._call.endpoint.label} returned without an answer to the handshake: write await ws.accept() "
                "first, or raise HTTPError(403) to refuse it"
            )
        return failure

    async def _deny(self, failure: Exception | None) -> None:
        """Answer the handshake, by an error handler as for a request, or by the default response."""
        if failure is None or is_departure(failure):
            return
        if self._refuse is not None:
            self._refuse(failure)
            return
        scope = self._call.scope
        call = Call(self._call.policy, self._call.endpoint, self._call.params, scope, no_body, self._call.send)
        call.request = handshake_request(call)
        answering = answer_failure(call, failure)
        del failure
        try:
            answer = await answering
        finally:
            call.request = call.reported = None  # a traceback refers to frames that refer to the call
        with suppress(WebSocketDisconnect):
            await self._duplex.deny(denial(call, answer))
