"""Apps of other frameworks, and trioweb's own: each runs on the server as it is."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import fastapi
import httpx
import litestar
import litestar.response
import pytest
import quart
import quart_trio
import starlette.applications
import starlette.background
import starlette.requests
import starlette.responses
import starlette.routing
import trio
import trio.testing

import trioweb
from tests.server.http1.conftest import GET, PATIENCE, Site, serving
from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send
from trioweb.middleware import CallNext

Tls = tuple[str, ssl.SSLContext] | None

COUNT = 200

events: list[str] = []
"""The paths whose requests the app is done with."""


async def numbers() -> AsyncIterator[bytes]:
    """A stream of some lines, which takes its time now and then."""
    for number in range(COUNT):
        yield b"%d\n" % number
        if number % 50 == 0:
            await trio.sleep(0)


class Flood:
    """A stream without an end. It is no generator, since not every framework closes those in time."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself."""
        return self

    async def __anext__(self) -> bytes:
        """A block."""
        await trio.lowlevel.checkpoint()
        return bytes(65536)


def make_starlette() -> Any:  # noqa: C901 - one route after the other
    """Starlette."""

    async def root(request: starlette.requests.Request) -> Any:
        return starlette.responses.PlainTextResponse(f"hello {request.query_params['q']}")

    async def echo(request: starlette.requests.Request) -> Any:
        return starlette.responses.Response(await request.body())

    async def stream(request: starlette.requests.Request) -> Any:
        return starlette.responses.StreamingResponse(numbers())

    async def endless(request: starlette.requests.Request) -> Any:
        return starlette.responses.StreamingResponse(Flood())

    async def left(request: starlette.requests.Request) -> Any:
        while not await request.is_disconnected():
            await trio.sleep(0.05)
        return starlette.responses.Response()

    async def fail(request: starlette.requests.Request) -> Any:
        raise ValueError("as asked")

    async def file(request: starlette.requests.Request) -> Any:
        return starlette.responses.FileResponse(__file__)

    async def later(request: starlette.requests.Request) -> Any:
        async def work() -> None:
            await trio.sleep_forever()

        return starlette.responses.PlainTextResponse("now", background=starlette.background.BackgroundTask(work))

    route = starlette.routing.Route
    return starlette.applications.Starlette(
        routes=[
            route("/", root), route("/echo", echo, methods=["POST"]), route("/stream", stream),
            route("/endless", endless), route("/left", left), route("/fail", fail), route("/file", file),
            route("/later", later),
        ]
    )  # fmt: skip


def make_fastapi() -> Any:
    """FastAPI."""
    app = fastapi.FastAPI()

    @app.get("/")
    async def root(q: str) -> fastapi.Response:
        return fastapi.Response(f"hello {q}")

    @app.post("/echo")
    async def echo(request: fastapi.Request) -> fastapi.Response:
        return fastapi.Response(await request.body())

    @app.get("/stream")
    async def stream() -> fastapi.Response:
        return starlette.responses.StreamingResponse(numbers())

    @app.get("/endless")
    async def endless() -> fastapi.Response:
        return starlette.responses.StreamingResponse(Flood())

    @app.get("/fail")
    async def fail() -> fastapi.Response:
        raise ValueError("as asked")

    return app


def make_litestar() -> Any:
    """Litestar."""

    @litestar.get("/", media_type="text/plain")
    async def root(request: litestar.Request[Any, Any, Any]) -> str:
        return f"hello {request.query_params['q']}"

    @litestar.post("/echo", status_code=200, media_type="application/octet-stream")
    async def echo(request: litestar.Request[Any, Any, Any]) -> bytes:
        return await request.body()

    @litestar.get("/stream")
    async def stream() -> litestar.response.Stream:
        return litestar.response.Stream(numbers())

    @litestar.get("/endless")
    async def endless() -> litestar.response.Stream:
        return litestar.response.Stream(Flood())

    @litestar.get("/fail")
    async def fail() -> None:
        raise ValueError("as asked")

    # Without its logging: that is the root logger's, and all tests'.
    return litestar.Litestar([root, echo, stream, endless, fail], logging_config=None)


def make_quart() -> Any:
    """Quart-Trio."""
    app = quart_trio.QuartTrio(__name__)

    @app.get("/")
    async def root() -> str:
        return f"hello {quart.request.args['q']}"

    @app.post("/echo")
    async def echo() -> Any:
        return await quart.request.get_data()

    @app.get("/stream")
    async def stream() -> Any:
        return numbers()

    @app.get("/endless")
    async def endless() -> Any:
        return Flood()

    @app.get("/fail")
    async def fail() -> str:
        raise ValueError("as asked")

    return app


