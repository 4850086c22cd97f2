"""A hub across workers and machines, on Redis or Valkey.

Rules that this module alone enforces:

* One task a process reads the new events of all its topics, in the order of their numbers.
* Whoever cannot tell that nothing is missing has a gap: entries are counted in each log, and after each interruption
  the newest event that is known must still be there.
"""

from __future__ import annotations

import math
import random
import secrets
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from trioweb.hub import scripts
from trioweb.hub.engine import PIECE, PIECE_SIZE, Engine, oldest
from trioweb.hub.entries import Entry
from trioweb.hub.hub import Hub
from trioweb.hub.leases import Leases
from trioweb.hub.link import PAUSE, TRYING, RedisLink, as_bytes, number_of
from trioweb.hub.subscription import Subscription
from trioweb.hub.topics import Log, Retention, check_retention
from trioweb.messages.limits import check_seconds

if TYPE_CHECKING:
    from coredis.response.types import StreamEntry

LONGEST: Final = 0.5
"""Seconds at most between tries to read again."""
BLOCK: Final = 5.0
"""Seconds for which a read waits for new events."""
BATCH: Final = 1000
"""Entries of a log in one read, and logs in one look."""
NEAR: Final = Retention(256, None, 2**18)
"""What each process keeps of a topic by itself, for clients that reconnect at once."""


