"""A server that is told to stop in the middle of what its clients should not do."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack

import pytest

from tests.conftest import StartServer
from tests.faults import clients
from tests.faults.app import DOWNLOAD_SIZE
from tests.faults.clients import SITUATIONS
from tests.faults.conftest import FAULT_WORDS, TARGET
from tests.servers import H2Client, Server, read_all, read_until

GRACE = 1
"""Seconds that the servers here leave to what is in flight."""
GONE = GRACE + 29
"""Seconds after which a server has not stopped: its time, one to end, and what a busy machine may take besides."""

GROUPS = {
    "clients that do not read": ["never_reads_small", "never_reads_large", "reads_a_byte", "pipelines"],
    "requests that do not end": ["waits", "stops_in_the_head", "half_closes", "sends_garbage"],
    "uploads": ["promises_a_body", "uploads_unread", "sends_tiny_chunks", "stalls_uploads"],
    "streams of HTTP/2": ["closes_windows", "opens_many_streams"],
    "generators": ["meets_bad_generators"],
}
"""All situations, a few to a server: to start one takes longer than the rest."""


def stop(server: Server) -> None:
    """Stop the server; a worker that is not gone in its time is killed, and no worker may be."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(GONE)
    assert "was killed" not in server.output


def test_all_situations_are_met() -> None:
    """Whatever clients do in this suite, a server has been stopped in the middle of it."""
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(SITUATIONS)


@pytest.mark.parametrize("group", GROUPS)
def test_in_the_middle_of(start_server: StartServer, runner: str, group: str) -> None:
    """A server is gone in its time, and logs no error that is none, whatever its clients do."""
    server = start_server(TARGET, "--graceful-timeout", str(GRACE), runner=runner)
    with ExitStack() as stack:
        for name in GROUPS[group]:
            SITUATIONS[name](server, stack)
        stop(server)
    if group != "generators":
        assert not any(word in server.output for word in FAULT_WORDS), server.output


def test_a_full_house(start_server: StartServer, runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 50 clients that never read, 50 event streams and 10 downloads it is gone in time, and none is deceived."""
    monkeypatch.setenv(
        "MIN_RATE", "0.1"
    )  # a busy machine may take longer to fill the house than a client may read nothing
    server = start_server(TARGET, "--graceful-timeout", str(GRACE), runner=runner)
    with ExitStack() as stack:
        for number in range(50):
            path = ("/flood", "/large", "/flood/sync", f"/small/{clients.FILL}", "/download/chunked")[number % 5]
            stack.enter_context(clients.narrow(server)).sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * (200 if "small" in path else 1)
            )
        streams = [stack.enter_context(server.request("/events")) for _ in range(50)]
        for client in streams:
            read_until(client, b"data: ")
        downloads = []
        for kind, version in (("declared", "1.1"), ("chunked", "1.1"), ("declared", "1.0"), ("chunked", "1.0")) * 2:
            client = stack.enter_context(clients.narrow(server))
            client.sendall(f"GET /download/{kind} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            downloads.append(client)
        short = [stack.enter_context(server.request("/paced/20")) for _ in range(2)]
        for client in (*downloads, *short):
            read_until(client, b"\r\n\r\n")
        # A connection each: the download fills the window of its own, and an event that waits for it has no end.
        streaming, downloading = H2Client(server), H2Client(server)
        stack.callback(streaming.close)
        stack.callback(downloading.close)
        streamed, downloaded = streaming.request("/events"), downloading.request("/download/declared")
        streaming.pump("data", streamed)
        downloading.pump("data", downloaded, open_windows=False)
        stop(server)
        for client in streams:
            assert read_all(client).endswith(b"0\r\n\r\n")
        for client, way in zip(downloads, ["declared", "chunked", "reset", "reset"] * 2, strict=True):
            assert not is_whole(client, way)
        for client in short:  # these could be finished
            assert read_all(client).endswith(b"19\n\r\n0\r\n\r\n")
        streaming.read_to_the_end()
        assert streamed in streaming.ended
        downloading.read_to_the_end()
        assert downloaded not in downloading.ended
    assert not any(word in server.output for word in FAULT_WORDS), server.output


def is_whole(client: socket.socket, way: str) -> bool:
    """Whether a client would take a download, whose head it has read, for whole."""
    try:
        data = read_all(client)
    except ConnectionResetError:
        return False
    # An HTTP/1.0 body of no length ends with its connection, and without a reset it would look whole.
    return {"declared": len(data) >= DOWNLOAD_SIZE, "chunked": data.endswith(b"0\r\n\r\n"), "reset": True}[way]
