"""WebSockets on real servers, by a client of others, by raw sockets that misbehave, and over HTTP/2."""

from __future__ import annotations

import json
import select
import signal
import socket
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.conftest import StartServer
from tests.servers import PATIENCE, RUNNERS, H2Client, Server, read_all, read_until, reset_connection

WAYS = [(app, runner) for app in ("socket_app", "wrapped_socket_app", "guarded_socket_app") for runner in RUNNERS]


@pytest.fixture(params=WAYS, ids="-".join)
def server(request: pytest.FixtureRequest, lend_server: StartServer) -> Server:
    """The app by itself, behind ASGI middleware of others, and behind middleware, run in each of the ways."""
    app, runner = request.param
    return lend_server(f"tests.server.{app}:app", "--graceful-timeout", "1", runner=runner)


def dial(server: Server, path: str, *subprotocols: str) -> ClientConnection:
    """A connection of the client that others have written."""
    offered = [Subprotocol(name) for name in subprotocols]
    return connect(server.url.replace("http", "ws") + path, subprotocols=offered or None, proxy=None)


def raw(server: Server, path: str, **options: int) -> socket.socket:
    """A socket on which a handshake was answered."""
    client = socket.socket()
    client.settimeout(PATIENCE)
    for name, value in options.items():
        client.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    client.connect(("127.0.0.1", server.port))
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    read_until(client, b"\r\n\r\n")
    return client


def frame(opcode: int, data: bytes) -> bytes:
    """A frame as a client sends it, of at most 65,535 bytes, masked with zeros."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + data


def test_a_conversation(server: Server) -> None:
    """Text and bytes go both ways, with the chosen subprotocol and headers; the app's close arrives with its code."""
    with dial(server, "/echo", "one", "two") as ws:
        assert ws.subprotocol == "two"
        assert ws.response is not None
        assert ws.response.headers["x-version"] == "1.1"
        for message in ("text", b"bytes", "long" * 100_000, ""):
            ws.send(message)
            assert ws.recv(PATIENCE) == message
        ws.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "as asked")
    assert "rror" not in server.output


@pytest.mark.parametrize("runner", RUNNERS)
def test_middleware_refuses(lend_server: StartServer, runner: str) -> None:
    """What a middleware answers to a handshake arrives with status, headers and body; and a 101 with its headers."""
    server = lend_server("tests.server.guarded_socket_app:app", "--graceful-timeout", "1", runner=runner)
    with dial(server, "/echo") as ws:
        assert ws.response is not None
        assert ws.response.headers["x-status"] == "101"
    for when, status in (("early", 401), ("late", 403)):
        with pytest.raises(InvalidStatus) as denied:
            dial(server, f"/echo?refuse={when}")
        assert denied.value.response.status_code == status
        assert b"the handler" in denied.value.response.body
        assert ("www-authenticate" in denied.value.response.headers) == (when == "early")
    with pytest.raises(InvalidStatus) as denied:
        dial(server, "/deny/409")
    assert (denied.value.response.status_code, denied.value.response.headers["x-status"]) == (409, "409")
    assert "rror" not in server.output


def test_a_fault_is_1011_and_logged(server: Server) -> None:
    """A handler that fails closes with 1011, and the log has its route."""
    with dial(server, "/echo") as ws:
        ws.send("break")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    server.wait_for_output("ZeroDivisionError")
    assert "WEBSOCKET /echo: " in server.output


@pytest.mark.parametrize(("path", "status"), [("/deny/401", 401), ("/deny/503", 503), ("/nowhere", 404)])
def test_a_refusal_has_its_status(server: Server, path: str, status: int) -> None:
    """A handshake is refused with the status, headers and body of the error."""
    with pytest.raises(InvalidStatus) as refused, dial(server, path):
        pass
    response = refused.value.response
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.body is not None
    assert (b"Not you." in response.body) == (status != 404)
    assert (response.headers.get("x-why") == "because") == (status != 404)


