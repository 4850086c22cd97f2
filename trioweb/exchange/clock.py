"""The one clock of requests and WebSockets: tells of a client that leaves, and of time limits that are exceeded.

What is watched says itself when to look at it next: a handler (``Call``), a response (``Sending``) or a WebSocket
(``Duplex``). A server that can calls it back; for others there is a task, with one timer at a time, whatever the
number of messages.

A small response has neither: one task for all of an app's responses looks at them a few times within the write timeout.
So it needs only to be added to a dict and removed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio

from trioweb.ground.http.asgi import Send
from trioweb.ground.pace import Pace
from trioweb.io.inbox import Inbox
from trioweb.io.sending import Sending
from trioweb.io.transport import LOOK_SECONDS, PLAIN, Transport, Watcher

LOOKS: Final = 4
"""Looks within the write timeout: a small write is aborted after the timeout, at most one look later."""
TASK: Final = "the watch over a client"
"""The name of the task: one string for all of them."""


Start = Callable[..., None]
"""Starts a task: ``start(async_fn, name=...)``."""


class Source(Protocol):
    """The one owner of a ``receive``: an ``Inbox`` or a ``Duplex``."""

    async def departed(self) -> None:
        """Wait for a disconnect, and read ahead. A cancellation loses nothing."""
        ...

    async def drain(self) -> None:
        """Drop what comes until the server reports the end."""
        ...

    def give_up(self) -> None:
        """A cancellation from outside: wait for no more of the client's messages. Does not block."""
        ...


class Writer(Protocol):
    """A ``Call``, whose module imports this one."""

    send: Send

    @property
    def inbox(self) -> Inbox:
        """The owner of the request's ``receive``, made on first use."""
        ...

    @property
    def may_have_body(self) -> bool:
        """Whether the request may have a body."""
        ...

    @property
    def start(self) -> Start:
        """Starts a task that may outlive the request."""
        ...

    def find_transport(self) -> Transport:
        """The transport of the response."""
        ...

    def rate_for(self, timeout: float | None) -> float | None:
        """Bytes a second that the client must receive, if it may receive nothing for ``timeout`` seconds."""
        ...


def watch(watcher: Watcher, call: Writer, transport: Transport, start: Start | None = None) -> Callable[[], None]:
    """Watch a client for a handler or a response. Returns a function that ends that. Does not block.

    Args:
        watcher: is told of the client, and has the time limits.
        call: the request.
        transport: that of the call.
        start: starts a task, if the server does not watch by itself; the call's unless given.
    """
    if transport.is_direct(call.send):
        transport.watch(watcher)
        return partial(transport.watch, None)
    inbox = call.inbox
    if transport is PLAIN and call.may_have_body:
        # `receive` gives the disconnect after the body, which may stay unread.
        transport = call.find_transport()
    inbox.has_left, inbox.silent_fd = transport.has_left, transport.silent_fd
    task = Watch(watcher, inbox)
    (start or call.start)(task.run, name=TASK)
    return task.stop


class Watch:
    """Watches a client from ``run`` to ``stop``.

    Args:
        watcher: is told of a disconnect, and has the time limits.
        source: tells of a disconnect.
    """

    __slots__ = ("_scope", "_source", "_stopped", "_watcher")

    def __init__(self, watcher: Watcher, source: Source) -> None:
        self._watcher = watcher
        self._source = source
        self._scope: trio.CancelScope | None = None
        self._stopped = False

    async def run(self) -> None:
        """Watch until the client has left, a time limit has ended what is watched, or ``stop``.

        After the first two, and when it is cancelled, it receives the server's messages until the ``send`` returns.
        """
        watcher, source = self._watcher, self._source
        try:
            while not self._stopped:
                due = watcher.look()
                if watcher.over:
                    break
                with trio.CancelScope(deadline=due) as self._scope:
                    await source.departed()
                    if not self._stopped:  # else the handler has returned in the meantime
                        watcher.left()
                    break
        except trio.Cancelled:
            if not self._stopped:
                source.give_up()
                watcher.cancelled()
            raise
        finally:
            if not self._stopped and watcher.stuck:
                with trio.CancelScope(shield=True) as self._scope:
                    await source.drain()

    def stop(self) -> None:
        """Stop watching. Safe to call twice. Does not block."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()


class WritesInFlight:
    """The responses that are being sent.

    Args:
        write_timeout: seconds after which a write that the client does not receive is aborted; ``None`` for never.
    """

    __slots__ = ("_added", "_write_timeout", "now", "others")

    def __init__(self, write_timeout: float | None) -> None:
        self._write_timeout = write_timeout
        self.now: dict[object, Writer] = {}
        """The ``send`` calls of small responses that have not returned, by any object of the request."""
        self.others: set[Sending] = set()
        """Responses that are not small, on a server that reports how much of them the client has received."""
        self._added: trio.Event | None = None  # `sweep` waits for a response

    def add(self, key: object, call: Writer) -> None:
        """Add a write; the caller removes it from ``now``."""
        self.now[key] = call
        if self._added is not None:
            self._added.set()

    def pace(self, sending: Sending, rate: float | None) -> None:
        """Have the least rate of a response enforced, if not by its server; the caller removes it from ``others``."""
        transport = sending.outbox.transport
        transport.hold_to(rate)
        if rate is not None and transport.progress(0) is not None:
            sending.pace = Pace(rate)
            self.others.add(sending)
            if self._added is not None:
                self._added.set()

    async def sweep(self) -> None:
        """Abort writes that exceed the write timeout or are too slow, for as long as the app runs."""
        limit = math.inf if self._write_timeout is None else self._write_timeout
        seen: dict[object, tuple[float, Pace]] = {}
        while True:
            if not (self.now or self.others):
                seen = {}
                self._added = trio.Event()
                await self._added.wait()
                self._added = None
            await trio.sleep(min(LOOK_SECONDS, limit / LOOKS))
            seen = self._look(seen, limit)

    def _look(self, seen: dict[object, tuple[float, Pace]], limit: float) -> dict[object, tuple[float, Pace]]:
        # A function of its own: a variable of the task would keep the last response, and all that it holds.
        now = trio.current_time()
        seen = {
            key: seen.get(key) or (now, Pace(writer.rate_for(self._write_timeout))) for key, writer in self.now.items()
        }
        for key, (since, pace) in seen.items():
            if self._is_overdue(key, pace, since, now) or now - since > limit:
                self._break(key)
        for sending in list(self.others):
            sending.measure(now)
        return seen

    def _is_overdue(self, key: object, pace: Pace, since: float, now: float) -> bool:
        taken = None if pace.rate is None else self.now[key].find_transport().progress(0)
        if taken is None:
            return False
        if since == now:
            pace.start(now, taken)
            return False
        return pace.look(now, taken)

    async def break_all_after(self, seconds: float) -> None:
        """Abort all writes after some seconds: a server that stops waits no longer for its clients."""
        await trio.sleep(seconds)
        for key in list(self.now):
            self._break(key)

    def _break(self, key: object) -> None:
        self.now[key].find_transport().release(None)
