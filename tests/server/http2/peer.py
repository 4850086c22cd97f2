"""HTTP/2 as bytes: frames that are well formed and frames that are not, and a client that takes what comes back.

Heads are encoded without a table and without Huffman's code, so that a frame is the same bytes on every connection.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final, Protocol, Self

from hpack import Decoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.servers import PATIENCE

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME: Final = 16384
"""Bytes of a frame's payload where nobody has said otherwise."""
WINDOW: Final = 65535
"""Bytes of a window where nobody has said otherwise."""
MAX_WINDOW: Final = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE: Final = 16
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20

Field = tuple[str | bytes, str | bytes]


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
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


# Frames


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame of any content; it may lie about its length."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """A number with a prefix of so many bits (RFC 7541, section 5.1), in whose first byte ``first`` is set too."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((first | value,))
    encoded = [first | limit]
    value -= limit
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    return bytes((*encoded, value))


def field(name: str | bytes, value: str | bytes) -> bytes:
    """A literal field that is in no table (RFC 7541, section 6.2.2)."""
    name, value = (text.encode() if isinstance(text, str) else text for text in (name, value))
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def block(*fields: Field) -> bytes:
    """A block of fields."""
    return b"".join(field(*each) for each in fields)


def pseudo(method: str | bytes = "GET", path: str | bytes = "/") -> tuple[Field, ...]:
    """What each request says of itself."""
    return (":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)


def head(stream: int, *fields: Field, end: bool = True) -> bytes:
    """A head in one frame."""
    flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
    return HeadersFrame(stream, block(*fields), flags=flags).serialize()


def get(stream: int, path: str = "/", *more: Field) -> bytes:
    """A whole request."""
    return head(stream, *pseudo("GET", path), *more)


def post(stream: int, path: str = "/", *more: Field) -> bytes:
    """A request whose body follows."""
    return head(stream, *pseudo("POST", path), *more, end=False)


def data(stream: int, body: bytes = b"", *, end: bool = True) -> bytes:
    """A piece of a body."""
    return DataFrame(stream, body, flags=["END_STREAM"] if end else []).serialize()


def settings(values: dict[int, int] | None = None) -> bytes:
    """Settings, whatever their values."""
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in (values or {}).items())
    return frame(SETTINGS, 0, 0, payload)


def reset(stream: int, code: int = Code.CANCEL) -> bytes:
    """The end of a stream."""
    return RstStreamFrame(stream, error_code=code).serialize()


def update(stream: int, increment: int) -> bytes:
    """A window that opens."""
    return WindowUpdateFrame(stream, window_increment=increment).serialize()


def priority(stream: int, depends_on: int) -> bytes:
    """What RFC 7540 had to say of priorities."""
    return PriorityFrame(stream, depends_on=depends_on, stream_weight=15).serialize()


def ping(content: bytes = b"pingpong") -> bytes:
    """A ping."""
    return PingFrame(0, content).serialize()


def fields_of(decoder: Decoder, encoded: bytes) -> dict[str, str]:
    """The fields of a block."""
    return {
        name if isinstance(name, str) else name.decode(): value if isinstance(value, str) else value.decode()
        for name, value in decoder.decode(encoded)
    }


# A client