class RedisHub(Hub):
    """A hub for all workers and machines that use the same Redis, or Valkey, and the same prefix.

    Args:
        url: ``redis://user:password@host:port/0``; ``rediss://`` for TLS.
        prefix: of all its keys.
        history: events of each topic that are kept for subscribers that were away.
        history_seconds: how long they are kept; no limit unless given.
        history_bytes: bytes of a topic's events that are kept; no limit unless given.
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
        check_seconds("lease", lease)
        kept = check_retention(history, history_seconds, history_bytes)
        super().__init__(RedisEngine(RedisLink(url, prefix, kept), kept, lease))


class RedisEngine(Engine):
    """The engine of a ``RedisHub``."""

    def __init__(self, link: RedisLink, kept: Retention, lease: float) -> None:
        size = NEAR.size if kept.size is None or NEAR.size is None else min(kept.size, NEAR.size)
        super().__init__(Retention(min(kept.count, NEAR.count), kept.seconds, size))
        self._link = link
        self._leases = Leases(link, lease)
        self._worker = secrets.token_hex(6)
        self._base = 0  # the first number of the epoch
        self._offset = 0.0  # of the engine's clock
        self._newest = ("", 0, "")  # the log, number and token of the newest event that is known
        self._process: object = None  # that the engine runs in
        self._reading: trio.CancelScope | None = None
        self._control = self._wake_id = b"0-0"  # how far these streams are read
        self._woken = False  # the reader is told of new logs
        self._back = trio.lowlevel.ParkingLot()

    async def connect(self, stack: AsyncExitStack) -> None:
        """See ``Engine``."""
        await self._link.connect(stack)
        try:
            control = await self._link.client.xrevrange(self._link.prefix + "control", count=1)
            self._control = as_bytes(control[0].identifier) if control else b"0-0"
            await self._look([])
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
        missing = [name for name in subscription.logs if name not in self.logs]
        counts: list[int | None] = [None] * len(missing)
        number, most = self.number, math.inf
        with suppress(*self._link.failures):
            number, found = await self._look(missing)
            counts[:], most = (count for count, _ in found), number
        for name, count in zip(missing, counts, strict=True):
            if name not in self.logs:
                log = self.logs[name] = Log(name, number)
                log.count = count
        if missing and not self._woken:
            self._woken = True
            await self._link.tell(scripts.WAKE, self._worker)  # if that fails, the reader is interrupted, too
        self.place(subscription, number, most)

    async def _look(self, logs: list[str]) -> tuple[int, list[tuple[int, int]]]:
        """The newest number, and the count and the floor of some logs."""
        (epoch, base, newest), now, found = await self._link.run(scripts.LOOK, *logs)
        self._offset = int(now) / 1000 - trio.current_time()
        if epoch.decode() != self.epoch:
            self._begin_epoch(epoch.decode(), int(base))
        return int(newest), [(int(count), int(floor)) for count, floor in found]

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
        after = max(subscription.position, self._base)
        size = PIECE_SIZE // len(subscription.logs)
        (epoch, _, newest), found = await self._link.run(scripts.FETCH, after, PIECE, size, *subscription.logs)
        if epoch.decode() != self.epoch:  # the reader will know soon
            await trio.sleep(PAUSE)
            return []
        covered = max(subscription.position, subscription.floor)
        horizon = int(newest)
        lost, read = [], []
        for name, (floor, kept, more) in zip(subscription.logs, found, strict=True):
            read += [self._entry(name, int(identifier.partition(b"-")[0]), fields) for identifier, fields in kept]
            if int(floor) > covered:
                lost.append(name)
            if more:
                horizon = min(horizon, read[-1].number)
        entries = oldest(entry for entry in read if entry.number <= horizon)
        if len(entries) < len(read):
            horizon = entries[-1].number
        if lost:
            subscription.lose(tuple(lost), self.epoch, entries[0].number - 1 if entries else horizon)
            subscription.floor = max(int(floor) for floor, _, _ in found)
        subscription.position = horizon
        return [entry for entry in entries if not subscription.is_own(entry)]

    def _entry(self, name: str, number: int, fields: list[bytes]) -> Entry:
        _, _, _, time, _, _, _, event, _, kind, _, payload = fields
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
        with trio.fail_after(TRYING):
            process = (await self._link.client.info("server"))["run_id"]
        if process != self._process:  # it has started anew, perhaps without its newest events
            await self._link.run(scripts.VERIFY, self.epoch, *map(str, self._newest))
            self._process = process
        names = list(self.logs)
        newest = 0
        for begin in range(0, len(names) or 1, BATCH):
            some = names[begin : begin + BATCH]
            newest, found = await self._look(some)
            for name, (_, floor) in zip(some, found, strict=True):
                log = self.logs.get(name)
                if log is not None and floor > log.read:
                    self._miss(log, floor, self.number)
        for subscription in self.subscriptions:
            if subscription.position > newest:  # an id that no event has
                subscription.reset(self.epoch, newest)

    def _begin_epoch(self, epoch: str, base: int) -> None:
        """The engine has lost events: all subscribers have a gap."""
        first = not self.epoch
        self.epoch, self._base, self.number, self._newest = epoch, base, base, ("", 0, "")
        self.forget()
        for log in self.logs.values():
            log.clear(base)
        for subscription in self.subscriptions if not first else ():
            subscription.reset(epoch, base)

    def _miss(self, log: Log, floor: int, number: int) -> None:
        """Events of a log up to ``floor`` were lost before they were read here; so far all up to ``number`` were."""
        log.clear(floor)
        for subscription in list(log.subscribers):
            subscription.lose_next((log.name,), self.epoch, number)

    async def _read(self) -> None:
        """Wait for new events of all logs, and give them to the subscribers."""
        client = self._link.client
        self._woken = False
        control, wake = self._link.prefix + "control", f"{self._link.prefix}w:{self._worker}"
        keys: dict[str | bytes, Any] = {control: self._control, wake: self._wake_id}
        keys |= {self._link.prefix + name: f"{log.read}-0" for name, log in self.logs.items()}
        with trio.fail_after(BLOCK + TRYING) as self._reading:
            found = await client.xread(keys, count=BATCH, block=int(BLOCK * 1000))
        read: list[tuple[int, str, StreamEntry]] = []
        horizon = math.inf
        for key, entries in (found or {}).items():
            name = as_bytes(key).decode().removeprefix(self._link.prefix)
            if name == "control":  # an epoch has begun: what else was read is read again
                self._control = as_bytes(entries[-1].identifier)
                await self._look([])
                return
            if name not in self.logs:
                self._wake_id = as_bytes(entries[-1].identifier) if key == wake.encode() else self._wake_id
                continue
            read += [(number_of(entry), name, entry) for entry in entries]
            if len(entries) == BATCH:
                horizon = min(horizon, number_of(entries[-1]))
        for number, name, entry in sorted(read, key=lambda each: each[0]):
            log = self.logs.get(name)
            if number <= horizon and log is not None and number > log.read:
                self._take(log, number, [as_bytes(part) for pair in entry.field_values.items() for part in pair])
        while self.behind:
            await self.room.park()

    def _take(self, log: Log, number: int, fields: list[bytes]) -> None:
        """Give an event that was read to the subscribers."""
        count = int(fields[1])
        if log.count is not None and count != log.count + 1:
            self._miss(log, number - 1, number - 1)
        log.read, log.count = number, count
        self._know(self.epoch, log.name, number, fields[5].decode())
        self.add(self._entry(log.name, number, fields))
