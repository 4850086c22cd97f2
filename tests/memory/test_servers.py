"""What a request has worked with is freed when it is over, under real servers with the garbage collector switched off.

Where a client leaves in the middle of a write, trio's own frames are in a cycle under Hypercorn, and name what has
written: then only what is large, and the user's own, is freed at once.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress

import pytest

from tests.conftest import StartServer
from tests.servers import PATIENCE, RUNNERS, Server, read_all, read_until, reset_connection
from trioweb.io.transport import LOOK_SECONDS

JSON = "Content-Type: application/json\r\n"
BIG = 10_000_000
"""Bytes of a body that is not JSON."""
FRONTS = ("", "/front")
LEAVING = ("closes", "crashes")


@pytest.fixture(scope="module", params=RUNNERS)
def server(request: pytest.FixtureRequest, start_server: StartServer) -> Server:
    """The app of this folder under one of the servers."""
    return start_server("tests.memory.app:app", runner=request.param)


def ask(server: Server, path: str, method: str = "GET", headers: str = "", body: bytes = b"") -> bytes:
    """Send a request, and take all that comes back."""
    with server.connect() as client:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}{headers}\r\n".encode()
        with suppress(ConnectionError):  # it may answer before it has had all
            client.sendall(head + body)
        return read_quietly(client)


def read_quietly(client: socket.socket) -> bytes:
    """All that comes; nothing after a reset."""
    try:
        return read_all(client)
    except ConnectionResetError:
        return b""


def leave(client: socket.socket, how: str) -> None:
    """End a connection."""
    if how == "crashes":
        reset_connection(client)
    client.close()


def alive(server: Server) -> int:
    """The markers that live when all is over; the collector does not run."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = json.loads(ask(server, "/count").rpartition(b"\r\n\r\n")[2])
        if answer["markers"] == 0 or time.monotonic() > end:
            return int(answer["markers"])
        time.sleep(0.02)


def garbage(server: Server) -> dict[str, int]:
    """What the collector would have to find of what is not the server's own; it is freed by this."""
    found = json.loads(ask(server, "/left").rpartition(b"\r\n\r\n")[2])["garbage"]
    return {name: count for name, count in found.items() if name.startswith(("trioweb", "tests"))}


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(
    "kind", ["none", "http", "kept", "expected", "rejected", "renamed", "group", "caused", "plain"]
)
def test_a_request_leaves_nothing_however_it_fails(server: Server, front: str, kind: str) -> None:
    """Whatever a handler, a dependency, a task or a stream fails with, nothing of the request is left."""
    assert garbage(server) is not None
    for shape in ("nothing", "awaits", "request", "nursery", "own", "thread", "dependency", "refusing", "late"):
        ask(server, f"{front}/{shape}/{kind}?kind={kind}")
    for shape in ("stream", "stream/request", "stream/dependency", "events", "sync", "farewell", "channel"):
        ask(server, f"{front}/{shape}/{kind}")
        ask(server, f"{front}/{shape}/late-{kind}")
    assert (alive(server), garbage(server)) == (0, {})


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("path", ["body", "body/request", "json", "lines", "unread/plain", "unread/http", "small"])
def test_a_big_body_that_is_refused_is_freed(server: Server, front: str, path: str) -> None:
    """A body that is not JSON, too large, or not read at all goes with its request."""
    before = server.memory
    for _ in range(5):
        ask(server, f"{front}/{path}", "POST", JSON, b"x" * BIG)
    assert alive(server) == 0
    assert server.memory - before < 3 * BIG // 1024
    assert garbage(server) == {}


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("path", ["json", "json/thread", "lines"])
def test_a_body_that_breaks_off_is_freed(server: Server, front: str, path: str) -> None:
    """What has come of a body is freed where its client leaves in the middle, or goes on with what is no chunk."""
    before = server.memory
    half = b"x" * (BIG // 2)
    for _ in range(5):
        with server.request(f"{front}/{path}", "POST", f"{JSON}Content-Length: {BIG}\r\n", half):
            wait_for_a_marker(server)
        garbage_of_chunks = b"%x\r\n%b\r\nzz\r\n" % (len(half), half)
        with server.request(
            f"{front}/{path}", "POST", f"{JSON}Transfer-Encoding: chunked\r\n", garbage_of_chunks
        ) as it:
            read_quietly(it)
    assert alive(server) == 0
    assert server.memory - before < 2 * BIG // 1024
    if server.runner == "trioweb":
        assert garbage(server) == {}


@pytest.mark.parametrize("front", FRONTS)
def test_limits_leave_nothing(server: Server, front: str) -> None:
    """A route's timeout and a stream's limits, wrong values, missing files and routes leave nothing."""
    for path in ("timeout", "cancels", "unsendable", "file/missing", "file", "wrong", "nowhere", "input?number=x"):
        ask(server, f"{front}/{path}")
    for shape in ("limited", "simple"):
        for limit in ("idle_timeout", "max_duration"):
            ask(server, f"{front}/{shape}/{limit}")
        with server.request(f"{front}/{shape}/write_timeout") as slow:
            read_until(slow, b"start")
            assert alive(server) == 0
    if server.runner == "trioweb":
        assert garbage(server) == {}


@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.parametrize("front", FRONTS)
def test_clients_that_leave_leave_nothing(server: Server, front: str, how: str) -> None:
    """A client that leaves before its response, in the middle of a stream or of its own body leaves nothing behind."""
    for path in ("waits", "waits/request", "waits/nursery"):
        client = server.request(f"{front}/{path}")
        wait_for_a_marker(server)
        leave(client, how)
        assert alive(server) == 0, path
    for path in ("stream/wait", "stream/request/wait", "stream/dependency/wait", "events/wait", "channel/wait"):
        client = server.request(f"{front}/{path}")
        read_until(client, b"start")
        leave(client, how)
        assert alive(server) == 0, path
    client = server.request(f"{front}/json", "POST", JSON + f"Content-Length: {BIG}\r\n", b"x" * 1_000_000)
    wait_for_a_marker(server)
    leave(client, how)
    assert alive(server) == 0, path
    if server.runner == "trioweb":
        assert garbage(server) == {}


@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("path", ["large", "large/request", "large/stream/x", "large/stream/request/x", "sync/large/x"])
def test_slow_readers_that_leave_leave_nothing(server: Server, front: str, path: str, how: str) -> None:
    """A response of which its client has read only the beginning is freed when that leaves."""
    garbage(server)
    before = server.memory
    for _ in range(10):
        client = server.request(f"{front}/{path}")
        read_until(client, b"\r\n\r\n")
        leave(client, how)
    assert alive(server) == 0
    assert server.memory - before < 20_000
    if server.runner == "trioweb":
        assert garbage(server) == {}


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("path", ["iterator", "large/stream/x"])
def test_who_looks_for_slow_readers_keeps_none(server: Server, front: str, path: str) -> None:
    """A response whose rate was looked at is freed when its client leaves, though nobody else is looked at then."""
    with server.request(f"{front}/{path}") as client:
        read_until(client, b"\r\n\r\n")
        time.sleep(3 * LOOK_SECONDS)
    assert alive(server) == 0


def wait_for_a_marker(server: Server) -> None:
    """Wait until a handler is at work."""
    end = time.monotonic() + PATIENCE
    while json.loads(ask(server, "/count").rpartition(b"\r\n\r\n")[2])["markers"] == 0:
        assert time.monotonic() < end
