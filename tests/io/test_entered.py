"""What is given to a lifespan is open once, and can be opened again after that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trioweb.contrib.sqlite import SQLitePool
from trioweb.hub import MemoryHub
from trioweb.io.entered import Entered
from trioweb.middleware import RateLimit
from trioweb.security import MemorySessions, RedisSessions

pytest.importorskip("coredis")
NOWHERE = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    "make",
    [
        lambda path: SQLitePool(path / "x.sqlite3"),
        lambda _: MemoryHub(),
        lambda _: MemorySessions(),
        lambda _: RedisSessions(NOWHERE),
        lambda _: RateLimit(1, per=1, redis=NOWHERE),
    ],
)
async def test_what_is_open_is_not_opened_again(make: Callable[[Path], Any], tmp_path: Path) -> None:
    """Two apps that are given the same would each close it for the other: that is an error, and the first goes on."""
    shared = make(tmp_path)
    for _ in range(2):
        async with shared:
            with pytest.raises(RuntimeError, match="is open already: give it to one lifespan"):
                await shared.__aenter__()


async def test_what_cannot_be_opened_is_not_open() -> None:
    """After a failure what was opened before it is closed, and it can be tried again."""
    closed: list[str] = []

    class Pair(Entered):
        fails = True

        async def _open(self, stack: Any) -> None:
            stack.callback(closed.append, "first")
            if self.fails:
                raise OSError("no second")

    pair = Pair()
    with pytest.raises(OSError, match="no second"):
        await pair.__aenter__()
    assert closed == ["first"]
    pair.fails = False
    async with pair:
        assert closed == ["first"]
    assert closed == ["first", "first"]
