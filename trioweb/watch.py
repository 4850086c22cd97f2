"""The watch over a client: whether it is still there, and whether it takes what is written to it.

One task and one timer a request, whatever the number of its messages. It tells the sender, which stands behind a
shield, what it cannot hear otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from trioweb.wire.inbox import Inbox
from trioweb.wire.outbox import Outbox

LEFT, OVERDUE, STALLED = "left", "overdue", "stalled"


class ClientWatch:
    """Watches from ``run`` to ``stop``.

    Args:
        inbox: where the client's leaving is heard.
        outbox: what is told of it.
        write_timeout: seconds that one message may not be taken; ``None`` for no limit.
    """

    __slots__ = ("_inbox", "_outbox", "_scope", "_timer", "write_timeout")

    def __init__(self, inbox: Inbox, outbox: Outbox, write_timeout: float | None) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._scope = trio.CancelScope()
        self._timer: trio.CancelScope | None = None
        self.write_timeout = write_timeout

    async def run(
        self, on_left: Callable[[], None], on_overdue: Callable[[], None], on_stalled: Callable[[], None]
    ) -> None:
        """Watch until the client has left, a write or a read is overdue, or ``stop``.

        A cancellation is one from outside of the request: it wakes up a ``send`` that is shielded from it.

        Args:
            on_left: called when the client has left.
            on_overdue: called when it has taken nothing for too long.
            on_stalled: called when it has sent nothing of a body that somebody waits for, for too long.
        """
        with self._scope as scope:
            self._inbox.watched = True
            try:
                news = await self._look()
            except trio.Cancelled:
                if not scope.cancel_called:
                    self._outbox.gone = True
                    self._inbox.give_up()
                    self._outbox.release()
                raise
            finally:
                self._inbox.watched = False
            if not scope.cancel_called:
                {LEFT: on_left, OVERDUE: on_overdue, STALLED: on_stalled}[news]()

    async def _look(self) -> str:
        """Wait until the client has left, or has taken or sent nothing for too long: says which.

        The timer goes off when one of these could be overdue at the earliest.
        """
        inbox, outbox = self._inbox, self._outbox
        while True:
            sending, waiting = outbox.sending_since, inbox.waiting_since
            write_due, read_due = _due(sending, self.write_timeout), _due(waiting, inbox.timeout)
            with trio.move_on_at(min(write_due, read_due)) as self._timer:
                await inbox.departed()
                return LEFT
            now = trio.current_time()
            if sending is not None and sending == outbox.sending_since and write_due <= now:
                return OVERDUE
            if waiting is not None and waiting == inbox.waiting_since and read_due <= now:
                return STALLED

    def limit_writes(self, seconds: float | None) -> None:
        """Set another limit, from now on."""
        self.write_timeout = seconds
        if self._timer is not None:
            self._timer.deadline = -math.inf  # it looks again

    def stop(self) -> None:
        """End it: from now on a client that leaves means nothing. Safe to call twice."""
        self._scope.cancel()


def _due(since: float | None, seconds: float | None) -> float:
    """When something could be overdue at the earliest, which has gone on since then, or begins now."""
    return math.inf if seconds is None else (trio.current_time() if since is None else since) + seconds
