"""The life of an app: the order of its start and end, and its nursery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.asgi import ask, running
from trioweb import App, RouteError


class Cut(Exception):
    """What a server raises in the lifespan for a message that says that it failed."""


async def run_life(app: App, *, until: float = 1) -> list[str]:
    """Run an app's lifespan for some time; returns what it told the server."""
    told: list[str] = []
    shutdown = trio.Event()
    asked = False

    async def receive() -> dict[str, str]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "lifespan.startup"}
        await shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: dict[str, Any]) -> None:
        told.append(message["type"] + (f" {message['message']}" if "message" in message else ""))
        if message["type"].endswith("failed"):
            raise Cut

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, {"type": "lifespan"}, receive, send)
        await trio.sleep(until)
        shutdown.set()
    return told


async def test_the_order_of_start_and_end(autojump_clock: trio.testing.MockClock) -> None:
    """Lifespans start in order and end in reverse; first requests' tasks end, last what the lifespans started."""
    app, inner, order = App(), App(), []

    async def task(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append(f"{name} ends")

    @app.lifespan
    async def first(app: App) -> AsyncIterator[None]:
        order.append("first starts")
        app.nursery.start_soon(task, "own task")
        yield
        order.append("first ends")

    @app.lifespan
    @asynccontextmanager
    async def second(app: App) -> AsyncIterator[None]:
        order.append("second starts")
        app.state.ready = True
        yield
        order.append("second ends")

    @inner.lifespan
    async def mounted(app: App) -> AsyncIterator[None]:
        order.append("mounted starts")
        yield
        order.append("mounted ends")

    @app.get("/")
    async def handler() -> None:
        app.nursery.start_soon(task, "request's task")

    app.mount("/inner", inner)
    async with running(app):
        await ask(app, "/")
        await trio.testing.wait_all_tasks_blocked()
        assert app.state.ready
    assert order == [
        "first starts", "second starts", "mounted starts",
        "request's task ends", "mounted ends", "second ends", "first ends", "own task ends",
    ]  # fmt: skip


async def test_a_start_that_fails(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """An error at start-up is told to the server as itself, and what had started is cleaned up."""
    app, ended = App(), []

    @app.lifespan
    async def first(app: App) -> AsyncIterator[None]:
        yield
        ended.append("first")

    @app.lifespan
    async def second(app: App) -> AsyncIterator[None]:
        app.nursery.start_soon(trio.sleep_forever)
        raise OSError("no database")
        yield

    with pytest.raises(ExceptionGroup) as caught:
        await run_life(app)
    assert caught.group_contains(Cut)
    assert "the app's lifespan failed at start-up" in caplog.text
    assert "OSError: no database" in caplog.text
    assert ended == []  # its generator was left by the error, as `async with` has it


async def test_a_life_that_fails_later(autojump_clock: trio.testing.MockClock) -> None:
    """A task that the lifespan started and that fails ends the app, and the server is told."""
    app = App()

    async def fail() -> None:
        await trio.sleep(0.5)
        raise ValueError("crashed")

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        app.nursery.start_soon(fail)
        yield

    with pytest.raises(ExceptionGroup) as caught:
        await run_life(app)
    assert caught.group_contains(Cut)
    assert trio.current_time() == pytest.approx(0.5)


async def test_what_requests_start_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A task that a request started in the app's nursery and that fails is logged, and the app lives."""
    app = App()

    async def fail() -> None:
        raise ValueError("in the background")

    @app.get("/")
    async def handler() -> str:
        app.nursery.start_soon(fail)
        return "ok"

    async with running(app):
        for _ in range(2):
            assert (await ask(app, "/")).body == b"ok"
        await trio.testing.wait_all_tasks_blocked()
    assert caplog.text.count("ValueError: in the background") == 2


async def test_start_waits_for_the_task(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """`app.nursery.start` gives what the task says it is ready with, and raises what fails before that."""
    app = App()

    async def good(*, task_status: trio.TaskStatus[int]) -> None:
        await trio.sleep(1)
        task_status.started(42)
        raise ValueError("later")

    async def bad(*, task_status: trio.TaskStatus[int]) -> None:
        raise KeyError("at once")

    async with running(app):
        assert await app.nursery.start(good) == 42
        with pytest.raises((KeyError, ExceptionGroup)):
            await app.nursery.start(bad)
        await trio.testing.wait_all_tasks_blocked()
    assert "ValueError: later" in caplog.text


def test_the_nursery_is_open_only_while_the_app_runs() -> None:
    """Outside of the app's life its nursery says so."""
    with pytest.raises(RuntimeError, match="only while a server"):
        _ = App().nursery


def test_a_lifespan_must_be_one() -> None:
    """A coroutine function, which could not be left again, is refused with what to write."""

    async def wrong(app: App) -> None:
        """Return, where it should yield."""

    with pytest.raises(RouteError, match="async generator function"):
        App().lifespan(wrong)  # type: ignore[type-var]
