"""Who speaks with a client: what is Hypercorn's reaches it whole, and all else does not."""

from __future__ import annotations

import ssl
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import wsproto
import wsproto.events

from tests.server.http1.conftest import GET, PATIENCE, Client, hello, serving

Tls = tuple[str, ssl.SSLContext]

http2 = pytest.mark.parametrize("http2", ["auto", "hypercorn"])


async def both(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the version of HTTP and the path; echo the messages of a WebSocket."""
    if scope["type"] == "http":
        scope = {**scope, "path": f"{scope['http_version']} {scope['path']}"}
        await hello(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def read_h2(client: Client, connection: h2.connection.H2Connection, stream: int) -> bytes:
    """The body of a response over HTTP/2."""
    body = b""
    await client.send(connection.data_to_send())
    data, client.received = client.received, b""
    with trio.fail_after(PATIENCE):
        while True:
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived) and event.stream_id == stream:
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id == stream:
                    return body
            await client.send(connection.data_to_send())
            data = bytes(await client.stream.receive_some(65536))


def start_h2(connection: h2.connection.H2Connection) -> None:
    """Ask for a page."""
    connection.initiate_connection()
    headers = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/a")]
    connection.send_headers(1, headers, end_stream=True)


def h2_client() -> h2.connection.H2Connection:
    """A client of HTTP/2."""
    return h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))


@http2
@pytest.mark.parametrize("cut", [1, 10, 18, 20, 60])
async def test_http_2_may_begin_at_once(cut: int, http2: str) -> None:
    """A client that begins with the preface of HTTP/2, in whatever pieces, is served over HTTP/2."""
    connection = h2_client()
    start_h2(connection)
    data = connection.data_to_send()
    async with serving(both, http2=http2) as site:
        client = await site.connect()
        await client.send(data[:cut])
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(data[cut:])
        assert await read_h2(client, connection, 1) == b"2 /a"


@http2
async def test_tls_decides_on_http_2(certificate: Tls, http2: str) -> None:
    """A client that offers h2 in its handshake is served over HTTP/2; one that does not, over HTTP/1.1."""
    async with serving(both, certificate, http2=http2) as site:
        connection = h2_client()
        start_h2(connection)
        client = await site.connect("h2")
        assert await read_h2(client, connection, 1) == b"2 /a"
        assert (await (await site.connect()).ask(GET)).endswith(b"1.1 /")


@http2
async def test_http_1_may_be_upgraded_to_http_2(http2: str) -> None:
    """The answer to an upgrade to h2c comes over HTTP/2."""
    connection = h2_client()
    settings = connection.initiate_upgrade_connection()
    assert settings is not None
    head = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    async with serving(both, h2c=True, http2=http2) as site:
        client = await site.connect()
        await client.ask(GET)
        await client.send(head + b"HTTP2-Settings: " + settings + b"\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await read_h2(client, connection, 1) == b"2 /a"


async def test_http_2_is_not_begun_in_the_middle() -> None:
    """Behind a request in HTTP/1.1 the preface of HTTP/2 is refused."""
    async with serving(both, h2c=True) as site:
        client = await site.connect()
        await client.ask(GET)
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 505 ")


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
BOTH = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"


async def test_under_tls_the_handshake_decides(certificate: Tls) -> None:
    """The preface of HTTP/2 is a 505 and the end under TLS, where the handshake has agreed on HTTP/1.1."""
    async with serving(both, certificate, h2c=True) as site:
        client = await site.connect()
        await client.send(PREFACE)
        assert (await client.rest()).startswith(b"HTTP/1.1 505 ")


@pytest.mark.parametrize("http", ["auto", "h11"])
async def test_an_upgrade_to_http_2_must_be_asked_for(http: str, certificate: Tls) -> None:
    """Without `--h2c`, and under TLS, what asks for an upgrade is a request, and so is the next one."""
    for tls, options in ((None, {}), (certificate, {"h2c": True})):
        async with serving(both, tls, http=http, **options) as site:
            client = await site.connect()
            for _ in range(2):
                await client.send(GET[:-2] + BOTH + SETTINGS + b"\r\n")
                assert b"HTTP/1.1 200 " in await client.until(b"1.1 /")


WRONG = {
    "no settings": BOTH,
    "settings twice": BOTH + SETTINGS + SETTINGS,
    "not named": b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + SETTINGS,
    "no upgrade named": b"Connection: HTTP2-Settings\r\nUpgrade: h2c\r\n" + SETTINGS,
    "another protocol": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2\r\n" + SETTINGS,
    "not base64url": BOTH + b"HTTP2-Settings: AAMAAABk!AAQ\r\n",
    "a letter too many": BOTH + b"HTTP2-Settings: AAMAAABkA\r\n",
    "half a setting": BOTH + b"HTTP2-Settings: AAMAAA\r\n",
    "a setting that is none": BOTH + b"HTTP2-Settings: AAIAAAAC\r\n",
    "a window too large": BOTH + b"HTTP2-Settings: AAT_____\r\n",
    "a length": BOTH + SETTINGS + b"Content-Length: 0\r\n",
    "a body": BOTH + SETTINGS + b"Content-Length: 1\r\n",
}


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("how", WRONG)
async def test_an_upgrade_by_the_book(how: str, http: str) -> None:
    """An upgrade to h2c that is not as RFC 7540, section 3.2.1, has it is a plain request, and so is the next one."""
    async with serving(both, http=http, h2c=True) as site:
        client = await site.connect()
        for _ in range(2):
            await client.send(GET[:-2] + WRONG[how] + b"\r\n" + (b"x" if how == "a body" else b""))
            assert b"HTTP/1.1 200 " in await client.until(b"1.1 /")


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize(
    "fields",
    [
        BOTH + SETTINGS,
        BOTH + b"HTTP2-Settings: AAMAAABkAAQAoAAA\r\n",
        BOTH + b"HTTP2-Settings: \r\n",
        b"connection: http2-settings\r\nConnection: upgrade\r\nupgrade: H2C\r\nhttp2-settings: AAMAAABk\r\n",
        BOTH + b"HTTP2-Settings: AAIAAAAAAAMAAABk\r\n",
    ],
)
async def test_an_upgrade_has_its_settings(http: str, fields: bytes) -> None:
    """Padding may be left out, options stand on several lines; the headers of the upgrade are not the request's."""
    seen: list[set[bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append({name for name, _ in scope["headers"]})
        await both(scope, receive, send)

    async with serving(app, http=http, h2c=True) as site:
        client = await site.connect()
        await client.send(GET[:-2] + fields + b"\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        connection = h2_client()
        connection.initiate_upgrade_connection()
        assert await read_h2(client, connection, 1) == b"2 /"
    assert not seen[0] & {b"upgrade", b"connection", b"http2-settings"}


@pytest.mark.parametrize("before", [b"", GET])
async def test_websockets(certificate: Tls, before: bytes) -> None:
    """A WebSocket is served, also behind other requests on its connection."""
    for tls in (None, certificate):
        async with serving(both, tls) as site:
            client = await site.connect()
            if before:
                await client.ask(before)
            peer = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
            data = peer.send(wsproto.events.Request(host="x", target="/ws"))
            await client.send(data)
            head = await client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            peer.receive_data(head + client.received)
            client.received = b""
            assert [type(event) for event in peer.events()] == [wsproto.events.AcceptConnection]
            await client.send(peer.send(wsproto.events.TextMessage("hello")))
            with trio.fail_after(PATIENCE):
                peer.receive_data(bytes(await client.stream.receive_some(65536)))
            (event,) = peer.events()
            assert isinstance(event, wsproto.events.TextMessage)
            assert event.data == "hello"


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: upgrade\r\nUpgrade: foo\r\n",
        b"Upgrade: websocket\r\n",
    ],
)
async def test_other_offers_are_declined(fields: bytes) -> None:
    """An upgrade that nobody here takes is a plain request (RFC 9110, section 7.8), and so is the next one."""
    async with serving(both) as site:
        client = await site.connect()
        body = b"x" if b"Length" in fields else b""
        for _ in range(2):
            found = await client.ask(GET[:-2] + fields + b"\r\n" + body)
            assert found.endswith(b"1.1 /")
            assert b"server: trioweb\r\n" in found


@pytest.mark.parametrize("options", [{"http": "h11"}, {"h11_pass_raw_headers": True}])
async def test_hypercorn_can_have_all_of_it(options: dict[str, Any], certificate: Tls) -> None:
    """With ``--http h11``, and where headers are wanted as they came, Hypercorn speaks HTTP/1.1 too."""
    for tls in (None, certificate):
        async with serving(both, tls, **options) as site:
            client = await site.connect()
            await client.send(GET)
            assert b"HTTP/1.1 200 \r\n" in await client.until(b"\r\n\r\n")  # we would say OK
            await client.until(b"0\r\n\r\n")
            site.worker.stop()
            assert await client.rest() == b""


async def test_a_client_that_speaks_no_tls_is_left(certificate: Tls) -> None:
    """A handshake that fails, or takes too long, ends the connection and nothing else."""
    async with serving(both, certificate, ssl_handshake_timeout=0.2) as site:
        for data in (GET, b""):
            client = Client(await trio.open_tcp_stream("127.0.0.1", site.port))
            if data:
                await client.send(data)
            await client.rest()
            await client.leave()
        assert (await (await site.connect()).ask(GET)).endswith(b"1.1 /")


async def test_requests_in_flight_are_limited() -> None:
    """Beyond the limit a request is a 503 at once, and the connection goes on."""
    begun, go_on = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await hello(scope, receive, send)

    async with serving(app, max_requests_in_flight=1) as site:
        first, second = await site.connect(), await site.connect()
        await first.send(GET)
        await begun.wait()
        assert (await second.ask(GET)).startswith(b"HTTP/1.1 503 ")
        go_on.set()
        assert (await first.ask(b"")).startswith(b"HTTP/1.1 200 ")
        assert (await second.ask(GET)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("how", ["nothing", "half of a hello", "byte by byte", "a hello, and no more"])
@pytest.mark.parametrize("http", ["auto", "h11"])
async def test_a_stalled_handshake(mock_clock: trio.testing.MockClock, certificate: Tls, http: str, how: str) -> None:
    """A TLS handshake that is not over after 10 s is not waited for, however it is drawn out."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = certificate[1].wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        peer.do_handshake()
    hello = outgoing.read()
    pieces = {
        "nothing": [b""] * 10,
        "half of a hello": [hello[:100], *[b""] * 9],
        "byte by byte": [hello[index : index + 1] for index in range(10)],
        "a hello, and no more": [hello, *[b""] * 9],
    }
    async with serving(both, certificate, http=http) as site:
        client = Client(await trio.open_tcp_stream("127.0.0.1", site.port))
        await trio.testing.wait_all_tasks_blocked(0.01)
        for piece in pieces[how]:
            assert site.worker._connections
            mock_clock.jump(0.99)
            await client.send(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert site.worker._connections
        mock_clock.jump(0.2)
        await client.rest()
        await client.leave()
        assert not site.worker._connections


async def test_a_client_of_plain_http_under_tls(mock_clock: trio.testing.MockClock, certificate: Tls) -> None:
    """One that speaks no TLS has its end at once, whatever it says, and takes no place."""
    async with serving(both, certificate, max_connections=1) as site:
        for data in (GET, PREFACE, b"\x16\x03\x01\xff\xff" + bytes(70_000)):
            client = Client(await trio.open_tcp_stream("127.0.0.1", site.port))
            await client.send(data)
            await client.rest()
            await client.leave()
        assert (await (await site.connect()).ask(GET)).endswith(b"1.1 /")
        assert trio.current_time() == 0
