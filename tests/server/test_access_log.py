"""The access log of a worker in process: one line a request, whoever speaks with the client, however it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing

from tests.server.running import Running, read_all, read_until, serving, settle
from tests.servers import PATIENCE
from trioweb import App, HTTPError, Request, Response, StreamingResponse, WebSocket
from trioweb.ground.escapes import CUT, MAX_FIELD
from trioweb.middleware import RequestID
from trioweb.server.logs.entries import ACCESS_FORMAT

HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
ATOMS = "h l t r R s st S m U Uq q H b B f a T D L p id note {x-a}i {x-a}o {home}e"
EVERY_ATOM = " ".join(f"%({name})s" for name in ATOMS.split(" "))
NASTY = ("\n", "\x1b[2J", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\u202e", "\u2066", '"', "\\", "\0", "\r", "\t")

http = pytest.mark.parametrize("http", ["auto", "h11", "2"])


class Lines(logging.Handler):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The lines, where they are JSON."""
        return [json.loads(line) for line in self.lines]

    async def entry(self) -> dict[str, Any]:
        """The one line that there is, or that comes."""
        with trio.fail_after(PATIENCE):
            while not self.lines:
                await trio.sleep(0.01)
        await settle()
        (entry,) = self.entries
        return entry


@pytest.fixture
def log() -> Iterator[Lines]:
    """An access log."""
    lines = Lines()
    logger = logging.getLogger("tests.access")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)


@asynccontextmanager
async def logging_to(
    log: Lines, app: Any, http: str = "auto", form: str = "json", **options: Any
) -> AsyncIterator[Running]:
    """Serve an app, and log its requests."""
    options |= {"accesslog": logging.getLogger("tests.access"), "access_log_format": form, "h2c": http == "2"}
    async with serving(app, http="h11" if http == "h11" else "auto", **options) as running:
        yield running


class Client:
    """A client of HTTP/1.1, or of HTTP/2, that asks for one thing."""

    def __init__(self, stream: trio.SocketStream, http: str) -> None:
        self.stream = stream
        self.h2 = None if http != "2" else h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.body = b""
        self.ended = False

    async def ask(self, method: str, path: str, *headers: tuple[str, str], more: bool = False) -> None:
        """Send a head."""
        if self.h2 is None:
            fields = "".join(f"{name}: {value}\r\n" for name, value in headers)
            await self.stream.send_all(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
            return
        self.h2.initiate_connection()
        pseudo = [(":method", method), (":path", path), (":authority", "x"), (":scheme", "http")]
        self.h2.send_headers(1, [*pseudo, *headers], end_stream=not more)
        await self.stream.send_all(self.h2.data_to_send())

    async def until(self, end: bytes) -> None:
        """Read until something has come of the body; or, without anything, the end of the response."""
        with trio.fail_after(PATIENCE):
            while not (end in self.body if end else self.ended):
                data = bytes(await self.stream.receive_some(65536))
                if self.h2 is None:
                    self.body += data
                    self.ended = self.ended or not data
                    continue
                self.ended = self.ended or not data
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        self.body += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
                    self.ended = self.ended or isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))
                await self.stream.send_all(self.h2.data_to_send())


@asynccontextmanager
async def client_of(running: Running, http: str) -> AsyncIterator[Client]:
    """A client, which leaves at the end of the block."""
    async with await running.connect() as stream:
        yield Client(stream, http)


