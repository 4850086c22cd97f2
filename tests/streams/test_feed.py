"""Sources that a publisher gives bytes to: what is pushed is sent at once, and what does not fit stays outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
import trio

from tests.sites import SITES
from trioweb import App, EventStreamResponse, Response
from trioweb.messages.response import stream_of
from trioweb.streams.channel import ByteChannel
from trioweb.streams.feed import Feed


def test_a_chunk_is_buffered_if_no_other_one_is() -> None:
    """The second is refused, and asked for when the first is taken."""
    channel, waiting = ByteChannel(100), [b"two"]

    def refill() -> None:
        while waiting and channel.push(waiting[0]):
            waiting.pop(0)

    channel.on_room = refill
    assert channel.push(b"one")
    assert not channel.push(b"two")
    assert channel.take() == b"one"
    assert channel.take() == b"two"
    assert not waiting


def test_a_closed_channel_drops_what_is_pushed() -> None:
    """A publisher need not know that a client has left."""
    channel = ByteChannel(100)
    channel.close()
    assert channel.push(b"one")
    assert channel.push(b"two")
    assert not channel.chunks


class Wire(Feed):
    """Passes on what a test pushes."""

    def __init__(self) -> None:
        self.channel: ByteChannel | None = None
        self.steps: list[str] = []
        self.ended = trio.Event()

    async def open(self) -> None:
        """See ``Feed``."""
        self.steps.append("open")

    async def aclose(self) -> None:
        """See ``Feed``."""
        self.steps.append("close")

    async def fill(self, channel: ByteChannel) -> None:
        """See ``Feed``."""
        self.channel = channel
        try:
            await self.ended.wait()
        finally:
            await self.aclose()
        channel.append(b"data: end\n\n")

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """See ``Feed``: it gives nothing before the end."""
        async with aclosing(self):
            await self.ended.wait()
            yield b"data: end\n\n"

    def end(self) -> bool:
        """See ``Feed``."""
        self.ended.set()
        return True


@pytest.mark.parametrize("where", ["in process", "hypercorn", "trioweb run", "trioweb run, ASGI middleware"])
async def test_what_is_pushed_is_sent(where: str) -> None:
    """Each chunk arrives without another one, on every server; the feed was opened before the head was sent."""
    app, wire = App(), Wire()

    @app.get("/")
    async def stream() -> Response:
        response = EventStreamResponse(wire, ping=None)
        described = stream_of(response)
        assert described is not None
        described.encode = bytes
        return response

    async with SITES[where](app) as site:
        talk = await site.request("/", "GET", {}, b"")
        await talk.begun()
        assert wire.steps == ["open"]
        while wire.channel is None:
            await trio.sleep(0.001)
        for text in (b"data: 1\n\n", b"data: 2\n\n"):
            assert wire.channel.push(text)
            await talk.until(text)
        wire.end()
        await talk.end()
        assert talk.whole
        assert talk.body == b"data: 1\n\ndata: 2\n\ndata: end\n\n"
        assert wire.steps == ["open", "close"]


async def test_a_head_request_opens_nothing() -> None:
    """``HEAD`` has no body, so nobody subscribes; the feed is closed."""
    app, wire = App(), Wire()

    @app.get("/")
    async def stream() -> Response:
        return EventStreamResponse(wire)

    async with SITES["trioweb run"](app) as site:
        await (await site.request("/", "HEAD", {}, b"")).end()
    assert wire.steps == ["close"]
