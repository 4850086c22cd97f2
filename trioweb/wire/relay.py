"""The sender's side of a stream: from the channel to ``send``.

Rules that this module alone enforces:

* The head leaves with the first chunk, so an error before it is still an ordinary error.
* All that piled up leaves as one message; nothing waits for a timer.
* The end is sent only if the producer finished. What was accepted before an error is sent first.
* One shield stands around all of it: no cancellation reaches ``send``, and the channel is closed when it ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from trioweb.ground.errors import StreamTimeout
from trioweb.ground.headers import RawHeaders
from trioweb.wire.channel import ByteChannel, Outcome
from trioweb.wire.coding import CodedOutbox
from trioweb.wire.outbox import Outbox
from trioweb.wire.producer import Producer, Stream


async def relay(
    stream: Stream,
    where: str,
    nursery: trio.Nursery,
    outbox: Outbox,
    head: Callable[[str | None], tuple[int, RawHeaders]],
    running: set[Producer],
) -> None:
    """Run a stream's producer in ``nursery`` and send what it gives, to the end.

    Returns without having sent the end when the client has gone, or when the producer was interrupted; who called it
    then breaks the response off. A cancellation from outside ends the producer, and by that this.

    Args:
        stream: what to send.
        where: the route, for messages.
        nursery: the request's.
        outbox: where it leaves.
        head: status and headers, given the media type that the first chunk stands for.
        running: where the producer is found while it runs.

    Raises:
        Exception: what the producer raised; the head has not left if that was before its first chunk.
    """
    producer = Producer(stream, where)
    channel = producer.channel
    nursery.start_soon(producer.run)
    running.add(producer)
    try:
        with trio.CancelScope(shield=True) as outbox.scope:
            if not stream.head_first:
                await _next(producer, stream, None)
                if not channel.chunks and channel.outcome is not Outcome.FINISHED:
                    _raise_failure(channel)
                    return
            status, headers = head(producer.encoder.media_type)
            await outbox.start(status, headers, bodiless=False)
            coder = stream.coder
            coded = None if coder is None else CodedOutbox(outbox, coder, stream.declared)
            await _send_all(producer, stream, outbox, coded or outbox)
    finally:
        running.discard(producer)
        outbox.scope = None
        channel.close()
        producer.cancel()


async def _send_all(producer: Producer, stream: Stream, outbox: Outbox, out: Outbox | CodedOutbox) -> None:
    channel = producer.channel
    if stream.prelude and not stream.maps:
        await out.body(stream.prelude)
    while not outbox.gone:
        await _next(producer, stream, out)
        data = channel.take()
        if channel.outcome is Outcome.FINISHED and not channel.chunks:
            await out.end(data)
            return
        if data:
            await out.body(data)
        elif channel.outcome is not Outcome.RUNNING:
            break
    # Behind maps the last chunk could not be told from what they make of others: it is left out.
    if channel.failure is not None and stream.on_error is not None and not (outbox.gone or stream.maps):
        try:
            last = stream.on_error(channel.failure)
            farewell = None if last is None else producer.encoder.first(last)
        except Exception as wrong:
            raise wrong from channel.failure
        if farewell is not None:
            await out.end(farewell)
    _raise_failure(channel)


def _raise_failure(channel: ByteChannel) -> None:
    if channel.failure is not None:
        raise channel.failure


async def _next(producer: Producer, stream: Stream, out: Outbox | CodedOutbox | None) -> None:
    """Wait for something to take. Meanwhile keep an event stream alive, and a producer that gives nothing short."""
    channel = producer.channel
    if channel.ready:
        return
    pings = out is not None and not stream.maps  # which give their own
    if stream.ping is None and stream.idle_timeout is None:
        await channel.wait()
        return
    ping = stream.ping if stream.ping is not None and pings else math.inf
    idle_at = trio.current_time() + (math.inf if stream.idle_timeout is None else stream.idle_timeout)
    while not channel.ready:
        with trio.move_on_at(min(idle_at, trio.current_time() + ping)):
            await channel.wait()
            return
        if trio.current_time() >= idle_at:
            producer.cancel(
                StreamTimeout(f"{producer.encoder.where} gave nothing for its idle_timeout of {stream.idle_timeout} s")
            )
            await channel.wait()
        elif out is not None:
            await out.body(stream.ping_chunk)