def test_a_peer_that_closes(server: Server) -> None:
    """A peer that closes ends the iteration; its code arrives, but through plain Hypercorn, which knows 1006 alone."""
    with dial(server, "/echo") as ws:
        ws.close(4001, "enough")
    server.wait_for_event("left 1006" if server.runner == "hypercorn" else "left 4001 enough")


def test_a_close_arrives_though_the_peer_goes_on_sending(server: Server) -> None:
    """What the peer still sends after a close of ours is taken and thrown away: left unread it would be a reset."""
    client = raw(server, "/echo")
    client.sendall(frame(1, b"bye") + frame(1, b"m" * 1000) * 100)
    reset = select.poll()
    reset.register(client, 0)  # errors are always told
    assert reset.poll(200) == []
    assert read_until(client, b"as asked").startswith(b"\x88\x0a\x0f\xa0")
    client.sendall(frame(8, b"\x0f\xa0"))
    assert read_all(client) == b""
    client.close()


@pytest.mark.parametrize("how", ["closes", "vanishes"])
def test_a_peer_that_leaves_while_the_handler_is_busy(server: Server, how: str) -> None:
    """A peer that leaves is noticed though nobody receives, also behind messages that wait; none of them is lost."""
    client = raw(server, "/busy")
    server.wait_for_event("busy")
    for _ in range(120):  # more than the queues hold, and less than the system takes
        client.sendall(frame(1, b"m" * 1000))
    if how == "closes":
        client.sendall(frame(8, b"\x03\xe8"))
    client.close()
    server.wait_for_event("companion ended")
    server.wait_for_event("got 120")


def test_a_peer_that_never_reads(server: Server) -> None:
    """A peer that takes nothing is left after the write timeout; the server's other clients do not notice."""
    client = raw(server, "/flood", SO_RCVBUF=4096)
    server.wait_for_event("flood ended")
    server.wait_for_output("the peer took nothing for the write_timeout of 0.5 s")
    with dial(server, "/echo") as ws:
        ws.send("x")
        assert ws.recv(PATIENCE) == "x"
    client.close()


def test_a_peer_that_never_reads_and_sends(server: Server) -> None:
    """The same for a peer whose messages wait in every queue that there is."""
    client = raw(server, "/flood", SO_RCVBUF=4096)
    client.settimeout(0.5)
    try:
        while True:
            client.sendall(frame(1, b"m" * 60_000))
    except OSError:
        pass
    server.wait_for_event("flood ended")
    client.close()


def test_a_peer_that_sends_for_ever(server: Server) -> None:
    """A peer that sends what nobody receives has to wait: the server holds no more than its queues."""
    client = raw(server, "/busy")
    server.wait_for_event("busy")
    before = server.memory
    client.settimeout(0.3)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 512 * 2**20:
            sent += client.send(frame(2, bytes(60_000)))
    assert sent < 64 * 2**20
    assert server.memory - before < 32 * 1024
    reset_connection(client)  # an orderly end would stand behind what the system holds
    server.wait_for_event("companion ended")


def test_a_stop_closes_with_1001(server: Server) -> None:
    """SIGTERM: the peer is told 1001, the handler tidies up, and the server is gone in time."""
    with dial(server, "/stop") as ws:
        assert ws.recv(PATIENCE) == "ready"
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    server.wait_for_event("tidied up")
    server.process.wait(PATIENCE)
    assert server.events[-1] == "stopped"


