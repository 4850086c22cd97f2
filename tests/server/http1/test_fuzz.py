"""Some seconds of the fuzzer, and that it would find what it looks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.server.http1 import fuzz
from tests.server.http1.fuzz import HangError, NotHTTPError, Script, Step, check_responses, main, make_test, run
from trioweb.server.http1.connection import HTTP1Connection
from trioweb.server.http1.framing import Response
from trioweb.server.http1.line import Line

GET = Step("send", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
HEAD = b"HTTP/1.1 200 OK\r\ndate: x\r\n"
SCRIPTS = 1500
"""Some 15 seconds."""


def test_no_script_does_harm(certificate: fuzz.Tls) -> None:
    """Whatever clients and apps do: no exception leaves a connection, none is left, and clients read responses."""
    make_test(SCRIPTS, certificate)()


def test_scripts_are_played_under_tls_too(certificate: fuzz.Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of TLS reads a response, and one that does not greet is told that it should."""
    received: list[bytes] = []

    def look(data: bytes, methods: list[str]) -> None:
        received.append(data)

    monkeypatch.setattr(fuzz, "check_responses", look)
    scripts = [
        Script(("says_hello",), (GET, Step("wait", amount=0.1)), narrow=False, greets=greets)
        for greets in (True, False)
    ]
    run(scripts, certificate)
    assert [data[:17] for data in received] == [b"HTTP/1.1 200 OK\r\n"]


def test_it_runs_for_so_many_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    """As a program it says what it has tried, and that nothing was found."""
    main(["0.0001", "--seed", "7"])
    assert capsys.readouterr().out == "200 scripts, of seeds 7 to 7: nothing was found\n"


def test_an_exception_that_leaves_a_connection_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the server's own code fails the script that comes upon it."""

    def refuse(self: HTTP1Connection, *arguments: object) -> Awaitable[None]:
        raise KeyError("odd")

    monkeypatch.setattr(HTTP1Connection, "_refuse", refuse)
    run([Script(("says_hello",), (GET,), narrow=False)])
    with pytest.raises(AssertionError, match="KeyError: 'odd'"):
        run([Script(("says_hello",), (Step("send", b"GET\r\n\r\n"),), narrow=False)])


def test_an_exception_of_the_framework_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the framework is none of the app's own, though it is contained like those."""
    run([Script(("trioweb breaks-at-once",), (GET,), narrow=False)])
    monkeypatch.setattr("tests.server.http1.fuzz.MEANT", ())
    with pytest.raises(AssertionError, match="MeantError"):
        run([Script(("trioweb breaks-at-once",), (GET,), narrow=False)])


def test_a_connection_that_is_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes on though its client has left is told of."""

    async def close(self: Line) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Line, "close", close)
    with pytest.raises(BaseExceptionGroup) as caught:
        run([Script(("closes",), (GET,), narrow=False)])
    assert caught.group_contains(AssertionError, match="1 connections are left")


def test_a_loop_without_an_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes to its end is interrupted, and fails."""
    monkeypatch.setattr(fuzz, "PATIENCE", 0.05)
    with pytest.raises(HangError, match=r"more than 0.05 s"), fuzz.patience():
        while True:
            pass


def test_bytes_that_are_no_response_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the framing of a response is broken, the script fails."""
    frame: Callable[..., tuple[bytes, bytes]] = Response.frame

    def broken(self: Response, *arguments: Any, **options: Any) -> tuple[bytes, bytes]:
        before, _ = frame(self, *arguments, **options)
        return before, b"!!"

    monkeypatch.setattr(Response, "frame", broken)
    with pytest.raises(BaseExceptionGroup) as caught:
        run([Script(("streams",), (GET, Step("wait", amount=1)), narrow=False)])
    assert caught.group_contains(NotHTTPError)


@pytest.mark.parametrize(
    "received",
    [
        b"",
        HEAD[:10],
        HEAD + b"content-length: 5\r\n\r\nhello" + HEAD + b"content-length: 0\r\n\r\n",
        HEAD + b"content-length: 5\r\n\r\nhe",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + HEAD + b"content-length: 0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhel",
        HEAD + b"connection: close\r\n\r\nto the end",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"content-length: 0\r\n\r\n",
    ],
)
def test_responses_are_no_findings(received: bytes) -> None:
    """Whole responses, one behind the other, and the beginning of one, are what a client may receive."""
    check_responses(received, ["GET", "GET"])


@pytest.mark.parametrize(
    ("received", "words"),
    [
        (b"hello\r\n\r\n", "no status line"),
        (HEAD + b"content-length: 2\r\n\r\nhello\r\n\r\n", "no status line"),
        (HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhe", "says too much"),
        (HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\nhe", "says too much"),
        (HEAD + HEAD[17:] + b"content-length: 0\r\n\r\n", "says too much"),
        (HEAD + b"\r\nhello", "without an end"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nhello\r\n", "no chunk"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhello\r\n", "does not end"),
        (HEAD + b"connection: close\r\ncontent-length: 0\r\n\r\n" + HEAD, "behind the last response"),
    ],
)
def test_what_is_no_response_is_found(received: bytes, words: str) -> None:
    """Bytes that a client could not read are told of."""
    with pytest.raises(NotHTTPError, match=words):
        check_responses(received, ["GET"])


def test_a_body_for_head_is_found() -> None:
    """The answer to HEAD has no body, whatever its length says."""
    check_responses(HEAD + b"content-length: 5\r\n\r\n", ["HEAD"])
    with pytest.raises(NotHTTPError, match="no status line"):
        check_responses(HEAD + b"content-length: 5\r\n\r\nhello\r\n\r\n", ["HEAD"])
