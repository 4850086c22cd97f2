"""A hub across workers and machines, on Redis or Valkey.

Rules that this module alone enforces:

* One task a process reads the feed, which names the log of each new event of the hub, and then those of its own logs,
  in the order of their numbers. So an event costs the same however many topics a process has.
* Whoever cannot tell that nothing is missing has a gap: of each log it is known up to which number events are gone, and
  after each interruption the newest event that is known must still be there.
"""

from __future__ import annotations

import math
import random
import secrets
from contextlib import AsyncExitStack, suppress
from typing import Final, TypeAlias

import trio

from trioweb.hub import scripts
from trioweb.hub.engine import PIECE, PIECE_SIZE, Engine, oldest
from trioweb.hub.entries import Entry
from trioweb.hub.hub import Hub
from trioweb.hub.leases import Leases
from trioweb.hub.link import PAUSE, TRYING, RedisLink, as_bytes
from trioweb.hub.subscription import Subscription
from trioweb.hub.topics import Log, Retention, check_retention

Page: TypeAlias = tuple[int, dict[str, int], list[Entry]]

LONGEST: Final = 0.5
"""Seconds at most between tries to read again."""
BLOCK: Final = 5.0
"""Seconds for which a read waits for new events."""
BATCH: Final = 1000
"""Entries of the feed in one read."""
NEAR: Final = Retention(256, None, 2**18)
"""What each process keeps of a topic by itself, for clients that reconnect at once."""


