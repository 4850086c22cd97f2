"""``hub.stream`` over TLS and HTTP/2, behind middleware and compression, on both servers: all of it the same."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme

from tests.hub.test_hub import until
from tests.hub.test_responses import flood, make_app, mapping
from tests.servers import H2Client
from tests.sites import PATIENCE, Served, on_hypercorn, on_trioweb
from trioweb import App, Compression, WebSocket
from trioweb.hub import Hub, MemoryHub

SERVERS = {"hypercorn": on_hypercorn, "trioweb run": on_trioweb}
PROTOCOLS = {"HTTP/1.1, TLS": (True, False), "HTTP/2, TLS": (True, True), "HTTP/2": (False, True)}
"""Whether there is TLS, and whether it is HTTP/2."""
BEFORE: dict[str, Any] = {"nothing": None, "a map": mapping, "compression": Compression(minimum_size=1)}

pytestmark = [
    # Of httpx, which leaves the generators of a stream that was left to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

authority = trustme.CA()


class Reader:
    """What has come of a stream so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.text = ""
        self._looked = 0  # so far no other text was found
        self._parts = response.aiter_text()

    async def until(self, text: str) -> None:
        """Read until something has come."""
        with trio.fail_after(PATIENCE):
            while self.text.find(text, self._looked) < 0:
                self._looked = max(0, len(self.text) - len(text))
                self.text += await anext(self._parts)

    async def end(self) -> None:
        """Read to the end.

        Raises:
            httpx.RemoteProtocolError: the stream was broken off.
        """
        with trio.fail_after(PATIENCE), suppress(StopAsyncIteration):
            while True:
                self.text += await anext(self._parts)


class Door:
    """Connections to a site, for ``H2Client``."""

    def __init__(self, site: Served) -> None:
        self._port = site.port
        self.decodes = False

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """One more."""
        del receive_buffer
        return socket.create_connection(("127.0.0.1", self._port), PATIENCE)


