"""The description of a stream, for responses and for their senders."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final, Literal, TypeAlias

import msgspec

from trioweb.ground.chunks import Encode
from trioweb.ground.http.events import PING
from trioweb.ground.http.trailers import Trailers
from trioweb.streams.coding import Coder

ChunkMap: TypeAlias = Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]
PING_SECONDS: Final = 15.0
"""Seconds without an event after which a ping is sent: less than the 60 s after which proxies close a connection."""
NO_STORE: Final = "no-store"
"""The ``cache-control`` of events."""
STREAM_HEADERS: Final = ((b"incremental", b"?1"), (b"x-accel-buffering", b"no"))
"""Ask proxies to pass each chunk on, and a slow client's pace back: RFC 10036, and nginx's own field."""
AtStop: TypeAlias = Literal["end", "finish"]


class Stream(msgspec.Struct, eq=False):
    """A body that is produced while it is sent: what to iterate, and how.

    Attributes:
        source: an iterable of chunks, or a function without parameters that returns one.
        encode: encodes a chunk; ``None`` to choose by the type of the first chunk.
        tail: returns bytes to send after the last chunk.
        maps: async generator functions over the encoded chunks, innermost first.
        buffer_size: the limit of buffered bytes, besides one chunk.
        idle_timeout: seconds that the producer may give no chunk.
        write_timeout: seconds that the client may receive nothing.
        max_duration: seconds for the whole stream.
        on_error: returns the last chunk after an error, or ``None`` to abort the response.
        head_first: send the head before the first chunk.
        ends_on_stop: an event stream: as the response to a GET it ends when the server stops.
        at_stop: whether the stream ends cleanly when the server stops, or may finish; ``None`` for the default.
        prelude: bytes to send with the head.
        ping: seconds without a chunk after which ``ping_chunk`` is sent.
        ping_chunk: keeps an idle connection open.
        given: the names of the limits that the response has set.
        pulled: the source reads a file: it never waits long, and may give an ``Extent`` as a chunk.
        coding: chooses a coder for a response just before its head is sent, when the content type is known.
        coder: the chosen coder.
        declared: the ``content-length`` of the plain bytes, if there is a coder.
        begun: a producer has the source, and closes it.
        trailers: the fields after the body, if the server takes them.
        buffered: the source has a buffer of its own: each chunk waits until the last one is taken.
    """

    source: object
    encode: Encode | None = None
    tail: Callable[[], bytes] = bytes
    maps: tuple[ChunkMap, ...] = ()
    buffer_size: int = 65536
    idle_timeout: float | None = None
    write_timeout: float | None = None
    max_duration: float | None = None
    on_error: Callable[[Exception], object] | None = None
    head_first: bool = False
    ends_on_stop: bool = False
    at_stop: AtStop | None = None
    prelude: bytes = b""
    ping: float | None = None
    ping_chunk: bytes = PING
    given: tuple[str, ...] = ()
    pulled: bool = False
    coding: Callable[..., Coder | None] | None = None
    coder: Coder | None = None
    declared: int | None = None
    begun: bool = False
    buffered: bool = False
    trailers: Trailers | None = None

    @property
    def needs_producer(self) -> bool:
        """Whether the source is iterated in a task of its own; its sender does it faster, but without these options."""
        return not self.pulled or bool(self.maps or self.idle_timeout or self.on_error)
