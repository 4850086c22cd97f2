"""Which stream sends next: pure, without I/O (RFC 9218, section 10).

Urgent streams come first. Among those of one urgency whole responses go one after the other, where the client says that
a part of them is of no use; all others take turns, a frame each, also where the client says nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, Protocol, TypeVar

DEFAULT_URGENCY: Final = 3


class Scheduled(Protocol):
    """What is scheduled."""

    id: int
    urgency: int
    takes_turns: bool
    scheduled: bool


S = TypeVar("S", bound=Scheduled)


class Schedule(Generic[S]):
    """The streams that have something to send, and may."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: dict[int, deque[S]] = {}

    def add(self, stream: S, *, again: bool = False) -> None:
        """Put a stream behind those of its urgency, unless it is here.

        Args:
            stream: the stream.
            again: it was taken just now, and has more to send.
        """
        if stream.scheduled:
            return
        stream.scheduled = True
        level = self._levels.get(stream.urgency)
        if level is None:
            level = self._levels[stream.urgency] = deque()
        if again and not stream.takes_turns:
            level.appendleft(stream)
        else:
            level.append(stream)

    def __bool__(self) -> bool:
        return bool(self._levels)

    def take(self) -> S:
        """The next stream. It has to be added again if it has more to send."""
        urgency = min(self._levels)
        level = self._levels[urgency]
        stream = level.popleft()
        if not level:
            del self._levels[urgency]
        stream.scheduled = False
        return stream
