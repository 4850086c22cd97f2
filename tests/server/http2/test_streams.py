"""What streams of one connection do to each other, and what is left of those that have ended: nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.conftest import StartServer
from tests.server.http2.conftest import OPTIONS, TARGET
from tests.server.http2.peer import (
    MAX_FRAME,
    PREFACE,
    WINDOW,
    Code,
    Peer,
    data,
    get,
    head,
    post,
    pseudo,
    reset,
    settings,
    update,
)
from tests.servers import Server

Send = Callable[[Peer, int], None]
TIMES = 100
"""Many times what a window holds, in bodies of a frame."""


def give_up(peer: Peer, stream: int) -> None:
    """Send a part of a body that nobody reads, and reset the stream."""
    peer.send(post(stream, "/unread") + data(stream, bytes(MAX_FRAME), end=False) + reset(stream))


def refuse(peer: Peer, stream: int) -> None:
    """Send a body behind a head that is refused."""
    peer.send(head(stream, *pseudo("POST"), ("A", "b"), end=False) + data(stream, bytes(MAX_FRAME)))


def stop_reading(peer: Peer, stream: int) -> None:
    """Send a body to an app that answers before it has read it."""
    peer.send(post(stream, "/early") + data(stream, bytes(MAX_FRAME)))


def go_beyond_the_length(peer: Peer, stream: int) -> None:
    """Send more than was declared."""
    peer.send(post(stream, "/", ("content-length", "1")) + data(stream, bytes(MAX_FRAME)))


@pytest.mark.parametrize("send", [give_up, refuse, stop_reading, go_beyond_the_length])
def test_what_was_not_read_is_given_back(server: Server, send: Send) -> None:
    """Bodies that no app has taken count in the connection's window only until their stream ends (RFC 9113, 6.9)."""
    sent = 0
    with Peer(server) as peer:
        peer.catch_up()
        answered = 0

        def is_open() -> bool:
            return WINDOW + peer.updates.get(0, 0) - sent >= MAX_FRAME

        for number in range(TIMES):
            stream = 4 * number + 1
            peer.wait(is_open, "a window that opens")
            send(peer, stream)
            sent += MAX_FRAME
            peer.send(get(stream + 2))  # between them requests as they should be: it is no flood of errors
            answered += peer.wait_until_ended(stream + 2).status == 200
        assert answered == TIMES, peer


def test_early_answers_hold_no_stream(server: Server) -> None:
    """A request that is answered before its body has ended does not count among those that are open."""
    with Peer(server) as peer:
        peer.catch_up()
        assert peer.told is not None
        for number in range(2 * peer.told[3]):
            stream = 2 * number + 1
            peer.send(post(stream, "/early"))
            answer = peer.wait_until_ended(stream)
            assert answer.status == 200, peer
            assert peer.catch_up()
            assert answer.reset in {None, Code.NO_ERROR}, peer


def test_an_expectation(server: Server) -> None:
    """A client that waits for it is told to go on once the app wants the body (RFC 9110, section 10.1.1)."""
    with Peer(server) as peer:
        peer.send(post(1, "/", ("expect", "100-continue")))
        assert peer.wait(lambda: peer.answer(1).informed == [100])
        peer.send(data(1, b"as you like"))
        answer = peer.wait_until_ended(1)
        assert b"as you like" in answer.body


def test_an_expectation_that_is_not_met(server: Server) -> None:
    """An app that wants no body answers at once."""
    with Peer(server) as peer:
        peer.send(post(1, "/early", ("expect", "100-continue")))
        answer = peer.wait_until_ended(1)
        assert (answer.status, answer.informed) == (200, [])


def test_answers_that_a_client_has_had_enough_of(server: Server) -> None:
    """Who leaves a page, or skips in a film, resets answers that have begun: that is no flood of resets."""
    with Peer(server, first=PREFACE + settings({4: MAX_FRAME})) as peer:
        peer.send(post(1, "/echo"))
        for number in range(1, 301):
            stream = 2 * number + 1
            peer.send(get(stream, "/blocks/1000"))
            assert peer.wait_for_body(stream, MAX_FRAME), (number, peer)
            peer.send(reset(stream) + update(0, MAX_FRAME))
        peer.send(data(1, b"still here"))
        assert peer.wait_until_ended(1).body == b"still here"


@pytest.mark.parametrize("path", ["/waits", "/unread", "/blocks/1000"])
def test_a_stream_that_is_reset_frees_what_it_held(server: Server, path: str) -> None:
    """A client may reset a stream in any state; what ran for it ends, and its siblings go on."""
    with Peer(server) as peer:
        peer.send(get(1, path) + post(3, path if path == "/unread" else "/waits") + get(5))
        assert peer.wait(lambda: bool(peer.answer(5).heads))
        peer.send(reset(1) + reset(3) + update(0, 1000) + get(7))
        assert peer.wait_until_ended(7).status == 200
        if path != "/unread":
            server.wait_for_event("waits ended", 2 if path == "/waits" else 1)


def test_a_window_that_is_used_up_by_a_stream_that_is_reset(server: Server) -> None:
    """A stream that has used the connection's window up, and is reset, leaves the others as they were."""
    with Peer(server, first=PREFACE + settings({4: 2**20})) as peer:
        peer.send(get(1, "/blocks/1000"))
        assert peer.wait(lambda: len(peer.answer(1).body) == WINDOW)
        peer.send(reset(1) + get(3))
        assert peer.wait(lambda: bool(peer.answer(3).heads))
        peer.send(update(0, 1000))
        assert peer.wait_until_ended(3).ended


def test_a_hundred_streams_at_once(server: Server) -> None:
    """All streams that the server allows run at once, and each gets its own answer."""
    with Peer(server, first=PREFACE + settings({4: 2**20}) + update(0, 2**24)) as peer:
        for stream in range(1, 201, 2):
            peer.send(post(stream, "/echo"))
        for stream in range(199, 0, -2):
            peer.send(data(stream, b"%d" % stream * 100))
        for stream in range(1, 201, 2):
            assert peer.wait_until_ended(stream).body == b"%d" % stream * 100


@pytest.mark.parametrize("ends", ["/blocks/2", "/early"])
def test_a_stop(start_module_server: StartServer, ends: str) -> None:
    """A server that stops says with GOAWAY which streams it has taken, and finishes them (RFC 9113, section 6.8)."""
    server = start_module_server(TARGET, *OPTIONS, runner="trioweb")
    with Peer(server, first=PREFACE + settings({4: 0})) as peer:
        peer.send(get(1, ends))
        assert peer.wait(lambda: bool(peer.answer(1).heads))
        server.process.send_signal(signal.SIGTERM)
        assert peer.wait(lambda: peer.goaway is not None)
        assert peer.goaway == Code.NO_ERROR
        assert peer.last_stream >= 1
        peer.send(update(1, 2**20))
        assert peer.wait_until_ended(1).ended, peer
        peer.wait_until_closed()
    assert server.process.wait(15) == 0
