"""Event streams as the kit reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trioweb import App, EventStreamResponse, Request, Response, ServerSentEvent
from trioweb.testing import TestClient

Clock = trio.testing.MockClock


@pytest.fixture
def app() -> App:
    """An app with a stream of three events that resumes, and what is none."""
    app = App()

    @app.get("/count")
    async def count(request: Request) -> Response:
        first = int(request.last_event_id or 0) + 1

        async def events() -> AsyncIterator[Any]:
            for number in range(first, first + 3):
                yield ServerSentEvent({"n": number}, event="count", id=number)
                await trio.sleep(20)

        return EventStreamResponse(events(), retry=5000)

    @app.get("/text")
    async def text() -> str:
        return "no events"

    @app.get("/over")
    async def over() -> None:
        """Tell a browser to stop."""

    return app


async def test_events_are_parsed(app: App, autojump_clock: Clock) -> None:
    """Each event comes as it was sent, pings left out, and the iteration ends with the stream."""
    async with TestClient(app) as client, client.events("/count") as events:
        assert [event async for event in events] == [
            ServerSentEvent(f'{{"n":{number}}}', event="count", id=str(number)) for number in (1, 2, 3)
        ]
        assert (events.last_event_id, events.retry) == ("3", 5000)


async def test_a_stream_is_resumed(app: App) -> None:
    """`last_event_id` is sent, and the iterator also works without a block."""
    async with TestClient(app) as client:
        event = await anext(aiter(client.events("/count", last_event_id="41")))
        assert event.id == "42"


async def test_leaving_the_block_leaves_the_stream(autojump_clock: Clock) -> None:
    """Leaving the block closes the generator."""
    closed = []
    app = App()

    @app.get("/")
    async def handler() -> Response:
        async def events() -> AsyncIterator[str]:
            try:
                while True:
                    yield "tick"
                    await trio.sleep(1)
            finally:
                closed.append(trio.current_time())

        return EventStreamResponse(events())

    async with TestClient(app) as client:
        async with client.events("/") as events:
            async for event in events:
                assert event.data == "tick"
                if trio.current_time() >= 3:
                    break
        assert closed == [3]


async def test_reconnection(app: App, autojump_clock: Clock) -> None:
    """With `reconnect` a stream that ends is opened again after its retry, with the last id, as a browser does."""
    seen = []
    async with TestClient(app) as client, client.events("/count", reconnect=True) as events:
        async for event in events:
            seen.append((event.id, trio.current_time()))
            if len(seen) == 5:
                break
    assert seen == [("1", 0), ("2", 20), ("3", 40), ("4", 65), ("5", 85)]


async def test_what_is_no_event_stream(app: App) -> None:
    """Another content type or status is an error that says which; a 204 is the end, also for who reconnects."""
    async with TestClient(app) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="/text is no event stream: status 200, content type 'text"):
            await anext(client.events("/text", reconnect=True))
        with pytest.raises(httpx.RemoteProtocolError, match="status 404"):
            async with client.events("/nowhere"):
                pass
        assert [event async for event in client.events("/over", reconnect=True)] == []
