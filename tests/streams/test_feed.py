"""Sources that a publisher gives bytes to: what is pushed is sent at once, and what does not fit stays outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
import trio

from tests.sites import SITES
from trioweb import App, EventStreamResponse, Response
from trioweb.messages.response import stream_of
from trioweb.streams.channel import ByteChannel, Outcome
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
    """Passes on what a test pushes.

    Args:
        missed: what was missed, and is given first.
        goes_on: whether there is more after that.
    """

    def __init__(self, missed: bytes = b"", *, goes_on: bool = True) -> None:
        self._missed = missed
        self._goes_on = goes_on
        self.channel: ByteChannel | None = None
        self.steps: list[str] = []
        self.ended = trio.Event()

    async def open(self) -> None:
        """See ``Feed``."""
        self.steps.append("open")

    async def aclose(self) -> None:
        """See ``Feed``."""
        self.steps.append("close")

    async def fill(self, channel: ByteChannel) -> bool:
        """See ``Feed``."""
        await trio.lowlevel.checkpoint()
        if self._missed:
            channel.append(self._missed)
        self.channel = channel
        return self._goes_on

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """See ``Feed``: it gives nothing before the end."""
        async with aclosing(self):
            await self.ended.wait()
            yield b"data: end\n\n"

    def end(self) -> bool:
        """See ``Feed``."""
        self.ended.set()
        if self.channel is not None:
            self.channel.append(b"data: end\n\n")
            self.channel.finish(Outcome.FINISHED)
        return True


def make_app(wire: Wire, **options: Any) -> App:
    """An app with a feed."""
    app = App()

    @app.get("/")
    async def stream() -> Response:
        response = EventStreamResponse(wire, ping=None, **options)
        described = stream_of(response)
        assert described is not None
        described.encode = bytes
        return response

    return app


WHERE = pytest.mark.parametrize("where", ["in process", "hypercorn", "trioweb run", "trioweb run, ASGI middleware"])


@WHERE
async def test_what_is_pushed_is_sent(where: str) -> None:
    """Each chunk arrives without another one, on every server; the feed was opened before the head was sent."""
    wire = Wire()
    async with SITES[where](make_app(wire)) as site:
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
        await site.quiet()
        assert wire.steps == ["open", "close"]


@WHERE
@pytest.mark.parametrize("goes_on", [True, False])
async def test_what_was_missed_comes_first(where: str, goes_on: bool) -> None:
    """It is sent without anything that is pushed; a feed may also have nothing more."""
    wire = Wire(b"data: 0\n\n", goes_on=goes_on)
    async with SITES[where](make_app(wire)) as site:
        talk = await site.request("/", "GET", {}, b"")
        await talk.until(b"data: 0\n\n")
        if goes_on:
            wire.end()
        await talk.end()
        assert talk.whole
        assert talk.body.endswith(b"data: end\n\n" if goes_on else b"data: 0\n\n")
        await site.quiet()
        assert wire.steps == ["open", "close"]


@WHERE
async def test_limits_of_a_feed(where: str) -> None:
    """No task runs for one, but ``max_duration`` and ``idle_timeout`` break it off."""
    for options in ({"max_duration": 0.05}, {"idle_timeout": 0.05}):
        wire = Wire()
        async with SITES[where](make_app(wire, **options)) as site:
            talk = await (await site.request("/", "GET", {}, b"")).end()
            assert talk.status == 200
            assert not talk.whole
            await site.quiet()
        assert wire.steps == ["open", "close"]


@WHERE
async def test_a_client_leaves_a_feed(where: str) -> None:
    """The feed is closed, once."""
    wire = Wire()
    async with SITES[where](make_app(wire)) as site:
        talk = await site.request("/", "GET", {}, b"")
        await talk.begun()
        await talk.leave()
        await site.quiet()
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