def make_app(release: trio.Event | None = None) -> App:  # noqa: C901 - one route after the other
    """An app whose responses end in all ways; what outlasts its response goes on until ``release``."""
    app = App()
    app.middleware(RequestID())

    @app.get("/whole")
    async def whole() -> Response:
        return Response("whole", headers={"x-a": "b"})

    @app.get("/large")
    async def large() -> bytes:
        return bytes(300_000)

    @app.get("/empty")
    async def empty() -> Response:
        return Response(None, 304)

    @app.get("/outlasts")
    async def outlasts(nursery: trio.Nursery) -> str:
        assert release is not None
        nursery.start_soon(release.wait)
        return "whole"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "first"
        await trio.sleep_forever()

    @app.get("/never")
    async def never() -> str:
        await trio.sleep_forever()
        return ""

    @app.get("/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("as asked")

    @app.get("/fails")
    async def fails() -> str:
        raise ValueError("as asked")

    @app.post("/read")
    async def read(request: Request) -> int:
        return len(await request.body())

    @app.post("/refuses")
    async def refuses() -> str:
        raise HTTPError(403)

    @app.get("/short")
    async def short() -> Response:
        return StreamingResponse(["abc"], headers={"content-length": "10"})

    @app.websocket("/socket")
    async def socket(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    @app.websocket("/denied")
    async def denied(ws: WebSocket) -> None:
        raise HTTPError(403)

    @app.websocket("/broken")
    async def broken(ws: WebSocket) -> None:
        raise ValueError("as asked")

    @app.websocket("/slow")
    async def slow(ws: WebSocket) -> None:
        await trio.sleep_forever()

    return app


@http
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/whole", 200),
        ("HEAD", "/whole", 200),
        ("GET", "/large", 200),
        ("GET", "/empty", 304),
        ("GET", "/outlasts", 200),
        ("GET", "/fails", 500),
        ("GET", "/nowhere", 404),
        ("POST", "/refuses", 403),
        ("OPTIONS", "/whole", 204),
    ],
)
async def test_a_whole_response(log: Lines, http: str, method: str, path: str, status: int) -> None:
    """A response that its client has got is one line with its status and seconds, before its nursery has ended."""
    release = trio.Event()
    async with logging_to(log, make_app(release), http) as running:
        async with client_of(running, http) as client:
            await client.ask(method, path, *([] if http == "2" else [("Connection", "close")]))
            await client.until(b"whole" if path == "/outlasts" else b"")
        entry = await log.entry()
        release.set()
    assert (entry["method"], entry["path"], entry["status"], entry["outcome"]) == (method, path, status, "complete")
    assert entry["seconds"] >= 0
    assert len(log.lines) == 1


@http
async def test_a_client_that_closes_as_soon_as_it_has_all(log: Lines, http: str) -> None:
    """A client that closes behind the last byte, while the nursery goes on, was answered; each request is one line."""
    release = trio.Event()
    async with logging_to(log, make_app(release), http) as running:
        for _ in range(10):
            async with client_of(running, http) as client:
                await client.ask("GET", "/outlasts")
                await client.until(b"whole")
        with trio.fail_after(PATIENCE):
            while len(log.lines) < 10:
                await trio.sleep(0.01)
        release.set()
    assert [(entry["status"], entry["outcome"]) for entry in log.entries] == [(200, "complete")] * 10


@http
async def test_a_stream_whose_client_left(log: Lines, http: str) -> None:
    """A stream whose client left in its middle has the status that it began with, and says that it left."""
    async with logging_to(log, make_app(), http) as running:
        async with client_of(running, http) as client:
            await client.ask("GET", "/stream")
            await client.until(b"first")
        entry = await log.entry()
    assert (entry["status"], entry["outcome"]) == (200, "left")


@http
async def test_a_client_that_left_before_the_answer(log: Lines, http: str) -> None:
    """Where the client left before there was a response there is no status; that it left is said."""
    async with logging_to(log, make_app(), http) as running:
        async with client_of(running, http) as client:
            await client.ask("GET", "/never")
            await settle()
        entry = await log.entry()
    assert (entry["status"], entry["outcome"], entry["path"]) == (None, "left", "/never")


@http
@pytest.mark.parametrize("path", ["/breaks", "/short"])
async def test_a_response_that_is_broken_off(log: Lines, http: str, path: str) -> None:
    """A response that breaks in its middle is told as that, with the status that it began with."""
    async with logging_to(log, make_app(), http) as running, client_of(running, http) as client:
        await client.ask("GET", path)
        await client.until(b"")
        entry = await log.entry()
    assert (entry["status"], entry["outcome"]) == (200, "broken")


@http
async def test_a_stream_that_a_stop_cuts(log: Lines, http: str) -> None:
    """A stream that is under way when the worker's time is up is broken off, and was not left."""
    async with logging_to(log, make_app(), http, graceful_timeout=0.1) as running:
        async with client_of(running, http) as client:
            await client.ask("GET", "/stream")
            await client.until(b"first")
            running.worker.stop()
            await running.done.wait()
        entry = await log.entry()
    assert (entry["status"], entry["outcome"]) == (200, "broken")