class RedisHub(Hub):
    """A hub for all workers and machines that use the same Redis, or Valkey, and the same prefix.

    Args:
        url: ``redis://user:password@host:port/0``; ``rediss://`` for TLS.
        prefix: of all its keys.
        history: events of each topic that are kept for subscribers that were away.
        history_seconds: how long they are kept; no limit unless given.
        history_bytes: bytes of a topic's events that are kept, but its newest in any case; no limit unless given.
        lease: seconds after which the members of a worker that has crashed leave.

    Raises:
        ModuleNotFoundError: if coredis is not installed: ``pip install trioweb[redis]``.
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "trioweb:",
        history: int = 1000,
        history_seconds: float | None = None,
        history_bytes: int | None = None,
        lease: float = 10.0,
    ) -> None:
        kept = check_retention(history, history_seconds, history_bytes)
        super().__init__(RedisEngine(RedisLink(url, prefix, kept), kept, lease))


class RedisEngine(Engine):
    """The engine of a ``RedisHub``."""

    def __init__(self, link: RedisLink, kept: Retention, lease: float) -> None:
        size = NEAR.size if kept.size is None or NEAR.size is None else min(kept.size, NEAR.size)
        super().__init__(Retention(min(kept.count, NEAR.count), kept.seconds, size))
        self._link = link
        self._leases = Leases(link, lease)
        self._base = 0  # the first number of the epoch
        self._offset = 0.0  # of the engine's clock
        self._newest = ("", 0, "")  # the log, number and token of the newest event that is known
        self._process: object = None  # that the engine runs in
        self._reading: trio.CancelScope | None = None
        self._place = b"0-0"  # how far the feed is read
        self._known = 0  # the newest number that it has named
        self._back = trio.lowlevel.ParkingLot()

    async def connect(self, stack: AsyncExitStack) -> None:
        """See ``Engine``."""
        await self._link.connect(stack)
        try:
            self._process = await self._link.process()
            feed = await self._link.client.xrevrange(self._link.prefix + scripts.FEED, count=1)
            self._place = as_bytes(feed[0].identifier) if feed else b"0-0"
            self._known = await self._look()
        except self._link.failures as error:
            raise self._link.unavailable(str(error)) from None

    def begin(self, nursery: trio.Nursery) -> None:
        """See ``Engine``."""
        super().begin(nursery)
        nursery.start_soon(self._read_all, name="a hub's reader")
        nursery.start_soon(self._leases.renew, name="a hub's leases")

    # What users ask for

    async def publish(self, log: str, event: str | None, kind: str, payload: bytes) -> str:
        """See ``Engine``."""
        token = secrets.token_hex(6)
        epoch, number = await self._link.ask(scripts.PUBLISH, log, token, event or "", kind, payload)
        self._know(epoch.decode(), log, int(number), token)
        return f"{epoch.decode()}-{int(number)}"

    def _know(self, epoch: str, log: str, number: int, token: str) -> None:
        if epoch == self.epoch and number > self._newest[1] and token:
            self._newest = (log, number, token)

    async def members(self, topic: str) -> list[str]:
        """See ``Engine``."""
        return [name.decode() for name in await self._link.ask(scripts.MEMBERS, topic)]

    async def join(self, topic: str, member: str) -> None:
        """See ``Engine``."""
        await self._leases.join(topic, member)

    async def leave(self, topic: str, member: str) -> None:
        """See ``Engine``."""
        await self._leases.leave(topic, member)

    # Subscriptions

    async def start(self, subscription: Subscription) -> None:
        """See ``Engine``. While the engine is away a subscription begins with the newest event that is known, or with
        one that other workers have seen: ``_resume`` looks whether there was one.
        """
        number, most = self._known, math.inf
        with suppress(*self._link.failures):
            number = most = await self._look()
        for name in subscription.logs:
            if name not in self.logs:  # the reader will not come back to what it has been told of
                self.logs[name] = Log(name, max(number, self._known))
        self.place(subscription, number, most)

    async def _look(self) -> int:
        """The newest number."""
        (epoch, base, newest), now = await self._link.run(scripts.LOOK)
        self._offset = int(now) / 1000 - trio.current_time()
        if epoch.decode() != self.epoch:
            self._begin_epoch(epoch.decode(), int(base))
        return int(newest)

    def cut(self, away: bool) -> None:
        """See ``Engine``."""
        super().cut(away)
        self._link.is_cut = away
        if away and self._reading is not None:
            self._reading.cancel()

    def now(self) -> float:
        """See ``Engine``."""
        return trio.current_time() + self._offset

    def forget_position(self, subscription: Subscription) -> None:
        """See ``Engine``."""
        subscription.position = self._base
        subscription.lose(subscription.logs, self.epoch, self._base)

    def release(self, name: str) -> None:
        """See ``Engine``."""
        if name in self.logs and not self.is_wanted(name):
            del self.logs[name]

    async def first_piece(self, subscription: Subscription) -> list[Entry]:
        """See ``Engine``."""
        found = []
        with suppress(*self._link.failures):
            found = [] if self.covers(subscription) else await self._fetch(subscription)
        return found if found or not self.covers(subscription) else self.piece(subscription)

    async def missed(self, subscription: Subscription) -> list[Entry]:
        """See ``Engine``. Waits for an engine that is away."""
        while not self.covers(subscription):
            try:
                return await self._fetch(subscription)
            except self._link.failures:
                with trio.move_on_after(LONGEST):
                    await self._back.park()
        return self.piece(subscription)

    async def _fetch(self, subscription: Subscription) -> list[Entry]:
        """The next missed events, from the engine."""
        page = await self._page(dict.fromkeys(subscription.logs, max(subscription.position, self._base)))
        if page is None:
            return []
        horizon, floors, entries = page
        covered = max(subscription.position, subscription.floor)
        lost = tuple(name for name, floor in floors.items() if floor > covered)
        if lost:
            subscription.lose(lost, self.epoch, entries[0].number - 1 if entries else horizon)
            subscription.floor = max(floors.values())
        subscription.position = horizon
        return [entry for entry in entries if not subscription.is_own(entry)]

    async def _page(self, logs: dict[str, int], most: int | None = None) -> Page | None:
        """The next events of some logs, of each after a number; up to ``most`` those that are no history any more, too.

        Returns:
            Up to which number these are all; the floor of each log; and the events. ``None`` if the epoch is another.
        """
        pairs = [each for pair in logs.items() for each in pair]
        limits = (PIECE, PIECE_SIZE // len(logs), "history" if most is None else "all")
        (epoch, _, newest), found = await self._link.run(scripts.FETCH, *limits, *pairs)
        if epoch.decode() != self.epoch:
            await trio.sleep(PAUSE)
            await self._look()
            return None
        horizon = int(newest) if most is None else most
        floors, read = {}, []
        for name, (floor, kept, more) in zip(logs, found, strict=True):
            floors[name] = int(floor)
            read += [self._entry(name, int(identifier.partition(b"-")[0]), fields) for identifier, fields in kept]
            if more:
                horizon = min(horizon, read[-1].number)
        read = [entry for entry in read if entry.number <= horizon]
        entries = oldest(read)
        return entries[-1].number if len(entries) < len(read) else horizon, floors, entries

    def _entry(self, name: str, number: int, fields: list[bytes]) -> Entry:
        _, time, _, token, _, event, _, kind, _, payload = fields
        self._know(self.epoch, name, number, token.decode())
        return Entry(name, number, self.epoch, event.decode() or None, kind.decode(), payload, int(time) / 1000)

    # The reader

    async def _read_all(self) -> None:
        pause = PAUSE
        while True:
            try:
                await self._resume()
                self._link.find()
                pause = PAUSE
                self._back.unpark_all()
                while True:
                    await self._read()
            except self._link.failures as error:
                self._link.lose(error)
            await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST)

    async def _resume(self) -> None:
        """After an interruption: whether the engine has all that is known here, and each log all that follows."""
        process = await self._link.process()
        if process != self._process:  # it has started anew, perhaps without its newest events
            await self._link.run(scripts.VERIFY, self.epoch, *map(str, self._newest))
            self._process = process
        newest = await self._look()
        self._known = max(self._known, newest)
        await self._take(set(self.logs))
        for subscription in self.subscriptions:
            if subscription.position > newest:  # an id that no event has
                subscription.reset(self.epoch, newest)

    def _begin_epoch(self, epoch: str, base: int) -> None:
        """The engine has lost events: all subscribers have a gap."""
        first = not self.epoch
        self.epoch, self._newest = epoch, ("", 0, "")
        self._base = self.number = self._known = base
        self.forget()
        for log in self.logs.values():
            log.clear(base)
        for subscription in self.subscriptions if not first else ():
            subscription.reset(epoch, base)

    async def _read(self) -> None:
        """Wait for new events, and give those of the logs here to the subscribers."""
        key = self._link.prefix + scripts.FEED
        with trio.fail_after(BLOCK + TRYING) as self._reading:
            found = await self._link.client.xread({key: self._place}, count=BATCH, block=int(BLOCK * 1000))
        names: set[str] = set()
        for entry in [entry for entries in (found or {}).values() for entry in entries]:
            name, number = (as_bytes(value).decode() for value in entry.field_values.values())
            self._place = as_bytes(entry.identifier)
            if not name:  # an epoch has begun
                await self._look()
                return
            if int(number) > self._known + 1:  # the feed has not kept all
                names.update(self.logs)
            names.add(name)
            self._known = max(self._known, int(number))
        await self._take(names)

    async def _take(self, names: set[str]) -> None:
        """Give the events of some logs to the subscribers, up to the newest that the feed has named."""
        while logs := {
            name: log.read for name in names if (log := self.logs.get(name)) is not None and log.read < self._known
        }:
            page = await self._page(logs, self._known)
            if page is None:
                continue
            horizon, floors, entries = page
            for name, floor in floors.items():
                if name in self.logs and floor > self.logs[name].read:
                    self._miss(self.logs[name], floor)
            for entry in entries:
                if entry.log in self.logs and entry.number > self.logs[entry.log].read:
                    self.add(entry)
            for name in logs:
                if name in self.logs:
                    self.logs[name].read = max(self.logs[name].read, horizon)
            while self.behind:
                await self.room.park()

    def _miss(self, log: Log, floor: int) -> None:
        """Events of a log up to ``floor`` were lost before they were read here."""
        log.clear(floor)
        for subscription in list(log.subscribers):
            subscription.lose_next((log.name,), self.epoch, self.number)
