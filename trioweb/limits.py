"""The limits of a request and of its stream: what an app sets for all, and the keywords of a response that streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from trioweb.ground.chunks import Encode
from trioweb.wire.producer import Stream

BUFFER_SIZE: Final = 65536
"""Bytes that wait between a producer and its client, besides one chunk and the message being written. A stream."""
SMALLEST_BUFFER: Final = 64
"""The least ``buffer_size``: what one chunk counts at least."""
WRITE_TIMEOUT: Final = 60.0
"""Seconds that a client may take nothing of what is written to it. A response."""
MAX_BODY_SIZE: Final = 16 * 2**20
"""Bytes of a request body that are held in memory as a whole, a request, unless the app says otherwise."""

_OF_STREAMS: Final = ("buffer_size", "idle_timeout", "write_timeout", "max_duration")
_SECONDS: Final = ("timeout", "idle_timeout", "write_timeout", "max_duration")


class StreamOptions(TypedDict, total=False):
    """The limits of a stream, which every response that streams takes as keywords.

    Attributes:
        buffer_size: bytes that wait between producer and client besides one chunk; 65,536 unless given, 64 at least.
        idle_timeout: seconds that the producer may give nothing; no limit unless given.
        write_timeout: seconds that the client may take nothing; 60 unless given, ``None`` for no limit.
        max_duration: seconds for the whole stream; no limit unless given.
        on_error: called with the exception that ends the stream after its first chunk; what it returns is sent as the
            last chunk and ends the stream cleanly, ``None`` breaks it off as without it. The error is logged anyway.
    """

    buffer_size: int
    idle_timeout: float | None
    write_timeout: float | None
    max_duration: float | None
    on_error: Callable[[Exception], Any] | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for all requests of an app that do not say otherwise.

    Attributes:
        max_body_size: bytes of a request body that a request holds in memory.
        timeout: seconds from the handler's start to the end of its response; ``None`` for no limit, as in the rest.
        buffer_size: bytes that wait in a stream, besides one chunk.
        idle_timeout: seconds that a stream's producer may give nothing.
        write_timeout: seconds that a client may take nothing of a response.
        max_duration: seconds for a whole stream.

    Raises:
        ValueError: one of them is no limit.
    """

    max_body_size: int = MAX_BODY_SIZE
    timeout: float | None = None
    buffer_size: int = BUFFER_SIZE
    idle_timeout: float | None = None
    write_timeout: float | None = WRITE_TIMEOUT
    max_duration: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            check_limit(name, getattr(self, name))

    def apply(self, stream: Stream) -> None:
        """Set the limits of a stream that it was not given itself."""
        for name in _OF_STREAMS:
            if name not in stream.given:
                setattr(stream, name, getattr(self, name))


def make_stream(source: Any, encode: Encode | None, options: StreamOptions) -> Stream:
    """Describe a stream, with the defaults of responses.

    Raises:
        TypeError: an option does not exist.
        ValueError: the buffer is too small for a single chunk.
    """
    check_options(options)
    stream = Stream(source, encode, buffer_size=BUFFER_SIZE, write_timeout=WRITE_TIMEOUT, given=tuple(options))
    for name, value in options.items():
        setattr(stream, name, value)
    return stream


def check_options(options: StreamOptions) -> None:
    """Refuse keywords that are no limits of a stream, and limits that are none.

    Raises:
        TypeError: an option does not exist.
        ValueError: the buffer is too small for a single chunk, or a time is not above zero.
    """
    for name, value in options.items():
        if name not in StreamOptions.__annotations__:
            raise TypeError(f"a response has no option {name!r}: there are {', '.join(StreamOptions.__annotations__)}")
        check_limit(name, value)


def check_limit(name: str, value: object) -> None:
    """Refuse a value that is no limit. What is not a limit passes.

    Raises:
        ValueError: the buffer is too small for a single chunk, or a time is not above zero.
    """
    if name == "buffer_size" and (not isinstance(value, int) or value < SMALLEST_BUFFER):
        raise ValueError(f"buffer_size must be at least {SMALLEST_BUFFER} bytes, got {value!r}")
    if name in _SECONDS:
        check_seconds(name, value)


def check_seconds(name: str, value: object) -> None:
    """Refuse what is no limit in seconds.

    Raises:
        ValueError: it is neither ``None`` nor a number above zero.
    """
    if value is not None and not (isinstance(value, (int, float)) and value > 0):
        raise ValueError(f"{name} must be a number of seconds above zero, or None for no limit, got {value!r}")
