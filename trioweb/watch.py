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

    __slots__ = ("_inbox", "_outbox", "_scope", "_stopped", "write_timeout")

    def __init__(self, inbox: Inbox, outbox: Outbox, write_timeout: float | None) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._scope: trio.CancelScope | None = None
        self._stopped = False
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
        inbox, outbox = self._inbox, self._outbox
        inbox.watched = True
        try:
            while not self._stopped:
                sending, waiting = outbox.sending_since, inbox.waiting_since
                write_due, read_due = _due(sending, self.write_timeout), _due(waiting, inbox.timeout)
                left = await self._wait_until(min(write_due, read_due))
                if self._stopped:
                    return
                now = trio.current_time()
                if left:
                    on_left()
                elif sending is not None and sending == outbox.sending_since and write_due <= now:
                    on_overdue()
                elif waiting is not None and waiting == inbox.waiting_since and read_due <= now:
                    on_stalled()
                else:
                    continue
                await self._drain()
                return
        finally:
            inbox.watched = False

    async def _wait_until(self, due: float) -> bool:
        """Wait until the client has left, or something else is to be looked at: says whether it has left."""
        with trio.CancelScope(deadline=due) as self._scope:
            try:
                await self._inbox.departed()
            except trio.Cancelled:
                if not self._scope.cancel_called:
                    self._outbox.gone = True
                    self._inbox.give_up()
                    self._outbox.release()
                    await self._drain()
                raise
            return True
        return False

    async def _drain(self) -> None:
        """While a ``send`` is under way: take what the server has for us.

        It may want to say, from inside of that ``send``, that the client has left, and have no room in its queue.
        """
        if self._outbox.sending and not self._stopped:
            with trio.CancelScope(shield=True) as self._scope:
                await self._inbox.drain()

    def limit_writes(self, seconds: float | None) -> None:
        """Set another limit, from now on."""
        self.write_timeout = seconds
        if self._scope is not None:
            self._scope.cancel()  # it looks again

    def stop(self) -> None:
        """End it: from now on a client that leaves means nothing. Safe to call twice."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()


def _due(since: float | None, seconds: float | None) -> float:
    """When something could be overdue at the earliest, which has gone on since then, or begins now."""
    return math.inf if seconds is None else (trio.current_time() if since is None else since) + seconds
