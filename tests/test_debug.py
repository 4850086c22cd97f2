"""How faults are logged, in debug mode and otherwise."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

import trioweb
from tests.asgi import ask
from trioweb import App, Request, Response, WebSocket
from trioweb.middleware import CallNext
from trioweb.testing import TestClient

PACKAGE = trioweb.__file__.removesuffix("__init__.py")


def broken(app: App) -> App:
    """Give an app a handler that fails."""

    @app.get("/things/{n}")
    async def thing(n: int) -> str:
        raise ValueError(n)

    return app


@pytest.mark.parametrize("debug", [False, True])
async def test_the_log_of_a_fault(caplog: pytest.LogCaptureFixture, debug: bool) -> None:
    """In debug mode the traceback in the log begins at the user's code, else it is whole; handlers get the error."""
    assert (await ask(broken(App(debug=debug)), "/things/7")).status == 500
    [record] = caplog.records
    assert record.getMessage() == "GET /things/7: tests.test_debug.broken.<locals>.thing failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    text = logging.Formatter().format(record)
    assert 'test_debug.py", line' in text
    assert text.endswith("ValueError: 7")
    assert (PACKAGE in text) is not debug


async def test_a_level_that_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that wants no errors gets none, in debug mode too."""
    logger = logging.getLogger("trioweb")
    logger.setLevel(logging.CRITICAL)
    try:
        await ask(broken(App(debug=True)), "/things/7")
    finally:
        logger.setLevel(logging.NOTSET)
    assert not caplog.records


async def test_the_log_of_background_work(caplog: pytest.LogCaptureFixture) -> None:
    """What fails in the app's nursery is logged in the same way: it was started by a request."""
    app = App(debug=True)

    async def work() -> None:
        raise ValueError("late")

    @app.post("/")
    async def start(request: Request) -> None:
        app.nursery.start_soon(work)

    async with TestClient(app, raise_app_exceptions=False) as client:
        await client.post("/")
        await trio.testing.wait_all_tasks_blocked()
    assert PACKAGE not in caplog.text
    assert "the task test_the_log_of_background_work.<locals>.work failed\nTraceback" in caplog.text


def losing(done: list[str]) -> App:
    """An app whose handlers start tasks when their client has left."""
    app = App(debug=True)

    async def save() -> None:
        await trio.sleep(1)
        done.append("saved")

    async def brief() -> None:
        done.append("brief")

    @app.get("/{kind}")
    async def get(request: Request, kind: str) -> Any:
        async def tokens() -> AsyncIterator[str]:
            try:
                yield "token"
                await trio.sleep_forever()
            finally:
                request.nursery.start_soon(save)
                request.nursery.start_soon(brief)

        return [token async for token in tokens()] if kind == "handler" else tokens()

    @app.get("/own")
    async def own(nursery: trio.Nursery) -> AsyncIterator[str]:
        try:
            yield "token"
            await trio.sleep_forever()
        finally:
            nursery.start_soon(save)

    @app.websocket("/socket")
    async def socket(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        ws.nursery.start_soon(save)

    return app


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", ["stream", "handler", "own", "socket"])
async def test_work_that_is_lost_is_told(caplog: pytest.LogCaptureFixture, kind: str, behind: bool) -> None:
    """What is started in a nursery when that was cancelled, or is about to be, is told with its route and what to write
    instead; what is done all the same is not.
    """
    done: list[str] = []
    app = losing(done)
    if behind:

        @app.middleware
        async def pass_on(request: Request, call_next: CallNext) -> Response:
            return await call_next(request)

    async with TestClient(app) as client:
        if kind == "socket":
            async with client.websocket("/socket"):
                pass
        elif kind == "handler":
            with trio.move_on_after(0.05):
                await client.get("/handler")
        else:
            async with client.stream("GET", f"/{kind}"):
                pass
        await trio.testing.wait_all_tasks_blocked()
    [record] = caplog.records
    where = {"own": "GET /own", "socket": "WEBSOCKET /socket"}.get(kind, "GET /{kind}")
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{where}: the task losing.<locals>.save was started when its nursery was")
    assert "move_on_after(5, shield=True): await" in record.getMessage()
    assert done == (["brief"] if kind in ("stream", "handler") else [])


async def test_work_that_is_not_lost_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """A task that was started in a cancelled scope, in a nursery that goes on, is no mistake; nor is one that fails, or
    that is cancelled later on.
    """
    app = App(debug=True)
    done: list[str] = []

    async def save() -> None:
        await trio.lowlevel.checkpoint()
        done.append("saved")

    @app.get("/")
    async def get(request: Request, nursery: trio.Nursery) -> str:
        with trio.CancelScope() as scope:
            scope.cancel()
            nursery.start_soon(save)
        assert nursery.child_tasks
        assert await nursery.start(started) == 7
        return "done"

    async def started(task_status: trio.TaskStatus[int]) -> None:
        task_status.started(7)

    @app.get("/stream")
    async def stream(nursery: trio.Nursery) -> AsyncIterator[str]:
        nursery.start_soon(trio.sleep_forever)
        yield "token"
        await trio.sleep_forever()

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "done"
        async with client.stream("GET", "/stream"):
            pass
        await trio.testing.wait_all_tasks_blocked()
    assert done == ["saved"]
    assert caplog.records == []


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/", "/stream", "/task"])
async def test_a_handler_that_waits_for_asyncio(caplog: pytest.LogCaptureFixture, debug: bool, path: str) -> None:
    """The log and the error that a test gets say that this is trio, who waits for asyncio, and what to write."""
    app = App(debug=debug)

    async def wait() -> None:
        await asyncio.sleep(1)

    @app.get("/")
    async def root() -> None:
        await wait()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        await wait()
        yield ""

    @app.get("/task")
    async def task(nursery: trio.Nursery) -> None:
        nursery.start_soon(wait)
        await trio.sleep_forever()

    async with TestClient(app) as client:
        with pytest.raises(RuntimeError, match="no running event loop") as caught:
            await client.get(path)
    [note] = caught.value.__notes__
    hint = "Hint: this app runs on trio, and test_a_handler_that_waits_for_asyncio.<locals>.wait ("
    assert note.startswith(hint)
    assert note.endswith("waits for asyncio: write await trio.sleep(seconds) instead")
    [record] = caplog.records
    assert record.getMessage().startswith(f"GET {path}: tests.test_debug.test_a_handler_that_waits_for_asyncio.")
    assert logging.Formatter().format(record).endswith(f"RuntimeError: no running event loop\n{note}")