class Place:
    """A site, and clients of one protocol."""

    def __init__(self, site: Served, protocol: str) -> None:
        self.site = site
        self._protocol = protocol

    @asynccontextmanager
    async def listen(self, **headers: str) -> AsyncIterator[Reader]:
        """A stream that has begun, on a connection of its own."""
        secure, http2 = PROTOCOLS[self._protocol]
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        url = f"{'https' if secure else 'http'}://127.0.0.1:{self.site.port}/"
        async with (
            httpx.AsyncClient(verify=trusted, http1=not http2, http2=http2, timeout=PATIENCE) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            assert response.headers["content-type"] == "text/event-stream"
            yield Reader(response)


@asynccontextmanager
async def running(
    hub: Hub, server: str, protocol: str, before: str, directory: Path, **options: Any
) -> AsyncIterator[Place]:
    """An app with a hub."""
    app = make_app(hub, **options)
    if BEFORE[before] is not None:
        app.middleware(BEFORE[before])
    config: dict[str, Any] = {}
    if PROTOCOLS[protocol][0]:
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        config = dict.fromkeys(("certfile", "keyfile"), str(directory / "server.pem"))
    async with SERVERS[server](app, **config) as site:
        assert isinstance(site, Served)
        yield Place(site, protocol)


@pytest.fixture(params=BEFORE)
def before(request: pytest.FixtureRequest) -> Any:
    """What stands before the stream."""
    return request.param


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    """How clients speak."""
    return request.param


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Any:
    """Which server it is."""
    return request.param


async def test_events_come_at_once(server: str, protocol: str, before: str, tmp_path: Path) -> None:
    """Each event is there before the next is published; a stream that ends is no subscriber, and another resumes."""
    hub, ids = MemoryHub(), []
    async with running(hub, server, protocol, before, tmp_path) as place:
        async with place.listen() as stream:
            for number in range(3):
                ids.append(await hub.publish("ab"[number % 2], number, event="n"))
                await stream.until(f"event: n\nid: {ids[-1]}\ndata: {number}\n\n")
            assert stream.response.http_version == ("HTTP/2" if PROTOCOLS[protocol][1] else "HTTP/1.1")
            assert ("content-encoding" in stream.response.headers) == (before == "compression")
        await until(lambda: hub.stats().subscribers == 0)
        async with place.listen(**{"last-event-id": ids[0]}) as stream:
            await stream.until("data: 2\n\n")
            assert re.findall(r"data: (.*)", stream.text) == ["1", "2"]


async def test_a_stop(server: str, before: str, tmp_path: Path) -> None:
    """Under TLS, too, streams end with the time at which to come back."""
    hub = MemoryHub()
    async with running(hub, server, "HTTP/1.1, TLS", before, tmp_path) as place, place.listen() as stream:
        await hub.publish("a", "before")
        await stream.until("data: before\n\n")
        place.site.stop()
        await stream.end()
        [milliseconds] = re.findall(r"data: before\n\nretry: (\d+)\n\n$", stream.text)
        assert 500 <= int(milliseconds) <= 2000


async def test_a_stop_under_http2(server: str, before: str, tmp_path: Path) -> None:
    """So they do under HTTP/2; the client is one that goes on after the server's GOAWAY, as browsers do."""
    hub = MemoryHub()
    async with running(hub, server, "HTTP/2", before, tmp_path) as place:
        client = await trio.to_thread.run_sync(H2Client, Door(place.site))
        stream = await trio.to_thread.run_sync(client.request, "/")
        await trio.to_thread.run_sync(client.pump, "begun", stream)
        await hub.publish("a", "before")
        await trio.to_thread.run_sync(client.pump, "data", stream)
        place.site.stop()
        await trio.to_thread.run_sync(client.pump, "ended", stream)
        assert re.search(rb"data: before\n\nretry: \d+\n\n$", client.received[stream])
        client.close()


async def test_a_client_that_reads_nothing(server: str, protocol: str, before: str, tmp_path: Path) -> None:
    """What waits for it is bounded, others get all; when it reads it has a gap."""
    hub = MemoryHub()
    async with running(hub, server, protocol, before, tmp_path, limit=30_000) as place, place.listen() as lazy:
        async with hub.subscribe("a", limit=10**8) as quick:
            await flood(hub)
            assert [int((await anext(quick)).data) for _ in range(3000)] == list(range(3000))
        assert hub.stats().waiting_bytes <= 30_000 + 2064
        assert before == "compression" or hub.stats().dropped > 0  # it makes little of so much white space
        await hub.publish("b", "last")
        await lazy.until("data: last\n\n")
        numbers = [int(text) for text in re.findall(r"data: +(\d+)\n", lazy.text)]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 2999
        assert ("event: gap" in lazy.text) == (len(numbers) < 3000)


async def test_a_client_that_reads_nothing_has_to_leave(server: str, protocol: str, tmp_path: Path) -> None:
    """With ``slow="leave"`` its stream is broken off, which it sees."""
    hub = MemoryHub()
    async with running(hub, server, protocol, "nothing", tmp_path, slow="leave", limit=30_000) as place:
        with pytest.raises(httpx.RemoteProtocolError):
            async with place.listen() as lazy:
                await flood(hub)
                await until(lambda: hub.stats().subscribers == 0)
                await lazy.end()


@pytest.mark.parametrize("slow", ["drop", "latest", "leave"])
async def test_a_websocket_that_reads_nothing(server: str, slow: Any) -> None:
    """What waits for it is bounded, and publishing goes on, whatever happens to slow ones."""
    app, hub = App(), MemoryHub()
    app.lifespan(hub)

    @app.websocket("/")
    async def listen(ws: WebSocket) -> None:
        await ws.accept()
        async with hub.subscribe("a", slow=slow, limit=30_000) as events:
            async for event in events:
                await ws.send(event.data)

    async with SERVERS[server](app) as site:
        assert isinstance(site, Served)
        lazy = await trio.open_tcp_stream("127.0.0.1", site.port)
        await lazy.send_all(
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n"
        )
        assert (await lazy.receive_some(100)).startswith(b"HTTP/1.1 101")
        await until(lambda: hub.stats().subscribers == 1)
        await flood(hub)
        assert hub.stats().waiting_bytes <= 30_000 + 2064
        assert hub.stats().dropped > 0
        assert slow != "leave" or hub.stats().waiting_bytes == 0
        await lazy.aclose()
        await until(lambda: hub.stats().subscribers == 0)
