"""Clients of HTTP/2 that do what they should not. After each the server is as it was before."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.faults import clients
from tests.faults.conftest import Recovery
from tests.servers import H2Client, Server

INTERNAL_ERROR = 2
UNDER_WAY = {
    "hypercorn": ("/sleepy", "/waits", "/late", "/sleepy"),
    "trioweb": ("/flood", "/events", "/sleepy", "/large", "/flood/sync"),
}
"""What is asked for on a connection that ends. Hypercorn closes it without a look at what is being written to it, and
now and then ends its worker by that, so there it is what writes nothing: only who owns the connection can do better."""


def ask_for_what_is_under_way(server: Server, client: H2Client) -> None:
    """Ask for it, and wait until each has begun, and what writes has written."""
    streams = {client.request(path): path for path in UNDER_WAY[server.runner]}
    for stream, path in streams.items():
        if path not in {"/late", "/waits"}:
            client.pump("data", stream)
    if server.runner == "hypercorn":
        server.wait_for_event("waits started")
        server.wait_for_event("late sleeps")


def test_a_window_that_never_opens(server: Server) -> None:
    """A client that opens no window stops the producers of its streams, and its other streams are answered."""
    with ExitStack() as stack:
        clients.closes_windows(server, stack)
        stack.pop_all().close()
    client = H2Client(server)
    flood = client.request("/flood/counted")
    client.pump("full", flood, open_windows=False)
    client.pump("time", flood, open_windows=False, seconds=0.3)
    assert len(client.received[flood]) == 65535
    count = server.count("counted")
    head = client.request("/", "HEAD")
    client.pump("ended", head, open_windows=False)
    assert head in client.ended
    client.pump("time", flood, open_windows=False, seconds=0.2)
    assert server.count("counted") == count < 20
    client.close()
    server.wait_for_event("counted closed", 2)


def test_a_hundred_streams(server: Server, fault: Recovery) -> None:
    """Of 100 streams one fails, one stalls and one is reset: the others are whole, and these three are not."""
    fault.allow("GET /fails: the response was broken off after 9 bytes")
    client = H2Client(server)
    stalls = client.request("/sleepy")
    cancelled = client.request("/events")
    client.pump("data", cancelled)
    whole = [client.request("/paced/10") for _ in range(97)]
    fails = client.request("/fails")
    client.cancel(cancelled)
    server.wait_for_event("events closed")
    client.pump("reset", fails)
    assert client.reset[fails] == INTERNAL_ERROR
    for stream in whole:
        client.pump("ended", stream)
        assert client.received[stream] == b"".join(b"%d\n" % number for number in range(10))
    assert not {stalls, cancelled, fails} & client.ended
    assert set(client.reset) == {fails}
    client.close()
    server.wait_for_event("sleepy closed")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "path", ["/flood", "/flood/sync", "/events", "/sleepy", "/late", "/waits", "/large", "/download/declared"]
)
def test_a_client_that_leaves(server: Server, path: str, reset: bool) -> None:
    """A client may leave in the middle of its streams, politely or with a reset."""
    client = H2Client(server)
    streams = [client.request(path) for _ in range(3)]
    client.pump("time" if path in {"/late", "/waits"} else "data", streams[-1], seconds=0.1)
    client.close(reset=reset)


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_before_a_small_answer(server: Server, reset: bool) -> None:
    """A client whose window is shut may leave while a few bytes wait for it: also of a handler that has read a body."""
    client = H2Client(server)
    flood = client.request("/flood")
    client.pump("full", flood, open_windows=False)
    for _ in range(3):
        stream = client.request("/reads", "POST", [("content-length", "4")], end=False)
        client.upload(stream, b"body", end=True)
        client.request("/small/10")
    server.wait_for_event("reads ended", 3)
    client.close(reset=reset)


@pytest.mark.parametrize("path", ["/flood", "/events", "/late", "/waits", "/large"])
def test_streams_that_are_reset(server: Server, path: str) -> None:
    """A client that resets its streams ends what ran for them, and goes on with the connection."""
    client = H2Client(server)
    for stream in [client.request(path) for _ in range(5)]:
        client.cancel(stream)
    last = client.request("/")
    client.pump("ended", last)
    assert client.received[last] == b"ok"
    client.close()


def test_a_client_that_says_goodbye(server: Server) -> None:
    """After a GOAWAY the connection ends, and all that ran on it."""
    client = H2Client(server)
    ask_for_what_is_under_way(server, client)
    client.go_away()
    client.wait_until_closed()
    client.close()


@pytest.mark.parametrize("reset", [False, True])
def test_uploads_that_stall(server: Server, reset: bool) -> None:
    """Uploads that stop half-way hold up no other stream, and leave nothing behind."""
    client = H2Client(server)
    for path in ("/reads", "/unread", "/echo"):
        stream = client.request(path, "POST", [("content-length", "100000")], end=False)
        client.upload(stream, bytes(30_000))
    last = client.request("/")
    client.pump("ended", last)
    assert client.received[last] == b"ok"
    client.close(reset=reset)


def test_noise_behind_the_preface(server: Server) -> None:
    """What is no frame ends the connection, and the streams on it."""
    client = H2Client(server)
    ask_for_what_is_under_way(server, client)
    client.send_noise(b"\x00\x00\x01" + bytes(6) + b"x")  # data for no stream
    client.wait_until_closed()
    client.close()
