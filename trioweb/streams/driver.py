"""Drives a user's generator: puts its chunks into the channel of its stream, or passes them to its maps.

Rules that this module alone enforces:

* What interrupts the wait for room is raised at the ``yield`` in the generator, after the chunk was accepted.
* A chunk that cannot be encoded is raised there too, so that the traceback shows the user's line.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

import trio

from trioweb.ground.chunks import Encoder
from trioweb.streams.channel import SMALLEST, ByteChannel
from trioweb.streams.closing import close_generator


class First(NamedTuple):
    """The first chunk of a generator whose response waits for middleware, and the error to raise at its ``yield``."""

    data: bytes
    error: BaseException | None


async def first_chunk(generator: AsyncGenerator[object, None], encoder: Encoder) -> bytes:
    """The first chunk, encoded.

    Raises:
        StopAsyncIteration: if there is none.
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
    """Run a generator to its end, and put its chunks into the channel.

    ``scope`` is around this call. A generator that swallows its cancellation and yields again is closed.
    """
    # The hot loop of the project: 100,000 chunks a request are common. It is an `async for` with local variables, left
    # only to raise something at the `yield`. A call of max() would take a third of its time.
    append = channel.chunks.append
    ignored = 0
    try:
        if first is None:
            error = await _accept(await anext(generator), channel, encoder, scope)
        else:
            channel.append(first.data)
            error = first.error or await _settle(channel, scope)
            first = None
        while True:
            while error is not None:
                ignored += scope.cancel_called
                if ignored > 1:  # the generator has swallowed the cancellation twice: `close_generator` raises an error
                    return
                error = await _accept(await generator.athrow(error), channel, encoder, scope)
            encode = encoder.encode
            assert encode is not None  # noqa: S101 - set with the first chunk
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
                    error = await _settle(channel, scope)
                    if error is not None:
                        break
            else:
                return
    except StopAsyncIteration:
        return
    finally:
        error = None  # its traceback refers to this frame
        await close_generator(generator)


async def _accept(
    chunk: object, channel: ByteChannel, encoder: Encoder, scope: trio.CancelScope
) -> BaseException | None:
    """Encode and append one chunk, after a wait for room. Returns what to raise at the ``yield`` that gave it."""
    try:
        await channel.make_room()
    except BaseException as raised:
        return raised
    try:
        data = encoder.first(chunk)
    except Exception as wrong:
        return encoder.explain(chunk, wrong)
    channel.append(data)
    return await _settle(channel, scope)


async def _settle(channel: ByteChannel, scope: trio.CancelScope) -> BaseException | None:
    """Wait for room after a chunk. Returns what to raise at the ``yield`` that gave it."""
    try:
        await channel.settle()
        if scope.cancel_called:  # after each chunk, so that a generator that swallows it does not go on for ever
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
    """The chunks of a generator as bytes, for maps. It waits for room before it resumes the generator.

    So what interrupts the wait is raised at the user's ``yield``, not in the maps between that and the channel.
    """
    error: BaseException | None = None
    ignored = 0
    try:
        if first is not None:
            yield first.data
            error = first.error or await _settle(channel, scope)
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
            error = await _settle(channel, scope)
            ignored += error is not None and scope.cancel_called
            if ignored > 1:
                return
    except StopAsyncIteration:
        return
    finally:
        error = first = None  # their tracebacks refer to this frame
        await close_generator(generator)
