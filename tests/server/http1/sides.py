"""Two servers in one process, on real sockets, this one and Hypercorn's own on trio; and what each makes of bytes.

Both run in the test's trio loop, and the system hands bytes between sockets of one machine over at once: so when all
tasks wait, all that was sent is read, and all that is to be answered is sent. A busy system may take its time: what is
not as expected is tried again, slowly.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, NamedTuple

import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState
from hypercorn.utils import wrap_app

from tests.server.http1.conftest import App, answer, serving
from tests.server.http1.test_parsing import MAX_HEAD

OURS, THEIRS = "this server", "Hypercorn"
SLOWLY: Final = 0.02
"""Seconds of quiet in which the system has handed over what was sent."""

Seen = tuple[int, str]


class Outcome(NamedTuple):
    """What a server has made of some bytes.

    Attributes:
        requests: what the app has seen, as JSON.
        statuses: of all responses, those of the server itself too.
        closed: the server has closed the connection.
        fault: something went wrong in the server.
    """

    requests: tuple[str, ...]
    statuses: tuple[int, ...]
    closed: bool
    fault: str = ""

    @property
    def refused(self) -> bool:
        """Something was no request to the server."""
        return bool(self.statuses) and self.statuses[-1] >= 400


class Side:
    """A server that runs.

    Attributes:
        port: where it listens.
        seen: what its app has seen since it was asked last, with the port of whoever has sent it: it may be another
            program of this machine.
        faults: what went wrong in it.
    """

    def __init__(self, port: int, seen: list[Seen], faults: list[str]) -> None:
        self.port = port
        self.seen = seen
        self.faults = faults

    async def tell(self, *parts: bytes, cushion: float = 0.0) -> Outcome:
        """Send bytes in these parts, each when all before it was worked on. Returns what came of them.

        Args:
            parts: the bytes.
            cushion: seconds for which all must be quiet.
        """
        self.seen.clear()
        self.faults.clear()
        received, closed = b"", False
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.setblocking(False)
            port = client.getsockname()[1]
            try:
                for part in parts:
                    client.sendall(part)
                    await trio.testing.wait_all_tasks_blocked(cushion)
                while not closed:
                    data = client.recv(1 << 20)
                    received += data
                    closed = not data
            except BlockingIOError:
                pass
            except ConnectionError:
                closed = True
        await trio.testing.wait_all_tasks_blocked()
        statuses = tuple(int(found) for found in re.findall(rb"(?:^|\n|\})HTTP/1\.1 (\d+)", received))
        return Outcome(
            tuple(text for sender, text in self.seen if sender == port), statuses, closed, "; ".join(self.faults)
        )


def make_app(seen: list[Seen]) -> App:
    """An app that notes each whole request, and answers with what it has noted."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(scope["type"])
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            more = message["more_body"]
        text = json.dumps(
            {
                "method": scope["method"],
                "version": scope["http_version"],
                "path": scope["path"],
                "raw_path": scope["raw_path"].decode("latin-1"),
                "query": scope["query_string"].decode("latin-1"),
                "scheme": scope["scheme"],
                "root_path": scope["root_path"],
                "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
                "body": body.decode("latin-1"),
            }
        )
        seen.append((scope["client"][1], text))
        await answer(send, text.encode())

    return app


@asynccontextmanager
async def ours() -> AsyncIterator[Side]:
    """This server."""
    seen: list[Seen] = []
    faults: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        faults.append(record.getMessage())
        return True

    log = logging.getLogger("hypercorn.error")
    log.addFilter(note)
    try:
        async with serving(make_app(seen), h11_max_incomplete_size=MAX_HEAD) as site:
            yield Side(site.port, seen, faults)
    finally:
        log.removeFilter(note)


@asynccontextmanager
async def theirs() -> AsyncIterator[Side]:
    """Hypercorn's, as ``hypercorn -k trio`` runs it for each connection."""
    seen: list[Seen] = []
    faults: list[str] = []
    app = wrap_app(make_app(seen), 65536, "asgi")
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")
    config.h11_max_incomplete_size = MAX_HEAD

    async def serve(stream: trio.SocketStream) -> None:
        try:
            server: Any = TCPServer(app, config, WorkerContext(None), LifespanState(), stream)  # type: ignore[arg-type]
            await server.run()
        except Exception as error:  # it would end the worker
            faults.append(repr(error))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield Side(listener.socket.getsockname()[1], seen, faults)
        nursery.cancel_scope.cancel()


SIDES: dict[str, Callable[[], AbstractAsyncContextManager[Side]]] = {OURS: ours, THEIRS: theirs}
