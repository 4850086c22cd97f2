"""The examples in the docstrings of the testing kit, executed."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio.testing

from trioweb import App, EventStreamResponse, Request, Response, ServerSentEvent, testing
from trioweb.testing import SyncTestClient, TestClient

PLACES = [getattr(testing, name) for name in testing.__all__] + [
    TestClient.events,
    TestClient.websocket,
    TestClient.announce_stop,
    App.test_client,
]

app = App()


@app.get("/hello")
async def hello() -> str:
    """Greet."""
    return "Hello!"


@app.get("/ticks")
async def ticks() -> AsyncIterator[dict[str, int]]:
    """Tick for ever."""
    while True:
        yield {"tick": 0}


@app.get("/clock")
async def clock(request: Request) -> Response:
    """Tick as events."""

    async def events() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("tick", event="tick", id=int(request.last_event_id or 0) + 1)

    return EventStreamResponse(events())


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send text back, and close on "bye"."""
    if scope["type"] != "websocket":
        await app(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "bye":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.send", "text": message["text"]})


def examples(place: Any) -> list[str]:
    """The blocks of code in a docstring."""
    text = inspect.getdoc(place) or ""
    return [textwrap.dedent(block) for block in re.findall(r"::\n\n((?:(?:    .*)?\n)+)", text + "\n")]


def run_plainly(block: str, names: dict[str, Any]) -> None:
    """Run an example that is no coroutine, as a plain test would: outside of the loop."""
    exec("def example(client):\n" + textwrap.indent(block, "    ") + "\n    return locals()", names)
    with SyncTestClient(echo) as client:
        defined = names["example"](client)
    for name, function in defined.items():
        if name.startswith("test_"):
            function()


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__qualname__)
async def test_examples(place: Any, autojump_clock: trio.testing.MockClock) -> None:
    """Every public name has an example, which does what it says."""
    blocks = examples(place)
    assert blocks
    for block in blocks:
        names: dict[str, Any] = {
            "app": app,
            "pytest": pytest,
            **{name: getattr(testing, name) for name in testing.__all__},
        }
        if place.__name__.startswith("Sync"):
            await trio.to_thread.run_sync(run_plainly, block, names)
            continue
        code = "async def example(client):\n" + textwrap.indent(block, "    ") + "\n    return locals()"
        exec(code, names)
        async with TestClient(echo) as client:
            defined = await names["example"](client)
            for name, function in defined.items():
                if name.startswith("test_"):
                    await function(autojump_clock)
