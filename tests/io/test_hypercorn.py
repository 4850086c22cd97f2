"""The adapter to Hypercorn: it takes nothing for granted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import h11
import pytest
import trio

from tests.servers import PATIENCE
from trioweb.io import hypercorn
from trioweb.io.hypercorn import find_transport
from trioweb.io.transport import PLAIN, Transport


async def plain_send(message: Any) -> None:
    """A send that is no method."""


class Chain:
    """Bound methods as in Hypercorn: a send of a stream, of its protocol, of its server."""

    def __init__(self, send: Any, **attributes: Any) -> None:
        self.send = send
        self.__dict__.update(attributes)

    async def app_send(self, message: Any) -> None:
        """Stand for any of the three."""


def chain(**missing: bool) -> Any:
    """The three objects with all that the adapter wants of them, but for what is missing."""
    event = SimpleNamespace(set=None)
    connection = SimpleNamespace(reset_stream=None, send_failed=None)
    config = SimpleNamespace(graceful_timeout=3)
    context = SimpleNamespace(terminated=SimpleNamespace(wait=None), terminate=SimpleNamespace(set=None))
    server = Chain(None, stream=SimpleNamespace(socket=SimpleNamespace(shutdown=None)))
    protocol = Chain(
        server.app_send, connection=connection, stream_buffers={}, priority=SimpleNamespace(unblock=None),
        can_read=event, has_data=event, task_group=SimpleNamespace(spawn=None), _flush=None,
    )  # fmt: skip
    stream = Chain(
        protocol.app_send,
        closed=False,
        state=SimpleNamespace(name="REQUEST"),
        stream_id=1,
        context=context,
        config=config,
    )
    for owner in (server, protocol, stream):
        for name in missing:
            owner.__dict__.pop(name, None)
    return stream.app_send


def scope(version: str) -> dict[str, Any]:
    """A scope with that version."""
    return {"http_version": version, "extensions": {}}


def test_a_server_may_bring_its_own() -> None:
    """A transport in the scope's extensions is taken before anything is guessed."""
    own = Transport()
    assert find_transport({"http_version": "1.1", "extensions": {"trioweb": own}}, chain()) is own
    assert find_transport({"http_version": "1.1", "extensions": {"trioweb": "odd"}}, chain()) is not PLAIN


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_the_real_thing_is_recognised(version: str) -> None:
    """Objects with all the attributes are taken for Hypercorn's."""
    assert find_transport(scope(version), chain()) is not PLAIN


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("1.1", "state"), ("1.1", "context"), ("1.1", "config"),
        ("1.1", "stream"), ("1.1", "connection"), ("1.1", "send"),
        ("2", "stream_buffers"), ("2", "priority"), ("2", "has_data"), ("2", "task_group"), ("2", "_flush"),
    ],
)  # fmt: skip
def test_one_missing_attribute_is_plain_asgi(version: str, missing: str) -> None:
    """Where a single attribute is missing nothing is touched: the connection is plain ASGI."""
    assert find_transport(scope(version), chain(**{missing: True})) is PLAIN


def test_a_wrapped_send_is_plain_asgi() -> None:
    """A send that a middleware has wrapped is plain ASGI."""
    assert find_transport(scope("1.1"), plain_send) is PLAIN
    assert find_transport(scope("2"), plain_send) is PLAIN


async def test_plain_asgi_does_nothing() -> None:
    """The plain transport has no effect and blocks nobody."""
    with trio.fail_after(PATIENCE):
        await PLAIN.drained()
        await PLAIN.abort()
        assert await PLAIN.end_unread() is False
    PLAIN.release(trio.CancelScope())


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_websockets_are_recognised(version: str) -> None:
    """A WebSocket has less of a connection over HTTP/1.1: what it does not have is not asked for."""
    websocket = {**scope(version), "type": "websocket"}
    transport = find_transport(websocket, chain(can_read=True) if version == "1.1" else chain())
    assert transport is not PLAIN
    assert find_transport(websocket, chain(context=True)) is PLAIN
    if version == "2":
        with trio.CancelScope() as shield:
            transport.release(None)
            transport.release(shield)
        assert shield.cancel_called


