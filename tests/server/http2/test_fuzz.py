"""Some seconds of the fuzzer, and that it would find what it looks for."""

from __future__ import annotations

import pytest

from tests.server.http1.fuzz import Script, Step, Tls, main
from tests.server.http2.fuzz import BEGUN, NotHTTP2Error, check_frames, make_test, play
from tests.server.http2.peer import (
    END_HEADERS,
    HEADERS,
    block,
    data,
    frame,
    get,
    head,
    ping,
    post,
    pseudo,
    reset,
    settings,
)

SCRIPTS = 500
"""Some 10 seconds."""
OK = (":status", "200")
HALF = head(1, OK, end=False)


def test_no_script_does_harm(certificate: Tls) -> None:
    """Whatever clients and apps do: no exception leaves a connection, none is left, and clients read frames."""
    make_test(SCRIPTS, certificate)()


def test_it_runs_for_so_many_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    """As a program it says what it has tried, and that nothing was found."""
    main(["0.0001", "--seed", "7"], make_test)
    assert capsys.readouterr().out == "200 scripts, of seeds 7 to 7: nothing was found\n"


@pytest.mark.parametrize("secure", [False, True])
def test_requests_are_answered(certificate: Tls, secure: bool) -> None:
    """What an orderly client asks for is answered, in clear and under TLS."""
    sent = get(1) + post(3) + data(3, b"abc") + get(5)
    play([Script(("says_hello",), (BEGUN, Step("send", sent)), narrow=False, orderly=True)],
         certificate if secure else None)  # fmt: skip


def test_a_request_that_is_not_answered_is_found() -> None:
    """An orderly client that gets no answer fails the script."""
    for behaviour, sent in (("waits_for_the_end", get(1)), ("says_hello", b"")):
        script = Script((behaviour,), (BEGUN, Step("send", sent)), narrow=False, orderly=True)
        with pytest.raises(BaseExceptionGroup) as caught:
            play([script])
        assert caught.group_contains(NotHTTP2Error, match="asked on")


@pytest.mark.parametrize(
    "received",
    [
        b"",
        settings(),
        settings() + ping()[:12],
        settings() + head(1, OK),
        settings() + head(1, (":status", "103"), end=False) + HALF + data(1, b"abc", end=False) + data(1),
        settings() + HALF + data(1, b"abc", end=False) + head(1, ("x-sum", "1")),
        settings() + frame(HEADERS, 0, 1, block(OK)[:3]) + frame(9, END_HEADERS, 1, block(OK)[3:]),
        settings() + HALF + data(1) + reset(1, 0),
    ],
)
def test_frames_are_no_findings(received: bytes) -> None:
    """Whole frames in order, and the beginning of one, are what a client may receive."""
    check_frames(received)


@pytest.mark.parametrize(
    ("received", "words"),
    [
        (ping(), "settings are not what comes first"),
        (settings() + frame(6, 0, 0, bytes(3)), "no frame"),
        (settings() + data(1, b"abc"), "a body before its head"),
        (settings() + head(1, (":status", "103"), end=False) + data(1, b"abc"), "a body before its head"),
        (settings() + head(1, OK) + data(1, b"abc"), "behind the end"),
        (settings() + HALF + reset(1) + data(1), "behind the end"),
        (settings() + HALF + HALF, "a second head"),
        (settings() + head(1, *pseudo()), "without a status"),
        (settings() + head(2, OK), "no client has opened"),
        (settings() + head(1, OK, ("X", "y")), "HTTP/2 does not have"),
        (settings() + head(1, OK, ("connection", "close")), "HTTP/2 does not have"),
        (settings() + frame(HEADERS, END_HEADERS, 1, b"\xff" * 9), "cannot be decoded"),
        (settings() + frame(HEADERS, 0, 1, block(OK)) + ping(), "within a block"),
    ],
)
def test_what_no_client_understands_is_found(received: bytes, words: str) -> None:
    """Frames that make no sense are told of."""
    with pytest.raises(NotHTTP2Error, match=words):
        check_frames(received)
