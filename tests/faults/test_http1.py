"""Clients of HTTP/1 that do what they should not. After each the server is as it was before."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.faults import clients
from tests.faults.conftest import Recovery
from tests.servers import PATIENCE, Server, read_all, read_until, reset_connection


def leave(client: socket.socket) -> None:
    """Close a connection."""
    client.close()


HANG_UPS = pytest.mark.parametrize("hang_up", [leave, reset_connection])


def see_served(server: Server) -> None:
    """See that another client is served, now."""
    with server.request("/", headers="Connection: close\r\n") as client:
        assert read_all(client).endswith(b"ok")


@HANG_UPS
@pytest.mark.parametrize("begin", [clients.never_reads_small, clients.never_reads_large, clients.reads_a_byte])
def test_a_client_that_never_reads(
    server: Server, begin: Callable[[Server, ExitStack], None], hang_up: Callable[[socket.socket], None]
) -> None:
    """Clients that read nothing, or a byte, of small and large responses take from nobody else, and may leave."""
    opened: list[socket.socket] = []
    with ExitStack() as stack:
        begin(server, _Collecting(stack, opened))
        see_served(server)
        for client in opened:
            hang_up(client)


class _Collecting(ExitStack):
    """A stack that also keeps a list of the connections on it."""

    def __init__(self, outer: ExitStack, opened: list[socket.socket]) -> None:
        super().__init__()
        outer.push(self)
        self._opened = opened

    def enter_context(self, cm: contextlib.AbstractContextManager[socket.socket]) -> socket.socket:  # type: ignore[override]
        client = super().enter_context(cm)
        self._opened.append(client)
        return client


def test_a_byte_a_second(server: Server, fault: Recovery) -> None:
    """A client that reads one byte a second takes less than a stream's write_timeout asks for, and is given up."""
    fault.allow("took nothing for the write_timeout of 0.5 s")
    with clients.narrow(server) as client:
        client.sendall(b"GET /limited HTTP/1.1\r\nHost: x\r\n\r\n")
        begin = time.monotonic()
        while not any("limited closed" in line for line in server.events) and time.monotonic() < begin + PATIENCE:
            client.recv(1)
            time.sleep(1)
        server.wait_for_event("limited closed")
        see_served(server)
        with contextlib.suppress(ConnectionResetError):
            assert not read_all(client).endswith(b"0\r\n\r\n")


STAGES = {
    "connected": b"",
    "in the request line": b"GET /wai",
    "in the head": b"GET /flood HTTP/1.1\r\nHost: x\r\nX-",
    "before the body": b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    "in the body": b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1234",
    "in a chunk": b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n1234",
    "before the answer": b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n",
    "before the answer of a thread": b"GET /thread HTTP/1.1\r\nHost: x\r\n\r\n",
    "before the first chunk": b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n",
    "in a stream that sleeps": b"GET /sleepy HTTP/1.1\r\nHost: x\r\n\r\n",
    "in a stream that floods": b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n",
    "in a stream of a thread": b"GET /flood/sync HTTP/1.1\r\nHost: x\r\n\r\n",
    "in an event stream": b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
    "in a large body": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    "after an answer": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}
ANSWERED = ("in a stream", "in an event", "in a large", "after")


@HANG_UPS
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_leaves(server: Server, stage: str, hang_up: Callable[[socket.socket], None]) -> None:
    """A client may leave at each stage of a request, politely or with a reset."""
    opened = [server.connect() for _ in range(3)]
    for client in opened:
        client.sendall(STAGES[stage])
    for client in opened:
        if stage.startswith(ANSWERED):
            read_until(client, b"\r\n\r\n")
    see_served(server)
    for client in opened:
        hang_up(client)


def test_a_head_byte_by_byte(server: Server) -> None:
    """A head that comes a byte at a time is a request like any other, and others are served meanwhile."""
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /small/10 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            client.sendall(bytes([byte]))
            time.sleep(0.002)
            if byte == b"/"[0]:
                see_served(server)
        assert read_all(client).endswith(b"\r\n\r\n" + b"s" * 10)


