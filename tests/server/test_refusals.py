"""Uploads that nobody wants, on both servers: a refusal leaves at once, and none of them keeps a worker."""

from __future__ import annotations

import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.conftest import StartServer, starting
from tests.servers import PATIENCE, Server


@pytest.fixture(scope="module", params=["hypercorn", "trioweb"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that leave it running."""
    starts = starting(tmp_path_factory)
    yield next(starts)("tests.server.refusing_app:app", runner=request.param)
    next(starts, None)


@contextmanager
def connected(server: Server, head: str) -> Iterator[socket.socket]:
    """A client that has sent the head of a request."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall((head + "\r\nHost: x\r\n\r\n").encode())
        yield client


def read_until(client: socket.socket, end: bytes) -> bytes:
    """What comes, to some bytes and no further, or the end."""
    received = b""
    while end not in received and (data := client.recv(1)):
        received += data
    return received


@pytest.mark.parametrize("expects", ["", "\r\nExpect: 100-continue"], ids=["sends", "expects"])
@pytest.mark.parametrize(
    ("target", "status", "end"),
    [
        ("POST /raises", 401, b"Who are you?"),
        ("POST /returns", 403, b"is not for you"),
        ("PUT /empty", 409, b"\r\n\r\n"),
        ("POST /nowhere", 404, b"}"),
        ("GET /raises", 405, b"}"),
    ],
)
def test_a_refusal_comes_before_the_body(server: Server, target: str, status: int, end: bytes, expects: str) -> None:
    """It is all there while its client has sent nothing of the body, and asks for none of it."""
    with connected(server, f"{target} HTTP/1.1\r\nContent-Length: 500{expects}") as client:
        if server.runner == "hypercorn" and expects:  # which asks by itself, before the app is called
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        received = read_until(client, end)
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert end in received


@pytest.mark.parametrize("size", [70_000, 3_000_000])
@pytest.mark.parametrize("path", ["/raises", "/returns", "/large"])
def test_who_sends_all_the_same_has_the_refusal(server: Server, path: str, size: int) -> None:
    """A client that sends its whole body before it reads is not reset."""
    with connected(server, f"POST {path} HTTP/1.1\r\nContent-Length: {size}\r\nConnection: close") as client:
        client.sendall(bytes(size))
        received = b""
        while data := client.recv(65536):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    assert len(body) == length


@pytest.mark.parametrize("behind", ["", "\r\n", "x", "GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_has_sent_more_is_seen_to_leave(server: Server, behind: str, reset: bool) -> None:
    """What stands behind a request does not hide that its client has left."""
    times = server.events.count("stream closed")
    with connected(server, "GET /stream HTTP/1.1") as client:
        client.sendall(behind.encode())
        read_until(client, b"hello")
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.wait_for_event("stream closed", times + 1)


@pytest.mark.parametrize("runner", ["hypercorn", "trioweb"])
def test_an_upload_that_breaks_off_keeps_no_worker(start_server: StartServer, runner: str) -> None:
    """A worker stops, though clients have left in the middle of bodies that nobody read."""
    server = start_server("tests.server.refusing_app:app", "--graceful-timeout", "1", runner=runner)
    for number, seconds in enumerate((0, 0.1, 0.3), 1):
        with connected(server, "POST /slow HTTP/1.1\r\nContent-Length: 2000000") as client:
            client.settimeout(0.2)
            with suppress(TimeoutError):
                client.sendall(bytes(1_500_000))
            server.wait_for_event("slow began", number)
            time.sleep(seconds)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.wait_for_event("slow ended", number)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE)