async def test_the_text_says_how_it_ended(log: Lines) -> None:
    """In the default format what went wrong stands behind the seconds, and nothing where nothing did."""
    async with logging_to(log, make_app(), form=ACCESS_FORMAT) as running:
        await running.ask("/whole")
        await running.ask("/breaks")
        async with client_of(running, "1") as client:
            await client.ask("GET", "/stream")
            await client.until(b"first")
        with trio.fail_after(PATIENCE):
            while len(log.lines) < 3:
                await trio.sleep(0.01)
    assert [line.rpartition(" s")[2] for line in log.lines] == ["", ", broken off", ", the client left"]


@http
async def test_the_id_of_a_request(log: Lines, http: str) -> None:
    """The id that RequestID gives a request, or that came with it, is in its line."""
    async with logging_to(log, make_app(), http) as running, client_of(running, http) as client:
        await client.ask("GET", "/whole", ("x-request-id", "abc.1"))
        await client.until(b"whole")
        assert (await log.entry())["request_id"] == "abc.1"


async def test_a_body_that_does_not_come(log: Lines, mock_clock: trio.testing.MockClock) -> None:
    """A request that is refused since its body does not come is one line, with the 408 and the seconds until then."""
    async with logging_to(log, make_app()) as running, await running.connect() as client:
        await client.send_all(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        for _ in range(10):
            await settle()
            mock_clock.jump(20)
        entry = await log.entry()
    assert (entry["method"], entry["path"], entry["status"], entry["outcome"]) == ("POST", "/read", 408, "complete")
    assert 0 < entry["seconds"] <= 200


@pytest.mark.parametrize(
    ("data", "status", "method", "path", "query"),
    [
        (b"GET /a?b HTTP/1.1\r\n\r\n", 400, "GET", "/a", "b"),
        (b'GET /a\x1b"b HTTP/1.1\r\nHost: x\r\n\r\n', 400, "GET", '/a\x1b"b', ""),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, "POST", "/a", ""),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nA: " + bytes(100_000).replace(b"\0", b"a"), 431, "GET", "/a", ""),
        (b"GET /" + b"a" * 100_000, 414, "GET", "/" + "a" * (MAX_FIELD - 1) + CUT, ""),
        (b"GET /a HTTP/2.0\r\nHost: x\r\n\r\n", 505, "GET", "/a", ""),
        (b"\x16\x03\x01\r\n\r\n", 400, None, None, ""),
    ],
)
async def test_a_head_that_is_refused(
    log: Lines, data: bytes, status: int, method: str | None, path: str | None, query: str
) -> None:
    """A request whose head is refused is one line too, with as much as is known of it."""
    async with logging_to(log, make_app()) as running, await running.connect() as client:
        await client.send_all(data)
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 %d " % status)
        entry = await log.entry()
    assert (entry["status"], entry["method"], entry["path"], entry["query"]) == (status, method, path, query)
    assert entry["client"] == "127.0.0.1"


async def test_a_head_that_does_not_come(log: Lines) -> None:
    """A head that comes in drops, or stops, is one line with a 408; a connection that says nothing is none."""
    async with logging_to(log, make_app(), head_timeout=1) as running:
        async with await running.connect() as client:
            assert await read_all(client) == b""
        assert log.lines == []
        async with await running.connect() as client:
            await client.send_all(b"GET /drops HTTP/1.1\r\nHo")
            assert (await read_all(client)).startswith(b"HTTP/1.1 408 ")
        entry = await log.entry()
    assert (entry["status"], entry["path"]) == (408, "/drops")


@pytest.mark.parametrize("data", [b"GET\r\n\r\n", b"GET /drops HTTP/1.1\r\nHo"])
async def test_a_head_that_hypercorn_refuses(log: Lines, data: bytes) -> None:
    """Under --http h11 refused requests are logged as well."""
    async with logging_to(log, make_app(), "h11", head_timeout=1) as running, await running.connect() as client:
        await client.send_all(data)
        await read_until(client, b"\r\n\r\n")
        assert (await log.entry())["status"] in (400, 408)


