"""An app where it may run, in the test's own process: asked through ASGI, or served by either of the two servers.

Where it is served, the sockets are real, and so is the clock.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import h11
import hypercorn.trio
import trio
from hypercorn.config import Config

from tests.asgi import Exchange, running
from tests.server.wrapping import Wrapping
from tests.shapes import Shape, pass_on
from trioweb import App
from trioweb.server.config import ServerConfig
from trioweb.server.process import sockets as listening
from trioweb.server.process.worker import Worker

PATIENCE = 10.0
"""Seconds after which what a test waits for has failed; far beyond what it takes."""
MOMENT = 0.002
SMALL_BUFFER = 20_000
"""Bytes that the system may hold for a client, so that one that does not read is noticed soon."""


class Talk:
    """One request, and what has come of its response.

    Attributes:
        status: of the response; 0 before that has begun.
        headers: of the response.
        chunks: the pieces in which the body has come.
        whole: the end has come.
        over: nothing more will come: that, or the response was broken off.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.chunks: list[bytes] = []
        self.whole = False
        self.over = False

    @property
    def body(self) -> bytes:
        """All that has come of the body."""
        return b"".join(self.chunks)

    async def begun(self) -> None:
        """Wait for the head of the response."""
        with trio.fail_after(PATIENCE):
            while not self.status:
                assert not self.over, "no response has come"
                await self.more()

    async def until(self, text: bytes) -> None:
        """Wait until so much has come of the body."""
        with trio.fail_after(PATIENCE):
            while text not in self.body:
                assert not self.over, f"it has ended: {self.status}, {self.body[-200:]!r}"
                await self.more()

    async def end(self) -> Talk:
        """Wait for the end, or until the response is broken off."""
        with trio.fail_after(PATIENCE):
            while not self.over:
                await self.more()
        return self

    async def leave(self, *, reset: bool = False) -> None:
        """Go; with a reset, as one does that has crashed."""
        raise NotImplementedError

    async def more(self) -> None:
        """Read what comes next."""
        raise NotImplementedError


class Site:
    """Where an app runs.

    Attributes:
        app: that.
        busy: how many requests are under way.
    """

    served = False

    def __init__(self, app: App) -> None:
        self.app = app
        self.busy = 0

    async def request(
        self, path: str, method: str, headers: Mapping[str, str], body: bytes, *, reads: bool = True
    ) -> Talk:
        """Send a request; ``reads=False`` has its client take nothing until a test waits for something."""
        raise NotImplementedError

    async def send(
        self, shape: Shape, path: str = "/", method: str | None = None, *, padding: int = 0, reads: bool = True
    ) -> Talk:
        """Send the request that a handler of a shape needs, with a body that is longer than that where it has one."""
        headers, body = shape.content(padding)
        return await self.request(path, method or shape.method, headers, body, reads=reads)

    async def ask(self, shape: Shape, path: str = "/", method: str | None = None, **options: Any) -> Talk:
        """The same, and read all of the response."""
        return await (await self.send(shape, path, method, **options)).end()

    async def quiet(self) -> None:
        """Wait until no request is under way."""
        with trio.fail_after(PATIENCE):
            while self.busy:
                await trio.sleep(MOMENT)

    def stop(self) -> None:
        """Tell the server to stop."""
        raise NotImplementedError

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """What the server calls."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        self.busy += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.busy -= 1


# In process


class InProcess(Talk):
    """A request in process."""

    def __init__(self, exchange: Exchange, *, head: bool) -> None:
        super().__init__()
        self._exchange = exchange
        self._head = head

    async def leave(self, *, reset: bool = False) -> None:
        """See ``Talk``."""
        del reset
        self._exchange.leave()

    async def more(self) -> None:
        """See ``Talk``."""
        exchange = self._exchange
        exchange.open_window()
        await trio.sleep(MOMENT)
        if exchange.messages:
            self.status, self.headers = exchange.status, exchange.headers
            self.chunks = [chunk for chunk in exchange.chunks if chunk and not self._head]
        self.whole = exchange.complete
        self.over = self.whole or exchange.done.is_set()


class Asked(Site):
    """An app in process."""

    def __init__(self, app: App, nursery: trio.Nursery) -> None:
        super().__init__(app)
        self._nursery = nursery

    async def request(
        self, path: str, method: str, headers: Mapping[str, str], body: bytes, *, reads: bool = True
    ) -> Talk:
        """See ``Site``."""
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        if body:
            fields.append((b"content-length", b"%d" % len(body)))
        exchange = Exchange(method, path, fields, [body], window=math.inf if reads else 0)
        self._nursery.start_soon(exchange.run, self)  # type: ignore[arg-type]
        return InProcess(exchange, head=method == "HEAD")


@asynccontextmanager
async def asked(app: App, **options: Any) -> AsyncIterator[Site]:
    """An app whose lifespan runs."""
    async with running(app), trio.open_nursery() as nursery:
        yield Asked(app, nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def asked_alone(app: App, **options: Any) -> AsyncIterator[Site]:
    """An app whose lifespan does not run."""
    async with trio.open_nursery() as nursery:
        yield Asked(app, nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def mounted(app: App, **options: Any) -> AsyncIterator[Site]:
    """An app that is mounted in one with a middleware."""
    outer = App()
    outer.middleware(pass_on)
    outer.mount("/", app)
    async with asked(outer) as site:
        yield site


# Served


class Connected(Talk):
    """A request on a connection of its own."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__()
        self._stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def leave(self, *, reset: bool = False) -> None:
        """See ``Talk``."""
        if reset:
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self._stream)

    async def more(self) -> None:
        """See ``Talk``."""
        try:
            event = self.http.next_event()
            while event is h11.NEED_DATA:
                self.http.receive_data(await self._stream.receive_some(65536))
                event = self.http.next_event()
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            self.over = True
            return
        if isinstance(event, h11.Response):
            self.status = event.status_code
            self.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            self._take(bytes(event.data), new=event.chunk_start)
        elif isinstance(event, h11.EndOfMessage):
            self.whole = self.over = True
        elif isinstance(event, h11.ConnectionClosed):
            self.over = True

    def _take(self, data: bytes, *, new: bool) -> None:
        if new or not self.chunks:
            self.chunks.append(data)
        else:
            self.chunks[-1] += data


