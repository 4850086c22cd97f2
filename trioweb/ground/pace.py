"""The least rate at which a client must send a request body and receive a response.

Only the time counts in which the server waits for the client. Each second of waiting lowers a balance, each byte raises
it again, at most to zero. So a client that was fast at first cannot be slow later, and a client that the server does
not wait for loses nothing.
"""

from __future__ import annotations

import math
from typing import Final, Literal

MIN_RATE: Final = 240.0
"""Bytes a second: slower than any real link, but costly for a client that wants to hold connections for hours."""
GRACE: Final = 5.0
"""Seconds that a client may be behind the rate."""
BURST: Final = 5.25
"""Seconds added to ``GRACE``, since bytes arrive and leave in bursts: a TCP receiver announces free space only when
there is room for several packets.
"""
AUTO: Final = "auto"
"""Instead of a rate: a route takes its app's, and an app ``MIN_RATE`` in each direction that has a timeout."""

MinRate = float | Literal["auto"] | None


class Pace:
    """Measures one client in one direction.

    Args:
        rate: bytes a second; ``None`` for no limit.

    Attributes:
        seen: bytes in all, at the last look.
    """

    __slots__ = ("_balance", "_since", "rate", "seen")

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._balance = 0.0  # seconds, never above zero
        self.seen = 0
        self._since = 0.0

    def start(self, now: float, seen: int) -> float:
        """Begin to wait for the client; returns the seconds that the wait may last.

        Args:
            now: the time.
            seen: the bytes that the client has sent, or received, in all.
        """
        self._since = now
        return self._settle(seen) + GRACE + BURST

    def look(self, now: float, seen: int, since: float = -math.inf) -> bool:
        """Count the wait up to now; returns whether the client is too slow.

        Args:
            now: the time.
            seen: as in ``start``.
            since: when the wait began, if that was after ``start`` or the last look.
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


UNLIMITED: Final = Pace(None)
"""Without a rate nothing is counted, so that all clients can share it."""


def check_rate(name: str, value: object) -> None:
    """Check a rate.

    Raises:
        ValueError: if it is neither ``None``, nor ``"auto"``, nor a number above zero.
    """
    if value in (None, AUTO):
        return
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and value > 0):
        raise ValueError(f"{name} must be a number of bytes a second above zero, or None for no limit, got {value!r}")


def due(since: float, seconds: float | None) -> float:
    """When ``seconds`` after ``since`` are over; never if there is no limit."""
    return math.inf if seconds is None else since + seconds
