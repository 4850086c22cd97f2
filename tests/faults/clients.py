"""Clients that do what they should not. Each leaves its connections on a stack, in the middle of what it does."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from contextlib import ExitStack

from tests.servers import PATIENCE, H2Client, Server, read_until

FILL = 60_000
"""Bytes of a response in one message; a few dozen of them fill the buffers of both kernels."""
UPLOAD = 4 * 2**20
"""Bytes of a body that is larger than what server and kernels hold between them."""


def narrow(server: Server) -> socket.socket:
    """A connection whose receive buffer is small, so that little is enough to fill it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(PATIENCE)
    client.connect(("127.0.0.1", server.port))
    return client


def ask(server: Server, stack: ExitStack, *paths: str) -> list[socket.socket]:
    """A connection for each path, on which it was asked for."""
    return [stack.enter_context(server.request(path)) for path in paths]


def never_reads_small(server: Server, stack: ExitStack) -> None:
    """Ask for responses of one message each, far more than the kernels hold, and read none."""
    for _ in range(3):
        client = stack.enter_context(narrow(server))
        client.sendall(b"GET /small/%d HTTP/1.1\r\nHost: x\r\n\r\n" % FILL * 200)


def never_reads_large(server: Server, stack: ExitStack) -> None:
    """Ask for large responses and streams, and read none."""
    for version in ("1.1", "1.0"):
        for path in ("/large", "/flood", "/flood/sync", "/download/declared", "/download/chunked"):
            client = stack.enter_context(narrow(server))
            client.sendall(f"GET {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
            stack.enter_context(server.request(path, version=version))
    server.wait_for_event("flood started", 8)


def reads_a_byte(server: Server, stack: ExitStack) -> None:
    """Read one byte of a stream, and no more."""
    for client in ask(server, stack, "/flood", "/download/chunked", "/large"):
        client.recv(1)


def waits(server: Server, stack: ExitStack) -> None:
    """Wait for handlers and generators that sleep."""
    ask(server, stack, "/waits", "/late", "/thread", "/slow-finally")
    for client in ask(server, stack, "/sleepy", "/events"):
        read_until(client, b"\r\n\r\n")
    server.wait_for_event("waits started")
    server.wait_for_event("late sleeps")


def stops_in_the_head(server: Server, stack: ExitStack) -> None:
    """Connect, and send nothing, or a part of a head."""
    for part in (b"", b"GE", b"GET / HTTP/1.1\r\nHos", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        stack.enter_context(server.connect()).sendall(part)


def promises_a_body(server: Server, stack: ExitStack) -> None:
    """Promise a body, and send none of it."""
    for path in ("/reads", "/unread", "/ignored", "/echo"):
        stack.enter_context(server.request(path, "POST", "Content-Length: 1000\r\n"))
    server.wait_for_event("reads started")
    server.wait_for_event("unread started")


def uploads_unread(server: Server, stack: ExitStack) -> None:
    """Send 4 MB to a handler that does not read, as far as the server takes it."""
    client = stack.enter_context(server.request("/unread", "POST", f"Content-Length: {UPLOAD}\r\n"))
    client.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        client.sendall(bytes(UPLOAD))
    server.wait_for_event("unread started")


def sends_tiny_chunks(server: Server, stack: ExitStack) -> None:
    """Send thousands of chunks of a byte to handlers that do not read them, or wait for more."""
    for path, count in (("/unread", 1000), ("/unread", 5000), ("/reads", 1000)):
        client = stack.enter_context(server.request(path, "POST", "Transfer-Encoding: chunked\r\n"))
        for _ in range(count):
            client.sendall(b"1\r\nx\r\n")
    server.wait_for_event("unread started")
    server.wait_for_event("reads started")


def half_closes(server: Server, stack: ExitStack) -> None:
    """Ask, and close the sending side."""
    for client in ask(server, stack, "/flood", "/events", "/large", "/sleepy"):
        client.shutdown(socket.SHUT_WR)


def pipelines(server: Server, stack: ExitStack) -> None:
    """Ask for more before the first answer has come."""
    for path in ("/sleepy", "/flood", "/events", "/waits", "/large", "/thread"):
        client = stack.enter_context(server.connect())
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
    server.wait_for_event("flood started")
    server.wait_for_event("waits started")


def sends_garbage(server: Server, stack: ExitStack) -> None:
    """Send what is no request."""
    for data in GARBAGE.values():
        stack.enter_context(server.connect()).sendall(data)


GARBAGE = {
    "noise": bytes(range(1, 256)) + b"\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "no-version": b"GET /\r\n\r\n",
    "two-lengths": b"POST /reads HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "no-host": b"GET / HTTP/1.1\r\n\r\n",
    "long-head": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "bad-chunk": b"POST /reads HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    "preface-and-noise": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 300,
}
"""What is no request, by a name."""


def closes_windows(server: Server, stack: ExitStack) -> None:
    """Ask for streams over HTTP/2, and never open a window."""
    client = h2_client(server, stack)
    for path in ("/flood/counted", "/flood", "/large", "/events", "/download/declared", "/late"):
        client.request(path)
    server.wait_for_event("counted")


def stalls_uploads(server: Server, stack: ExitStack) -> None:
    """Begin uploads over HTTP/2, and send no more of them."""
    client = h2_client(server, stack)
    before = sum("unread started" in line for line in server.events)
    for path in ("/reads", "/ignored", "/echo", "/unread"):
        stream = client.request(path, "POST", [("content-length", "100000")], end=False)
        client.upload(stream, bytes(10_000))
    # The last of them: plain Hypercorn falls over the body of a request that comes when it was told to stop.
    server.wait_for_event("unread started", before + 1)


def opens_many_streams(server: Server, stack: ExitStack) -> None:
    """Have 100 streams at a time over HTTP/2."""
    client = h2_client(server, stack)
    for number in range(100):
        client.request(("/events", "/sleepy", "/waits", "/flood")[number % 4])
    server.wait_for_event("waits started", 25)


def meets_bad_generators(server: Server, stack: ExitStack) -> None:
    """Ask for streams whose generators swallow a cancellation, or fail in their clean-up."""
    ask(server, stack, "/swallows", "/bad-finally/wait", "/slow-finally")
    server.wait_for_event("bad-finally sleeps")


def h2_client(server: Server, stack: ExitStack) -> H2Client:
    """An HTTP/2 client that leaves with the stack."""
    client = H2Client(server)
    stack.callback(client.close)
    return client


SITUATIONS: dict[str, Callable[[Server, ExitStack], None]] = {
    function.__name__: function
    for function in (
        never_reads_small, never_reads_large, reads_a_byte, waits, stops_in_the_head, promises_a_body, uploads_unread,
        sends_tiny_chunks, half_closes, pipelines, sends_garbage, closes_windows, stalls_uploads, opens_many_streams,
        meets_bad_generators,
    )
}  # fmt: skip
"""All of them: each is also met by a server that is told to stop."""
