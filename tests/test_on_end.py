"""What a middleware has called at the end of a request: after all that belongs to it, and whatever became of it."""

from collections.abc import AsyncIterator
from typing import Annotated

import pytest
import trio
import trio.testing

from tests.asgi import Exchange, running
from trioweb import App, Provide, Request, Response, WebSocket
from trioweb.middleware import CallNext
from trioweb.testing import TestClient, WebSocketDenied

LOG: list[str] = []


async def note(request: Request, call_next: CallNext) -> Response:
    """Note the end, before and after the call."""

    async def ended(name: str) -> None:
        await trio.lowlevel.checkpoint()
        LOG.append(name)

    request.on_end(lambda: ended("first"))
    response = await call_next(request)
    request.on_end(lambda: ended("last"))
    return response


async def opened() -> AsyncIterator[str]:
    """Be closed."""
    try:
        yield "opened"
    finally:
        LOG.append("dependency")


async def work() -> None:
    """Go on after the response."""
    await trio.sleep(1)
    LOG.append("task")


async def whole() -> str:
    """Answer."""
    return "whole"


async def handler(request: Request, value: Annotated[str, Provide(opened)]) -> str:
    """Leave something to do."""
    request.nursery.start_soon(work)
    return value


async def stream(value: Annotated[str, Provide(opened)], wait: bool = False) -> AsyncIterator[str]:
    """Stream, perhaps for ever."""
    yield value
    if wait:
        await trio.sleep_forever()
    LOG.append("stream")


async def fails() -> str:
    """Fail."""
    raise ZeroDivisionError


async def talk(ws: WebSocket, value: Annotated[str, Provide(opened)]) -> None:
    """Say something."""
    await ws.accept()
    await ws.send(value)
    LOG.append("handler")


async def refuse(ws: WebSocket) -> None:
    """Say no."""
    await ws.close()


def make() -> App:
    """An app of all these."""
    LOG.clear()
    app = App()
    app.middleware(note)
    for path, function in (("/whole", whole), ("/all", handler), ("/stream", stream), ("/fails", fails)):
        app.get(path)(function)
    app.websocket("/ws")(talk)
    app.websocket("/refused")(refuse)
    return app


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/whole", []),
        ("/all", ["task", "dependency"]),
        ("/stream", ["stream", "dependency"]),
        ("/nothing", []),
        ("/fails", None),
    ],
)
async def test_after_all_of_a_request(
    path: str, expected: list[str] | None, autojump_clock: trio.testing.MockClock
) -> None:
    """It is called after the response, its stream, tasks and dependencies, and what was given last is called first."""
    async with TestClient(make(), raise_app_exceptions=False) as client:
        await client.get(path)
        await trio.sleep(5)
    assert (["first"] if expected is None else [*expected, "last", "first"]) == LOG


async def test_after_a_websocket() -> None:
    """For a handshake it is called after the handler and what it has opened, before the peer sees the close."""
    async with TestClient(make()) as client:
        async with client.websocket("/ws") as ws:
            assert [message async for message in ws] == ["opened"]
            assert LOG == ["handler", "dependency", "last", "first"]
        LOG.clear()
        with pytest.raises(WebSocketDenied):
            await client.websocket("/refused").__aenter__()
        await trio.testing.wait_all_tasks_blocked()
        assert LOG == ["last", "first"]


async def test_after_a_client_that_leaves() -> None:
    """A cancellation does not keep it from being called."""
    app = make()
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/stream", query_string=b"wait=1")
        nursery.start_soon(exchange.run, app)
        with trio.fail_after(15):
            while not exchange.chunks:
                await trio.lowlevel.checkpoint()
        exchange.leave()
    assert LOG == ["dependency", "last", "first"]


async def test_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged; the others are called, and the response is what it was."""
    app = make()

    @app.middleware
    async def fail(request: Request, call_next: CallNext) -> Response:
        async def broken() -> None:
            raise ZeroDivisionError

        request.on_end(broken)
        return await call_next(request)

    async with TestClient(app, raise_app_exceptions=False) as client:
        assert (await client.get("/whole")).text == "whole"
    assert LOG == ["last", "first"]
    assert "GET /whole: what was to be done at its end failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
