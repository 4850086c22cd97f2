"""The example ``examples/proxy.py``, in front of ``upstream_app.py``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.examples import upstream_app
from tests.servers import PATIENCE, Server, read_all, read_until


@pytest.fixture(scope="module")
def upstream(start_server: StartServer) -> Server:
    """What is proxied."""
    return start_server("tests.examples.upstream_app:app")


@pytest.fixture(scope="module")
def server(start_server: StartServer, upstream: Server) -> Iterator[Server]:
    """The proxy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPSTREAM", upstream.url)
        yield start_server("examples.proxy:app")


def test_what_comes_is_passed_on_at_once(server: Server, upstream: Server) -> None:
    """The first line is here before the upstream has made the last."""
    with server.request("/gated") as client:
        assert b"last" not in read_until(client, b"first\n")
        upstream.curl("/tell", "-X", "POST")
        read_until(client, b"last\n\r\n0\r\n\r\n")


def test_an_upload_is_passed_on_at_once(server: Server, upstream: Server) -> None:
    """The upstream has the first chunk of an upload before the client has sent the last."""
    with server.request("/upload", "POST", "Transfer-Encoding: chunked\r\nContent-Type: text/x-test\r\n") as client:
        client.sendall(b"5\r\nhello\r\n")
        upstream.wait_for_event("got 5")
        client.sendall(b"3\r\nyou\r\n0\r\n\r\n")
        read_until(client, b"8 bytes as text/x-test")
    assert server.curl("/upload", "-d", "hello", "-H", "content-type: a/b") == (0, b"5 bytes as a/b")


def test_a_client_that_does_not_read_stops_the_upstream(server: Server, upstream: Server) -> None:
    """The upstream stands still while the client does not read, and is closed when it leaves."""
    upstream.forget()
    with server.request("/endless") as client:
        read_until(client, b"xxx")
        before = server.memory
        made, since, end = 0, time.monotonic(), time.monotonic() + PATIENCE
        while time.monotonic() < since + 0.5:  # until nothing was made for so long
            assert time.monotonic() < end, "it never stands still"
            if (count := upstream.count("made")) != made:
                made, since = count, time.monotonic()
            time.sleep(0.02)
        assert 0 < made < upstream_app.BLOCKS // 4
        assert server.memory - before < 16_000
        assert "closed" not in upstream.events
    upstream.wait_for_event("closed")


def test_an_upstream_that_breaks_off_is_not_taken_for_whole(server: Server) -> None:
    """What came before the break arrives, and then the client is told that the rest is missing."""
    assert server.curl("/breaks") == (18, b"first\n")


def test_the_request_and_the_answer_are_the_other_sides(server: Server) -> None:
    """Path, query, status and headers pass as they are, but for those that are about one connection."""
    with server.request(
        "/a%20path/%C3%BC?x=%26&y", headers="X-Mine: 1\r\nTE: trailers\r\nConnection: close\r\n"
    ) as client:
        head, _, body = read_all(client).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 404")
    lines = head.splitlines()[1:]
    assert [line for line in lines if line.startswith("set-cookie")] == [
        "set-cookie: a=1; Path=/; SameSite=lax",
        "set-cookie: b=2; Path=/; SameSite=lax",
    ]
    assert "x-own: yes" in lines
    assert "keep-alive: timeout=5" not in lines
    assert body == "/a%20path/%C3%BC?x=%26&y host x-mine"


def sockets(server: Server) -> int:
    """How many a server's worker has open."""
    [worker] = server.workers
    found = 0
    for link in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += "socket:" in str(link.readlink())
    return found


def test_a_head_has_the_length_and_no_body(server: Server) -> None:
    """HEAD gives what GET would say about the body; an answer that nobody reads is closed all the same."""
    before = sockets(server)
    for _ in range(20):
        with server.request("/a%20path/%C3%BC", "HEAD", "Connection: close\r\n") as client:
            received = read_all(client)
        assert b"content-length: " in received
        assert received.endswith(b"\r\n\r\n")
    end = time.monotonic() + PATIENCE
    while sockets(server) > before + 2:
        assert time.monotonic() < end, "the proxy keeps its connections open"
        time.sleep(0.02)


def test_no_upstream_is_a_502(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, the client is told so."""
    monkeypatch.setenv("UPSTREAM", "http://127.0.0.1:1")
    server = start_server("examples.proxy:app")
    code, printed = server.curl("/", "-w", "%{http_code}")
    assert (code, printed[-3:]) == (0, b"502")
    assert b"does not answer" in printed
