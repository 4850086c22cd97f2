"""The sender's side of a stream: from the channel to ``send``.

Rules that this module alone enforces:

* The head leaves with the first chunk, so an error before it is still an ordinary error.
* All that piled up leaves as one message; nothing waits for a timer.
* The end is sent only if the producer finished. What was accepted before an error is sent first.
* What is a file has no producer: the sender reads it, or has the system send it without reading.
* One shield stands around all of it: no cancellation reaches ``send``, and the channel is closed when it ends.
"""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import Protocol

import trio

from trioweb.ground.http.headers import RawHeaders
from trioweb.io.disk import Extent
from trioweb.io.outbox import Outbox
from trioweb.streams.channel import Outcome
from trioweb.streams.coding import CodedOutbox
from trioweb.streams.producer import Producer
from trioweb.streams.sources import as_generator
from trioweb.streams.stream import Stream


class Opening(Protocol):
    """What is sent before a body."""

    def head(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """Status and headers, given the media type that the first chunk stands for. Does not block."""
        ...


async def relay(
    producer: Producer,
    nursery: trio.Nursery,
    outbox: Outbox,
    opening: Opening,
) -> None:
    """Run a stream's producer in ``nursery`` and send what it gives, to the end.

    Returns without having sent the end when the client has gone, or when the producer was interrupted; who called it
    then breaks the response off. A cancellation from outside ends the producer, and by that this.

    Args:
        producer: what to run.
        nursery: the request's.
        outbox: where it leaves.
        opening: gives the head.

    Raises:
        Exception: what the producer raised; the head has not left if that was before its first chunk.
    """
    channel, stream = producer.channel, producer.stream
    if not stream.needs_producer:
        channel.finish(Outcome.FINISHED)
        await _pull(producer, outbox, opening)
        return
    producer.start(nursery)
    try:
        with trio.CancelScope(shield=True) as outbox.scope:
            if not stream.head_first:
                await channel.wait()
                if not channel.chunks and channel.outcome is not Outcome.FINISHED:
                    channel.raise_failure()
                    return
            status, headers = opening.head(producer, producer.encoder.media_type)
            await outbox.start(status, headers, bodiless=False)
            coder = stream.coder
            coded = None if coder is None else CodedOutbox(outbox, coder, stream.declared)
            await send_prelude(stream, outbox, coded or outbox)
            await send_all(producer, outbox, coded or outbox)
    finally:
        outbox.scope = None
        producer.leave()


async def _pull(producer: Producer, outbox: Outbox, opening: Opening) -> None:
    """Send a file, piece by piece as it is read: no task has to wait for another one."""
    stream = producer.stream
    due = math.inf if stream.max_duration is None else trio.current_time() + stream.max_duration
    source = as_generator(stream.source() if callable(stream.source) else stream.source)
    assert source is not None  # noqa: S101 - no sync iterator is pulled
    async with aclosing(source) as pieces:
        with trio.CancelScope(shield=True) as outbox.scope:
            first = await anext(pieces, b"")
            if producer.interrupted:
                return
            status, headers = opening.head(producer, None)
            await outbox.start(status, headers, bodiless=False)
            out = outbox if stream.coder is None else CodedOutbox(outbox, stream.coder, stream.declared)
            await out.body(first)
            async for piece in pieces:
                # What is cancelled outside of the request is the watch's to tell.
                if outbox.gone or producer.interrupted:
                    return
                if trio.current_time() >= due:
                    raise producer.overdue()
                if not isinstance(piece, Extent):
                    await out.body(piece)
                else:  # where it is encoded there is no length, without which the system sends nothing
                    piece.start += await outbox.file(piece.file, piece.start, piece.stop - piece.start)
            await out.end()


async def send_prelude(stream: Stream, outbox: Outbox, out: Outbox | CodedOutbox) -> None:
    """After a head that waits for no chunk: have it leave, with what belongs before the first one."""
    if stream.prelude and not stream.maps:
        await out.body(stream.prelude)
    elif stream.head_first:
        await outbox.flush()


async def send_all(producer: Producer, outbox: Outbox, out: Outbox | CodedOutbox) -> None:
    """Send what a producer gives, to the end, after the head.

    Args:
        producer: it runs, or it has run.
        outbox: where it leaves.
        out: the same, or what codes it on the way there.

    Raises:
        Exception: what the producer raised.
    """
    channel, stream = producer.channel, producer.stream
    while not outbox.gone:
        while channel.must_wait():
            await channel.news()  # for hours, in thousands of streams: a frame less each
        if channel.nudged:
            channel.nudged = False
            if not channel.ready:
                await out.body(stream.ping_chunk)
                continue
        data = channel.take()
        if channel.outcome is Outcome.FINISHED and not channel.chunks:
            await out.end(data)
            channel.raise_failure()  # of one that was told its client
            return
        if data:
            await out.body(data)
        elif channel.outcome is not Outcome.RUNNING:
            break
    await _say_farewell(producer, stream, outbox, out)
    channel.raise_failure()


async def _say_farewell(producer: Producer, stream: Stream, outbox: Outbox, out: Outbox | CodedOutbox) -> None:
    """End a stream that has failed with what its ``on_error`` makes of that, if anything."""
    failure = producer.channel.failure
    # Behind maps the producer has done it, or the maps themselves have failed, and what follows them would fit nothing.
    if failure is None or stream.on_error is None or outbox.gone or stream.maps:
        return
    try:
        last = stream.on_error(failure)
        farewell = None if last is None else producer.encoder.first(last)
    except Exception as wrong:
        raise wrong from failure
    finally:
        del failure
    if farewell is not None:
        await out.end(farewell)
