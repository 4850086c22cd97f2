"""The stop of a real server: what ends cleanly, what is cut, and that nothing holds it up."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time

import pytest

from tests.conftest import StartServer
from tests.servers import PATIENCE, H2Client, Server, read_all, read_until


def stop(server: Server) -> None:
    """Stop the server, which none of its workers may hold up: one that is not gone in its time is killed."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(2 * PATIENCE)
    assert "was killed" not in server.output


@pytest.mark.parametrize("workers", [1, 3])
def test_event_streams_end_cleanly(start_server: StartServer, workers: int) -> None:
    """At a SIGTERM every event stream of every worker ends with the terminating chunk, long before the time is up."""
    server = start_server("tests.server.app:app", "--workers", str(workers), "--graceful-timeout", "60")
    clients = [server.request("/events") for _ in range(12)]
    for client in clients:
        read_until(client, b"data: one\n\n")
    stop(server)
    for client in clients:
        with client:
            assert read_all(client).endswith(b"0\r\n\r\n")
    assert sum("events closed" in line for line in server.events) == 12
    assert "Traceback" not in server.output


def test_a_stop_is_not_held_up(start_server: StartServer) -> None:
    """Clients that never read, streams without end and handlers that wait hold the server no longer than its time."""
    server = start_server("tests.server.app:app", "--graceful-timeout", "1")
    clients = [server.request(path) for path in ("/flood", "/flood/sync", "/waits", "/large", "/events") * 4]
    half_closed = server.request("/flood")
    half_closed.shutdown(1)
    server.wait_for_event("flood", 50)
    server.wait_for_event("waits started", 4)
    stop(server)
    for client in (*clients, half_closed):
        client.close()
    assert any("flood closed" in line for line in server.events)


def test_small_responses_that_nobody_takes(start_server: StartServer) -> None:
    """A client that asks for thousands of small responses and reads none holds the stop up no longer."""
    server = start_server("tests.server.app:app", "--graceful-timeout", "1")
    clients = []
    for path in (b"/text/" + b"x" * 8000, b"/text/x/?" + b"x" * 8000, b"/nowhere"):  # an answer, a redirect, a 404
        client = server.connect()
        client.settimeout(1)
        clients.append(client)
        with contextlib.suppress(TimeoutError):  # the server stops reading when it cannot write
            while True:
                client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    stop(server)
    for client in clients:
        client.close()


@pytest.mark.parametrize("path", ["/own-cancel", "/own-failure"])
def test_a_request_that_cancelled_itself(start_server: StartServer, path: str) -> None:
    """A request whose own nursery was cancelled while its client read nothing holds the stop up no longer."""
    server = start_server("tests.server.app:app", "--graceful-timeout", "1")
    with server.request(path):
        server.wait_for_event("own cancelled")
        time.sleep(0.3)
        stop(server)


def test_an_http2_client_whose_buffers_are_full(start_server: StartServer) -> None:
    """A client that reads nothing, so that the whole connection's writes are stuck, holds the stop up no longer."""
    server = start_server("tests.server.app:app", "--graceful-timeout", "1")
    clients = [H2Client(server, receive_buffer=4096) for _ in range(4)]
    for client in clients:
        for path in ("/flood", "/large"):
            client.request(path)
    server.wait_for_event("flood", 4)
    time.sleep(0.5)
    stop(server)
    for client in clients:
        client.close()


def test_what_outlasts_a_stop_over_http2_is_reset(start_server: StartServer) -> None:
    """A stream that goes on when the time is over is reset, and its client is told so before the connection ends."""
    server = start_server("tests.server.app:app", "--graceful-timeout", "1")
    client = H2Client(server)
    stream = client.request("/sleepy")
    client.pump("data", stream)
    command = ["curl", "-sS", "--http2-prior-knowledge", server.url + "/sleepy"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as curl:
        server.wait_for_event("sleepy sleeps", 2)
        server.process.send_signal(signal.SIGTERM)
        client.pump("reset", stream)
        assert client.reset == {stream: 2}
        assert curl.wait(PATIENCE) == 92
    client.close()


@pytest.mark.parametrize("delay", [0.1, 1.0])
def test_an_early_answer_over_http2(start_server: StartServer, delay: float) -> None:
    """A stop while an answer waits for the end of an upload that never comes is as short as any."""
    server = start_server("tests.server.app:app", "--graceful-timeout", "1")
    client = H2Client(server)
    for path in ("/ignored-body", "/nowhere"):
        client.request(path, "POST", [("content-length", "1000000")], end=False)
    time.sleep(delay)
    stop(server)
    client.close()


def test_what_is_in_flight_may_finish(start_server: StartServer) -> None:
    """A stream, and a handler, that end within the server's time are whole."""
    server = start_server("tests.server.app:app", "--graceful-timeout", "60")
    with server.request("/waits", "POST", "Content-Length: 0\r\n") as client, server.request("/busy") as other:
        server.wait_for_event("post started")
        read_until(other, b"0\n")
        stop(server)
        assert read_all(client).endswith(b"done")
        assert read_all(other).endswith(b"199\n\r\n0\r\n\r\n")


def test_a_client_that_takes_nothing_is_given_up(start_server: StartServer) -> None:
    """A stream whose client reads nothing for its write_timeout is broken off, over HTTP/1.1 and HTTP/1.0."""
    server = start_server("tests.server.app:app")
    with server.request("/limited") as client:
        server.wait_for_event("limited closed")
        server.wait_for_output("took nothing for the write_timeout of 0.5 s")
        assert not read_all(client).endswith(b"0\r\n\r\n")
    with server.request("/limited", version="1.0") as client:
        server.wait_for_event("limited closed", 2)
        with pytest.raises(ConnectionResetError):
            read_all(client)
    assert server.curl("/") == (0, b"ok")
