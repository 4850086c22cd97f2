"""HTTP/3 under ``trioweb run``, as a client of another make sees it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trustme
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted

from trioweb import App, EventStreamResponse
from trioweb.server.config import ServerConfig
from trioweb.server.process import sockets as listening
from trioweb.server.process.worker import Worker

PATIENCE = 10.0

app = App()


@app.get("/")
async def root() -> str:
    """Answer at once."""
    return "hello over HTTP/3"


@app.get("/ticks")
async def ticks() -> AsyncIterator[str]:
    """A stream that takes its time."""
    for number in range(3):
        yield f"{number},"
        await trio.sleep(0.01)


@app.get("/events")
async def events() -> EventStreamResponse:
    """One event, and then none."""

    async def one() -> AsyncIterator[str]:
        yield "first"
        await trio.sleep_forever()

    return EventStreamResponse(one())


class Client:
    """One connection."""

    def __init__(self, port: int, authority: bytes) -> None:
        configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
        configuration.load_verify_locations(cadata=authority)
        self._quic = QuicConnection(configuration=configuration)
        self._http = H3Connection(self._quic)
        self._address = ("127.0.0.1", port)
        self._socket = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        self._news = trio.Event()
        self.connected = self.ended = False
        self.headers: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytes] = {}
        self.over: set[int] = set()

    async def run(self) -> None:
        """Speak, until the connection is over."""
        with self._socket:
            await self._speak()

    async def _speak(self) -> None:
        await self._socket.bind(("127.0.0.1", 0))
        self._quic.connect(self._address, now=trio.current_time())
        await self.flush()
        while not self.ended:
            due = self._quic.get_timer()
            data = b""
            with trio.move_on_at(trio.current_time() + 1 if due is None else due):
                data, _ = await self._socket.recvfrom(65536)
            if data:
                self._quic.receive_datagram(data, self._address, now=trio.current_time())
            else:
                self._quic.handle_timer(now=trio.current_time())
            while (event := self._quic.next_event()) is not None:
                self._take(event)
            await self.flush()
            news, self._news = self._news, trio.Event()
            news.set()

    def _take(self, event: Any) -> None:
        self.connected |= isinstance(event, HandshakeCompleted)
        self.ended |= isinstance(event, ConnectionTerminated)
        for found in self._http.handle_event(event):
            if isinstance(found, HeadersReceived):
                self.headers[found.stream_id] = dict(found.headers)
            elif isinstance(found, DataReceived):
                self.bodies[found.stream_id] = self.bodies.get(found.stream_id, b"") + found.data
            if isinstance(found, (HeadersReceived, DataReceived)) and found.stream_ended:
                self.over.add(found.stream_id)

    async def flush(self) -> None:
        """Send what is to be sent."""
        for data, address in self._quic.datagrams_to_send(now=trio.current_time()):
            await self._socket.sendto(data, address)

    async def until(self, condition: Any) -> None:
        """Wait for something to become true."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await self._news.wait()

    async def ask(self, path: str, method: str = "GET", body: bytes = b"") -> int:
        """Begin a request; returns its stream."""
        await self.until(lambda: self.connected)
        stream = self._quic.get_next_available_stream_id()
        head = {":method": method, ":scheme": "https", ":authority": "localhost", ":path": path}
        pairs = [(name.encode(), value.encode()) for name, value in head.items()]
        self._http.send_headers(stream, pairs, end_stream=not body)
        if body:
            self._http.send_data(stream, body, end_stream=True)
        await self.flush()
        return stream

    async def get(self, path: str, method: str = "GET", body: bytes = b"") -> tuple[bytes, bytes]:
        """The status and the body of a whole response."""
        stream = await self.ask(path, method, body)
        await self.until(lambda: stream in self.over)
        return self.headers[stream][b":status"], self.bodies.get(stream, b"")

    async def close(self) -> None:
        """Leave."""
        self._quic.close()
        await self.flush()


@asynccontextmanager
async def serving(place: Path, **options: Any) -> AsyncIterator[tuple[Worker, Client]]:
    """A worker that speaks HTTP/3, and a client that is connected."""
    authority = trustme.CA()
    path = place / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))
    config = ServerConfig()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.bind = ["127.0.0.1:0"]
    config.quic_bind = ["127.0.0.1:0"]
    config.certfile = config.keyfile = str(path)
    config.graceful_timeout = 0.5
    for name, value in options.items():
        setattr(config, name, value)
    sockets = listening.listen(config)
    worker = Worker(app, config, sockets)
    client = Client(sockets.quic_sockets[0].getsockname()[1], authority.cert_pem.bytes())
    try:
        async with trio.open_nursery() as nursery:
            ready = trio.Event()
            nursery.start_soon(worker.serve, ready.set, lambda: None)
            await ready.wait()
            nursery.start_soon(client.run)
            yield worker, client
            await client.close()
            worker.stop()
    finally:
        listening.close(sockets, config)


async def test_requests_are_answered(tmp_path: Path) -> None:
    """Small ones, streams and errors, one after the other on one connection."""
    async with serving(tmp_path) as (_, client):
        assert await client.get("/") == (b"200", b"hello over HTTP/3")
        assert await client.get("/ticks") == (b"200", b"0,1,2,")
        assert (await client.get("/nowhere"))[0] == b"404"


async def test_a_request_beyond_the_limit(tmp_path: Path) -> None:
    """Beyond max_requests_in_flight a request gets a 503 over HTTP/3, too."""
    async with serving(tmp_path, max_requests_in_flight=0) as (_, client):
        status, body = await client.get("/")
    assert (status, json.loads(body)["status"]) == (b"503", 503)


async def test_a_stream_leaves_as_it_is_made(tmp_path: Path) -> None:
    """An event arrives while its stream goes on, and another request is answered meanwhile."""
    async with serving(tmp_path) as (_, client):
        stream = await client.ask("/events")
        await client.until(lambda: client.bodies.get(stream, b"").endswith(b"data: first\n\n"))
        assert client.headers[stream][b"content-type"].startswith(b"text/event-stream")
        assert await client.get("/") == (b"200", b"hello over HTTP/3")
        assert stream not in client.over
