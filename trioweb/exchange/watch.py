"""Watches a client while a response is sent: by the server, if it can, or by a task.

The task has one timer for each response, whatever the number of its messages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from trioweb.ground.http.asgi import Send
from trioweb.ground.pace import due
from trioweb.io.inbox import Inbox
from trioweb.io.sending import Sending

TASK: Final = "the watch over a client"
"""The name of the task: one string for all of them."""


def watch(sending: Sending, inbox: Inbox, send: Send, nursery: trio.Nursery) -> Callable[[], None]:
    """Have a response told of its client, and its time limits looked at. Returns a function that ends that.

    Args:
        sending: the response.
        inbox: the request's.
        send: that of the app's call.
        nursery: for a task, if the server does not watch by itself.
    """
    transport = sending.outbox.transport
    if transport.is_direct(send):
        transport.watch(sending)
        return partial(transport.watch, None)
    task = ClientWatch(sending, inbox)
    nursery.start_soon(task.run, name=TASK)
    return task.stop


class ClientWatch:
    """Watches the client of a response from ``run`` to ``stop``, and whether it sends the body that a task reads.

    Args:
        sending: is told, and has the time limits of the response.
        inbox: tells of a disconnect.
    """

    __slots__ = ("_inbox", "_scope", "_sending", "_stopped")

    def __init__(self, sending: Sending, inbox: Inbox) -> None:
        self._sending = sending
        self._inbox = inbox
        self._scope: trio.CancelScope | None = None
        self._stopped = False

    async def run(self) -> None:
        """Watch until the response is ended, or ``stop``.

        A cancellation comes from outside of the request: it ends the producer, and a ``send`` that is shielded from it.
        """
        inbox, sending = self._inbox, self._sending
        inbox.watched = True
        try:
            while not self._stopped:
                next_look = min(sending.look(), self._look_at_reader())
                if sending.failure is not None or sending.outbox.gone:
                    await self._drain()
                    return
                with trio.CancelScope(deadline=next_look) as self._scope:
                    try:
                        await inbox.departed()
                    except trio.Cancelled:
                        if not self._scope.cancel_called:
                            await self._cancelled()
                        raise
                    if not self._stopped:
                        sending.left()
                        await self._drain()
                    return
        finally:
            inbox.watched = False

    def _look_at_reader(self) -> float:
        """End the response if the client is late with its body. Returns when to look again."""
        inbox, now = self._inbox, trio.current_time()
        since = inbox.waiting_since
        read_due = math.inf if inbox.complete else due(now if since is None else since, inbox.patience)
        if since is not None and read_due <= now:
            self._sending.fail(inbox.overdue())
        return read_due

    async def _cancelled(self) -> None:
        self._sending.interrupt()  # in whichever nursery the producer runs
        self._sending.outbox.gone = True
        self._inbox.give_up()
        self._sending.outbox.release()
        await self._drain()

    async def _drain(self) -> None:
        """Receive the server's messages until the current ``send`` returns.

        Inside of that ``send`` the server may be blocked on its full queue for this request.
        """
        if self._sending.outbox.sending and not self._stopped:
            with trio.CancelScope(shield=True) as self._scope:
                await self._inbox.drain()

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
