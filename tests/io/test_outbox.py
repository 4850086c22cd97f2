"""The outbox: one order of messages, and lengths that are kept."""

from __future__ import annotations

from typing import Any

import pytest

from trioweb.ground.errors import ContentLengthError
from trioweb.io.outbox import SLICE, Outbox, checked_headers, sendable
from trioweb.io.transport import PLAIN, Transport

Message = dict[str, Any]


class Wire:
    """A `send` that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        """Keep a message."""
        self.messages.append(message)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies so far."""
        return [message["body"] for message in self.messages[1:]]

    @property
    def ended(self) -> bool:
        """Whether the end was sent."""
        return self.messages[-1].get("more_body") is False


@pytest.fixture
def wire() -> Wire:
    """The server's side."""
    return Wire()


@pytest.mark.parametrize(
    ("first", "then"),
    [((), "body"), ((), "end"), (("start", "end"), "body"), (("start", "end"), "end"), (("start",), "start")],
)
async def test_messages_have_one_order(wire: Wire, first: tuple[str, ...], then: str) -> None:
    """What comes out of order is an error that names both."""
    outbox = Outbox(wire.send, "1.1")
    calls: dict[str, Any] = {
        "start": lambda: outbox.start(200, [], bodiless=False), "body": lambda: outbox.body(b"x"), "end": outbox.end,
    }  # fmt: skip
    for name in first:
        await calls[name]()
    with pytest.raises(RuntimeError, match=f"cannot take '{then}' next"):
        await calls[then]()


@pytest.mark.parametrize("size", [0, 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE, 2 * SLICE + 1, 5 * SLICE])
async def test_a_large_body_leaves_in_slices(wire: Wire, size: int) -> None:
    """A body in one piece is sent in slices, whole and in order, its end with the last of them."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    outbox = Outbox(wire.send, "1.1")
    await outbox.start(200, [(b"content-length", b"%d" % size)], bodiless=False)
    await outbox.whole(data)
    assert b"".join(wire.bodies) == data
    assert all(len(body) <= SLICE for body in wire.bodies)
    assert len(wire.bodies) == max(1, -(-size // SLICE))
    assert wire.ended
    assert outbox.sent == size


async def test_never_more_than_the_declared_length(wire: Wire) -> None:
    """What goes beyond the content-length is cut off, and an error."""
    outbox = Outbox(wire.send, "1.1")
    await outbox.start(200, [(b"content-length", b"5")], bodiless=False)
    await outbox.body(b"123")
    with pytest.raises(ContentLengthError, match="longer"):
        await outbox.body(b"456")
    assert wire.bodies == [b"123", b"45"]
    assert not wire.ended


async def test_no_end_after_fewer_than_the_declared_length(wire: Wire) -> None:
    """With fewer bytes than the content-length the end is not sent."""
    outbox = Outbox(wire.send, "1.1")
    await outbox.start(200, [(b"content-length", b"5")], bodiless=False)
    await outbox.body(b"12")
    with pytest.raises(ContentLengthError, match="2 bytes short"):
        await outbox.end(b"3")
    assert wire.bodies == [b"12", b"3"]
    assert not wire.ended


async def test_a_head_alone_may_declare_a_length(wire: Wire) -> None:
    """The answer to HEAD declares the length that the body would have."""
    outbox = Outbox(wire.send, "1.1")
    await outbox.start(200, [(b"content-length", b"5")], bodiless=True)
    await outbox.end()
    assert wire.ended


def test_a_body_in_one_piece_must_have_its_length() -> None:
    """A content-length that the body does not have is an error before anything is sent."""
    with pytest.raises(ContentLengthError, match="a body of 4 bytes was given the content-length '5': leave it out"):
        checked_headers([(b"content-length", b"5")], "1.1", 200, 4)
    assert checked_headers([(b"content-length", b"4")], "1.1", 200, 4) == [(b"content-length", b"4")]


def test_headers_that_only_a_server_may_set_are_left_out() -> None:
    """Framing is the server's in HTTP/1.1; HTTP/2 forbids what speaks of the connection."""
    headers = [(b"x", b"1"), (b"connection", b"close"), (b"transfer-encoding", b"chunked")]
    assert sendable(headers, "1.1", 200) == headers[:2]
    assert sendable(headers, "2", 200) == headers[:1]


class FileTransport(Transport):
    """A transport that says it has sent so much of each part of a file."""

    def __init__(self, sent: int) -> None:
        self.sent = sent
        self.asked: list[tuple[Any, ...]] = []

    async def send_file(self, send: Any, file: int, position: int, count: int) -> int:
        """Keep what it is asked for."""
        self.asked.append((send, file, position, count))
        return self.sent


async def test_a_part_of_a_file_counts(wire: Wire) -> None:
    """What the system sends of a file counts for the length, and the last piece goes with the end."""
    outbox = Outbox(wire.send, "1.1")
    transport = outbox.transport = FileTransport(600)
    await outbox.start(200, [(b"content-length", b"1000")], bodiless=False)
    assert await outbox.file(3, 50, 999) == 600
    assert transport.asked == [(wire.send, 3, 50, 999)]
    assert await outbox.file(3, 650, 400) == 0  # all of the rest
    await outbox.body(bytes(300))
    with pytest.raises(ContentLengthError, match="100 bytes short"):
        await outbox.end()
    await outbox.end(bytes(100))
    assert outbox.sent == 1000
    assert wire.bodies == [bytes(300), bytes(100)]
    assert len(transport.asked) == 1


async def test_a_file_needs_a_length_and_a_client(wire: Wire) -> None:
    """Without a length, without a client, and on plain ASGI no part of a file is sent."""
    for headers, gone, transport in (
        ([], False, FileTransport(1)),
        ([(b"content-length", b"1000")], True, FileTransport(1)),
        ([(b"content-length", b"1000")], False, PLAIN),
    ):
        outbox = Outbox(wire.send, "1.1")
        outbox.transport = transport
        await outbox.start(200, headers, bodiless=False)
        outbox.gone = gone
        assert await outbox.file(3, 0, 10) == 0
    with pytest.raises(RuntimeError, match="cannot take 'body' next"):
        await Outbox(wire.send, "1.1").file(3, 0, 10)
