"""Hints on exceptions: what to write instead of asyncio, and of a call without ``await``."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from trioweb.ground.hints import add_hints

NURSERY = "async with trio.open_nursery() as nursery: nursery.start_soon(function)"


async def future() -> None:
    """Wait for a future of another loop."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        await loop.create_future()


async def gathered() -> None:
    """Wait for several."""
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        await asyncio.gather(loop.create_future())


async def task() -> None:
    """Start a task."""
    coroutine = trio.sleep(0)
    with contextlib.closing(coroutine):
        asyncio.create_task(coroutine)  # noqa: RUF006 - it raises


async def lock() -> None:
    """Wait for a lock that is taken."""
    taken = asyncio.Lock()
    await taken.acquire()
    await taken.acquire()


async def group() -> None:
    """Open a task group."""
    async with asyncio.TaskGroup():
        pass


async def limit() -> None:
    """Limit a block's time."""
    async with asyncio.timeout(1):
        pass


async def late() -> None:
    """Limit the time of a call."""
    coroutine = trio.sleep(0)
    with contextlib.closing(coroutine):
        await asyncio.wait_for(coroutine, 1)


async def caused() -> None:
    """Raise another error for it."""
    try:
        await asyncio.sleep(1)
    except RuntimeError as error:
        raise ValueError("no") from error


async def in_a_task() -> None:
    """Do it in a task of a nursery."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock)


def notes_of(error: BaseException | None) -> list[str]:
    """The notes of an exception, of those in it, and of its causes."""
    if error is None:
        return []
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [
        *getattr(error, "__notes__", []),
        *(n for each in inner for n in notes_of(each)),
        *notes_of(error.__cause__),
    ]


def hints(function: Callable[[], Awaitable[object]]) -> list[str]:
    """The hints on what a function raises in trio, asked for twice."""

    async def main() -> None:
        await function()

    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
        trio.run(main)
    add_hints(caught.value)
    add_hints(caught.value)
    return notes_of(caught.value)


@pytest.mark.parametrize(
    ("function", "instead"),
    [
        (future, "what trio has for it: trio.sleep, trio.open_nursery, trio.to_thread.run_sync"),
        (lambda: asyncio.sleep(1), "await trio.sleep(seconds)"),
        (lambda: asyncio.sleep(0), "await trio.sleep(seconds)"),
        (lock, "trio.Lock(), trio.Event(), trio.Semaphore(...) or trio.Condition()"),
        (lambda: asyncio.Event().wait(), "trio.Lock(), trio.Event(), trio.Semaphore(...) or trio.Condition()"),
        (lambda: asyncio.Queue[int]().get(), "trio.open_memory_channel(size)"),
        (late, "with trio.fail_after(seconds): ..."),
        (limit, "with trio.fail_after(seconds): ..."),
        (group, NURSERY),
        (gathered, NURSERY),
        (task, NURSERY),
        (lambda: asyncio.to_thread(print), "await trio.to_thread.run_sync(function)"),
        (lambda: asyncio.open_connection("127.0.0.1", 1), "await trio.open_tcp_stream(host, port)"),
        (lambda: asyncio.create_subprocess_exec("true"), "await trio.run_process(command)"),
        (caused, "await trio.sleep(seconds)"),
        (in_a_task, "trio.Lock(), trio.Event(), trio.Semaphore(...) or trio.Condition()"),
    ],
)
def test_what_to_write_instead_of_asyncio(function: Callable[[], Awaitable[object]], instead: str) -> None:
    """A coroutine that waits for asyncio is told once that this is trio, in which function, and what to write."""
    [hint] = hints(function)
    begin, _, rest = hint.partition(" waits for asyncio: ")
    assert rest == f"write {instead} instead"
    assert begin.startswith("Hint: this app runs on trio, and ")
    assert f"({__file__}:" in begin


def test_a_library_of_asyncio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that needs asyncio is named, with the ways out."""
    folder = tmp_path / "site-packages" / "fastdb"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import asyncio\nasync def connect():\n    await asyncio.sleep(1)\n")
    monkeypatch.syspath_prepend(folder.parent)
    fastdb: Any = __import__("fastdb")

    async def handler() -> None:
        await fastdb.connect()

    try:
        [hint] = hints(handler)
    finally:
        del sys.modules["fastdb"]
    assert "test_a_library_of_asyncio.<locals>.handler (" in hint
    assert "waits for asyncio: fastdb needs its event loop: use one that runs on trio (httpx for HTTP" in hint
    assert hint.endswith("or run it by trio-asyncio")


async def unknown() -> None:
    """Fail in the way of asyncio's locks, but in one's own code."""
    loop: Any = None
    loop.create_future()


async def fallback() -> None:
    """Ask whether asyncio runs, as libraries do that know both, and fail for another reason."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ValueError("other") from None


async def handling() -> None:
    """The same, without saying that it is another."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise KeyError("other")  # noqa: B904


async def strange() -> None:
    """Wait for neither trio nor asyncio."""

    @types.coroutine
    def wait() -> Any:
        yield "strange"

    await wait()


@pytest.mark.parametrize("function", [unknown, fallback, handling, strange])
def test_no_false_hints(function: Callable[[], Awaitable[object]]) -> None:
    """What only looks like a wait for asyncio has no hint."""
    assert hints(function) == []