def make_trioweb() -> Any:  # noqa: C901 - one route after the other
    """Trioweb's own."""
    app = trioweb.App()

    @app.get("/")
    async def root(request: trioweb.Request) -> str:
        return f"hello {request.query['q']}"

    @app.post("/echo")
    async def echo(request: trioweb.Request) -> bytes:
        return await request.body()

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        async for line in numbers():
            yield line

    @app.get("/endless")
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    @app.get("/left")
    async def left() -> str:
        await trio.sleep_forever()
        return ""

    @app.get("/fail")
    async def fail() -> str:
        raise ValueError("as asked")

    @app.get("/events")
    async def quiet() -> trioweb.EventStreamResponse:
        async def one() -> AsyncIterator[str]:
            yield "first"
            await trio.sleep_forever()

        return trioweb.EventStreamResponse(one())

    @app.get("/file")
    async def file() -> trioweb.FileResponse:
        return trioweb.FileResponse(__file__)

    @app.get("/later")
    async def later(nursery: trio.Nursery) -> str:
        nursery.start_soon(trio.sleep_forever)
        return "now"

    return app


MAKERS = {
    "starlette": make_starlette, "fastapi": make_fastapi, "litestar": make_litestar, "quart": make_quart,
    "trioweb": make_trioweb,
}  # fmt: skip


@pytest.fixture(params=MAKERS)
def name(request: pytest.FixtureRequest) -> str:
    """Each framework."""
    events.clear()
    return str(request.param)


def with_lifespan(app: Any) -> Any:
    """An app that is asked about its life, as all of these answer that."""

    @functools.wraps(app.__call__)
    async def whole(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        finally:
            events.append(scope.get("path", ""))

    whole.lifespans = True  # type: ignore[attr-defined]
    return whole


async def wait_for_end(name: str) -> None:
    """Wait until the app is done with a request."""
    with trio.fail_after(PATIENCE):
        while name not in events:
            await trio.sleep(0.01)


def client_of(site: Site) -> httpx.AsyncClient:
    """An HTTP client with one connection."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{site.port}", limits=limits, timeout=PATIENCE)


async def test_requests_bodies_and_streams(name: str) -> None:
    """A query, a body and a stream arrive as they were, one after the other on one connection."""
    async with serving(with_lifespan(MAKERS[name]())) as site, client_of(site) as client:
        for _ in range(2):
            assert (await client.get("/?q=you")).text == "hello you"
            data = bytes(range(256)) * 1000
            assert (await client.post("/echo", content=data)).content == data

            async def pieces() -> AsyncIterator[bytes]:
                for begin in range(0, len(data), 10_000):  # noqa: B023
                    yield data[begin : begin + 10_000]  # noqa: B023

            assert (await client.post("/echo", content=pieces())).content == data
            found = await client.get("/stream")
            assert found.text == "".join(f"{number}\n" for number in range(COUNT))
            assert (await client.head("/stream")).content == b""
            assert (await client.get("/none")).status_code == 404


async def test_a_failure_is_a_500_and_harms_nothing(name: str) -> None:
    """An app that fails is answered for, by itself or by the server."""
    async with serving(with_lifespan(MAKERS[name]())) as site, client_of(site) as client:
        assert (await client.get("/fail")).status_code == 500
        assert (await client.get("/?q=you")).text == "hello you"


@pytest.mark.parametrize("which", ["starlette", "trioweb"])
async def test_who_waits_for_a_client_hears_that_it_left(which: str) -> None:
    """A handler that does nothing but wait is told, or cancelled, when its client leaves."""
    events.clear()
    async with serving(with_lifespan(MAKERS[which]())) as site:
        client = await site.connect()
        await client.send(GET.replace(b"/ ", b"/left "))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.leave()
        await wait_for_end("/left")


@pytest.mark.parametrize("which", ["starlette", "trioweb"])
async def test_work_after_the_response_does_not_hold_up_the_next_request(which: str) -> None:
    """Background work of one request goes on while the next one on the connection is answered."""
    async with serving(with_lifespan(MAKERS[which]())) as site, client_of(site) as client:
        for _ in range(3):
            assert (await client.get("/later")).text == "now"


@pytest.mark.parametrize("which", ["starlette", "trioweb"])
async def test_files(which: str) -> None:
    """A file arrives whole: for Starlette by way of the server's own extension for that."""
    async with serving(with_lifespan(MAKERS[which]())) as site, client_of(site) as client:
        for _ in range(2):
            found = await client.get("/file")
            assert found.content == Path(__file__).read_bytes()
            assert found.headers["content-length"] == str(len(found.content))


async def test_an_event_stream_starts_at_once_and_ends_with_its_client() -> None:
    """The head of an event stream comes before there is an event, and a silent one ends when its client leaves."""
    events.clear()
    app = trioweb.App()

    @app.get("/")
    async def quiet() -> trioweb.EventStreamResponse:
        async def nothing() -> AsyncIterator[str]:
            await trio.sleep_forever()
            yield ""

        return trioweb.EventStreamResponse(nothing())

    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"content-type: text/event-stream")
        await client.until(b"\r\n\r\n")
        await client.leave()
        await wait_for_end("/")


