"""What the apps send, and what a client must get: made before it is asked for, so that only its sending is timed.

A stream of any length sends the values of a pool over and over, so that ten servers with a million dicts each are not
needed. The values of a pool all differ: one that is lost, doubled or out of order is noticed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from typing import Any

GREETING = "Hello, world!"
"""The answer to ``GET /``."""
POOL = 10_000
"""Values of which the streams are made."""
ROW_SIZE = 46
"""Bytes of a text row."""
OPENING = "data: ready\n\n"
"""What an event stream begins with: Hypercorn holds a head back until something follows it."""
ORDER = {
    "id": 1, "customer": "Ada", "city": "London", "street": "St James's Square 12", "amount": 12.5, "count": 5,
    "express": True, "note": None, "tags": ["a", "b"], "position": {"lat": 51.5, "lon": -0.1},
}  # fmt: skip
"""The body of ``POST /order``."""
RECEIPT = '{"id":1,"total":62.5}'
"""The answer to it."""


@lru_cache
def _rows() -> list[str]:
    rows = [f"{number:010d} is the number of one of these rows\n" for number in range(POOL)]
    assert all(len(row) == ROW_SIZE for row in rows)
    return rows


@lru_cache
def _records() -> list[dict[str, Any]]:
    # A sixteenth: every number then reads the same in Python and in JavaScript.
    return [{"id": n, "name": f"user {n}", "score": n / 8 + 1 / 16, "new": n % 2} for n in range(POOL)]


def text_rows(count: int) -> Iterator[str]:
    """Short chunks."""
    return islice(cycle(_rows()), count)


def records(count: int) -> Iterator[dict[str, Any]]:
    """Values for JSON lines and CSV."""
    return islice(cycle(_records()), count)


@lru_cache
def block(size: int) -> bytes:
    """Bytes of every value."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def event(number: int) -> str:
    """What all event streams get when ``/publish/NUMBER`` is asked for."""
    return f"data: event {number}\n\n"


@dataclass(frozen=True)
class Expected:
    """What a body must be, without keeping it.

    Attributes:
        head: how it begins.
        period: what follows, again and again.
        length: bytes of all of it.
    """

    head: bytes
    period: bytes
    length: int

    def holds(self, at: int, piece: memoryview) -> bool:
        """Whether these bytes belong there."""
        if at + len(piece) > self.length:
            return False
        if at < len(self.head):
            inside = piece[: len(self.head) - at]
            if not self.head.startswith(inside, at):
                return False
            piece, at = piece[len(inside) :], len(self.head)
        twice, size = _twice(self.period), len(self.period)
        for begin in range(0, len(piece), size):
            if not twice.startswith(piece[begin : begin + size], (at + begin - len(self.head)) % size):
                return False
        return True


@lru_cache(maxsize=8)
def _twice(period: bytes) -> bytes:
    return period + period


def expected(path: str) -> Expected:
    """What the body at a path of the apps must be."""
    route, *numbers = path.strip("/").removeprefix("request/").split("/")
    count = int(numbers[-1]) if numbers else 0
    if route in {"async", "sync"}:
        return Expected(b"", "".join(_rows()).encode(), count * ROW_SIZE)
    if route == "blocks":
        return Expected(b"", block(max(65536, int(numbers[0]))), int(numbers[0]) * count)
    if route == "file":
        return Expected(b"", block(65536), count)
    head, lines = _lines(route)
    period = b"".join(lines)
    rounds, rest = divmod(count, POOL)
    return Expected(head, period, len(head) + len(period) * rounds + sum(map(len, lines[:rest])))


@lru_cache
def _lines(route: str) -> tuple[bytes, list[bytes]]:
    if route == "json":
        return b"", [json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in _records()]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_records()[0]))
    writer.writeheader()
    writer.writerows(_records())
    head, *lines = text.getvalue().encode().splitlines(keepends=True)
    return head, lines
