"""The least rate at which a client must send a body, and take a response.

Only time counts in which the client owes bytes: while somebody waits for them, or while they wait for the client.
Seconds of waiting are a debt, bytes pay it back, and nothing is paid in advance. So a client that was fast for a while
cannot live on that, and one that is silent because nobody asks it has nothing to pay.
"""

from __future__ import annotations

import math
from typing import Final, Literal

MIN_RATE: Final = 240.0
"""Bytes a second: less than any line gives, and more than who wants to hold a connection for hours likes to spend."""
GRACE: Final = 5.0
"""Seconds that a client may owe."""
BURST: Final = 5.25
"""Seconds more until it is left: bytes come, and are taken, in bursts. A system tells of what its program has read
once there is room for some packets more.
"""
AUTO: Final = "auto"
"""In place of a rate: a route's is its app's, a server's too, and an app's is the above where there is a timeout."""

MinRate = float | Literal["auto"] | None


class Pace:
    """What one client owes, in one direction.

    Args:
        rate: bytes a second; ``None`` for no limit.
    """

    __slots__ = ("_balance", "_since", "rate", "seen")

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._balance = 0.0
        self.seen = 0
        self._since = 0.0

    def start(self, now: float, seen: int) -> float:
        """A wait begins; says how many seconds it may last.

        Args:
            now: the time.
            seen: bytes that the client has given, or taken, in all: any number that grows with them.
        """
        self._since = now
        return self._settle(seen) + GRACE + BURST

    def look(self, now: float, seen: int, since: float = -math.inf) -> bool:
        """The wait goes on, or is over. Returns whether the client is too slow.

        Args:
            now: the time.
            seen: as above.
            since: no second before that was one of waiting.
        """
        self._balance -= now - max(self._since, since)
        self._since = now
        return self._settle(seen) < -(GRACE + BURST)

    def _settle(self, seen: int) -> float:
        if self.rate is None:
            return math.inf
        self._balance = min(0.0, self._balance + (seen - self.seen) / self.rate)
        self.seen = seen
        return self._balance


def check_rate(name: str, value: object) -> None:
    """Refuse what is no rate.

    Raises:
        ValueError: it is neither ``None``, nor ``"auto"``, nor a number above zero.
    """
    if value in (None, AUTO):
        return
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and value > 0):
        raise ValueError(f"{name} must be a number of bytes a second above zero, or None for no limit, got {value!r}")


def due(since: float, seconds: float | None) -> float:
    """When something that has gone on since then has lasted so many seconds; never, where there is no limit."""
    return math.inf if seconds is None else since + seconds