async def test_event_streams_end_cleanly_when_the_server_stops() -> None:
    """A stop ends an event stream with its last chunk, which the framework hears of through the scope's extension."""
    async with serving(with_lifespan(make_trioweb()), graceful_timeout=PATIENCE) as site:
        client = await site.connect()
        await client.send(GET.replace(b"/ ", b"/events "))
        await client.until(b"first")
        site.worker.stop()
        assert (await client.rest()).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("function", [False, True], ids=["alone", "with a function middleware"])
async def test_middleware_sees_what_is_sent(function: bool) -> None:
    """An ASGI middleware that looks at what is sent gets each message, of a small response too."""
    kinds: list[str] = []

    class Looks:
        """Notes the messages, and adds a header."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            """Serve one scope."""

            async def note(message: dict[str, Any]) -> None:
                kinds.append(message["type"])
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-looked", b"at")]
                await send(message)

            await self.app(scope, receive, note if scope["type"] == "http" else send)

    app = trioweb.App()
    app.add_middleware(Looks)
    if function:

        @app.middleware
        async def through(request: trioweb.Request, call_next: CallNext) -> trioweb.Response:
            return await call_next(request)

    @app.get("/")
    async def small() -> str:
        return "small"

    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        answered = await client.ask(GET)
    assert b"x-looked: at\r\n" in answered
    assert answered.endswith(b"\r\n\r\nsmall")
    assert kinds == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("whole", [False, True], ids=["in two pieces", "at once"])
async def test_middleware_changes_what_is_received(whole: bool) -> None:
    """A body passes through an ASGI middleware that changes it, also where all of it is there already."""

    class Upper:
        """Takes the body for another one."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            """Serve one scope."""

            async def upper() -> dict[str, Any]:
                message = await receive()
                return {**message, "body": message["body"].upper()} if message.get("body") else message

            await self.app(scope, upper if scope["type"] == "http" else receive, send)

    app = trioweb.App()
    app.add_middleware(Upper)

    @app.post("/")
    async def echo(body: Annotated[list[str], trioweb.Body]) -> list[str]:
        return body

    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n"
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        if whole:
            answered = await client.ask(head + b'["a"]')
        else:
            await client.send(head + b'["')
            await trio.testing.wait_all_tasks_blocked(0.02)
            answered = await client.ask(b'a"]')
    assert answered.endswith(b'\r\n\r\n["A"]')


async def test_a_client_that_takes_nothing_is_broken_off(caplog: pytest.LogCaptureFixture) -> None:
    """The framework's limit on a write breaks one that the client does not take, and says why."""
    app = trioweb.App()

    @app.get("/")
    async def deaf() -> trioweb.StreamingResponse:
        return trioweb.StreamingResponse(Flood(), write_timeout=0.3)

    events.clear()
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        await wait_for_end("/")
        with trio.fail_after(PATIENCE):
            while not caplog.records:
                await trio.sleep(0.01)
    assert "write_timeout" in caplog.text


@pytest.mark.parametrize("size", [120_000, 200_000], ids=["one message", "two messages"])
async def test_the_last_message_has_a_time_limit_too(size: int) -> None:
    """A client that takes all but the end of a response is left in the end, like any other that takes nothing."""
    app = trioweb.App(write_timeout=0.2)

    @app.get("/")
    async def body() -> bytes:
        return bytes(size)

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        yield bytes(size)

    for path in (b"/", b"/stream"):
        async with serving(with_lifespan(app)) as site:
            client = await site.connect()
            await client.send(300 * GET.replace(b"/", path, 1))
            with trio.fail_after(PATIENCE):
                while site.worker._connections:
                    await trio.sleep(0.02)
