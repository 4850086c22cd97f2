"""Watches the client while a response is sent: disconnects, and time limits.

One task and one timer for each response, whatever the number of its messages. It reports to the sender, which is
shielded and cannot be cancelled, and has idle event streams pinged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

from trioweb.exchange.call import Call
from trioweb.ground.pace import due
from trioweb.handlers.sweep import Taking
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import Outbox
from trioweb.streams.producer import Producer

TASK: Final = "the watch over a client"
"""The name of the task: one string for all of them."""


class Watched(Protocol):
    """Is told of the client. No method may block."""

    def client_left(self) -> None:
        """The client has disconnected."""

    def write_timed_out(self) -> None:
        """The client has received nothing for the write timeout."""

    def write_too_slow(self) -> None:
        """The client receives more slowly than its least rate."""

    def read_timed_out(self) -> None:
        """The client has sent nothing, or too slowly, while a task reads the body."""


class ClientWatch:
    """Watches from ``run`` to ``stop``.

    Args:
        watched: is told of what happens.
        inbox: tells of a disconnect.
        outbox: sends the response.
        write_timeout: seconds that a client may receive nothing; ``None`` for no limit.
        call: the request, for the least rate of the client; ``None`` for no such limit.
    """

    __slots__ = ("_call", "_inbox", "_outbox", "_producer", "_scope", "_stopped", "_watched", "write_timeout")

    def __init__(
        self, watched: Watched, inbox: Inbox, outbox: Outbox, write_timeout: float | None, call: Call | None = None
    ) -> None:
        self._call = call
        self._watched = watched
        self._inbox = inbox
        self._outbox = outbox
        self._scope: trio.CancelScope | None = None
        self._stopped = False
        self._producer: Producer | None = None
        self.write_timeout = write_timeout

    async def run(self) -> None:
        """Watch until the client disconnects, a write or a read is overdue, or ``stop``.

        A cancellation comes from outside of the request: it ends the producer, and a ``send`` that is shielded from it.
        """
        inbox, outbox = self._inbox, self._outbox
        inbox.watched = True
        taking = self._watch_rate()
        try:
            while not self._stopped:
                sending, waiting = outbox.sending_since, inbox.waiting_since
                now = trio.current_time()
                write_due = due(now if sending is None else sending, self.write_timeout)
                read_due = math.inf if inbox.complete else due(now if waiting is None else waiting, inbox.patience)
                producer = self._producer
                stream_due = math.inf if producer is None else producer.check_silence(started=outbox.started)
                left = False
                with trio.CancelScope(deadline=min(write_due, read_due, stream_due)) as self._scope:
                    try:
                        await inbox.departed()
                    except trio.Cancelled:
                        if not self._scope.cancel_called:
                            await self._cancelled()
                        raise
                    left = True
                if self._stopped:
                    return
                now = trio.current_time()
                if left:
                    self._watched.client_left()
                elif sending is not None and sending == outbox.sending_since and write_due <= now:
                    self._watched.write_timed_out()
                elif waiting is not None and waiting == inbox.waiting_since and read_due <= now:
                    self._watched.read_timed_out()
                else:
                    continue
                await self._drain()
                return
        finally:
            inbox.watched = False
            if taking is not None and self._call is not None:
                self._call.policy.writes.others.discard(taking)

    def _watch_rate(self) -> Taking | None:
        """Have the least rate enforced: by the server, or, if that only reports progress, by the app's sweep."""
        call, transport = self._call, self._outbox.transport
        if call is None:
            return None
        transport.hold_to(self._rate())
        if transport.progress(0) is None:
            return None
        taking = Taking(self._outbox, self._rate, self._watched.write_too_slow)
        call.policy.writes.watch(taking)
        return taking

    def _rate(self) -> float | None:
        return None if self._call is None else self._call.rate_for(self.write_timeout)

    async def _cancelled(self) -> None:
        if self._producer is not None:  # in whichever nursery it runs
            self._producer.interrupt()
        self._outbox.gone = True
        self._inbox.give_up()
        self._outbox.release()
        await self._drain()

    async def _drain(self) -> None:
        """Receive the server's messages until the current ``send`` returns.

        Inside of that ``send`` the server may be blocked on its full queue for this request.
        """
        if self._outbox.sending and not self._stopped:
            with trio.CancelScope(shield=True) as self._scope:
                await self._inbox.drain()

    def watch_stream(self, producer: Producer | None) -> None:
        """Apply the time limits of a stream from now on."""
        self._producer = producer
        if producer is not None:
            self.write_timeout = producer.stream.write_timeout
            self._outbox.transport.hold_to(self._rate())
        if self._scope is not None:
            self._scope.cancel()  # to compute the next deadline

    def stop(self) -> None:
        """Stop watching. Safe to call twice. Does not block."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()


async def watch_departure(inbox: Inbox, watch: trio.CancelScope, on_left: Callable[[], object]) -> None:
    """Call ``on_left`` when the client disconnects, unless ``watch`` is cancelled before that."""
    with watch:
        await inbox.departed()
        if not watch.cancel_called:  # else the handler has returned in the meantime
            on_left()
