"""How many Python functions one request runs, of each shape: what a handler mentions must not make it slow.

Calls are exact where times are not. All are counted while the request is under way: trioweb's, those of what it uses
and of trio's loop, but not those of this file. A count may not grow; where it has fallen, write that into the table.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NamedTuple, Self

import pytest
import trio
import trio.testing

from tests.asgi import running
from tests.benchmarks.apps.producers import Order
from tests.benchmarks.payload import ORDER
from tests.server.running import serving
from trioweb import App, Provide, Request, Response
from trioweb.middleware import CallNext

Ask = Callable[[], Awaitable[None]]
"""Sends a request, and takes all of its response."""

WARM_UP: Final = 5
"""Requests that are not counted: what is made once is made in them."""
REPEATS: Final = 40
"""Requests of which the one with the fewest calls counts: trio shuffles its tasks, and a clock may strike."""
COMPREHENSIONS: Final = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})
"""Functions until Python 3.12, and none since."""
CHUNKS: Final = 10


class Shape(NamedTuple):
    """A request, and how many calls it may take: as many as it took, the most of any Python.

    Attributes:
        path: what is asked.
        asgi: at most so many calls as a plain ASGI app.
        run: at most so many under ``trioweb run``, those of its server included.
        middlewares: how many the app has.
    """

    path: str
    asgi: int
    run: int
    middlewares: int = 0


SHAPES: Final = {
    "takes nothing": Shape("/", 56, 166),
    "takes a query parameter": Shape("/query?limit=7", 64, 174),
    "takes the request": Shape("/request", 98, 172),
    "awaits once": Shape("/awaits", 138, 224),
    "takes what a dependency gives": Shape("/dependency", 103, 177),
    "behind one middleware": Shape("/", 64, 174, 1),
    "behind three middlewares": Shape("/", 66, 176, 3),
    "takes the request, behind one middleware": Shape("/request", 138, 215, 1),
    "typed JSON": Shape("/order", 109, 188),
    "stream": Shape("/stream", 616, 409),
    "stream, takes the request": Shape("/request/stream", 668, 436),
}


async def provide() -> str:
    """A dependency."""
    return "hi"


async def look(request: Request, call_next: CallNext) -> Response:
    """A middleware."""
    response = await call_next(request)
    assert response.status_code == 200
    return response


def make_app(middlewares: int) -> App:
    """An app with a route of each shape."""
    app = App()
    for _ in range(middlewares):
        app.middleware(look)

    @app.get("/")
    async def plain() -> str:
        return "hi"

    @app.get("/query")
    async def query(limit: int) -> str:
        return str(limit)

    @app.get("/request")
    async def take_request(request: Request) -> str:
        return request.method

    @app.get("/awaits")
    async def wait() -> str:
        await trio.lowlevel.checkpoint()
        return "hi"

    @app.get("/dependency")
    async def depend(greeting: Annotated[str, Provide(provide)]) -> str:
        return greeting

    @app.post("/order")
    async def order(order: Order) -> dict[str, object]:
        return {"total": order.amount * order.count}

    add_streams(app)
    return app


def add_streams(app: App) -> None:
    """Streams that wait for nothing."""

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for number in range(CHUNKS):
            yield f"{number}\n"

    @app.get("/request/stream")
    async def stream_of_request(request: Request) -> AsyncIterator[str]:
        for number in range(CHUNKS):
            yield f"{number} {request.method}\n"


class Calls:
    """Counts calls, and continuations of coroutines, in this thread while it is entered; not those of this file."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        gc.disable()  # what it frees is not this request's
        sys.setprofile(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _hear(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        self.count += event == "call" and code.co_filename != __file__ and code.co_name not in COMPREHENSIONS


async def calls_of(ask: Ask) -> int:
    """The calls of one request, and of all that it leaves to be done; without those of waiting for that."""
    for _ in range(WARM_UP):
        await ask()
    return await _fewest(ask) - await _fewest(_nothing)


async def _fewest(ask: Ask) -> int:
    counts = []
    for _ in range(REPEATS):
        await trio.testing.wait_all_tasks_blocked()
        with Calls() as calls:
            await ask()
            await trio.testing.wait_all_tasks_blocked()
        counts.append(calls.count)
    return min(counts)


async def _nothing() -> None:
    pass


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    """Each of them, by its name."""
    wanted = re.search(r"^trio==(\S+)$", Path(__file__).with_name("constraints.txt").read_text(), re.MULTILINE)
    if wanted is None or wanted[1] != importlib.metadata.version("trio"):
        pytest.skip("the counts are those of the pinned version of trio, and include its own")
    return str(request.param)


def check(shape: str, what: str, count: int) -> None:
    """Compare a count with the table."""
    most = getattr(SHAPES[shape], what)
    assert count <= most, f"{shape}, {what}: {count} calls a request, which took {most} when the table was written"


async def test_calls_as_a_plain_asgi_app(shape: str) -> None:
    """A request takes no more calls than it did, on a server that knows nothing but ASGI."""
    path, query = (SHAPES[shape].path + "?").split("?")[:2]
    body = json.dumps(ORDER).encode() if shape == "typed JSON" else b""
    headers = [(b"host", b"x"), (b"accept", b"*/*")]
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))] if body else []
    app = make_app(SHAPES[shape].middlewares)
    sent: list[MutableMapping[str, Any]] = []

    async def ask() -> None:
        coming = [{"type": "http.request", "body": body, "more_body": False}]
        sent.clear()

        async def receive() -> dict[str, Any]:
            if not coming:
                await trio.sleep_forever()
            return coming.pop()

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
            "method": "POST" if body else "GET", "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "extensions": {},
        }  # fmt: skip
        await app(scope, receive, send)
        assert (sent[0]["status"], sent[-1].get("more_body", False)) == (200, False)

    async with running(app):
        count = await calls_of(ask)
    check(shape, "asgi", count)


async def test_calls_under_trioweb_run(shape: str) -> None:
    """A request takes no more calls than it did, from its first byte to when the server waits for the next one."""
    body = json.dumps(ORDER) if shape == "typed JSON" else ""
    head = f"{'POST' if body else 'GET'} {SHAPES[shape].path} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    request = f"{head}\r\n{body}".encode()

    async with serving(make_app(SHAPES[shape].middlewares)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:

            async def ask() -> None:
                client.sendall(request)
                got = b""
                while not is_whole(got):
                    await trio.lowlevel.wait_readable(client)
                    got += client.recv(65536)

            count = await calls_of(ask)
    check(shape, "run", count)


def is_whole(response: bytes) -> bool:
    """Whether that is all of a response."""
    head, separator, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert head.startswith(b"HTTP/1.1 200") or not separator
    return body.endswith(b"0\r\n\r\n") if length is None else len(body) == int(length[1])