@pytest.mark.parametrize("path", ["/flood", "/busy", "/idle"])
def test_no_peer_holds_up_a_stop(server: Server, path: str) -> None:
    """A peer that answers nothing, reads nothing or sends for ever does not keep a server from stopping."""
    client = raw(server, path, SO_RCVBUF=4096)
    if path == "/busy":
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                client.send(frame(2, bytes(60_000)))
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE)
    client.close()


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_a_peer_that_answers_no_ping(lend_server: StartServer, version: str) -> None:
    """Under `trioweb run` a peer of whom nothing has come since the last ping is left, and one that answers is kept."""
    server = lend_server("tests.server.socket_app:app", "--websocket-ping-interval", "0.2", runner="trioweb")
    with dial(server, "/echo") as ws:
        if version == "1.1":
            silent = raw(server, "/echo")
            assert read_all(silent) in {b"\x89\x00", b""}  # one ping, which may have come with the head
            silent.close()
        else:
            client = H2Client(server)
            stream = client.request("/echo", "CONNECT", CONNECT, end=False)
            client.pump("data", stream)
            client.wait_until_closed()
            client.close()
        server.wait_for_event("left 1006")
        time.sleep(0.5)
        ws.send("still here")
        assert ws.recv(PATIENCE) == "still here"
    assert "rror" not in server.output


CONNECT = [(":protocol", "websocket"), ("sec-websocket-version", "13")]


def test_over_http2(server: Server) -> None:
    """A WebSocket over HTTP/2 (RFC 8441) works the same, beside other streams of its connection."""
    client = H2Client(server)
    stream = client.request("/echo", "CONNECT", CONNECT, end=False)
    client.pump("begun", stream)
    client.upload(stream, frame(1, b"hello"))
    client.pump("data", stream)
    assert client.received[stream] == b"\x81\x05hello"
    other = client.request("/-/ready")
    client.pump("ended", other)
    assert client.received[other] == b"ready"
    third = client.request("/echo", "CONNECT", CONNECT, end=False)
    client.pump("begun", third)
    client.upload(third, frame(8, b"\x0f\xa1"))
    server.wait_for_event("left 1006" if server.runner == "hypercorn" else "left 4001")
    client.upload(stream, frame(1, b"bye"))
    client.pump("ended", stream)
    assert client.received[stream].endswith(b"\x88\x0a\x0f\xa0as asked")
    client.close()


def test_a_peer_over_http2_that_never_reads(server: Server) -> None:
    """One whose window stays shut is left after the write timeout: its stream is reset, the others go on."""
    client = H2Client(server)
    stream = client.request("/flood", "CONNECT", CONNECT, end=False)
    client.pump("reset", stream, open_windows=False)
    server.wait_for_event("flood ended")
    assert len(client.received[stream]) < 100_000
    client.close()


@pytest.fixture(params=RUNNERS)
def wrapped(request: pytest.FixtureRequest, lend_server: StartServer) -> Server:
    """The app behind ASGI middleware of others."""
    return lend_server("tests.server.wrapped_socket_app:app", runner=request.param)


def test_what_asgi_middleware_leaves_is_there(wrapped: Server) -> None:
    """A WebSocket's handler finds Starlette's session, and the client that Hypercorn's ProxyFix has found out."""
    code, head = wrapped.curl("/login", "-D", "-", "-o", "/dev/null")
    assert code == 0
    cookie = head.partition(b"set-cookie: ")[2].partition(b";")[0].decode()
    headers = {
        "cookie": cookie,
        "x-forwarded-for": "1.2.3.4",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "good.example",
    }
    with connect(wrapped.url.replace("http", "ws") + "/who", additional_headers=headers, proxy=None) as ws:
        told = json.loads(ws.recv(PATIENCE))
    assert told == {"user": "ada", "client": "1.2.3.4", "scheme": "https", "host": "good.example"}


def test_asgi_middleware_refuses_a_handshake(wrapped: Server) -> None:
    """A host that Starlette's TrustedHost does not trust is refused with its status."""
    headers = {"x-forwarded-for": "1.2.3.4", "x-forwarded-host": "evil.example"}
    url = wrapped.url.replace("http", "ws") + "/echo"
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers, proxy=None):
        pass
    assert refused.value.response.status_code == 400
    assert b"Invalid host header" in (refused.value.response.body or b"")
