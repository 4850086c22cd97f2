"""A hub in one process."""

from __future__ import annotations

import secrets
from collections import Counter
from contextlib import AsyncExitStack
from itertools import islice

import trio

from trioweb.hub.engine import CUT, Engine, HubUnavailable
from trioweb.hub.entries import JOIN, LEAVE, PRESENCE, TEXT, Entry
from trioweb.hub.hub import Hub
from trioweb.hub.subscription import Subscription
from trioweb.hub.topics import Log, Retention, check_retention


class MemoryHub(Hub):
    """A hub in this process: for one worker, and for tests. Its events are lost when the process ends.

    Args:
        history: events of each topic that are kept for subscribers that were away.
        history_seconds: how long they are kept; no limit unless given.
        history_bytes: bytes of a topic's events that are kept, but its newest in any case; no limit unless given.

    Raises:
        ValueError: if one of them is out of range.
    """

    def __init__(
        self, history: int = 1000, history_seconds: float | None = None, history_bytes: int | None = None
    ) -> None:
        super().__init__(MemoryEngine(check_retention(history, history_seconds, history_bytes)))


class MemoryEngine(Engine):
    """The engine of a ``MemoryHub``."""

    def __init__(self, kept: Retention) -> None:
        super().__init__(kept)
        self.epoch = secrets.token_hex(4)
        self._floor = 0  # that of logs that are not kept any more
        self._there: dict[str, Counter[str]] = {}  # a topic's members, each with the number of its subscriptions

    async def connect(self, stack: AsyncExitStack) -> None:
        """See ``Engine``."""

    async def publish(self, log: str, event: str | None, kind: str, payload: bytes) -> str:
        """See ``Engine``."""
        if self.is_cut:
            raise HubUnavailable(CUT)
        while self.behind:
            await self.room.park()
        entry = self._append(log, event, kind, payload)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return entry.id

    def _append(self, log: str, event: str | None, kind: str, payload: bytes) -> Entry:
        entry = Entry(log, self.number + 1, self.epoch, event, kind, payload, self.now())
        self._log(log)
        self.add(entry)
        self.release(log)
        if self.kept.seconds is not None:
            self._tidy()
        return entry

    def _tidy(self) -> None:
        """Drop what is too old from the logs that were looked at longest ago: more of them than can be new."""
        for name in [*islice(self.logs, 2)]:
            self.logs.move_to_end(name)
            self.logs[name].trim(self.kept, self.now())
            self.release(name)

    def _log(self, name: str) -> Log:
        found = self.logs.get(name)
        if found is None:
            found = self.logs[name] = Log(name, self._floor)
        return found

    def release(self, name: str) -> None:
        """See ``Engine``."""
        log = self.logs.get(name)
        if log is not None and not len(log) and not self.is_wanted(name):
            self._floor = max(self._floor, log.floor)
            del self.logs[name]

    async def start(self, subscription: Subscription) -> None:
        """See ``Engine``."""
        for name in subscription.logs:
            self._log(name)
        await trio.lowlevel.checkpoint()
        self.place(subscription, self.number, self.number)
        self._tell_lost(subscription)

    def _tell_lost(self, subscription: Subscription) -> None:
        """Have a gap for what the logs have dropped: nobody else has it."""
        for name in subscription.logs:
            self.logs[name].trim(self.kept, self.now())
        covered = max(subscription.position, subscription.floor)
        lost = tuple(name for name in subscription.logs if self.logs[name].floor > covered)
        if lost:
            self.lose(subscription, lost)

    async def missed(self, subscription: Subscription) -> list[Entry]:
        """See ``Engine``."""
        self._tell_lost(subscription)
        return self.piece(subscription)

    async def join(self, topic: str, member: str) -> None:
        """See ``Engine``."""
        there = self._there.setdefault(topic, Counter())
        there[member] += 1
        if there[member] == 1:
            self._append(PRESENCE + topic, JOIN, TEXT, member.encode())

    async def leave(self, topic: str, member: str) -> None:
        """See ``Engine``."""
        there = self._there.get(topic, Counter())
        there[member] -= 1
        if there[member] <= 0:
            del there[member]
            self._append(PRESENCE + topic, LEAVE, TEXT, member.encode())
        if not there:
            self._there.pop(topic, None)

    async def members(self, topic: str) -> list[str]:
        """See ``Engine``."""
        if self.is_cut:
            raise HubUnavailable(CUT)
        await trio.lowlevel.checkpoint()
        return list(self._there.get(topic, ()))
