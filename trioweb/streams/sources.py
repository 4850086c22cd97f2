"""The sources of streams: each is iterated as an async generator, or by a worker thread as an iterator."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from inspect import iscoroutine
from typing import Any, Final, TypeAlias, cast

import trio

from trioweb.streams.closing import close_generator, close_unused

FILE_CHUNK: Final = 65536
"""Bytes of one read of a file, which is one call of a worker thread."""
READY = (list, tuple, set, frozenset, dict, range, deque)
"""Iterables in memory: iterating them never blocks, so they need no thread."""

_WHOLE = (str, bytes, bytearray, memoryview, dict, type)

Chunks: TypeAlias = "AsyncGenerator[Any, None]"
Items: TypeAlias = "AsyncIterable[object] | Iterable[object]"
Source: TypeAlias = "Items | trio.abc.ReceiveStream | Callable[[], Items]"


def is_iterator(value: object) -> bool:
    """Whether a value is a stream by itself: a generator, iterator, receive channel or stream, or async file."""
    return (hasattr(value, "__next__") or is_async(value)) and not isinstance(value, type)


def is_async(value: object) -> bool:
    """Whether a value is iterated with ``async for``."""
    return hasattr(value, "__aiter__")


def is_iterable(value: object) -> bool:
    """Whether a value can be streamed if the user asks for it: text, bytes and mappings are one value each."""
    return (hasattr(value, "__iter__") or is_async(value)) and not isinstance(value, _WHOLE)


def as_generator(source: Any) -> Chunks | None:
    """The source as an async generator, or ``None`` if only a thread may iterate it."""
    if _is_generator(source):
        return cast("Chunks", source)
    if is_async(source):
        if hasattr(source, "read") and hasattr(source, "aclose"):
            return _read(source)
        iterator = source.__aiter__()
        if _is_generator(iterator) and not (hasattr(source, "aclose") or hasattr(source, "close")):
            return cast("Chunks", iterator)  # without a frame in between: errors are raised at its own `yield`
        return _iterate(source, iterator)
    if isinstance(source, READY) or type(source).__name__ in ("dict_keys", "dict_values", "dict_items"):
        return _each(source)
    return None


def _is_generator(value: object) -> bool:
    return all(hasattr(value, name) for name in ("asend", "athrow", "aclose", "__anext__"))


async def _iterate(source: object, iterator: Any) -> AsyncGenerator[object, None]:
    try:
        async for chunk in iterator:
            yield chunk
    finally:
        try:
            if iterator is not source and hasattr(iterator, "aclose"):
                await iterator.aclose()
        finally:
            await close_unused(source)


async def _read(file: Any) -> AsyncGenerator[object, None]:
    try:
        while chunk := await file.read(FILE_CHUNK):
            yield chunk
    finally:
        await file.aclose()


async def _each(items: Iterable[object]) -> AsyncGenerator[object, None]:
    for item in items:
        yield item


def is_channel(source: object) -> bool:
    """Whether tasks may send to a source: a memory channel or receive stream, or one with their methods."""
    return hasattr(source, "aclose") and (hasattr(source, "receive") or hasattr(source, "receive_some"))


async def with_pings(chunks: AsyncGenerator[bytes, None], seconds: float, ping: bytes) -> AsyncGenerator[bytes, None]:
    """The chunks, and a ping after each so many seconds without one.

    ``chunks`` is iterated in a task of its own, from start to close, so that a ping can be given while it sleeps.
    """
    send, receive = trio.open_memory_channel[bytes](0)
    left = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_forward, chunks, send)
        async with receive:
            while not left:
                data = ping
                with trio.move_on_after(seconds):
                    try:
                        data = await receive.receive()
                    except trio.EndOfChannel:
                        break
                try:
                    yield data
                except GeneratorExit:  # must not pass through the nursery, which would wrap it in a group
                    left = True
        nursery.cancel_scope.cancel()


async def _forward(chunks: AsyncGenerator[bytes, None], send: trio.MemorySendChannel[bytes]) -> None:
    async with send:
        try:
            async for data in chunks:
                await send.send(data)
        except trio.BrokenResourceError:
            pass  # the iteration has ended early
        finally:
            await close_generator(chunks)


def mapped(
    function: Callable[[AsyncIterator[bytes]], Any], chunks: AsyncGenerator[bytes, None], where: str
) -> AsyncGenerator[bytes, None]:
    """Call a map with the chunks. ``where`` is the route, for messages.

    Raises:
        TypeError: if the map is not an async generator function.
    """
    made = function(chunks)
    if hasattr(made, "__anext__") and hasattr(made, "aclose"):
        return cast("AsyncGenerator[bytes, None]", made)
    if iscoroutine(made):
        made.close()
    raise TypeError(
        f"{where}: what map_stream was given returned {type(made).__qualname__}: write `async def "
        "function(chunks): async for chunk in chunks: yield ...`"
    )


async def framed(
    chunks: AsyncGenerator[bytes, None], prelude: bytes, tail: Callable[[], bytes]
) -> AsyncGenerator[bytes, None]:
    """The chunks, between a prelude and a tail."""
    try:
        if prelude:
            yield prelude
        async for data in chunks:
            yield data
        if last := tail():
            yield last
    finally:
        await close_generator(chunks)
