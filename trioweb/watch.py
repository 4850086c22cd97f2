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

    async def run(self, on_left: Callable[[], None], on_overdue: Callable[[], None]) -> None:
        """Watch until the client has left, a write is overdue, or ``stop``.

        A cancellation is one from outside of the request: it wakes up a ``send`` that is shielded from it.
        """
        with self._scope as scope:
            try:
                overdue = await self._look()
            except trio.Cancelled:
                if not scope.cancel_called:
                    self._outbox.gone = True
                    self._inbox.give_up()
                    self._outbox.release()
                raise
            if not scope.cancel_called:
                (on_overdue if overdue else on_left)()

    async def _look(self) -> bool:
        """Wait until the client has left, or has taken nothing for too long: says whether it is the latter.

        The timer goes off when a write could be overdue at the earliest.
        """
        while True:
            since = self._outbox.sending_since
            begin = trio.current_time() if since is None else since
            due = math.inf if self.write_timeout is None else begin + self.write_timeout
            with trio.move_on_at(due) as self._timer:
                await self._inbox.departed()
                return False
            if since is not None and since == self._outbox.sending_since and due <= trio.current_time():
                return True

    def limit_writes(self, seconds: float | None) -> None:
        """Set another limit, from now on."""
        self.write_timeout = seconds
        if self._timer is not None:
            self._timer.deadline = -math.inf  # it looks again

    def stop(self) -> None:
        """End it: from now on a client that leaves means nothing. Safe to call twice."""
        self._scope.cancel()