@pytest.mark.parametrize("http", ["auto", "h11"])
async def test_requests_in_a_pipeline(log: Lines, http: str) -> None:
    """Each request of a pipeline is a line, in order."""
    async with logging_to(log, make_app(), http) as running, await running.connect() as client:
        await client.send_all(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(4)))
        with trio.fail_after(PATIENCE):
            while len(log.lines) < 4:
                await trio.sleep(0.01)
    assert [entry["path"] for entry in log.entries] == ["/0", "/1", "/2", "/3"]


@pytest.mark.parametrize(
    ("path", "handshake", "status"),
    [
        ("/socket", HANDSHAKE, 101),
        ("/denied", HANDSHAKE, 403),
        ("/broken", HANDSHAKE, 500),
        ("/nowhere", HANDSHAKE, 404),
        ("/socket", HANDSHAKE.replace("13", "12"), 426),
    ],
)
async def test_a_websocket(log: Lines, path: str, handshake: str, status: int) -> None:
    """A WebSocket is one line, at the answer to its handshake."""
    async with logging_to(log, make_app()) as running:
        async with await running.connect() as client:
            await client.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n{handshake}\r\n".encode())
            assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 %d " % status)
            entry = await log.entry()
        await settle()
    assert (entry["status"], entry["path"], entry["outcome"]) == (status, path, "complete")
    assert len(log.lines) == 1


async def test_a_websocket_whose_peer_left_before_the_answer(log: Lines) -> None:
    """A peer that leaves before its handshake is answered is a line without a status."""
    async with logging_to(log, make_app(), graceful_timeout=0.1) as running:
        async with await running.connect() as client:
            await client.send_all(f"GET /slow HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n".encode())
            await settle()
        await settle()
    entry = await log.entry()
    assert (entry["status"], entry["outcome"]) == (None, "left")


# Forgery


@http
@pytest.mark.parametrize("form", ["json", ACCESS_FORMAT, EVERY_ATOM])
async def test_nothing_in_a_request_can_forge_a_line(log: Lines, http: str, form: str) -> None:
    """Whatever a path, a query or a header holds, the line is one of printable ASCII."""
    nasty = "".join(NASTY)
    path = "/" + "".join(f"%{byte:02x}" for byte in nasty.encode())
    raw = '"\\' if http != "2" else '"\\\x9b\x85'
    async with logging_to(log, make_app(), http, form) as running:
        async with client_of(running, http) as client:
            fields = [(name, f"a{raw}b") for name in ("user-agent", "referer", "x-a", "x-request-id")]
            await client.ask("GET", f"{path}?{path[1:]}", *fields)
            await client.until(b"" if http == "2" else b"\r\n\r\n")
        with trio.fail_after(PATIENCE):
            while not log.lines:
                await trio.sleep(0.01)
    (line,) = log.lines
    assert line.isascii()
    assert line.isprintable()
    if form == "json":
        entry = json.loads(line)
        assert entry["path"] == "/" + nasty
        assert entry["user_agent"].encode("latin-1") == f"a{raw}b".encode()
    else:
        assert line.count('"') - line.count('\\"') == (2 if form == ACCESS_FORMAT else 0)
        assert nasty.encode("unicode_escape").decode().replace('"', '\\"') in line


async def test_an_escaped_field_can_be_read_back(log: Lines) -> None:
    """What the text tells of a path is the path: it can be had back."""
    async with logging_to(log, make_app(), form="%(U)s") as running:
        path = "/" + "".join(NASTY) + "caf\u00e9 \U0001f600 \\n \\x41"
        await running.ask("/" + "".join(f"%{byte:02x}" for byte in path[1:].encode()))
    assert log.lines[0].encode().decode("unicode_escape") == path


@pytest.mark.parametrize("form", ["json", ACCESS_FORMAT, "%({user-agent}i)s"])
async def test_a_line_is_of_bounded_length(log: Lines, form: str) -> None:
    """A request with fields of thousands of characters, each of which has to be escaped, makes a line of some KiB."""
    long = "%f0%9f%98%80" * 400
    async with logging_to(log, make_app(), form=form) as running:
        await running.ask(f"/{long}?{long}", headers=f"User-Agent: {chr(0xFF) * 1100}\r\nReferer: {'a' * 1100}\r\n")
    (line,) = log.lines
    assert len(line) < 4 * 12 * MAX_FIELD
    assert CUT in line or json.dumps(CUT)[1:-1] in line
