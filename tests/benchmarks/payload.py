"""What the apps send, and what a client must get: made before it is asked for, so that only its sending is timed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

GREETING = "Hello, world!"
"""The answer to ``GET /``."""
ROW_SIZE = 46
"""Bytes of a text row."""


@lru_cache
def text_rows(count: int) -> list[str]:
    """Rows that all differ, so that one that is lost, doubled or out of order is noticed."""
    rows = [f"{number:010d} is the number of one of these rows\n" for number in range(count)]
    assert all(len(row) == ROW_SIZE for row in rows)
    return rows


@lru_cache
def records(count: int) -> list[dict[str, Any]]:
    """Values for JSON lines."""
    return [{"id": number, "name": f"user {number}", "score": number / 8, "new": True} for number in range(count)]


@lru_cache
def block(size: int) -> bytes:
    """Bytes of every value."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


class Fingerprint(NamedTuple):
    """What a body must be, without keeping it."""

    length: int
    sha256: str


def fingerprint(path: str) -> Fingerprint:
    """What the body at a path of the apps must be."""
    route, *numbers = path.strip("/").split("/")
    count = int(numbers[-1]) if numbers else 0
    pieces: Iterable[bytes]
    if route in {"async", "sync"}:
        pieces = (row.encode() for row in text_rows(count))
    elif route == "json":
        pieces = (json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records(count))
    elif route == "blocks":
        pieces = (block(int(numbers[0])) for _ in range(count))
    else:
        pieces = [GREETING.encode()]
    length, digest = 0, hashlib.sha256()
    for piece in pieces:
        length += len(piece)
        digest.update(piece)
    return Fingerprint(length, digest.hexdigest())
