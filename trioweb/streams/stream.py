"""What a stream is: a body that is produced while it is sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from trioweb.ground.chunks import Encode
from trioweb.ground.http.events import PING
from trioweb.streams.coding import Coder

ChunkMap: TypeAlias = Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]
AtStop: TypeAlias = Literal["end", "finish"]


@dataclass(slots=True)
class Stream:
    """A body that is produced while it is sent: what to iterate, and how.

    Attributes:
        source: what gives the chunks, or a function without arguments that returns it.
        encode: chunk to bytes; ``None`` to let the first chunk decide.
        tail: bytes to add when the source has ended, where a format needs them.
        maps: async generator functions over the encoded chunks, innermost first.
        buffer_size: bytes that may wait, besides one chunk.
        idle_timeout: seconds that the producer may give nothing.
        write_timeout: seconds that the client may take nothing.
        max_duration: seconds for all of it.
        on_error: the last chunk for an error after the first one, or ``None`` to break the stream off.
        head_first: send the head before there is a chunk.
        ends_on_stop: it is made of events: when the server is told to stop one that answers a GET ends at once.
        at_stop: what happens then, where the response says it: it ends at once, and cleanly, or may finish.
        prelude: bytes that leave with the head.
        ping: seconds without a chunk after which ``ping_chunk`` is sent.
        ping_chunk: what keeps an idle stream alive.
        given: which of the limits the response was given itself.
        pulled: the source is a file: it is never long in giving its next piece, and may give an ``Extent`` for one.
        coding: chooses a coder for all of it when the head is about to leave, where one is wanted: by then the content
            type is known.
        coder: what was chosen.
        declared: plain bytes that there are to be, where a coder is at work and that was declared.
        begun: a producer has it, and closes it.
        buffered: what gives the chunks has a buffer of its own: each waits until the one before it is taken.
    """

    source: object
    encode: Encode | None = None
    tail: Callable[[], bytes] = bytes
    maps: list[ChunkMap] = field(default_factory=list)
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
    coding: Callable[[Any], Coder | None] | None = None
    coder: Coder | None = None
    declared: int | None = None
    begun: bool = False
    buffered: bool = False

    @property
    def needs_producer(self) -> bool:
        """Whether a task of its own is to iterate it; else its sender does, which is faster."""
        return not self.pulled or bool(self.maps or self.idle_timeout or self.on_error)
