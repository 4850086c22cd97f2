"""A worker in the test's own process, on a free port, and clients that speak bytes with it."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from trioweb.io.poller import Poller
from trioweb.server.config import ServerConfig
from trioweb.server.logs.logs import ServerLogger
from trioweb.server.process import sockets as listening
from trioweb.server.process.worker import Worker
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import ClientLeftError

PATIENCE = 10.0
"""Seconds after which what a test waits for has failed; far beyond what it takes."""

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

Message = dict[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


class Client:
    """One connection, on which reads fail after a while."""

    def __init__(self, stream: trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream: Any = stream
        self.received = b""

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self.stream.send_all(data)

    async def until(self, end: bytes) -> bytes:
        """What comes up to ``end``, and that."""
        with trio.fail_after(PATIENCE):
            while end not in self.received:
                part = await self.stream.receive_some(65536)
                assert part, f"closed before {end!r}: {self.received!r}"
                self.received += part
        found, _, self.received = self.received.partition(end)
        return found + end

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        with trio.fail_after(PATIENCE):
            while part := await self.stream.receive_some(65536):
                self.received += part
        data, self.received = self.received, b""
        return data

    async def ask(self, data: bytes) -> bytes:
        """Send bytes, and read one response with a ``content-length``."""
        await self.send(data)
        head = await self.until(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        with trio.fail_after(PATIENCE):
            while len(self.received) < length:
                part = await self.stream.receive_some(65536)
                assert part
                self.received += part
        body, self.received = self.received[:length], self.received[length:]
        return head + body

    async def leave(self) -> None:
        """Close."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)


class Site:
    """A worker that serves."""

    def __init__(self, worker: Worker, port: int, tls: ssl.SSLContext | None) -> None:
        self.worker = worker
        self.port = port
        self._tls = tls
        self.clients: list[Client] = []

    async def connect(self, alpn: str = "http/1.1") -> Client:
        """A new connection."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        if self._tls is None:
            self.clients.append(Client(stream))
            return self.clients[-1]
        self._tls.set_alpn_protocols([alpn])
        secure = trio.SSLStream(stream, self._tls, server_hostname="localhost", https_compatible=True)
        await secure.do_handshake()
        self.clients.append(Client(secure))
        return self.clients[-1]


@asynccontextmanager
async def serving(app: App, tls: tuple[str, ssl.SSLContext] | None = None, **options: Any) -> AsyncIterator[Site]:
    """Serve an app, which need not know of lifespans, with these options of the configuration."""

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" and not hasattr(app, "lifespans"):
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        else:
            await app(scope, receive, send)

    config = ServerConfig()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.logger_class = ServerLogger
    if tls is not None:
        config.certfile = config.keyfile = tls[0]
    for name, value in options.items():
        setattr(config, name, value)
    sockets = listening.listen(config)
    port = (sockets.secure_sockets or sockets.insecure_sockets)[0].getsockname()[1]
    worker = Worker(whole, config, sockets)
    try:
        async with trio.open_nursery() as nursery:
            ready = trio.Event()
            nursery.start_soon(worker.serve, ready.set, lambda: None)
            await ready.wait()
            site = Site(worker, port, tls[1] if tls is not None else None)
            try:
                yield site
            finally:
                worker.hurry()
                for client in site.clients:
                    await client.leave()
    finally:
        listening.close(sockets, config)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once, with the path."""
    await answer(send, scope["path"].encode())


async def answer(send: Any, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def read_body(receive: Any) -> bytes:
    """The whole body of a request."""
    body: bytes = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message["body"]
        if not message["more_body"]:
            return body


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ssl.SSLContext]:
    """A certificate with its key, in a file, and the context of a client that trusts it."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(directory: Path) -> tuple[str, ssl.SSLContext]:
    """The same, in a file in this directory."""
    authority = trustme.CA()
    path = directory / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return str(path), context


@pytest.fixture(params=["clear", "tls"])
def tls(request: pytest.FixtureRequest, certificate: tuple[str, ssl.SSLContext]) -> tuple[str, ssl.SSLContext] | None:
    """Once without TLS, and once with it."""
    return certificate if request.param == "tls" else None


@pytest.fixture(params=["poller", "trio"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Wire, trio.SocketStream]]:
    """A connection: the server's end, with a poller and without, and the client's."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.testing.open_stream_to_socket_listener(listener)
    async with trio.open_nursery() as nursery:
        poller = Poller() if request.param == "poller" else None
        if poller is not None:
            nursery.start_soon(poller.run)
        wire = Wire(await listener.accept(), poller)
        yield wire, client
        wire.close()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(client)
    await trio.aclose_forcefully(listener)


async def cut_while_somebody_waits(wire: Wire, *, reset: bool) -> None:
    """Cut a connection in the middle of a read and a write, and see that both hear of it."""
    errors: list[OSError] = []

    async def write() -> None:
        try:
            await wire.write(b"", bytes(20_000_000), b"")
        except ClientLeftError as error:
            errors.append(error)

    async def read() -> None:
        assert await wire.read() == b""

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            wire.cut(reset=reset)
    assert len(errors) == 1
