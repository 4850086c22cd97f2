"""The limits of a stream: the keywords that every response which streams takes, and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypedDict

from trioweb.ground.chunks import Encode
from trioweb.wire.producer import Stream

BUFFER_SIZE: Final = 65536
"""Bytes that wait between a producer and its client, besides one chunk and the message being written. A stream."""
SMALLEST_BUFFER: Final = 64
"""The least ``buffer_size``: what one chunk counts at least."""
WRITE_TIMEOUT: Final = 60.0
"""Seconds that a client may take nothing of what is written to it. A stream."""

_SECONDS: Final = ("idle_timeout", "write_timeout", "max_duration")


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


def make_stream(source: Any, encode: Encode | None, options: StreamOptions) -> Stream:
    """Describe a stream, with the defaults of responses.

    Raises:
        TypeError: an option does not exist.
        ValueError: the buffer is too small for a single chunk.
    """
    check_options(options)
    stream = Stream(source, encode, buffer_size=BUFFER_SIZE, write_timeout=WRITE_TIMEOUT)
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