@pytest.mark.parametrize("missing", ["send_lock", "send_with_data_passthrough", "same stream", "own send", ""])
async def test_files_are_sent_where_all_is_as_known(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """The system sends a file only in clear, through a send that nobody has wrapped, and where h11 can count it."""
    counted: list[int] = []
    send = chain()
    protocol = send.__self__.send.__self__
    server = protocol.send.__self__
    server.send_lock = trio.Lock()
    protocol.connection.send_with_data_passthrough = lambda event: counted.append(len(event.data))

    async def send_some(sock: object, file: int, position: int, count: int) -> int:
        assert (sock, server.send_lock.locked()) == (server.stream.socket, True)
        return min(count, 7)

    monkeypatch.setattr(hypercorn, "send_file", send_some)
    transport = find_transport(scope("1.1"), send)
    if missing == "send_lock":
        del server.send_lock
    elif missing == "send_with_data_passthrough":
        del protocol.connection.send_with_data_passthrough
    elif missing == "same stream":
        server.stream = SimpleNamespace(transport_stream=server.stream)
        transport = find_transport(scope("1.1"), send)
        assert transport is not PLAIN
    sent = await transport.send_file(plain_send if missing == "own send" else send, 3, 0, 100)
    assert (sent, counted) == ((0, []) if missing else (7, [7]))


def respond_by_h11() -> h11.Connection:
    """A connection that has sent the head of a chunked response."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.next_event()
    connection.send(h11.Response(status_code=200, headers=[]))
    return connection


@pytest.mark.parametrize("hindered", ["", "own send", "TLS", "locked", "too large", "no head yet"])
async def test_a_part_that_the_system_takes(hindered: str) -> None:
    """A part of a body is given to the system at once; where the adapter cannot know that it may, to the server."""
    sent: list[object] = []

    async def own_send(message: object) -> None:
        sent.append(message)

    send = chain()
    stream = send.__self__
    stream.app_send = own_send
    protocol, server = stream.send.__self__, stream.send.__self__.send.__self__
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        server.stream, server.send_lock, protocol.connection = trio.SocketStream(ours), trio.Lock(), respond_by_h11()
        stream.state.name = "RESPONSE"
        transport = find_transport(scope("1.1"), send)
        if hindered == "TLS":
            server.stream = SimpleNamespace(transport_stream=server.stream)
            transport = find_transport(scope("1.1"), send)
        elif hindered == "locked":
            server.send_lock.acquire_nowait()
        elif hindered == "no head yet":
            stream.state.name = "REQUEST"
        data = bytes(hypercorn.PART + (hindered == "too large"))
        rest = transport.send_part(own_send if hindered else send, data)
        if hindered:
            assert rest is not None
            await rest
            assert sent == [{"type": "http.response.body", "body": data, "more_body": True}]
        else:
            assert (rest, sent) == (None, [])
            assert await theirs.recv(65536) == b"4000\r\n" + data + b"\r\n"


async def test_a_part_that_the_system_takes_later() -> None:
    """What the system does not take at once follows when there is room, and nothing is between the two."""
    send = chain()
    stream = send.__self__
    protocol, server = stream.send.__self__, stream.send.__self__.send.__self__
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        server.stream, server.send_lock, protocol.connection = trio.SocketStream(ours), trio.Lock(), respond_by_h11()
        stream.state.name = "RESPONSE"
        transport = find_transport(scope("1.1"), send)
        received = bytearray()

        async def read_on() -> None:
            while not received.endswith(b"last\r\n"):
                received.extend(await theirs.recv(65536))

        count = 0
        while (rest := transport.send_part(send, bytes(hypercorn.PART))) is None:
            count += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_on)
            await rest
            assert transport.send_part(send, b"last") is None
        assert bytes(received) == (b"4000\r\n" + bytes(hypercorn.PART) + b"\r\n") * (count + 1) + b"4\r\nlast\r\n"
