"""The limits of a request and of its stream: what an app sets for all, and the keywords of a response that streams."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, Final, TypedDict, get_args

import msgspec

from trioweb.ground.chunks import Encode
from trioweb.ground.pace import AUTO, MinRate, check_rate
from trioweb.streams.stream import AtStop, Stream

BUFFER_SIZE: Final = 65536
"""Bytes that wait between a producer and its client, besides one chunk and the message being written. A stream."""
SMALLEST_BUFFER: Final = 64
"""The least ``buffer_size``: what one chunk counts at least."""
WRITE_TIMEOUT: Final = 60.0
"""Seconds that a client may take nothing of what is written to it. A response."""
MAX_BODY_SIZE: Final = 16 * 2**20
"""Bytes of a request body that is taken whole, a form with its files too, unless app, router or route say otherwise.

A request. What is held in memory of a body that is no form is at most twice that, while its pieces are joined.
"""
BODY_TIMEOUT: Final = 60.0
"""Seconds that a client may send nothing of a request body while somebody waits for it. A request; then it is a 408."""
MAX_LINE_SIZE: Final = 2**20
"""Bytes of a line in ``request.json_lines()``, all that is held of the body at a time besides one piece. A request."""
MAX_FIELDS: Final = 1000
"""Fields of a form that are no files. A request; each costs some 10 us and, with its name, at least 200 bytes."""
MAX_FIELD_SIZE: Final = 2**20
"""Bytes of such a field. A request holds no more than ``max_body_size`` of all of them."""
MAX_FILES: Final = 1000
"""Files of a form. A request; they share one temporary file, so the number of open files is no limit."""
MAX_PARTS: Final = 100_000
"""Parts of a form that is read as a stream: they are gone when they are read. A request."""
MAX_PART_LINE: Final = 8192
"""Bytes of a line in the head of a form's part: a name, or the name of a file, percent-encoded at the worst."""
MAX_PART_LINES: Final = 16
"""Lines in the head of a form's part; RFC 7578 knows three. A head is at most 128 KiB."""

_OF_STREAMS: Final = ("buffer_size", "idle_timeout", "write_timeout", "max_duration")
_SECONDS: Final = ("timeout", "body_timeout", "idle_timeout", "write_timeout", "max_duration")


class StreamOptions(TypedDict, total=False):
    """The limits of a stream, which every response that streams takes as keywords.

    Attributes:
        buffer_size: bytes that wait between producer and client besides one chunk; 65,536 unless given, 64 at least.
        idle_timeout: seconds that the producer may give nothing; no limit unless given.
        write_timeout: seconds that the client may take nothing; 60 unless given, ``None`` for no limit.
        max_duration: seconds for the whole stream; no limit unless given.
        on_error: called with the exception that ends the stream after its first chunk; what it returns is sent as the
            last chunk and ends the stream cleanly, ``None`` breaks it off as without it. The error is logged anyway.
        at_stop: what a stream does when the server is told to stop: ``"end"`` ends it at once, and cleanly; with
            ``"finish"`` it may come to its end within the server's graceful timeout, and is broken off then. Unless
            given, event streams that answer a ``GET`` end, since an ``EventSource`` connects again; others finish.
    """

    buffer_size: int
    idle_timeout: float | None
    write_timeout: float | None
    max_duration: float | None
    on_error: Callable[[Exception], Any] | None
    at_stop: AtStop


class Limits(msgspec.Struct, frozen=True):
    """What holds for all requests of an app that do not say otherwise.

    Attributes:
        max_body_size: bytes of a request body that is taken whole.
        body_timeout: seconds that a client may send nothing of a body that somebody waits for.
        timeout: seconds from the handler's start to the end of its response; ``None`` for no limit, as in the rest.
        buffer_size: bytes that wait in a stream, besides one chunk.
        idle_timeout: seconds that a stream's producer may give nothing.
        write_timeout: seconds that a client may take nothing of a response.
        max_duration: seconds for a whole stream.
        min_rate: bytes a second that a client must send of a body that somebody waits for, and take of a response:
            240 unless given, and none where the timeout of that direction is ``None``.

    Raises:
        ValueError: one of them is no limit.
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
        TypeError: an option does not exist, or ``on_error`` cannot be called where an error ends the stream.
        ValueError: the buffer is too small for a single chunk, or a time is not above zero.
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
    """Refuse a value that is no limit. What is not a limit passes.

    Raises:
        ValueError: the buffer is too small for a single chunk, a time is not above zero, or a size is below it.
    """
    if name == "buffer_size" and (not isinstance(value, int) or value < SMALLEST_BUFFER):
        raise ValueError(f"buffer_size must be at least {SMALLEST_BUFFER} bytes, got {value!r}")
    if name == "max_body_size":
        check_size(name, value)
    if name in _SECONDS:
        check_seconds(name, value)


def check_seconds(name: str, value: object) -> None:
    """Refuse what is no limit in seconds.

    Raises:
        ValueError: it is neither ``None`` nor a number above zero.
    """
    if value is not None and not (isinstance(value, (int, float)) and value > 0):
        raise ValueError(f"{name} must be a number of seconds above zero, or None for no limit, got {value!r}")


def check_size(name: str, value: object) -> None:
    """Refuse what is no number of bytes, or of other things.

    Raises:
        ValueError: it is not a whole number from zero on.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number from 0 on, got {value!r}")
