"""A case: what a client sends on a connection, and what has to come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.server.http2.peer import PREFACE, Code, Peer, Reachable, data, get, post, settings

BYSTANDER: Final = 1
"""The stream of a request that is under way when a case begins, and goes on behind it."""
LAST: Final = 100_001
"""The stream of a request behind a case."""

Part = bytes | Callable[[Peer], object]
"""Bytes that are sent, or something that is waited for."""


class Expected(NamedTuple):
    """What has to come of a case. The connection goes on, with all other streams, unless ``ends``.

    Attributes:
        stream: what it is about.
        codes: one of these errors; without any there is none.
        statuses: or one of these answers.
        ends: the error is the connection's: GOAWAY, and a close.
        may_end: it may be that too: "an endpoint MAY choose to treat a stream error as a connection error" (RFC 9113,
            section 5.4.1). Never for what is only a malformed request: others share the connection, by way of a proxy.
        may_pass: nothing has to come of it, as long as the rest goes on.
    """

    stream: int = 3
    codes: tuple[Code, ...] = ()
    statuses: tuple[int, ...] = ()
    ends: bool = False
    may_end: bool = False
    may_pass: bool = False


def connection_error(*codes: Code) -> Expected:
    """The connection ends."""
    return Expected(0, codes, ends=True)


def stream_error(*codes: Code, stream: int = 3, may_end: bool = False) -> Expected:
    """A stream ends, and no other."""
    return Expected(stream, codes, may_end=may_end)


def late(*codes: Code, stream: int = 3) -> Expected:
    """A frame on a stream that has ended: an error of either, or nothing, but never a second request."""
    return Expected(stream, codes, may_end=True, may_pass=True)


def answered(*statuses: int, stream: int = 3) -> Expected:
    """A stream is answered."""
    return Expected(stream, statuses=statuses or (200,))


REFUSALS: Final = (400, 405, 413, 414, 431, 501)
MALFORMED: Final = Expected(3, (Code.PROTOCOL_ERROR,), REFUSALS)
"""A malformed request: RST_STREAM, or an answer that says so (RFC 9113, section 8.1.1)."""
GOES_ON: Final = Expected(0)
"""Nothing comes of it."""


class Case(NamedTuple):
    """A case.

    Attributes:
        parts: what is sent, in this order, or waited for.
        expected: what has to come of it.
        first: what is sent first.
    """

    parts: tuple[Part, ...]
    expected: Expected
    first: bytes = PREFACE + settings()


def case(*parts: Part, expected: Expected, first: bytes = PREFACE + settings()) -> Case:
    """A case."""
    return Case(parts, expected, first)


def until_answered(stream: int) -> Callable[[Peer], object]:
    """Wait until a stream has ended."""
    return lambda peer: peer.wait_until_ended(stream)


def until_begun(stream: int) -> Callable[[Peer], object]:
    """Wait until a response has begun."""
    return lambda peer: peer.wait(lambda: bool(peer.answer(stream).heads or peer.answer(stream).done))


def play(server: Reachable, case: Case) -> None:
    """Play a case on a connection of its own.

    Raises:
        AssertionError: something else has come of it.
    """
    with Peer(server, first=case.first) as peer:
        peer.send(post(BYSTANDER, "/echo"))
        for part in case.parts:
            if isinstance(part, bytes):
                peer.send(part)
            else:
                part(peer)
        goes_on = peer.catch_up()
        expected = case.expected
        if not goes_on and (expected.ends or expected.may_end):
            assert peer.goaway in expected.codes, f"expected {expected}, got {peer}"
            return
        assert goes_on, f"expected {expected}, got {peer}"
        assert not expected.ends, f"expected {expected}, got {peer}"
        _check_stream(peer, expected)
        see_that_the_rest_goes_on(peer)


def _check_stream(peer: Peer, expected: Expected) -> None:
    answer = peer.answer(expected.stream)
    if expected.codes and not (expected.may_pass and answer.reset is None):
        peer.wait_until_ended(expected.stream)
        assert answer.reset in expected.codes or (answer.status in expected.statuses), (
            f"expected {expected}, got {peer}"
        )
    elif expected.statuses:
        peer.wait_until_ended(expected.stream)
        assert answer.reset is None, f"expected {expected}, got {peer}"
        assert answer.status in expected.statuses, f"expected {expected}, got {peer}"
    assert len(answer.heads) <= 1, f"a second response on stream {expected.stream}: {peer}"


def see_that_the_rest_goes_on(peer: Peer, *, bystander: bool = True) -> None:
    """See that the other streams of a connection go on."""
    if bystander:
        peer.send(data(BYSTANDER, b"on it goes"))
        answer = peer.wait_until_ended(BYSTANDER)
        assert answer.ended, f"the stream beside it: {answer}; {peer}"
        assert answer.body == b"on it goes", f"the stream beside it: {answer}; {peer}"
    peer.send(get(LAST))
    answer = peer.wait_until_ended(LAST)
    assert answer.ended, f"the stream behind it: {peer}"
    assert answer.status == 200, f"the stream behind it: {peer}"
