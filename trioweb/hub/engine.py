"""What all engines share: the logs and subscriptions of one process, and the loop that gives events to subscribers.

Rules that this module alone enforces:

* Events are given in the order of their numbers, to ``AT_ONCE`` subscribers at a time, or to fewer if they have tasks
  that take them, and then other tasks run.
* Whoever adds an event gives it to the first subscribers; a task gives it to the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from contextlib import AsyncExitStack
from itertools import chain
from typing import Final

import trio

from trioweb.hub.entries import Entry, parse_id
from trioweb.hub.subscription import Subscription
from trioweb.hub.topics import Log, Retention

AT_ONCE: Final = 256
"""Subscribers that get an event before other tasks run, if each takes it without a task."""
WOKEN: Final = AT_ONCE // 8
"""What a subscriber counts whose task is woken: so there are eight of them at a time.

Each makes many objects while it sends. The garbage collector runs at 700 new ones that are not freed (2,000 since
Python 3.13): with 256 subscribers at a time it took three quarters of the CPU time of an event for ten thousand.
"""
PIECE: Final = 256
"""Events of history that are taken at a time."""
PIECE_SIZE: Final = 65536
"""Bytes of history that are taken at a time, and at most one event more: a subscriber that does not read holds them."""
BEHIND: Final = 256
"""Events that may wait for the loop; then publishers wait for it, though for no subscriber."""
LEAVING: Final = 2.0
"""Seconds in which a subscriber leaves its topics; later, its lease ends."""

CUT: Final = "the engine of this hub was cut off by a test"


class HubUnavailable(Exception):
    """The engine of a hub cannot be reached: the event is not published, or it is not known whether it is."""


class Engine(ABC):
    """Numbers the events of a hub, and keeps them.

    Args:
        kept: how much of each topic is kept.
    """

    def __init__(self, kept: Retention) -> None:
        self.kept = kept
        self.epoch = ""
        """The time in which numbers are comparable."""
        self.number = 0
        """Of the newest event in the logs here."""
        self.dropped = 0
        """The events that were left out for slow subscribers."""
        self.is_cut = False
        """A test has cut it off."""
        self.logs: OrderedDict[str, Log] = OrderedDict()
        self.subscriptions: dict[Subscription, None] = {}
        self._wanted: Counter[str] = Counter()  # the subscriptions of each log
        self._is_open = False  # its tasks run
        self.room = trio.lowlevel.ParkingLot()
        """Woken when no event waits for the loop."""
        self._work = trio.lowlevel.ParkingLot()
        self._pending: deque[Entry] = deque()  # given to none yet, but in their logs
        self._giving: Entry | None = None  # that is being given
        self._targets: list[Subscription] = []  # those that it is still to be given to

    @property
    def behind(self) -> bool:
        """Whether too many events wait for the loop."""
        return len(self._pending) > BEHIND

    @abstractmethod
    async def connect(self, stack: AsyncExitStack) -> None:
        """Reach what keeps the events."""

    def begin(self, nursery: trio.Nursery) -> None:
        """Start the tasks."""
        self._is_open = True
        nursery.start_soon(self._give_rest, name="a hub's loop")

    def stop(self) -> None:
        """End all subscriptions, since the tasks are about to end. Does not block."""
        self._is_open = False
        for subscription in list(self.subscriptions):
            subscription.end()

    def check_open(self) -> None:
        """Check that the tasks run.

        Raises:
            RuntimeError: if they do not.
        """
        if not self._is_open:
            raise RuntimeError(
                "the hub is not open: write app.lifespan(hub), before lifespans that use it, or `async with hub:`"
            )

    @abstractmethod
    async def publish(self, log: str, event: str | None, kind: str, payload: bytes) -> str:
        """Number an event, and keep it; returns its id.

        Raises:
            HubUnavailable: if that is not possible.
        """

    @abstractmethod
    async def start(self, subscription: Subscription) -> None:
        """Have the logs of a new subscription, and ``place`` it."""

    async def first_piece(self, subscription: Subscription) -> list[Entry]:
        """As ``missed``, without a long wait, so that a new subscription gets new events as soon as possible."""
        return self.piece(subscription) if self.covers(subscription) else []

    @abstractmethod
    async def missed(self, subscription: Subscription) -> list[Entry]:
        """As ``piece``, with what is not in the logs here, and after a gap if that is nowhere."""

    @abstractmethod
    async def join(self, topic: str, member: str) -> None:
        """A subscriber joins a topic."""

    @abstractmethod
    async def leave(self, topic: str, member: str) -> None:
        """A subscriber leaves a topic."""

    @abstractmethod
    async def members(self, topic: str) -> list[str]:
        """The names of those who have joined."""

    def cut(self, away: bool) -> None:
        """Make the engine unreachable, or reachable again, for tests. Does not block."""
        self.is_cut = away

    def now(self) -> float:
        """The clock of ``Entry.time``."""
        return trio.current_time()

    # Subscriptions

    def has(self, subscription: Subscription) -> bool:
        """Whether a subscription is open."""
        return subscription in self.subscriptions

    async def open(self, subscription: Subscription) -> None:
        """Begin to give events to a subscription."""
        self.check_open()
        if subscription in self.subscriptions:
            raise RuntimeError(f"{subscription!r} is open already: subscribe again")
        self.subscriptions[subscription] = None
        self._wanted.update(subscription.logs)
        try:
            if subscription.member is not None:
                for topic in subscription.topics:
                    await self.join(topic, subscription.member)
            await self.start(subscription)
            subscription.hold(await self.first_piece(subscription))
        except BaseException:
            await self.close(subscription)
            raise

    async def close(self, subscription: Subscription) -> None:
        """End that."""
        if not self.has(subscription):
            return
        del self.subscriptions[subscription]
        self.detach(subscription)
        for name in subscription.logs:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name]
                self.release(name)
        if subscription.member is not None:
            with trio.move_on_after(LEAVING, shield=True):
                for topic in subscription.topics:
                    await self.leave(topic, subscription.member)

    def detach(self, subscription: Subscription) -> None:
        """Give nothing more to a subscription. Does not block."""
        subscription.live = False
        for name in subscription.logs:
            if name in self.logs:
                self.logs[name].subscribers.pop(subscription, None)

    @abstractmethod
    def release(self, name: str) -> None:
        """A subscriber has left a log, which may be needed no more. Does not block."""

    def is_wanted(self, name: str) -> bool:
        """Whether a subscription has a log."""
        return name in self._wanted

    def place(self, subscription: Subscription, newest: int, most: float) -> None:
        """Set after which number a subscription begins: without ``after``, that of the newest event.

        An id that means nothing here, as one of a number above ``most``, is that of a gap.
        """
        subscription.begin(newest)
        if subscription.after is None:
            return
        found = parse_id(subscription.after)
        if found is not None and found[0] == self.epoch and found[1] <= most:
            subscription.position = found[1]
        else:
            self.forget_position(subscription)

    def forget_position(self, subscription: Subscription) -> None:
        """Have a gap, and then all that is kept."""
        subscription.position = 0
        self.lose(subscription, subscription.logs)

    def lose(self, subscription: Subscription, lost: tuple[str, ...]) -> None:
        """Have a gap before all that the logs keep."""
        logs = [self.logs[name] for name in subscription.logs]
        first = min((entry.number for log in logs for entry in log.after(subscription.position)), default=None)
        subscription.floor = max(log.floor for log in logs)
        subscription.lose(lost, self.epoch, self.number if first is None else first - 1)

    def covers(self, subscription: Subscription) -> bool:
        """Whether the logs here have all that a subscription has missed."""
        covered = max(subscription.position, subscription.floor)
        return not any(self.logs[name].floor > covered for name in subscription.logs)

    def piece(self, subscription: Subscription) -> list[Entry]:
        """The next events that a subscription has missed. If there are none, it gets new ones at once from now on."""
        after = subscription.position
        logs = [self.logs[name] for name in subscription.logs]
        found = oldest(chain(*(log.after(after) for log in logs)))
        if found:
            subscription.position = found[-1].number
        else:
            subscription.position, subscription.live = max(after, self.number), True
            for log in logs:
                log.subscribers[subscription] = None
        return [entry for entry in found if not subscription.is_own(entry)]

    # The loop over subscribers

    def add(self, entry: Entry) -> None:
        """Put a new event into its log, and give it to the first subscribers. Does not block."""
        self.number = entry.number
        self.logs[entry.log].add(entry, self.kept, self.now())
        self._pending.append(entry)
        if len(self._pending) == 1 and not self._targets and not self._give_some():
            self._work.unpark_all()

    def forget(self) -> None:
        """Give none of the events that wait for the loop. Does not block."""
        self._pending.clear()
        self._targets.clear()

    def _give_some(self) -> bool:
        """Give events to the next subscribers. Returns whether all have all. Does not block."""
        left, entry, targets = AT_ONCE, self._giving, self._targets
        while left > 0:
            if targets and entry is not None:
                left -= WOKEN if targets.pop().give(entry) else 1
            elif self._pending:
                entry = self._giving = self._pending.popleft()
                log = self.logs.get(entry.log)
                targets = self._targets = [] if log is None else [*reversed(log.subscribers)]
            else:
                self._giving = None
                return True
        return not (self._targets or self._pending)

    async def _give_rest(self) -> None:
        while True:
            while not self._give_some():
                await trio.lowlevel.checkpoint()
            self.room.unpark_all()
            await self._work.park()


def oldest(entries: Iterable[Entry]) -> list[Entry]:
    """Those that are taken at a time, in their order."""
    found: list[Entry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.number):
        found.append(entry)
        size += entry.size
        if len(found) == PIECE or size >= PIECE_SIZE:
            break
    return found
