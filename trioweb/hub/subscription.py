"""One subscriber: what it has missed, what waits for it, and what becomes of that if it is slow.

Rules that this module alone enforces:

* At most ``limit`` bytes wait for a subscriber that is slow, or one event.
* What a subscriber has missed is taken in pieces, as it has room; only then new events are given to it at once. So
  history never counts against ``limit``.
* Events that are left out are followed by a ``gap`` in their place, unless the subscriber wants only the latest ones.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Awaitable
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypeAlias, get_args

import trio

from trioweb.ground.errors import StreamTimeout
from trioweb.hub.entries import EVENTS, PRESENCE, Entry, HubEvent, check_name, check_topic, farewell, gap_of, topic_of
from trioweb.messages.limits import check_size
from trioweb.streams.channel import SMALLEST, ByteChannel, Outcome

Slow: TypeAlias = Literal["drop", "latest", "leave"]

LIMIT: Final = 65536
"""Bytes that may wait for a subscriber that is slow, unless it says otherwise."""
REFILL: Final = 16384
"""Bytes that are moved at a time from what waits here into the channel of a stream."""


class Source(Protocol):
    """The hub of a subscription: ``Hub``, whose module imports this one."""

    dropped: int

    async def open(self, subscription: Subscription) -> None:
        """Begin to give events to it."""
        ...

    async def close(self, subscription: Subscription) -> None:
        """End that."""
        ...

    def detach(self, subscription: Subscription) -> None:
        """Give nothing more to it. Does not block."""
        ...

    async def missed(self, subscription: Subscription) -> list[Entry]:
        """The next events that it has missed. If there are none, it gets new ones at once from now on."""
        ...


class SlowSubscriber(StreamTimeout):
    """More than ``limit`` bytes have waited for a subscriber with ``slow="leave"``."""


class Subscription:
    """The events of some topics: an async context manager, and inside of it an async iterator of ``HubEvent``.

    A cancellation of the iteration loses no event. The iteration ends when the hub is closed.
    """

    __slots__ = (
        "_conflating", "_ended", "_gap", "_hub", "_left", "_lost", "_queue", "_task", "_waiting", "after", "channel",
        "floor", "is_open", "limit", "live", "logs", "member", "position", "slow",
    )  # fmt: skip

    def __init__(
        self, hub: Source, topics: tuple[str, ...], after: str | None, slow: Slow, limit: int, member: str | None
    ) -> None:
        if not topics:
            raise TypeError("a subscription needs at least one topic: write hub.subscribe('news')")
        if slow not in get_args(Slow):
            raise ValueError(f'slow is "drop", "latest" or "leave", got {slow!r}')
        if after is not None and not isinstance(after, str):
            raise TypeError(f"after is a str or None, got {after!r}")
        if member is not None:
            check_name("a member", member)
        check_size("limit", limit)
        topics = tuple(dict.fromkeys(check_topic(topic) for topic in topics))
        self._hub = hub
        self.logs = tuple(sys.intern(EVENTS + topic) for topic in topics)
        """Its topics, and, if it is a member, their joins and leaves."""
        if member is not None:
            self.logs += tuple(sys.intern(PRESENCE + topic) for topic in topics)
        self.after = after or None  # a browser's `EventSource` without an event sends none, or an empty one
        self.slow = slow
        self.limit = limit
        self.member = member
        self.channel: ByteChannel | None = None
        """That of the stream, if a stream takes the events."""
        self.is_open = False
        """It gets events."""
        self.live = False
        """New events are given to it at once."""
        self.position = 0
        """It has all events up to this number, but for those of a gap."""
        self.floor = 0
        """A gap tells of all missing events up to this number."""
        self._queue: deque[Entry] | tuple[()] = ()  # empty for most of thousands
        self._waiting = 0  # bytes in it, if it is live
        self._conflating = False
        self._gap: Entry | None = None  # before the queue
        self._lost: tuple[str, ...] = ()  # the logs that it tells of
        self._task: trio.lowlevel.Task | None = None  # that sleeps until there is something to take
        self._left: str | None = None  # why it was ended, by `slow="leave"`
        self._ended = False

    def __repr__(self) -> str:
        return f"<Subscription of {', '.join(self.topics)}>"

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics."""
        return tuple(topic_of(log) for log in self.logs if log.startswith(EVENTS))

    @property
    def waiting(self) -> int:
        """The bytes that wait for the subscriber."""
        return self._waiting

    @property
    def ended(self) -> bool:
        """Whether the hub is closed."""
        return self._ended

    async def __aenter__(self) -> Self:
        await self._hub.open(self)
        self.is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False
        self._queue, self._gap, self._waiting = (), None, 0
        await self._hub.close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HubEvent:
        """Wait for the next event.

        Raises:
            SlowSubscriber: if too many bytes have waited, with ``slow="leave"``.
            RuntimeError: outside of ``async with``.
        """
        await trio.lowlevel.checkpoint()
        entry = await self.next()
        if entry is None:
            raise StopAsyncIteration
        return entry.seen

    # For what takes the events

    async def next(self) -> Entry | None:
        """Wait for the next event; ``None`` if the hub is closed. Raises as ``__anext__``."""
        while (entry := self.take()) is None and not self._ended:
            if self.must_wait():
                await self.sleep()
            else:
                await self.catch_up()
        return entry

    def must_wait(self) -> bool:
        """Whether to await ``sleep`` next: the loop of ``next``, for callers that save its frame. Raises as that."""
        if self._left is not None:
            raise SlowSubscriber(self._left)
        if not self.is_open:
            raise RuntimeError(f"{self!r} is not open: write `async with hub.subscribe(...) as events:` around it")
        return self.live

    async def catch_up(self) -> None:
        """After ``must_wait`` was false: have the next missed events wait, or get new ones at once."""
        self.hold(await self._hub.missed(self))

    def hold(self, entries: list[Entry]) -> None:
        """Have some missed events wait, which do not count as such. Behind a gap that has come meanwhile."""
        if entries:
            self._queue = deque((*self._queue, *entries))
        if self.live:
            self._waiting = sum(entry.size for entry in self._queue)

    def take(self) -> Entry | None:
        """The next event that waits. Does not block."""
        if self._gap is not None:
            gap, self._gap, self._lost = self._gap, None, ()
            return gap
        if not self._queue:
            return None
        entry = self._queue.popleft()
        if self.live:
            self._waiting -= entry.size
        if not self._queue:
            self._queue, self._conflating = (), False
        return entry

    def sleep(self) -> Awaitable[object]:
        """Await what this returns to sleep until there may be something to take. A cancellation loses nothing."""
        self._task = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # noqa: ASYNC105 - saves a frame for each stream

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def rouse(self) -> bool:
        """Wake the task that waits for an event. Returns whether there is one. Does not block."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)
        return task is not None

    def refill(self) -> None:
        """Move some of what waits into the channel. Does not block."""
        channel, size = self.channel, 0
        while channel is not None and size < REFILL and (entry := self.take()) is not None:
            channel.append(entry.frame)
            size += max(len(entry.frame), SMALLEST)
        if channel is not None and not self._queue:
            channel.on_room = None

    # For the hub

    def begin(self, position: int) -> None:
        """Have all events up to a number; nothing waits. Does not block."""
        self.position, self._queue = position, ()

    def give(self, entry: Entry) -> bool:
        """Take a new event, or have it wait. Returns whether a task was woken that takes it. Does not block."""
        if not self.live or (entry.number <= self.position and not entry.is_gap):
            return False
        if self.member is not None and self.is_own(entry):
            return False
        channel = self.channel
        if channel is None:
            self._wait_with(entry)
            return self.rouse()
        if self._queue or self._gap is not None or not channel.push(entry.frame):
            channel.on_room = self.refill
            self._wait_with(entry)
            return False
        return channel.writer is None

    def is_own(self, entry: Entry) -> bool:
        """Whether an event tells of the subscriber itself."""
        return self.member is not None and entry.log.startswith(PRESENCE) and entry.payload == self.member.encode()

    def _wait_with(self, entry: Entry) -> None:
        if self._conflating:
            self._keep([other for other in self._queue if other.log != entry.log or other.is_singular])
        self._queue = self._queue or deque()
        self._queue.append(entry)
        self._waiting += entry.size
        if self._waiting <= self.limit or len(self._queue) == 1:
            return
        if self.slow == "leave":
            self._leave()
            return
        if self.slow == "latest" and not self._conflating:
            self._conflating = True
            newest = {other.log: other for other in self._queue}
            self._keep([other for other in self._queue if newest[other.log] is other or other.is_singular])
        while self._waiting > self.limit and len(self._queue) > 1:
            dropped = self._queue.popleft()
            self._waiting -= dropped.size
            self._hub.dropped += 1
            self.lose((dropped.log,), dropped.epoch, dropped.number)

    def _keep(self, entries: list[Entry]) -> None:
        self._hub.dropped += len(self._queue) - len(entries)
        self._queue = deque(entries)
        self._waiting = sum(entry.size for entry in entries)

    def _leave(self) -> None:
        self._left = f"{self!r} let {self._waiting} bytes wait, more than its limit of {self.limit}"
        self._hub.dropped += len(self._queue)
        self._hub.detach(self)
        self._queue, self._gap, self._waiting = (), None, 0
        if self.channel is not None and self.channel.abort is not None:
            self.channel.abort(SlowSubscriber(self._left))
        self.rouse()

    def lose(self, logs: tuple[str, ...], epoch: str, number: int) -> None:
        """Have a gap before what waits.

        Args:
            logs: the logs that events are missing of.
            epoch: that of ``number``.
            number: an event with a greater number is not missing.
        """
        self._lost = tuple(dict.fromkeys((*self._lost, *logs)))
        self._gap = gap_of(self._lost, epoch, number)

    def lose_next(self, logs: tuple[str, ...], epoch: str, number: int) -> None:
        """As ``lose``, for a gap behind what waits. Does not block."""
        gap = gap_of(logs, epoch, number)
        if self.live:
            self.give(gap)
        else:  # it is given its history
            self._queue = deque((*self._queue, gap))
            self.rouse()

    def reset(self, epoch: str, number: int) -> None:
        """The engine has lost events: have a gap, and get those of a new epoch after ``number``. Does not block."""
        self.position = self.floor = number
        self.lose_next(self.logs, epoch, number)

    def end(self) -> None:
        """The hub is closed. Does not block."""
        self._ended = True
        if self.channel is not None:
            self.channel.append(farewell())
            self.channel.finish(Outcome.FINISHED)
        self.rouse()
