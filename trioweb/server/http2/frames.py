"""Frames of HTTP/2 as bytes, without I/O (RFC 9113, sections 3.4, 4 and 6).

Rules that this module alone enforces:

* A connection begins with the preface, and then a SETTINGS frame.
* A frame that is too large is refused before its payload is buffered.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_SIZE: Final = 16384
"""The largest payload of a frame, in both directions: small ones share a connection better."""
WINDOW: Final = 65535
"""The first window of a connection, and that of a stream until a SETTINGS frame changes it."""
LARGEST_WINDOW: Final = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE: Final = 16
"""RFC 9218, section 7.1."""
ACK: Final = 1
END_STREAM: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
WITH_PRIORITY: Final = 32

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
NO_RFC7540_PRIORITIES: Final = 9
"""RFC 9218, section 2.1."""

_HEAD: Final = Struct("!HBBBL")  # of a frame; the length in two parts
_SETTING: Final = Struct("!HL")
_NUMBER: Final = Struct("!L")
_TWO: Final = Struct("!LL")
_NO_STREAM: Final = frozenset({SETTINGS, PING, GOAWAY, PRIORITY_UPDATE})
_ONE_STREAM: Final = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION})
_SIZES: Final = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}


class Code(IntEnum):
    """Error codes (RFC 9113, section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """The client has broken a rule that ends its connection (RFC 9113, section 5.4.1)."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """It has broken one that ends a stream of it only (section 5.4.2)."""

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code


class Frame(NamedTuple):
    """One frame, its padding not removed yet."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class FrameReader:
    """Parses what a client sends."""

    __slots__ = ("_data", "_in_preface", "_settled")

    def __init__(self) -> None:
        self._data = bytearray()
        self._in_preface = True
        self._settled = False

    def feed(self, data: bytes) -> None:
        """Append bytes."""
        self._data += data

    @property
    def begun(self) -> bool:
        """A frame has begun to come."""
        return bool(self._data)

    def next(self) -> Frame | None:
        """The next frame; ``None`` if it has not come whole.

        Raises:
            ConnectionFault: if it can be none.
        """
        data = self._data
        if self._in_preface:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "this is no preface of HTTP/2")
            if len(data) < len(PREFACE):
                return None
            del data[: len(PREFACE)]
            self._in_preface = False
        if len(data) < 9:
            return None
        high, low, kind, flags, stream = _HEAD.unpack_from(data)
        size = high << 8 | low
        if not self._settled:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "HTTP/2 begins with SETTINGS")
            self._settled = size <= FRAME_SIZE
        if size > FRAME_SIZE:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "the frame is too large")
        end = 9 + size
        if len(data) < end:
            return None
        payload = bytes(data[9:end])
        del data[:end]
        return _checked(Frame(kind, flags, stream & LARGEST_WINDOW, payload))


def _checked(frame: Frame) -> Frame:
    kind, _, stream, payload = frame
    if (kind in _NO_STREAM and stream) or (kind in _ONE_STREAM and not stream):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "the frame is on the wrong stream")
    size = _SIZES.get(kind)
    if size is not None and len(payload) != size and kind != PRIORITY:  # for that it is the stream's error
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "the frame has a wrong size")
    return frame


def content_of(frame: Frame) -> bytes:
    """The payload of a DATA or HEADERS frame without padding and priority.

    Raises:
        ConnectionFault: if there is less than none.
    """
    _, flags, _, payload = frame
    begin, end = 0, len(payload)
    if flags & PADDED:
        if not payload or payload[0] >= end:
            raise ConnectionFault(Code.PROTOCOL_ERROR if payload else Code.FRAME_SIZE_ERROR, "the padding is too long")
        begin, end = 1, end - payload[0]
    if frame.kind == HEADERS and flags & WITH_PRIORITY:
        begin += 5
        if begin > end:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "the frame has no room for its priority")
    return payload if end - begin == len(payload) else payload[begin:end]


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings of a SETTINGS frame, in order (section 6.5).

    Raises:
        ConnectionFault: if one of them is not valid.
    """
    if len(payload) % 6:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS has a wrong size")
    found = list(_SETTING.iter_unpack(payload))
    for name, value in found:
        if name == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window is too large")
        if (name in (ENABLE_PUSH, NO_RFC7540_PRIORITIES, 8) and value > 1) or (
            name == MAX_FRAME_SIZE and not 2**14 <= value < 2**24
        ):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a setting is out of its range")
    return found


def read_number(payload: bytes) -> int:
    """The number of 31 bits that a payload begins with."""
    return int(_NUMBER.unpack_from(payload)[0]) & LARGEST_WINDOW


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 255, kind, flags, stream) + payload


def data_frame(stream: int, data: bytes | memoryview, *, end: bool) -> bytes:
    """A DATA frame."""
    size = len(data)
    return b"".join((_HEAD.pack(size >> 8, size & 255, DATA, end, stream), data))


def head_frames(stream: int, block: bytes, *, end: bool) -> bytes:
    """A HEADERS frame, and CONTINUATION frames for what it has no room for."""
    if len(block) <= FRAME_SIZE:
        return frame(HEADERS, END_HEADERS | end, stream, block)
    parts = [block[at : at + FRAME_SIZE] for at in range(0, len(block), FRAME_SIZE)]
    frames = [frame(HEADERS, int(end), stream, parts[0])]
    frames += [frame(CONTINUATION, 0, stream, part) for part in parts[1:-1]]
    return b"".join([*frames, frame(CONTINUATION, END_HEADERS, stream, parts[-1])])


def settings_frame(settings: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings))


def reset_frame(stream: int, code: Code) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def window_frame(stream: int, count: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(count))


def goaway_frame(last: int, code: Code, reason: str = "") -> bytes:
    """A GOAWAY frame."""
    return frame(GOAWAY, 0, 0, _TWO.pack(last, code) + reason.encode())
