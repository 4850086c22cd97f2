"""Ends a response that its client does not receive: see ``Sending``.

Rules that this module alone enforces:

* A client that has the whole response cancels nothing: a server may report a disconnect while the end is sent.
* A client that receives nothing for the write timeout, or less than the least rate, ends its response.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from trioweb.ground.errors import ClientDisconnected, StreamTimeout
from trioweb.ground.pace import Pace, due
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import Watcher


class Sending(Watcher):
    """A response that is being sent: a ``Watcher`` of its client.

    Args:
        outbox: sends it.
        where: the route, for messages.
        write_timeout: seconds that the client may receive nothing; ``None`` for no limit.
        on_end: called first when it is ended: ends the tasks of its request.
    """

    __slots__ = ("_measured", "failure", "on_end", "outbox", "pace", "where", "write_timeout")

    def __init__(
        self, outbox: Outbox, where: str, write_timeout: float | None, on_end: Callable[[], None] | None
    ) -> None:
        self.outbox = outbox
        self.where = where
        self.write_timeout = write_timeout
        self.on_end = on_end
        self.pace: Pace | None = None
        """Measures how fast the client receives, if the app enforces the least rate."""
        self._measured = False  # the last look found a write in progress
        self.failure: Exception | None = None
        """What has ended it, unless a disconnect: that sets ``Outbox.gone``."""

    def left(self) -> None:
        """See ``Watcher``."""
        if self.outbox.state is ENDED or self.outbox.fulfilled:
            self.outbox.release()
        else:
            self.fail(ClientDisconnected("the client left while its response was sent"))

    def look(self) -> float:
        """See ``Watcher``."""
        now = trio.current_time()
        write_due = due(self.outbox.since if self.outbox.sending else now, self.write_timeout)
        if self.outbox.sending and write_due <= now:
            self.time_out(f"took nothing for the write_timeout of {self.write_timeout} s")
            return math.inf
        return write_due

    def measure(self, now: float) -> None:
        """Measure how fast the client receives, and end it if that is too slow. Called a few times a second."""
        pace, since = self.pace, self.outbox.since
        taken = self.outbox.transport.progress(self.outbox.handed) if self.outbox.sending else None
        if pace is None or taken is None or self.over:
            self._measured = False
        elif not self._measured:
            self._measured = True
            pace.start(since, taken)
        elif pace.look(now, taken, since):
            self.time_out(f"took less than {pace.rate:g} bytes a second")

    @property
    def over(self) -> bool:
        """See ``Watcher``."""
        return self.failure is not None or self.outbox.gone

    @property
    def stuck(self) -> bool:
        """See ``Watcher``."""
        return bool(self.outbox.sending)

    def cancelled(self) -> None:
        """See ``Watcher``: the producer may run in any nursery."""
        self.interrupt()
        self.outbox.gone = True
        self.outbox.release()

    def time_out(self, text: str) -> None:
        """End it, since the client is too slow. Does not block."""
        self.fail(StreamTimeout(f"{self.where}: the client {text}"))

    def fail(self, error: Exception) -> None:
        """End it. Does not block."""
        if self.on_end is not None:
            self.on_end()  # first, or tasks that send to a channel source would raise BrokenResourceError
        if not isinstance(error, ClientDisconnected):
            self.failure = self.failure or error
        self.outbox.gone = self.outbox.gone or isinstance(error, (ClientDisconnected, StreamTimeout))
        self.interrupt()
        self.outbox.release()

    def interrupt(self) -> None:
        """End what produces it, as a cancellation from outside does. Does not block."""
