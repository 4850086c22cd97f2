"""Generators that do what they should not. After each the server is as it was before."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.faults.conftest import Recovery
from tests.servers import PATIENCE, H2Client, Server, read_all, read_until


def test_one_that_blocks_the_loop(server: Server) -> None:
    """A generator that blocks the loop for a second delays what others wait for, and breaks nothing of it."""
    with server.request("/paced/30", headers="Connection: close\r\n") as other:
        read_until(other, b"0\n")
        with server.request("/blocks", headers="Connection: close\r\n") as client:
            server.wait_for_event("blocks")
            with server.request("/", headers="Connection: close\r\n") as late:
                assert read_all(late).endswith(b"ok")
            assert read_all(client).endswith(b"after\n\r\n0\r\n\r\n")
        assert read_all(other).endswith(b"29\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("over", ["http/1.1", "http/2"])
def test_one_that_swallows_its_cancellation(server: Server, over: str) -> None:
    """A generator that takes its cancellation for nothing, and yields on, is closed all the same."""
    before = sum("swallows closed" in line for line in server.events)
    if over == "http/1.1":
        with server.request("/swallows") as client:
            read_until(client, b"xxx")
    else:
        peer = H2Client(server)
        peer.pump("data", peer.request("/swallows"))
        peer.close()
    server.wait_for_event("swallowed Cancelled", before + 1)
    server.wait_for_event("swallows closed", before + 1)


def test_an_exception_in_a_clean_up_at_the_end(server: Server, fault: Recovery) -> None:
    """A stream whose clean-up fails at its end is broken off, and the error is logged with its request."""
    fault.allow("GET /bad-finally/end: the response was broken off after 6 bytes")
    with server.request("/bad-finally/end") as client:
        assert not read_all(client).endswith(b"0\r\n\r\n")
    fault.wait_for_log("RuntimeError: in a finally")
    assert fault.logged.count("RuntimeError: in a finally") == 1


def test_an_exception_in_a_clean_up_after_the_client_left(server: Server, fault: Recovery) -> None:
    """A clean-up that fails after the client has left is logged once, and harms nobody else."""
    fault.allow("GET /bad-finally/wait: the response was broken off after 6 bytes")
    with server.request("/bad-finally/wait") as client:
        read_until(client, b"first")
        server.wait_for_event("bad-finally sleeps")
    fault.wait_for_log("RuntimeError: in a finally")
    assert fault.logged.count("RuntimeError: in a finally") == 1


def test_a_clean_up_that_takes_its_time(server: Server) -> None:
    """A clean-up that is shielded comes to its end after the client has left."""
    with server.request("/slow-finally") as client:
        read_until(client, b"first")
    server.wait_for_event("slow-finally closed")


def test_a_handler_that_fails(server: Server, fault: Recovery) -> None:
    """A handler that fails is a 500 and a traceback in the log, and its connection goes on."""
    fault.allow("GET /error: tests.faults.app.error failed")
    with server.connect() as client:
        for _ in range(3):
            client.sendall(b"GET /error HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_until(client, b"}").startswith(b"HTTP/1.1 500")


def test_a_stream_that_fails_while_its_client_sends(server: Server, fault: Recovery) -> None:
    """A stream that fails while its client goes on sending a body is broken off, and that body is held by nobody."""
    fault.allow("POST /fails: the response was broken off after 9 bytes")
    with server.request("/fails", "POST", "Content-Length: 100000000\r\n") as client, contextlib.suppress(OSError):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            client.sendall(bytes(100_000))
