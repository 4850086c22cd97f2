"""The limits of requests and streams: an app's settings, and the keywords of streaming responses."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Final, TypedDict, get_args

import msgspec

from trioweb.ground.chunks import Encode
from trioweb.ground.pace import AUTO, MinRate, check_rate
from trioweb.streams.stream import AtStop, Stream

BUFFER_SIZE: Final = 65536
"""Bytes of a stream that wait between producer and client, besides one chunk and the message being written."""
SMALLEST_BUFFER: Final = 64
"""The least ``buffer_size``: the least that a chunk counts."""
WRITE_TIMEOUT: Final = 60.0
"""Seconds of a response in which the client may receive nothing."""
MAX_BODY_SIZE: Final = 16 * 2**20
"""Bytes of a request body that is read whole, a form with its files too, unless app, router or route set another limit.

A body that is not a form takes at most twice that in memory, while its chunks are joined.
"""
BODY_TIMEOUT: Final = 60.0
"""Seconds in which a client may send nothing of a request body that the handler waits for; then it is a 408."""
MAX_LINE_SIZE: Final = 2**20
"""Bytes of a line in ``request.json_lines()``, which holds one line and one chunk in memory."""
MAX_FIELDS: Final = 1000
"""Fields of a form that are not files; each costs some 10 us and, with its name, at least 200 bytes."""
MAX_FIELD_SIZE: Final = 2**20
"""Bytes of such a field; all fields of a form are at most ``max_body_size``."""
MAX_FILES: Final = 1000
"""Files of a form; they share one temporary file, so that they need one file descriptor."""
MAX_PARTS: Final = 100_000
"""Parts of a form that is read as a stream, which keeps none of them."""
MAX_PART_LINE: Final = 8192
"""Bytes of a header line of a part: it holds the name of a file, perhaps percent-encoded."""
MAX_PART_LINES: Final = 16
"""Header lines of a part; RFC 7578 defines three. The headers of a part have at most 128 KiB."""

_OF_STREAMS: Final = ("buffer_size", "idle_timeout", "write_timeout", "max_duration")


class StreamOptions(TypedDict, total=False):
    """The limits of a stream: keywords of every streaming response.

    Attributes:
        buffer_size: bytes that wait between producer and client besides one chunk; 65,536 unless given, at least 64.
        idle_timeout: seconds in which the producer may yield nothing; no limit unless given.
        write_timeout: seconds in which the client may receive nothing; 60 unless given, ``None`` for no limit.
        max_duration: seconds for the whole stream; no limit unless given.
        on_error: called with the exception that ends the stream after its first chunk. A returned value is sent as the
            last chunk and the stream ends cleanly; after ``None`` it is aborted. The error is logged in both cases.
        at_stop: what happens when the server is told to stop: ``"end"`` ends the stream at once and cleanly;
            ``"finish"`` lets it run until the server's graceful timeout, and then aborts it. Unless given, event
            streams that answer a ``GET`` end, since an ``EventSource`` reconnects; others finish.
    """

    buffer_size: int
    idle_timeout: float | None
    write_timeout: float | None
    max_duration: float | None
    on_error: Callable[[Exception], object] | None
    at_stop: AtStop


class Limits(msgspec.Struct, frozen=True):
    """An app's limits, for all requests and streams without limits of their own: see ``App``. ``None`` is no limit.

    Raises:
        ValueError: if a limit is invalid.
    """

    max_body_size: int = MAX_BODY_SIZE
    timeout: float | None = None
    body_timeout: float | None = BODY_TIMEOUT
    buffer_size: int = BUFFER_SIZE
    idle_timeout: float | None = None
    write_timeout: float | None = WRITE_TIMEOUT
    max_duration: float | None = None
    min_rate: MinRate = AUTO

    def __post_init__(self) -> None:
        check_rate("min_rate", self.min_rate)
        for name in self.__struct_fields__:
            check_limit(name, getattr(self, name))

    def apply(self, stream: Stream) -> None:
        """Set those limits of a stream that its response was not given."""
        for name in _OF_STREAMS:
            if name not in stream.given:
                setattr(stream, name, getattr(self, name))


def make_stream(source: object, encode: Encode | None, options: StreamOptions) -> Stream:
    """A stream with these options, and defaults for the others. Raises as ``check_options`` does."""
    check_options(options)
    stream = Stream(source, encode, buffer_size=BUFFER_SIZE, write_timeout=WRITE_TIMEOUT, given=tuple(options))
    for name, value in options.items():
        setattr(stream, name, value)
    return stream


def check_options(options: StreamOptions) -> None:
    """Check the keywords of a streaming response.

    Raises:
        TypeError: if an option does not exist, or ``on_error`` is not a plain function.
        ValueError: if the buffer is too small for a chunk, a time is not above zero, or ``at_stop`` is another value.
    """
    for name, value in options.items():
        if name not in StreamOptions.__annotations__:
            raise TypeError(f"a response has no option {name!r}: there are {', '.join(StreamOptions.__annotations__)}")
        if name == "on_error" and value is not None and (not callable(value) or iscoroutinefunction(value)):
            kind = "an async def" if callable(value) else type(value).__qualname__
            raise TypeError(f"on_error is a plain def that makes the last chunk of an exception, got {kind}")
        if name == "at_stop" and value not in get_args(AtStop):
            raise ValueError(f'at_stop is "end" or "finish", got {value!r}')
        check_limit(name, value)


def check_limit(name: str, value: object) -> None:
    """Check a value by the name of its limit; other names pass. Raises as the functions below do."""
    if name == "buffer_size" and (not isinstance(value, int) or value < SMALLEST_BUFFER):
        raise ValueError(f"buffer_size must be at least {SMALLEST_BUFFER} bytes, got {value!r}")
    if name == "max_body_size":
        check_size(name, value)
    if name.endswith(("timeout", "duration")):
        check_seconds(name, value)


def check_seconds(name: str, value: object) -> None:
    """Check a limit in seconds.

    Raises:
        ValueError: if it is neither ``None`` nor a number above zero.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
        raise ValueError(f"{name} must be a number of seconds above zero, or None for no limit, got {value!r}")


def check_size(name: str, value: object) -> None:
    """Check a number of bytes, or of other things.

    Raises:
        ValueError: if it is not a whole number from zero on.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number from 0 on, got {value!r}")