class Reachable(Protocol):
    """What a ``Peer`` needs of a server."""

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A connection."""
        ...


class Answer:
    """What has come on a stream.

    Attributes:
        heads: each block of fields: of the response, and of its trailers.
        informed: what it said before its response, as 100 is.
        body: so far.
        ended: the server has ended it.
        reset: the code with which it was reset.
    """

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []
        self.informed: list[int] = []
        self.body = b""
        self.ended = False
        self.reset: int | None = None

    @property
    def status(self) -> int:
        """Of the response; 0 before there is one."""
        return int(self.heads[0][":status"]) if self.heads else 0

    @property
    def done(self) -> bool:
        """Nothing more comes."""
        return self.ended or self.reset is not None

    def __repr__(self) -> str:
        words = [str(head.get(":status", "trailers")) for head in self.heads] + [f"{len(self.body)} bytes"]
        words += ["ended"] * self.ended
        return " ".join(words + ([f"RST_STREAM {Code(self.reset).name}"] if self.reset is not None else []))


class Peer:
    """A client that sends bytes, and takes frames. Windows open when a test says so.

    Args:
        server: where to connect.
        client: a connection that there is already, where it is of another kind.
        first: what is sent first.
        receive_buffer: bytes that the system may hold for it.

    Attributes:
        answers: by stream.
        told: the server's settings.
        acknowledged: how many times it has acknowledged ours.
        goaway: the code with which it goes.
        last_stream: the last one that it says it has worked on.
        pongs: answers to pings.
        updates: windows that it has opened, by stream.
        closed: the connection is.
        decoder: of the heads of answers.
        kinds: the names of all frames that have come.
        largest: bytes of the largest of them.
    """

    def __init__(
        self,
        server: Reachable | None = None,
        *,
        client: socket.socket | None = None,
        first: bytes = PREFACE + settings(),
        receive_buffer: int | None = None,
    ) -> None:
        if client is None:
            assert server is not None
            client = server.connect(receive_buffer)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent leaves at once
        self.socket = client
        self.answers: dict[int, Answer] = {}
        self.told: dict[int, int] | None = None
        self.acknowledged = 0
        self.goaway: int | None = None
        self.last_stream = -1
        self.pongs: list[bytes] = []
        self.updates: dict[int, int] = {}
        self.closed = False
        self.kinds: list[str] = []
        self.largest = 0
        self.decoder = Decoder()
        self._buffer = b""
        self._block = b""
        self.send(first)

    def send(self, data: bytes) -> None:
        """Send bytes, unless the server has closed."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def answer(self, stream: int) -> Answer:
        """What has come on a stream."""
        return self.answers.setdefault(stream, Answer())

    def wait(self, condition: Callable[[], bool], what: str = "it") -> bool:
        """Take frames until something holds, or the server closes. Returns whether it holds.

        Raises:
            AssertionError: nothing of that comes.
        """
        end = time.monotonic() + PATIENCE
        while not condition() and not self.closed:
            assert time.monotonic() < end, f"no sign of {what}: {self}"
            self.take()
        return condition()

    def wait_until_ended(self, stream: int) -> Answer:
        """Take frames until a stream has ended, in whatever way."""
        answer = self.answer(stream)
        self.wait(lambda: answer.done, f"an end of stream {stream}")
        return answer

    def wait_for_body(self, stream: int, size: int) -> bool:
        """Take frames until so many bytes of a body have come. Returns whether they have."""
        answer = self.answer(stream)
        return self.wait(lambda: len(answer.body) >= size, f"{size} bytes on stream {stream}")

    def catch_up(self) -> bool:
        """Take frames until the server has worked on all that was sent. Returns whether the connection goes on."""
        content = b"%08d" % len(self.pongs)
        self.send(ping(content))
        return self.wait(lambda: content in self.pongs, "an answer to a ping")

    def wait_until_closed(self) -> None:
        """Take frames until the server closes."""
        self.wait(lambda: False, "a close")

    def take(self) -> None:
        """Take what comes next."""
        try:
            self.socket.settimeout(PATIENCE)
            received = self.socket.recv(1 << 18)
        except ConnectionResetError:
            received = b""
        except TimeoutError:
            return
        self.closed = not received
        self._buffer += received
        while len(self._buffer) >= 9:
            found, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            self.largest = max(self.largest, length)
            if len(self._buffer) < 9 + length:
                break
            found.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self._note(found)

    def open_windows(self, stream: int, size: int) -> None:
        """Let the server send so much more, on a stream and on the connection."""
        self.send(update(0, size) + update(stream, size))

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        words = [f"stream {number}: {answer}" for number, answer in self.answers.items() if number != 1]
        words += [] if self.goaway is None else [f"GOAWAY {Code(self.goaway).name}"]
        return "; ".join(words + (["closed"] if self.closed else ["open"]))

    def _note(self, found: Frame) -> None:
        self.kinds.append(type(found).__name__)
        if isinstance(found, SettingsFrame):
            if "ACK" in found.flags:
                self.acknowledged += 1
            else:
                self.told = {**(self.told or {}), **found.settings}
                self.send(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(found, PingFrame):
            if "ACK" in found.flags:
                self.pongs.append(found.opaque_data)
            else:
                self.send(PingFrame(0, found.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(found, GoAwayFrame):
            self.goaway, self.last_stream = found.error_code, found.last_stream_id
        elif isinstance(found, WindowUpdateFrame):
            self.updates[found.stream_id] = self.updates.get(found.stream_id, 0) + found.window_increment
        elif isinstance(found, RstStreamFrame):
            self.answer(found.stream_id).reset = found.error_code
        elif found.stream_id:
            self._note_answer(found)

    def _note_answer(self, found: Frame) -> None:
        answer = self.answer(found.stream_id)
        if isinstance(found, DataFrame):
            answer.body += found.data
        elif not isinstance(found, PriorityFrame):
            self._block += getattr(found, "data", b"")
            if "END_HEADERS" in found.flags:
                fields = fields_of(self.decoder, self._block)
                self._block = b""
                if fields.get(":status", "").startswith("1"):
                    answer.informed.append(int(fields[":status"]))
                else:
                    answer.heads.append(fields)
        answer.ended |= "END_STREAM" in found.flags
