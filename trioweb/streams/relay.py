"""The sender's side of a stream: from the channel to ``send``.

Rules that this module alone enforces:

* The head is sent with the first chunk, so an error before that gets an ordinary error response.
* All buffered chunks are sent as one message, without a timer.
* The end is sent only if the producer has finished. Chunks that were accepted before an error are sent first.
* A file needs no producer: the sender reads it, or has the system send it.
* All of it is shielded: no cancellation reaches ``send``, and the channel is closed at the end.
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
    """Gives the head of a response: a ``Delivery`` or a ``Reply``, whose folder is above this one."""

    def head(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """The status and headers; ``media_type`` is that of the first chunk's type. Does not block."""
        ...


async def relay(producer: Producer, nursery: trio.Nursery, outbox: Outbox, opening: Opening) -> None:
    """Run a stream's producer in ``nursery``, and send its chunks.

    Returns without sending the end if the client disconnects or the producer is interrupted: the caller then aborts the
    response. A cancellation from outside interrupts the producer.

    Raises:
        Exception: if the producer fails; if that was before its first chunk, the head is not sent.
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
        producer.abandon()  # it may wait for room in the channel


async def _pull(producer: Producer, outbox: Outbox, opening: Opening) -> None:
    """Send a file, piece by piece as it is read: no task waits for another one."""
    stream = producer.stream
    due = math.inf if stream.max_duration is None else trio.current_time() + stream.max_duration
    source = as_generator(stream.source() if callable(stream.source) else stream.source)
    assert source is not None  # noqa: S101 - a file is never read by a sync iterator
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
                # The shield hides a cancellation from outside, but the watch sets these.
                if outbox.gone or producer.interrupted:
                    return
                if trio.current_time() >= due:
                    raise producer.overdue()
                if not isinstance(piece, Extent):
                    await out.body(piece)
                else:  # with a coder there is no `content-length`, and `file` sends nothing
                    piece.start += await outbox.file(piece.file, piece.start, piece.stop - piece.start)
            await out.end()


async def send_prelude(stream: Stream, outbox: Outbox, out: Outbox | CodedOutbox) -> None:
    """After the head: send the prelude, or the head alone if that does not wait for a chunk."""
    if stream.prelude and not stream.maps:
        await out.body(stream.prelude)
    elif stream.head_first:
        await outbox.flush()


async def send_all(producer: Producer, outbox: Outbox, out: Outbox | CodedOutbox) -> None:
    """Send all chunks of a producer that runs or has ended, after the head, by ``outbox`` or its coder ``out``.

    Raises:
        Exception: if the producer fails.
    """
    channel, stream = producer.channel, producer.stream
    while not outbox.gone:
        while channel.must_wait():
            await channel.sleep()  # not in a method: thousands of streams wait here, each with a frame less
        if channel.nudged:
            channel.nudged = False
            if not channel.ready:
                await out.body(stream.ping_chunk)
                continue
        data = channel.take()
        if channel.outcome is Outcome.FINISHED and not channel.chunks:
            await out.end(data)
            channel.raise_failure()  # `on_error` has made the last chunk of it
            return
        if data:
            await out.body(data)
        elif channel.outcome is not Outcome.RUNNING:
            break
    await _send_last_chunk(producer, stream, outbox, out)
    channel.raise_failure()


async def _send_last_chunk(producer: Producer, stream: Stream, outbox: Outbox, out: Outbox | CodedOutbox) -> None:
    """End a stream that has failed with the chunk of its ``on_error``, if there is one."""
    failure = producer.channel.failure
    # With maps the producer has done this, or the maps have failed, and the chunk would not fit their output.
    if failure is None or stream.on_error is None or outbox.gone or stream.maps:
        return
    try:
        last = stream.on_error(failure)
        chunk = None if last is None else producer.encoder.first(last)
    except Exception as wrong:
        raise wrong from failure
    finally:
        del failure
    if chunk is not None:
        await out.end(chunk)
