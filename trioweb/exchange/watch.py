"""The watch over a request: whether its client is still there, and whether one of its times is up.

One task and one timer a request, whatever the number of its messages. It tells the sender, which stands behind a
shield, what it cannot hear otherwise; and it keeps an event stream alive that has nothing to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

import trio

from trioweb.exchange.policy import Policy
from trioweb.ground.pace import due
from trioweb.handlers.sweep import Taking
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import Outbox
from trioweb.streams.producer import Producer

TASK: Final = "the watch over a client"
"""The name of its task: one for all of them costs each nothing."""


class Watched(Protocol):
    """Who is told what became of the client. None of it blocks."""

    def client_left(self) -> None:
        """It has left."""

    def takes_nothing(self) -> None:
        """It has taken nothing for too long."""

    def takes_too_little(self) -> None:
        """It has taken less than the rate asks for."""

    def sends_nothing(self) -> None:
        """It has sent nothing, or too little, of a body that somebody waits for, for too long."""


class Held(Protocol):
    """What says the rate, and who looks after that: a ``Call``."""

    def rate_for(self, timeout: float | None) -> float | None:
        """Bytes a second that the client must take, given for how long it may take nothing."""
        ...

    @property
    def policy(self) -> Policy:
        """Of the app."""
        ...


class ClientWatch:
    """Watches from ``run`` to ``stop``.

    Args:
        watched: who is told of it.
        inbox: where the client's leaving is heard.
        outbox: what is told of it.
        write_timeout: seconds that one message may not be taken; ``None`` for no limit.
        held: what says the rate at which it must be taken; none unless given.
    """

    __slots__ = ("_held", "_inbox", "_outbox", "_producer", "_scope", "_stopped", "_watched", "write_timeout")

    def __init__(
        self, watched: Watched, inbox: Inbox, outbox: Outbox, write_timeout: float | None, held: Held | None = None
    ) -> None:
        self._held = held
        self._watched = watched
        self._inbox = inbox
        self._outbox = outbox
        self._scope: trio.CancelScope | None = None
        self._stopped = False
        self._producer: Producer | None = None
        self.write_timeout = write_timeout

    async def run(self) -> None:
        """Watch until the client has left, a write or a read is overdue, or ``stop``.

        A cancellation is one from outside of the request: it wakes up a ``send`` that is shielded from it.
        """
        inbox, outbox = self._inbox, self._outbox
        inbox.watched = True
        taking = self._hold()
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
                    self._watched.takes_nothing()
                elif waiting is not None and waiting == inbox.waiting_since and read_due <= now:
                    self._watched.sends_nothing()
                else:
                    continue
                await self._drain()
                return
        finally:
            inbox.watched = False
            if taking is not None and self._held is not None:
                self._held.policy.writes.others.discard(taking)

    def _hold(self) -> Taking | None:
        """Have the client held to its rate, where the server leaves that to the app."""
        held, transport = self._held, self._outbox.transport
        if held is None:
            return None
        transport.hold_to(self._rate())
        if transport.progress(0) is None:
            return None
        taking = Taking(self._outbox, self._rate, self._watched.takes_too_little)
        held.policy.writes.watch(taking)
        return taking

    def _rate(self) -> float | None:
        return None if self._held is None else self._held.rate_for(self.write_timeout)

    async def _cancelled(self) -> None:
        if self._producer is not None:  # wherever it runs
            self._producer.interrupt()
        self._outbox.gone = True
        self._inbox.give_up()
        self._outbox.release()
        await self._drain()

    async def _drain(self) -> None:
        """While a ``send`` is under way: take what the server has for us.

        It may want to say, from inside of that ``send``, that the client has left, and have no room in its queue.
        """
        if self._outbox.sending and not self._stopped:
            with trio.CancelScope(shield=True) as self._scope:
                await self._inbox.drain()

    def watch_stream(self, producer: Producer | None) -> None:
        """Hold a stream's client and its producer to that stream's times, from now on; or, with ``None``, no more."""
        self._producer = producer
        if producer is not None:
            self.write_timeout = producer.stream.write_timeout
            self._outbox.transport.hold_to(self._rate())
        if self._scope is not None:
            self._scope.cancel()  # it looks again

    def stop(self) -> None:
        """End it: from now on a client that leaves means nothing. Safe to call twice."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()


async def watch_departure(inbox: Inbox, watch: trio.CancelScope, on_left: Callable[[], object]) -> None:
    """Call ``on_left`` when the client has left, unless ``watch`` was cancelled before that."""
    with watch:
        await inbox.departed()
        if not watch.cancel_called:  # else the handler has returned meanwhile
            on_left()
