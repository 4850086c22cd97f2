"""A worker of ``trioweb run`` inside of a test: its sockets are real, its clock is the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trioweb.server.config import ServerConfig
from trioweb.server.logs.logs import ServerLogger
from trioweb.server.process import sockets as listening
from trioweb.server.process.worker import Worker


class Running:
    """What a test sees of a worker: where it is, and what it has logged."""

    def __init__(self, worker: Worker, config: ServerConfig, port: int) -> None:
        self.worker = worker
        self.config = config
        self.port = port
        self.drained = False
        self.done = trio.Event()

    async def connect(self) -> trio.SocketStream:
        """A connection to it."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(self, path: str = "/", method: str = "GET", headers: str = "", body: bytes = b"") -> bytes:
        """All that the server sends until it closes, for one request on a connection of its own."""
        async with await self.connect() as client:
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
            await client.send_all(head.encode() + body)
            return await read_all(client)


async def read_all(client: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    async for data in client:
        received += data
    return received


async def read_until(client: trio.abc.ReceiveStream, end: bytes) -> bytes:
    """What comes until it holds ``end``."""
    received = b""
    while end not in received:
        data = await client.receive_some()
        assert data, f"closed before {end!r}: {received!r}"
        received += data
    return received


async def settle(moment: float = 0.01) -> None:
    """Wait until nobody has anything to do, what goes over the loopback included."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked(moment)


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[Running]:
    """Serve an app on a free port until the block ends; then, or when a test says so, the worker stops."""
    config = ServerConfig()
    config.logger_class = ServerLogger
    config.bind = ["127.0.0.1:0"]
    for name, value in options.items():
        assert hasattr(config, name), name
        setattr(config, name, value)
    sockets = listening.listen(config)
    own = (sockets.secure_sockets or sockets.insecure_sockets)[0]
    worker = Worker(app, config, sockets)
    running = Running(worker, config, own.getsockname()[1] if not config.bind[0].startswith("unix:") else 0)

    def drained() -> None:
        running.drained = True

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await worker.serve(task_status.started, drained)
        running.done.set()

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            yield running
            worker.stop()
            worker.hurry()
    finally:
        listening.close(sockets, config)
