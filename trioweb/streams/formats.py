"""The stream formats as plain async generators, to build on: the responses of the same names send their chunks.

They yield ``bytes``. Each iterates and closes its source in the task that iterates the generator. A response closes the
generator in any case; a program that iterates one itself writes
``async with contextlib.aclosing(json_lines(items)) as lines``.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Final, cast

import trio

from trioweb.ground.chunks import CSVEncoder, Encode, Encoder, encode_any_event, encode_json_line
from trioweb.ground.http.events import PING
from trioweb.io.threads import in_thread
from trioweb.streams.closing import close_generator
from trioweb.streams.sources import FILE_CHUNK, Items, as_generator, framed, with_pings
from trioweb.streams.threaded import from_thread

SYNC_BUFFER: Final = 65536
"""Bytes that are buffered between the worker thread of a sync iterable and the generator."""


def json_lines(items: AsyncIterable[object] | Iterable[object]) -> AsyncGenerator[bytes, None]:
    """One JSON value a line. Waits for ``items``; a sync iterator is iterated in one worker thread.

    Raises (in the iteration, and first at the ``yield`` that gave the item):
        TypeError: if an item has no JSON form.
    """
    return _encoded(items, encode_json_line)


def csv_rows(
    rows: AsyncIterable[object] | Iterable[object], header: Iterable[str] | None = None
) -> AsyncGenerator[bytes, None]:
    """A table as CSV (RFC 4180): rows are sequences, mappings, or objects with fields. Waits for ``rows``.

    Args:
        rows: the rows.
        header: the first line, and the order of columns in rows with names; by default the names of the first such row.

    Raises (in the iteration, and first at the ``yield`` that gave the row):
        TypeError: if a row is none of these.
        ValueError: if a row has a column that the header does not name.
    """
    encoder = CSVEncoder(header)
    return _encoded(rows, encoder, encoder.header_line)


async def file_chunks(path: str | os.PathLike[str], chunk_size: int = FILE_CHUNK) -> AsyncGenerator[bytes, None]:
    """The bytes of a file. Each chunk is read by one call of a worker thread; none is held in between.

    Args:
        path: the path of the file.
        chunk_size: bytes of a chunk; the last one is shorter.

    Raises:
        OSError: if the file cannot be opened or read.
    """
    file: io.RawIOBase = await in_thread(partial(io.FileIO, path))
    try:
        while chunk := await in_thread(file.read, chunk_size):
            yield chunk
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(file.close)


async def server_sent_events(
    events: AsyncIterable[object] | Iterable[object], ping: float | None = 15.0, retry: int | None = None
) -> AsyncGenerator[bytes, None]:
    """Server-sent events as bytes: ``ServerSentEvent``s, or values that become the data of one.

    ``events`` is iterated in a task of its own, from start to close, so that a ping can be sent while it sleeps.

    Args:
        events: the events to send.
        ping: seconds without an event after which a comment is sent; ``None`` for no comments.
        retry: milliseconds that a client waits before it reconnects, sent first; ``None`` to leave that to the client.
    """
    chunks = _encoded(events, encode_any_event)
    if ping is not None:
        chunks = with_pings(chunks, ping, PING)
    async with aclosing(framed(chunks, b"" if retry is None else b"retry: %d\n\n" % retry, bytes)) as whole:
        async for data in whole:
            yield data


async def _encoded(
    items: Items, encode: Encode, tail: Callable[[], bytes] | None = None
) -> AsyncGenerator[bytes, None]:
    source = as_generator(items)
    if source is None:
        source, encode = from_thread(cast("Iterable[object]", items), Encoder("a stream", encode), SYNC_BUFFER), bytes
    error: BaseException | None = None
    try:
        while True:
            item = await (anext(source) if error is None else source.athrow(error))
            error = None
            try:
                yield encode(item)
            except GeneratorExit:
                raise
            except BaseException as raised:
                error = raised
    except StopAsyncIteration:
        pass
    finally:
        error = None  # its traceback refers to this frame
        await close_generator(source)
    if tail is not None and (line := tail()):
        yield line