def test_a_body_that_never_comes(server: Server) -> None:
    """A body that is promised and not sent holds up no answer that does not need it, nor anybody else."""
    with ExitStack() as stack:
        clients.promises_a_body(server, stack)
        see_served(server)
        with server.request("/ignored", "POST", "Content-Length: 1000\r\n") as client:
            assert read_until(client, b"answered").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_an_upload_that_nobody_reads(server: Server, protocol: str) -> None:
    """A client that sends 4 MB to a handler that answers at once gets the answer, and no reset."""
    for _ in range(3):
        code, body = server.curl("/ignored", protocol, "--data-binary", "@/proc/self/exe", "-H", "Expect:")
        assert (code, body) == (0, b"answered")


def test_an_upload_that_nobody_reads_and_its_client_leaves(server: Server) -> None:
    """A client that leaves after it has sent 4 MB, or thousands of tiny chunks, that nobody reads leaves nothing."""
    for begin in (clients.uploads_unread, clients.sends_tiny_chunks):
        opened: list[socket.socket] = []
        with ExitStack() as stack:
            begin(server, _Collecting(stack, opened))
            see_served(server)
            for client in opened:
                reset_connection(client)  # what is closed politely goes on sending what the kernel has taken
    server.wait_for_event("unread ended", 3)


def test_tiny_chunks_that_nobody_reads(server: Server) -> None:
    """1,000 chunks of a byte that nobody reads hold up no answer."""
    with server.request("/ignored", "POST", "Transfer-Encoding: chunked\r\n") as client:
        for _ in range(1000):
            client.sendall(b"1\r\nx\r\n")
        client.sendall(b"0\r\n\r\n")
        read_until(client, b"answered")


def test_a_client_that_closes_its_side(server: Server) -> None:
    """A client that closes its sending side has its connection ended, and all that ran for it."""
    with ExitStack() as stack:
        opened: list[socket.socket] = []
        clients.half_closes(server, _Collecting(stack, opened))
        for client in opened:
            with contextlib.suppress(ConnectionResetError):
                read_all(client)
        see_served(server)


def test_pipelined_requests(server: Server) -> None:
    """Requests that are sent together are answered in their order, with a stream in between."""
    paths = (b"/small/3", b"/paced/3", b"/small/4")
    with server.connect() as client:
        client.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
        data = read_until(client, b"ssss")
    assert data.index(b"sss") < data.index(b"0\n\r\n") < data.index(b"ssss", data.index(b"2\n\r\n"))


@HANG_UPS
@pytest.mark.parametrize("path", ["/flood", "/events", "/large", "/paced/5"])
def test_pipelined_requests_that_nobody_waits_for(
    server: Server, path: str, hang_up: Callable[[socket.socket], None]
) -> None:
    """A client that leaves with requests still in line leaves no task and no descriptor behind."""
    opened = [server.connect() for _ in range(3)]
    for client in opened:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 2)
        read_until(client, b"\r\n\r\n")
    for client in opened:
        hang_up(client)


def test_a_stream_that_fails_before_a_pipelined_request(server: Server, fault: Recovery) -> None:
    """A stream that fails ends its connection, whatever stands in line behind it."""
    fault.allow("GET /fails: the response was broken off after 9 bytes")
    with server.connect() as client:
        client.sendall(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not read_all(client).endswith(b"0\r\n\r\n")


def test_a_stream_that_fails_over_http_1_0(server: Server, fault: Recovery) -> None:
    """A body that only the end of its connection ends is reset when it fails, or it would look whole."""
    fault.allow("GET /fails: the response was broken off after 9 bytes")
    with server.request("/fails", version="1.0") as client, pytest.raises(ConnectionResetError):
        read_all(client)


@pytest.mark.parametrize("name", clients.GARBAGE)
def test_garbage(server: Server, name: str) -> None:
    """What is no request is refused, and its connection closed."""
    with server.connect() as client:
        with contextlib.suppress(OSError):  # the server may be faster
            client.sendall(clients.GARBAGE[name])
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            answer = read_all(client)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or name == "preface-and-noise"
    see_served(server)
