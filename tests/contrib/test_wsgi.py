"""WSGI apps in an app of ours: in process, and Flask and Django on both servers."""

from __future__ import annotations

import gc
import json
import logging
import math
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest
import trio
import trio.testing

from tests.asgi import Exchange, ask, running
from tests.conftest import StartServer
from tests.servers import ROOT, RUNNERS, H2Client, Server, read_all, read_until
from trioweb import App, HTTPError, Request, Response
from trioweb.contrib.wsgi import WSGI
from trioweb.handlers.layers import CallNext
from trioweb.testing import TestClient

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
PLAIN = [("Content-Type", "text/plain")]


def mounted(answer: Callable[[Environ, StartResponse], Iterable[Any]], threads: int = 2, **options: Any) -> App:
    """An app with a WSGI app in it."""
    app = App(**options)
    app.mount("/wsgi", WSGI(answer, threads))
    return app


class Chunks:
    """Chunks of a response, some of which wait for the test, and a note of their close."""

    def __init__(self, *chunks: bytes, gate: threading.Semaphore | None = None) -> None:
        self.chunks = chunks
        self.gate = gate
        self.made = 0
        self.closed: list[int] = []

    def __call__(self, _: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The app."""
        self.thread = threading.get_ident()
        start_response("200 OK", PLAIN)
        return self

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if self.gate is not None and self.made:
                self.gate.acquire()
            assert threading.get_ident() == self.thread
            self.made += 1
            yield chunk

    def close(self) -> None:
        """See PEP 3333."""
        self.closed.append(threading.get_ident())


# The variables of a request


async def test_the_variables() -> None:
    """They are what PEP 3333 says, with the mount in SCRIPT_NAME and text in Latin-1."""
    seen: Environ = {}

    @validator
    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        seen.update(environ)
        start_response("200 OK", PLAIN)
        return [b"x"]

    app = mounted(answer)
    headers = [
        (b"content-type", b"text/x"), (b"content-length", b"0"), (b"x-a", b"1"), (b"x-a", b"2"),
        (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"proxy", b"evil"), (b"x_user", b"root"), (b"content_length", b"9"),
    ]  # fmt: skip
    exchange = Exchange("GET", "/api/wsgi/ü/x", headers, query_string=b"q=1", root_path="/api", scheme="https")
    async with running(app):
        await exchange.run(app)
    text = {key: value for key, value in seen.items() if isinstance(value, str)}
    assert text == {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/api/wsgi", "PATH_INFO": "/Ã¼/x", "QUERY_STRING": "q=1",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "1", "wsgi.url_scheme": "https", "CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "0",
        "HTTP_X_A": "1,2", "HTTP_COOKIE": "a=1; b=2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "script", "info"), [("/wsgi", "/wsgi", ""), ("/wsgi/", "/wsgi", "/"), ("/x", "", "/x")]
)
async def test_where_it_is_mounted(path: str, script: str, info: str) -> None:
    """The rest of the path is its own; at the root, or as an ASGI app by itself, all of it is."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        yield f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()

    adapter = WSGI(answer)
    app: Any = adapter
    if script:
        app = App()
        app.mount("/wsgi", adapter)
    async with TestClient(app) as client:
        assert (await client.get(path)).text == f"{script} {info}"


async def test_the_server_s_port_where_it_is_not_known() -> None:
    """A server on a Unix socket has none: then it is that of the scheme."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        assert "REMOTE_ADDR" not in environ
        start_response("200 OK", PLAIN)
        yield f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}".encode()

    app = mounted(answer)
    for scheme, port in (("http", "80"), ("https", "443")):
        exchange = Exchange("GET", "/wsgi", server=None, client=None, scheme=scheme)
        async with running(app):
            await exchange.run(app)
        assert exchange.body == f"localhost:{port}".encode()


# The body of a request


async def test_the_body_is_a_file() -> None:
    """It can be read by bytes, by lines and to its end, as it comes."""

    @validator
    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        file = environ["wsgi.input"]
        parts = [file.read(3), file.readline(), *file.readlines(1), b"".join(file), file.read(1)]
        start_response("200 OK", PLAIN)
        return [b"|".join(parts)]

    async def body() -> AsyncIterator[bytes]:
        for piece in (b"ab", b"cd\ne", b"f\n", b"gh\nij"):
            yield piece
            await trio.testing.wait_all_tasks_blocked()

    async with TestClient(mounted(answer)) as client:
        assert (await client.post("/wsgi", content=body())).text == "abc|d\n|ef\n|gh\nij|"


async def test_a_body_is_echoed_while_it_comes() -> None:
    """A WSGI app may read and send by turns."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        while line := environ["wsgi.input"].readline():
            yield line.upper()

    app = mounted(answer)
    exchange = Exchange("POST", "/wsgi", [(b"content-length", b"4")], [b"a\n", b"b\n"])
    async with running(app):
        await exchange.run(app)
    assert (exchange.body, exchange.complete) == (b"A\nB\n", True)


@pytest.mark.parametrize("caught", [True, False])
async def test_a_client_that_leaves_in_its_body(caught: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The read raises an `OSError`, as frameworks of WSGI expect; nothing is logged."""
    seen: list[str] = []

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            seen.append(str(error))
            if not caught:
                raise
        start_response("400 Bad Request", PLAIN)
        yield b"x"

    app = mounted(answer)
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("POST", "/wsgi", [(b"content-length", b"9")], [b"some"], endless=True)
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked(0.01)
        exchange.leave()
    assert len(seen) == 1
    assert caplog.records == []


async def test_a_body_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    """A client that sends nothing of its body for too long gets a 408 from an app that lets the error pass."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        return []

    app = mounted(answer, body_timeout=5)
    exchange = Exchange("POST", "/wsgi", [(b"content-length", b"9")], [b"some"], endless=True)
    async with running(app):
        await exchange.run(app)
    assert exchange.status == 408


# The response


async def test_a_chunk_arrives_when_it_is_made() -> None:
    """Each chunk is sent at once; call, iteration and close are in one thread."""
    gate = threading.Semaphore(0)
    chunks = Chunks(b"", b"a\n", b"b\n", b"c\n", gate=gate)
    gate.release()  # the empty one is no chunk
    async with TestClient(mounted(chunks)) as client, client.stream("GET", "/wsgi") as response:
        assert response.headers["content-type"] == "text/plain"
        lines = response.aiter_lines()
        for letter in "abc":
            assert await anext(lines) == letter
            gate.release()
        assert [line async for line in lines] == []
    assert chunks.closed == [chunks.thread]


async def test_a_client_that_does_not_read_stops_it() -> None:
    """What is made waits for the client: at most a buffer and a few chunks."""
    chunks = Chunks(*[b"x" * 1000] * 10_000)
    app = mounted(chunks, buffer_size=2000)
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/wsgi", window=2)
        nursery.start_soon(exchange.run, app)
        made = -1
        while chunks.made != made:
            made = chunks.made
            await trio.testing.wait_all_tasks_blocked(0.05)
        assert 0 < made < 20
        exchange.leave()
    assert chunks.closed == [chunks.thread]


async def test_a_client_that_leaves(caplog: pytest.LogCaptureFixture) -> None:
    """The thread is cancelled at its next chunk, and the response closed there; the request waits for that."""
    gate = threading.Semaphore(0)
    chunks = Chunks(*[b"x"] * 1000, gate=gate)
    app = mounted(chunks)
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/wsgi")
        nursery.start_soon(exchange.run, app)
        while not exchange.body:
            await trio.sleep(0.001)
        exchange.leave()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not exchange.done.is_set()
        gate.release()
        await exchange.done.wait()
    assert chunks.made == 2
    assert chunks.closed == [chunks.thread]
    assert caplog.records == []


@pytest.mark.parametrize("ending", ["HEAD", "replaced", "204"])
async def test_a_response_that_is_not_sent(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody takes is closed, however long it is."""
    chunks = Chunks(*[b"x"] * 1000)
    app = mounted(chunks)

    @app.middleware
    async def replace(request: Request, call_next: CallNext) -> Any:
        response = await call_next(request)
        if ending == "replaced":
            return "another"
        response.status_code = 204 if ending == "204" else 200
        return response

    exchange = Exchange("HEAD" if ending == "HEAD" else "GET", "/wsgi")
    async with running(app):
        await exchange.run(app)
    assert exchange.complete
    assert exchange.body == (b"another" if ending == "replaced" else b"")
    assert chunks.closed == [chunks.thread]
    assert chunks.made <= 2
    assert caplog.records == []


async def test_what_is_written() -> None:
    """The callable that `start_response` returns sends at once, before what is returned."""
    gate = threading.Semaphore(0)

    @validator
    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("201 Created", PLAIN)
        write(b"a\n")
        gate.acquire()
        return [b"b\n"]

    async with TestClient(mounted(answer)) as client, client.stream("GET", "/wsgi") as response:
        assert response.status_code == 201
        lines = response.aiter_lines()
        assert await anext(lines) == "a"
        gate.release()
        assert [line async for line in lines] == ["b"]


async def test_headers() -> None:
    """They are sent as given, twice where they are given twice, bytes of Latin-1 too; so is a length."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*PLAIN, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "1")])
        return [b"x"]

    app = mounted(answer)
    exchange = Exchange("GET", "/wsgi")
    async with running(app):
        await exchange.run(app)
    found = [(name.lower(), value) for name, value in exchange.messages[0]["headers"]]
    assert [value for name, value in found if name == b"set-cookie"] == [b"a=1", b"b=2"]
    assert [value for name, value in found if name == b"content-length"] == [b"1"]


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
async def test_a_response_without_a_body(status: str) -> None:
    """The head leaves although there is no chunk."""

    @validator
    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, PLAIN if status == "200 OK" else [])
        return []

    found = await ask(mounted(answer), "/wsgi")
    assert (found.status, found.body) == (int(status[:3]), b"")


async def test_an_error_before_its_head_is_replaced() -> None:
    """With `exc_info` another status may follow, as long as nothing was sent."""

    @validator
    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        try:
            raise KeyError
        except KeyError:
            start_response("503 Sorry", PLAIN, sys.exc_info())
        return [b"sorry"]

    found = await ask(mounted(answer), "/wsgi")
    assert (found.status, found.body) == (503, b"sorry")


async def test_an_error_after_its_head(caplog: pytest.LogCaptureFixture) -> None:
    """With `exc_info` the error is raised again, and the response is broken off after what was sent."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        yield b"some"
        try:
            raise KeyError("some reason")
        except KeyError:
            start_response("503 Sorry", PLAIN, sys.exc_info())

    app = mounted(answer)
    exchange = Exchange("GET", "/wsgi")
    async with running(app):
        await exchange.run(app)
    assert (exchange.status, exchange.body, exchange.complete) == (200, b"some", False)
    assert "some reason" in caplog.text
    assert len(caplog.records) == 1


def nothing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Return, without a response."""
    return []


def no_head(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Send a body only."""
    return [b"x"]


def two_heads(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Begin twice."""
    start_response("200 OK", PLAIN)
    start_response("200 OK", PLAIN)
    return [b"x"]


def text(environ: Environ, start_response: StartResponse) -> Iterable[Any]:
    """Send text."""
    start_response("200 OK", PLAIN)
    return ["x"]


def odd_status(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Give no status."""
    start_response("OK", PLAIN)
    return [b"x"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (nothing, "returned before it called start_response"),
        (no_head, "sent its body before it called start_response"),
        (two_heads, "called start_response twice: pass exc_info="),
        (text, "sent str, where WSGI has bytes"),
        (odd_status, "gave the status 'OK': write one such as '200 OK'"),
    ],
)
async def test_an_app_that_breaks_the_rules(
    answer: Callable[[Environ, StartResponse], Iterable[Any]], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a 500, and the log names the app and what is wrong."""
    assert (await ask(mounted(answer), "/wsgi")).status == 500
    assert f"WSGI(tests.contrib.test_wsgi.{answer.__name__}) {message}" in caplog.text


async def test_an_error_is_the_mounting_app_s() -> None:
    """What a WSGI app raises before its head is answered by the error handler of its class."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise KeyError("some reason")

    app = mounted(answer)

    @app.error_handler(KeyError)
    async def sorry(request: Request, error: KeyError) -> Response:
        return Response(f"sorry: {error}", 418)

    found = await ask(app, "/wsgi")
    assert (found.status, found.body) == (418, b"sorry: 'some reason'")


async def test_middleware_stands_in_front() -> None:
    """The mounting app's middleware changes responses, and may refuse requests."""
    chunks = Chunks(b"x")
    app = mounted(chunks)

    @app.middleware
    async def check(request: Request, call_next: CallNext) -> Response:
        if "x-user" not in request.headers:
            raise HTTPError(401)
        response = await call_next(request)
        response.headers["x-seen"] = request.path
        return response

    async with TestClient(app) as client:
        assert (await client.get("/wsgi")).status_code == 401
        assert not chunks.made
        assert (await client.get("/wsgi", headers={"x-user": "a"})).headers["x-seen"] == "/wsgi"


async def test_threads_are_bounded() -> None:
    """More requests than threads wait for one of them; a client that leaves while it waits is gone at once."""
    gate = threading.Semaphore(0)
    began: list[int] = []

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        began.append(1)
        gate.acquire()
        start_response("200 OK", PLAIN)
        return [b"x"]

    app = mounted(answer, 2)
    async with running(app), trio.open_nursery() as nursery:
        exchanges = [Exchange("GET", "/wsgi") for _ in range(5)]
        for exchange in exchanges:
            nursery.start_soon(exchange.run, app)
        while len(began) < 2:
            await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(began) == 2
        waiting = [exchange for exchange in exchanges if not exchange.messages]
        assert len(waiting) == 5
        for exchange in exchanges:
            exchange.leave()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert sum(exchange.done.is_set() for exchange in exchanges) == 3
        gate.release(5)
    assert len(began) == 2


async def test_a_mock_clock_stands_still_while_it_works(autojump_clock: trio.testing.MockClock) -> None:
    """Virtual time does not pass while a thread makes a chunk, and does while it waits for the client."""
    chunks = Chunks(*[b"x" * 1000] * 100)
    app = mounted(chunks, buffer_size=1000)
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/wsgi", window=1)
        nursery.start_soon(exchange.run, app)
        await trio.sleep(10)
        exchange.open_window()
        await exchange.done.wait()
    assert len(exchange.body) == 100_000


class Held:
    """What a request works with, whose end can be seen."""


@pytest.mark.parametrize("ending", ["whole", "HEAD", "fails", "cut", "leaves", "leaves in its body"])
async def test_what_a_request_held_is_freed(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    """However it ends, what its app has worked with is freed without the garbage collector."""
    caplog.set_level(logging.CRITICAL)
    held: list[weakref.ref[Held]] = []

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        mine = environ["held"] = Held()
        held.append(weakref.ref(mine))
        environ["wsgi.input"].read()
        if ending == "fails":
            raise KeyError("some reason")
        start_response("200 OK", PLAIN)
        for number in range(100):
            if ending == "cut" and number == 1:
                raise KeyError("some reason")
            yield b"x" * 1000

    app = mounted(answer, buffer_size=1000)
    gc.collect()
    gc.disable()
    try:
        async with running(app):
            for _ in range(3):
                window = 1 if ending == "leaves" else math.inf
                in_body = ending == "leaves in its body"
                method = "HEAD" if ending == "HEAD" else "POST" if in_body else "GET"
                headers = [(b"content-length", b"9")] if in_body else []
                exchange = Exchange(method, "/wsgi", headers, [b"some"] if in_body else [b""], window, endless=in_body)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(exchange.run, app)
                    if ending.startswith("leaves"):
                        await trio.testing.wait_all_tasks_blocked(0.02)
                        exchange.leave()
                exchange.error = None  # its traceback refers to it
                del exchange
            await trio.testing.wait_all_tasks_blocked(0.02)
        assert len(held) == 3
        assert [each() for each in held] == [None, None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("given", "threads", "error"), [("x", 1, TypeError), (Chunks, 1, TypeError), (nothing, 0, ValueError)]
)
def test_what_is_no_wsgi_app(given: Any, threads: int, error: type[Exception]) -> None:
    """It is refused where it is made."""
    with pytest.raises(error, match=r"WSGI takes a WSGI application|threads must be at least 1"):
        WSGI(given, threads)


def test_its_repr() -> None:
    """It names the app."""
    assert repr(WSGI(nothing)) == "<WSGI(tests.contrib.test_wsgi.nothing)>"


# Flask and Django, on both servers


@pytest.fixture(scope="module", params=RUNNERS)
def server(request: pytest.FixtureRequest, start_server: StartServer) -> Server:
    """The apps of ``wsgi_app.py``, on each server."""
    return start_server("tests.contrib.wsgi_app:app", runner=request.param)


def test_pages(server: Server) -> None:
    """Flask and Django route below their mount, and make addresses with it."""
    found = server.curl("/shop/items/1?q=%C3%BC")[1].decode()
    assert found == f"1 {server.url}/shop/items/2 ü"
    assert server.curl("/site/items/1")[1].decode() == f"1 /site/items/2 {server.url}/site/items/1"
    for path in ("/shop/nowhere", "/site/nowhere"):
        assert server.curl(path, "-o", "/dev/null", "-w", "%{http_code}")[1] == b"404"
    assert server.curl("/shop/fails", "-o", "/dev/null", "-w", "%{http_code}")[1] == b"500"


def test_streams(server: Server) -> None:
    """What Flask and Django stream arrives whole, over HTTP/2 too."""
    assert server.curl("/shop/stream") == (0, b"0 /stream\n1 /stream\n2 /stream\n")
    assert server.curl("/site/stream", "--http2-prior-knowledge") == (0, b"0\n1\n2\n")
    assert server.curl("/bare/chunks")[1].split() == [b"0", b"1", b"2"]
    assert server.curl("/bare/chunks", "-I")[0] == 0
    assert server.curl("/shop/stream", "-0") == (0, b"0 /stream\n1 /stream\n2 /stream\n")


def test_uploads(server: Server) -> None:
    """Flask and Django read forms with files; a body without a length has an end too."""
    form = ("-F", "name=Ada", "-F", "file=@pyproject.toml")
    size = (ROOT / "pyproject.toml").stat().st_size
    done = subprocess.run(
        ["curl", "-sS", *form, f"{server.url}/shop/upload"], cwd=ROOT, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {"name": "Ada", "file": "pyproject.toml", "size": size}
    done = subprocess.run(
        ["curl", "-sS", *form, f"{server.url}/site/upload"], cwd=ROOT, capture_output=True, check=True
    )
    assert done.stdout.decode() == f"Ada pyproject.toml {size}"
    chunked = ("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{ROOT / 'pyproject.toml'}")
    assert server.curl("/shop/size", *chunked) == (0, str(size).encode())
    assert server.curl("/bare/echo", "-d", "abcdef") == (0, b"abc|def||")


def test_a_client_that_does_not_read(server: Server) -> None:
    """It stops a stream of Flask's kind, and its leaving ends it, in the thread that has made it."""
    closed = server.events.count("closed in its thread")
    with server.request("/bare/flood") as client:
        read_until(client, b"5\n")
        made, before = server.count("made"), -1
        while made != before:
            threading.Event().wait(0.3)
            made, before = server.count("made"), made
        assert made < 100_000
    server.wait_for_event("closed in its thread", closed + 1)


def test_a_client_that_leaves_a_sleeping_stream(server: Server) -> None:
    """It is ended at its next chunk, over HTTP/1.1 and HTTP/2."""
    closed = server.events.count("closed in its thread")
    with server.request("/bare/ticks") as client:
        read_until(client, b"3\n")
    server.wait_for_event("closed in its thread", closed + 1)
    h2 = H2Client(server)
    stream = h2.request("/bare/ticks")
    h2.pump("data", stream)
    h2.cancel(stream)
    server.wait_for_event("closed in its thread", closed + 2)
    h2.close()


def test_a_stream_that_fails(server: Server) -> None:
    """It is broken off, and not mistaken for whole; an error before it is a 500; the connection after is another."""
    status, body = server.curl("/bare/cut")
    assert (status, body) == (18, b"some")
    assert b" 500 " in server.curl("/bare/fails", "-i")[1]


def test_a_connection_serves_on(server: Server) -> None:
    """After an answer, also to an upload that the app has not read, the next request is answered."""
    upload = b"POST /shop/items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    page = b"GET /shop/items/1?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with server.connect() as client:
        client.sendall(upload + page)
        answers = read_all(client)
    assert answers.startswith(b"HTTP/1.1 405")
    assert b"HTTP/1.1 200" in answers
