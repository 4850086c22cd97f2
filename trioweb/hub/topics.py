"""The events of a topic that are kept, for subscribers that were away."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import msgspec

from trioweb.hub.entries import Entry
from trioweb.hub.subscription import Subscription
from trioweb.messages.limits import check_seconds, check_size


class Retention(msgspec.Struct, frozen=True):
    """How much of each topic is kept; ``None`` is no limit.

    Attributes:
        count: events.
        seconds: their age.
        size: their bytes; the newest is kept in any case.
    """

    count: int
    seconds: float | None = None
    size: int | None = None


def check_retention(history: int, history_seconds: float | None, history_bytes: int | None) -> Retention:
    """The arguments of a hub.

    Raises:
        ValueError: if one of them is out of range.
    """
    check_size("history", history)
    check_seconds("history_seconds", history_seconds)
    if history_bytes is not None:
        check_size("history_bytes", history_bytes)
    return Retention(history, None if history_seconds == math.inf else history_seconds, history_bytes)


class Log:
    """One of the two logs of a topic: the last events, in the order of their numbers, and the subscribers.

    Args:
        name: see ``Entry``.
        floor: see the attribute.
    """

    __slots__ = ("_entries", "_size", "floor", "name", "read", "subscribers")

    def __init__(self, name: str, floor: int) -> None:
        self.name = name
        self.floor = floor
        """All events with a greater number are here."""
        self.read = floor
        """All events up to this number were read from the engine."""
        self.subscribers: dict[Subscription, None] = {}
        """Those that get new events at once, in the order in which they came."""
        self._entries: deque[Entry] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry, kept: Retention, now: float) -> None:
        """Add the newest event."""
        self._entries.append(entry)
        self._size += entry.size
        self.trim(kept, now)

    def trim(self, kept: Retention, now: float) -> None:
        """Drop the events that are not kept."""
        entries = self._entries
        oldest = -math.inf if kept.seconds is None else now - kept.seconds
        while entries and (
            len(entries) > kept.count
            or entries[0].time <= oldest
            or (kept.size is not None and self._size > kept.size and len(entries) > 1)
        ):
            dropped = entries.popleft()
            self._size -= dropped.size
            self.floor = dropped.number

    def clear(self, floor: int) -> None:
        """Drop all events, and begin anew after a number."""
        self._entries.clear()
        self._size = 0
        self.floor = self.read = floor

    def after(self, number: int) -> Iterable[Entry]:
        """The events with greater numbers, newest first."""
        for entry in reversed(self._entries):
            if entry.number <= number:
                return
            yield entry