class Served(Site):
    """An app on a server."""

    served = True

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self.port = 0
        self.told = trio.Event()
        self._streams: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        """A connection, that is closed at the end."""
        sock = trio.socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        await sock.connect(("127.0.0.1", self.port))
        self._streams.append(trio.SocketStream(sock))
        return self._streams[-1]

    async def request(
        self, path: str, method: str, headers: Mapping[str, str], body: bytes, *, reads: bool = True
    ) -> Talk:
        """See ``Site``: a client that reads nothing has a buffer all the same."""
        del reads
        talk = Connected(await self.connect())
        fields = [("host", "x"), *headers.items()]
        if body:
            fields.append(("content-length", str(len(body))))
        head = talk.http.send(h11.Request(method=method, target=path, headers=fields))
        rest = talk.http.send(h11.Data(data=body)) + talk.http.send(h11.EndOfMessage())
        await talk._stream.send_all(head + rest)
        return talk

    def stop(self) -> None:
        """See ``Site``."""
        self.told.set()

    async def close(self) -> None:
        """Have all clients leave."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def on_hypercorn(app: App, **options: Any) -> AsyncIterator[Site]:
    """An app as ``hypercorn -k trio`` serves it."""
    site = Served(app)
    config = configured(Config(), options)
    async with trio.open_nursery() as nursery:
        [url] = await nursery.start(lambda task_status: hypercorn.trio.serve(
            site, config, shutdown_trigger=site.told.wait, task_status=task_status
        ))  # fmt: skip
        site.port = int(url.rpartition(":")[2])
        yield site
        await site.close()
        site.stop()
        with trio.move_on_after(PATIENCE):
            await site.quiet()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def on_trioweb(app: App, **options: Any) -> AsyncIterator[Site]:
    """An app as a worker of ``trioweb run`` serves it."""
    site = Served(app)
    config = configured(ServerConfig(), options)
    sockets = listening.listen(config)
    site.port = (sockets.secure_sockets or sockets.insecure_sockets)[0].getsockname()[1]
    worker = Worker(site, config, sockets)

    async def stop() -> None:
        await site.told.wait()
        worker.stop()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            ready = trio.Event()
            nursery.start_soon(worker.serve, ready.set, lambda: None)
            await ready.wait()
            yield site
            await site.close()
            site.stop()
            worker.hurry()
    finally:
        listening.close(sockets, config)


@asynccontextmanager
async def wrapped(app: App, **options: Any) -> AsyncIterator[Site]:
    """The same, and an ASGI middleware stands between the app and its server."""
    app.add_middleware(Wrapping)
    async with on_trioweb(app, **options) as site:
        yield site


def configured(config: Any, options: Mapping[str, Any]) -> Any:
    """A server's configuration: a free port, and a log that a test sees."""
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("hypercorn.error")
    config.graceful_timeout = PATIENCE
    for name, value in options.items():
        setattr(config, name, value)
    return config


SITES: dict[str, Callable[..., Any]] = {
    "in process": asked,
    "in process, no lifespan": asked_alone,
    "in process, mounted": mounted,
    "hypercorn": on_hypercorn,
    "trioweb run": on_trioweb,
    "trioweb run, ASGI middleware": wrapped,
}
