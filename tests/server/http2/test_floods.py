"""Clients that send more than anybody needs: the connection is closed, or what it takes is bounded; others are served.

Each bound is a count, of bytes, tasks, lines of the log or calls of the app, and none is a time.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from itertools import count, repeat
from typing import Final

import pytest

from tests.server.http2.peer import (
    ACK,
    CONTINUATION,
    END_STREAM,
    HEADERS,
    MAX_FRAME,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY_UPDATE,
    Code,
    Peer,
    block,
    data,
    frame,
    get,
    head,
    post,
    priority,
    pseudo,
    reset,
    settings,
    update,
)
from tests.servers import PATIENCE, Server
from tests.state import get_state

FRAMES: Final = 200_000
"""Frames of a flood: far beyond what a client sends that is none."""
BATCH: Final = 100
"""Frames that are sent at a time."""
STALLED: Final = 2.0
"""Seconds after which a server that takes nothing from a client that takes nothing has stopped reading."""
MEMORY: Final = 16 * 1024
"""KiB by which a server may grow while it is flooded; what an allocator keeps is among it."""
TASKS: Final = 600
"""Tasks that a connection may have: a few for each of the streams that it may have."""
LINES: Final = 10
"""Lines that a flood may write to the log."""
UNANSWERED: Final = 200
"""Streams that a client may reset before they are answered."""

GET: Final = block(*pseudo())


def streams(first: int = 3) -> Iterator[int]:
    """Numbers of streams, without an end."""
    return count(first, 2)


def flood(peer: Peer, frames: Iterable[bytes], *, reads: bool = True, limit: int = FRAMES) -> int:
    """Send frames until the server closes, or has had so many, or takes no more. Returns how many that were.

    Args:
        peer: the client.
        frames: what it sends.
        reads: it takes what comes back.
        limit: how many it sends.
    """
    source, sent, waiting = iter(frames), 0, b""
    peer.socket.setblocking(False)
    while not peer.closed and (waiting or sent < limit):
        if not waiting:
            batch = [piece for piece, _ in zip(source, range(BATCH), strict=False)]
            if not batch:
                break
            waiting = b"".join(batch)
            sent += len(batch)
        wanted = [peer.socket] if reads else []
        ready, writable, _ = select.select(wanted, [peer.socket], [], PATIENCE if reads else STALLED)
        if not (ready or writable):
            break  # it reads no more: that is a bound too
        try:
            if writable:
                waiting = waiting[peer.socket.send(waiting) :]
        except OSError:
            peer.wait_until_closed()
        if ready:
            peer.take()
            peer.socket.setblocking(False)
    return sent


FLOODS: dict[str, tuple[bytes, Callable[[], Iterable[bytes]]]] = {
    "pings": (b"", lambda: repeat(frame(PING, 0, 0, bytes(8)))),
    "settings": (b"", lambda: repeat(settings({4: 70_000}))),
    "empty settings": (b"", lambda: repeat(settings())),
    "empty DATA": (post(3, "/unread"), lambda: repeat(data(3, end=False))),
    "empty DATA that an app reads": (post(3, "/waits"), lambda: repeat(data(3, end=False))),
    "empty DATA of padding": (post(3, "/waits"), lambda: repeat(frame(0, PADDED, 3, b"\0"))),
    "CONTINUATION of nothing": (frame(HEADERS, END_STREAM, 3, GET), lambda: repeat(frame(CONTINUATION, 0, 3))),
    "CONTINUATION": (
        frame(HEADERS, END_STREAM, 3, GET), lambda: repeat(frame(CONTINUATION, 0, 3, block(("a", "b" * 100)))),
    ),
    "windows that open by a byte": (post(3, "/unread"), lambda: repeat(update(3, 1))),
    "the connection's window that opens by a byte": (b"", lambda: repeat(update(0, 1))),
    "PRIORITY": (post(3, "/unread"), lambda: repeat(priority(3, 0))),
    "PRIORITY of streams that are idle": (b"", lambda: (priority(stream, 0) for stream in streams())),
    "rapid resets": (b"", lambda: (get(stream, "/waits") + reset(stream) for stream in streams())),
    "rapid resets with bodies": (
        b"", lambda: (post(stream, "/waits") + data(stream, b"abc", end=False) + reset(stream) for stream in streams()),
    ),
    "resets that the server is made to send, by windows": (
        b"", lambda: (post(stream, "/waits") + update(stream, MAX_WINDOW) for stream in streams()),
    ),
    "resets that the server is made to send, by heads": (
        b"", lambda: (head(stream, *pseudo(), ("A", "b")) for stream in streams()),
    ),
    "resets that the server is made to send, by lengths": (
        b"", lambda: (
            post(stream, "/waits", ("content-length", "1")) + data(stream, b"abc") for stream in streams()
        ),
    ),
}  # fmt: skip
"""What is to be closed, and what comes before it."""

BOUNDED: dict[str, tuple[bytes, Callable[[], Iterable[bytes]]]] = {
    "answers to pings that were not sent": (b"", lambda: repeat(frame(PING, ACK, 0, bytes(8)))),
    "unknown frames": (b"", lambda: repeat(frame(0xFA, 0, 0, b"abc"))),
    "priorities of streams that are idle": (
        b"", lambda: (frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + b"u=1") for stream in streams()),
    ),
    "requests that are answered": (b"", lambda: (get(stream) for stream in streams())),
    "streams beyond the limit": (b"", lambda: (get(stream, "/waits") for stream in streams())),
    "DATA of a stream that was reset": (post(3, "/unread") + reset(3), lambda: repeat(data(3, b"a", end=False))),
}  # fmt: skip
"""What need not be closed."""
MANY: Final = 10_000
"""Frames of these."""


def check_bounds(server: Server, peer: Peer, memory: int) -> None:
    """See that others are served, and that a connection holds no more than it may."""
    tasks = sum(get_state(server)["tasks"].values())
    assert tasks < TASKS, peer
    assert server.memory - memory < MEMORY, f"{server.memory - memory} KiB: {peer}"
    assert len(server.output.splitlines()) < LINES, server.output
    with Peer(server) as other:
        other.send(get(1))
        assert other.wait_until_ended(1).status == 200


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_closed(server: Server, name: str, reads: bool) -> None:
    """A client that keeps the server busy and gets nothing done is closed, whether it reads what comes back or not."""
    before, frames = FLOODS[name]
    memory = server.memory
    with Peer(server) as peer:
        peer.catch_up()
        peer.send(before)
        sent = flood(peer, frames(), reads=reads)
        check_bounds(server, peer, memory)
        if reads:
            assert peer.closed, f"open after {sent} frames: {peer}"
            assert peer.goaway in {None, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR}, peer
    if name.startswith("rapid"):
        assert sum(line == "waits begun" for line in server.events) <= UNANSWERED


@pytest.mark.parametrize("name", BOUNDED)
def test_a_flood_is_bounded(server: Server, name: str) -> None:
    """What a client may do is done, or refused; nothing grows with it."""
    before, frames = BOUNDED[name]
    memory = server.memory
    with Peer(server) as peer:
        peer.catch_up()
        peer.send(before)
        flood(peer, frames(), limit=MANY)
        check_bounds(server, peer, memory)


@pytest.mark.parametrize("window", [0, 1, 65_535], ids=["shut", "a byte", "open"])
def test_answers_that_nobody_takes(server: Server, window: int) -> None:
    """A hundred answers of 16 MiB for a client whose windows stay as they are wait in the apps, not in the server."""
    memory = server.memory
    with Peer(server, first=PREFACE + settings({4: window})) as peer:
        peer.send(b"".join(get(stream, "/blocks/1000") for stream in range(1, 201, 2)))
        assert peer.catch_up()
        server.wait_for_event("blocks begun", 90)
        assert peer.catch_up()
        check_bounds(server, peer, memory)
        taken = sum(line.startswith("block ") for line in server.events) * 16_384
        assert taken <= 100 * (65_536 + 16_384) + 65_535


def test_answers_that_nobody_reads(server: Server) -> None:
    """Windows may be as open as they can be: what a client does not read from its socket is not kept either."""
    memory = server.memory
    with Peer(server, first=PREFACE + settings({4: MAX_WINDOW}) + update(0, MAX_WINDOW - 65_535),
              receive_buffer=4096) as peer:  # fmt: skip
        peer.send(b"".join(get(stream, "/blocks/1000") for stream in range(1, 201, 2)))
        server.wait_for_event("blocks begun", 90)
        check_bounds(server, peer, memory)


def test_bodies_that_nobody_reads(server: Server) -> None:
    """A hundred uploads that wait for their apps hold a window each at most, and all together a connection's."""
    memory, sent = server.memory, 0
    with Peer(server) as peer:
        peer.catch_up()
        for stream in range(1, 201, 2):
            peer.send(post(stream, "/unread"))
        for stream in [*range(1, 201, 2)] * 4:
            if peer.catch_up() and sent + MAX_FRAME <= 65_535 + peer.updates.get(0, 0):
                sent += MAX_FRAME
                peer.send(data(stream, bytes(MAX_FRAME), end=False))
        check_bounds(server, peer, memory)


def test_padding_is_given_back(server: Server) -> None:
    """A body that is mostly padding uses windows up, which are opened again: it comes to its end."""
    piece = frame(0, PADDED, 1, b"\xff" + b"a" + bytes(255))
    with Peer(server) as peer:
        peer.send(post(1))
        room, pieces = 65_535, 1_000
        for number in range(pieces):
            while room + min(peer.updates.get(0, 0), peer.updates.get(1, 0)) < (number + 1) * 257:
                peer.take()
                assert not peer.closed, peer
            peer.send(piece)
        peer.send(data(1))
        answer = peer.wait_until_ended(1)
        assert answer.status == 200, peer
        assert b"a" * pieces in answer.body


@pytest.mark.parametrize("size", [2**24 - 1, 20_000])
def test_a_frame_that_is_too_large_is_not_kept(server: Server, size: int) -> None:
    """The length of a frame is checked before its payload is there: it is in the first nine bytes."""
    memory = server.memory
    with Peer(server) as peer:
        peer.catch_up()
        peer.send(frame(0xFA, 0, 0, length=size))
        flood(peer, repeat(bytes(16_384)), limit=2_000)
        assert peer.closed, peer
        check_bounds(server, peer, memory)
