"""The driver of a user's generator: what it gives goes into the channel of its stream, or to its maps.

Rules that this module alone enforces:

* What interrupts the wait for room is raised at the ``yield``, inside the generator, with the chunk accepted.
* A chunk that cannot be encoded is raised there too, so that the traceback points at the user's line.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

import trio

from trioweb.ground.chunks import Encoder
from trioweb.streams.channel import SMALLEST, ByteChannel
from trioweb.streams.closing import close_generator


class First(NamedTuple):
    """The first chunk of a generator that was begun, and what to raise at its ``yield``."""

    data: bytes
    error: BaseException | None


async def first_chunk(generator: AsyncGenerator[object, None], encoder: Encoder) -> bytes:
    """The first chunk, encoded.

    Raises:
        StopAsyncIteration: there is none.
    """
    chunk = await anext(generator)
    while True:
        try:
            return encoder.first(chunk)
        except Exception as wrong:
            refused = encoder.explain(chunk, wrong)
        try:
            chunk = await generator.athrow(refused)
        finally:
            del refused


async def drive(
    generator: AsyncGenerator[object, None],
    channel: ByteChannel,
    encoder: Encoder,
    scope: trio.CancelScope,
    first: First | None = None,
) -> None:
    """Run a generator to its end, and put what it gives into the channel.

    ``scope`` is around it: what swallows that scope's cancellation and yields on is closed.
    """
    # The hot loop of the project: 100,000 chunks a request are ordinary. It stays in `async for` with plain locals,
    # and leaves it only to raise something at the yield. One call of max() would cost a third of all of it.
    append = channel.chunks.append
    ignored = 0
    try:
        if first is None:
            error = await _accept(await anext(generator), channel, encoder, scope)
        else:
            channel.append(first.data)
            error = first.error or await _settled(channel, scope)
            first = None
        while True:
            while error is not None:
                ignored += scope.cancel_called
                if ignored > 1:  # it swallowed the end of the stream, and yields on: closing it raises its error
                    return
                error = await _accept(await generator.athrow(error), channel, encoder, scope)
            encode = encoder.encode
            assert encode is not None  # noqa: S101 - the first chunk has settled it
            async for chunk in generator:
                try:
                    data = encode(chunk)
                except Exception as wrong:
                    error = encoder.explain(chunk, wrong)
                    break
                append(data)
                size = len(data)
                channel.waiting = waiting = channel.waiting + (size if size > SMALLEST else SMALLEST)  # noqa: FURB136
                if waiting > channel.mark:
                    error = await _settled(channel, scope)
                    if error is not None:
                        break
            else:
                return
    except StopAsyncIteration:
        return
    finally:
        error = None  # it has passed this frame
        await close_generator(generator)


async def _accept(
    chunk: object, channel: ByteChannel, encoder: Encoder, scope: trio.CancelScope
) -> BaseException | None:
    """Take one chunk with every precaution. Returns what to raise at the ``yield`` that gave it."""
    try:
        await channel.make_room()
    except BaseException as raised:
        return raised
    try:
        data = encoder.first(chunk)
    except Exception as wrong:
        return encoder.explain(chunk, wrong)
    channel.append(data)
    return await _settled(channel, scope)


async def _settled(channel: ByteChannel, scope: trio.CancelScope) -> BaseException | None:
    """Wait for room after a chunk. Returns what to raise at the ``yield`` that gave it."""
    try:
        await channel.settle()
        if scope.cancel_called:  # it has swallowed that: told at each chunk, it cannot go on for ever
            await trio.lowlevel.checkpoint()
    except BaseException as raised:
        return raised
    return None


async def encoded(
    generator: AsyncGenerator[object, None],
    channel: ByteChannel,
    encoder: Encoder,
    scope: trio.CancelScope,
    first: First | None = None,
) -> AsyncGenerator[bytes, None]:
    """The generator's chunks as bytes, for maps. It waits for room before it resumes the generator.

    So what interrupts that wait is raised at the user's own ``yield``, whatever stands between it and the channel.
    """
    error: BaseException | None = None
    ignored = 0
    try:
        if first is not None:
            yield first.data
            error = first.error or await _settled(channel, scope)
            first = None
        while True:
            chunk = await (anext(generator) if error is None else generator.athrow(error))
            error = None
            try:
                data = encoder.first(chunk)
            except Exception as wrong:
                error = encoder.explain(chunk, wrong)
                continue
            yield data
            error = await _settled(channel, scope)
            ignored += error is not None and scope.cancel_called
            if ignored > 1:
                return
    except StopAsyncIteration:
        return
    finally:
        error = first = None  # they have passed this frame
        await close_generator(generator)
