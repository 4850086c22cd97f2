"""What a test is told of an app that does not come to an end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trioweb import App, WebSocket
from trioweb.testing import TestClient

Clock = trio.testing.MockClock


async def never_ends() -> None:
    """What is at work."""
    with trio.CancelScope():
        await trio.sleep(10**9)


def make_app() -> App:
    """An app with several ways not to end."""
    app = App()

    @app.get("/nursery")
    async def nursery(nursery: trio.Nursery) -> str:
        nursery.start_soon(never_ends)
        return "done"

    @app.get("/inner")
    async def inner(nursery: trio.Nursery) -> str:
        async def outer() -> None:
            async with trio.open_nursery() as inner:
                inner.start_soon(never_ends)

        nursery.start_soon(outer)
        return "done"

    @app.post("/handler")
    async def handler() -> str:
        with trio.CancelScope(shield=True):
            await never_ends()
        return "done"

    @app.get("/trio")
    async def of_trio(nursery: trio.Nursery) -> str:
        nursery.start_soon(trio.sleep_forever)
        return "done"

    @app.get("/many")
    async def many(nursery: trio.Nursery) -> str:
        for _ in range(12):
            nursery.start_soon(never_ends)
        return "done"

    @app.websocket("/socket")
    async def socket(ws: WebSocket) -> None:
        await ws.accept()
        with trio.CancelScope(shield=True):
            await never_ends()

    return app


async def late(app: Any, ask: Callable[[TestClient], Awaitable[object]]) -> str:
    """What the end of a client's block is told."""
    with pytest.raises(trio.TooSlowError) as caught:
        async with TestClient(app) as client:
            await ask(client)
    return str(caught.value)


@pytest.mark.parametrize("path", ["nursery", "inner"])
async def test_the_task_that_is_at_work_is_named(autojump_clock: Clock, path: str) -> None:
    """An app that is still at work long after its last client is an error that names the task, and where it is."""
    text = await late(make_app(), lambda client: client.get(f"/{path}"))
    assert text.startswith("the app was still at work 3600 s after the last client: ")
    assert f"{__name__}.never_ends ({Path(__file__)}:{never_ends.__code__.co_firstlineno + 3}, in never_ends)" in text
    assert "trioweb." not in text


async def test_one_in_a_handler_is_named(autojump_clock: Clock) -> None:
    """A handler that has not returned is named by its line, also where its request is cancelled in vain."""

    async def ask(client: TestClient) -> None:
        with trio.move_on_after(1):
            await client.post("/handler")

    assert "in never_ends" in await late(make_app(), ask)


async def test_one_that_runs_no_code_of_the_user_s_is_named(autojump_clock: Clock) -> None:
    """A task in which nothing of the user's runs has its name at least."""
    assert "trio.sleep_forever (" in await late(make_app(), lambda client: client.get("/trio"))


async def test_many_tasks_make_one_message(autojump_clock: Clock) -> None:
    """Of many tasks at work some are named, and the others counted."""
    text = await late(make_app(), lambda client: client.get("/many"))
    assert text.count("in never_ends") == 5
    assert text.endswith("; and 7 more")


async def test_a_lifespan_that_does_not_stop_is_named(autojump_clock: Clock) -> None:
    """A lifespan that does not come to its end is named by the line where it is."""
    app = App()

    @app.lifespan
    @asynccontextmanager
    async def life(app: App) -> AsyncIterator[None]:
        yield
        await never_ends()

    assert "in never_ends" in await late(app, lambda _: trio.lowlevel.checkpoint())


async def test_one_of_another_framework_is_named(autojump_clock: Clock) -> None:
    """A task of another framework's app is named by the user's own line."""

    async def handler(request: object) -> PlainTextResponse:
        return PlainTextResponse("done", background=BackgroundTask(never_ends))

    assert "in never_ends" in await late(Starlette(routes=[Route("/", handler)]), lambda client: client.get("/"))


async def test_one_behind_a_websocket_is_named(autojump_clock: Clock) -> None:
    """What goes on although its WebSocket is closed is named too."""
    with pytest.raises(trio.TooSlowError, match=r"its WebSocket /socket is closed: .*in never_ends"):
        async with TestClient(make_app()) as client, client.websocket("/socket"):
            pass


async def test_a_start_without_an_end(autojump_clock: Clock) -> None:
    """A lifespan that never starts is told, with the task and its line, after the client's timeout."""
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        await trio.sleep_forever()
        yield

    began = trio.current_time()
    with pytest.raises(trio.TooSlowError, match=r"the app has not started within 60 s: .*in life"):
        async with TestClient(app, timeout=60):
            pass
    assert trio.current_time() == began + 60
    with trio.move_on_after(100_000) as scope:
        async with TestClient(app, timeout=None):
            pass
    assert scope.cancelled_caught
