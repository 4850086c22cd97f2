"""What is open for one request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from trioweb.messages.resources import Resources


class Journal:
    """Managers that note what happens to them."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @asynccontextmanager
    async def open(self, name: str, *, swallows: bool = False, fails: bool = False) -> AsyncIterator[str]:
        """A manager."""
        self.notes.append(f"{name} opened")
        try:
            yield name
        except BaseException as error:
            self.notes.append(f"{name} saw {type(error).__name__}")
            if not swallows:
                raise
        finally:
            self.notes.append(f"{name} closed")
            if fails:
                raise OSError(name)


async def test_the_last_is_closed_first() -> None:
    """Resources are closed in reverse order, and what was provided is forgotten."""
    journal, resources = Journal(), Resources()
    for _ in range(2):  # it can be entered again
        async with resources:
            assert await resources.enter(journal.open("a")) == "a"
            await resources.enter(journal.open("b"))
            resources.values["x"] = 1
        assert resources.values == {}
    assert journal.notes == ["a opened", "b opened", "b closed", "a closed"] * 2


async def test_an_error_is_told_and_not_undone() -> None:
    """What ends the request is raised in each of them, without its group; that one catches it undoes nothing."""
    journal, resources = Journal(), Resources()
    with pytest.raises(ExceptionGroup):
        async with resources:
            await resources.enter(journal.open("a"))
            await resources.enter(journal.open("b", swallows=True))
            raise ExceptionGroup("", [ValueError("x")])
    assert journal.notes[2:] == ["b saw ValueError", "b closed", "a saw ValueError", "a closed"]


async def test_an_error_of_their_own() -> None:
    """An error while one is closed is raised, and the others are closed all the same."""
    journal, resources = Journal(), Resources()
    with pytest.raises(OSError, match="b"):
        async with resources:
            await resources.enter(journal.open("a"))
            await resources.enter(journal.open("b", fails=True))
    assert journal.notes[-2:] == ["a saw OSError", "a closed"]


async def test_a_cancellation() -> None:
    """A cancelled request closes what it holds, and is cancelled still."""
    journal, resources = Journal(), Resources()
    with trio.CancelScope() as scope:
        async with resources:
            await resources.enter(journal.open("a", swallows=True))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert journal.notes == ["a opened", "a saw Cancelled", "a closed"]
