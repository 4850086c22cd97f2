"""Mounted apps behind function middleware: ours, other frameworks', and bare ASGI."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse as StarletteText
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse as StarletteStream
from starlette.routing import Route

from tests.asgi import Exchange, ask, running
from trioweb import CORS, App, Compression, EventStreamResponse, HTTPError, Request, Response, StaticFiles
from trioweb.ground.http.asgi import Receive, Scope, Send
from trioweb.handlers.layers import CallNext
from trioweb.testing import TestClient


@pytest.fixture
def app() -> App:
    """An app behind a middleware that notes what passes, and marks it."""
    app = App()
    app.state.log = []

    @app.middleware
    async def note(request: Request, call_next: CallNext) -> Response:
        try:
            response = await call_next(request)
        except Exception as error:
            app.state.log.append(type(error).__name__)
            raise
        app.state.log.append(response.status_code)
        response.headers["x-seen"] = request.path
        return response

    return app


def mounted(app: App, answer: Callable[[Scope, Receive, Send], Awaitable[None]]) -> App:
    """The app with a bare ASGI app mounted in it."""

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await answer(scope, receive, send)

    app.mount("/bare", bare)
    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The message of a head."""
    return {"type": "http.response.start", "status": status, "headers": headers}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """The message of a part of a body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


# What can be mounted


async def test_an_app_of_ours(app: App) -> None:
    """It has its own state, errors and middleware, inside of those of the app it is mounted in; its 500 too."""
    inner = App()
    inner.state.name = "inner"
    app.state.name = "outer"

    @inner.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers["x-inner"] = request.app.state.name
        return response

    @inner.get("/page")
    async def page(request: Request) -> str:
        return f"{request.app.state.name} {request.path} {request.scope['root_path']}"

    @inner.get("/fails")
    async def fails() -> str:
        raise KeyError

    @inner.get("/refuses")
    async def refuses() -> str:
        raise HTTPError(418)

    @inner.error_handler(404)
    async def missing(request: Request, error: HTTPError) -> Response:
        return Response("not in here", 404)

    app.mount("/inner", inner)
    answer = await ask(app, "/inner/page")
    assert answer.body == b"inner /inner/page /inner"
    assert (answer.headers["x-seen"], answer.headers["x-inner"]) == ("/inner/page", "inner")
    assert (await ask(app, "/inner/nowhere")).body == b"not in here"
    assert (await ask(app, "/inner/refuses")).status == 418
    answer = await ask(app, "/inner/fails")
    assert (answer.status, answer.headers["x-seen"]) == (500, "/inner/fails")
    assert app.state.log == [200, 404, 418, 500]


async def test_static_files(app: App, tmp_path: Path) -> None:
    """A directory's files, and what is not there, pass through middleware."""
    (tmp_path / "a.txt").write_text("text")
    app.mount("/static", StaticFiles(tmp_path))
    answer = await ask(app, "/static/a.txt")
    assert (answer.body, answer.headers["x-seen"]) == (b"text", "/static/a.txt")
    assert (await ask(app, "/static/b.txt")).headers["x-seen"] == "/static/b.txt"
    assert app.state.log == [200, 404]


async def test_the_middlewares_of_the_kit() -> None:
    """CORS marks, and compression compresses, what another framework's app sends."""
    app = App()
    app.middleware(CORS(allow_origins=["*"]))
    app.middleware(Compression(codings=["gzip"]))

    async def chunks() -> AsyncIterator[str]:
        for _ in range(100):
            yield "row\n"

    async def rows(_: StarletteRequest) -> StarletteResponse:
        return StarletteStream(chunks(), media_type="text/plain")

    async def page(_: StarletteRequest) -> StarletteResponse:
        return StarletteText("x" * 1000)

    app.mount("/", Starlette(routes=[Route("/rows", rows), Route("/page", page)]))
    async with TestClient(app) as client:
        for path, text in (("/rows", "row\n" * 100), ("/page", "x" * 1000)):
            response = await client.get(path, headers={"origin": "https://a.example", "accept-encoding": "gzip"})
            assert response.text == text
            assert response.headers["access-control-allow-origin"] == "*"
            assert response.headers["content-encoding"] == "gzip"


async def test_without_middleware_nothing_stands_in_between() -> None:
    """An app that has no middleware hands a request on as it came."""
    seen: list[Any] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((receive, send))
        await send(start())
        await send(part(b"x", more=False))

    exchange = Exchange("GET", "/bare")
    await exchange.run(mounted(App(), answer))
    assert seen == [exchange.receive, exchange._send]


# What goes in


async def test_what_a_middleware_leaves_on_the_request_is_there(app: App) -> None:
    """Attributes of `request.state` are found in the mounted app, of whatever framework."""

    @app.middleware
    async def user(request: Request, call_next: CallNext) -> Response:
        request.state.user = "me"
        return await call_next(request)

    inner = App()

    @inner.get("/who")
    async def who(request: Request) -> str:
        return str(request.state.user)

    async def who_else(request: StarletteRequest) -> StarletteResponse:
        return StarletteText(request.state.user)

    app.mount("/ours", inner)
    app.mount("/theirs", Starlette(routes=[Route("/who", who_else)]))
    assert (await ask(app, "/ours/who")).body == b"me"
    assert (await ask(app, "/theirs/who")).body == b"me"


@pytest.mark.parametrize("before", ["nothing", "body", "stream", "waits"])
async def test_the_body_goes_in(app: App, before: str) -> None:
    """A mounted app reads the request's body, also one that a middleware has read; what that streamed is gone."""

    @app.middleware
    async def read(request: Request, call_next: CallNext) -> Response:
        if before == "body":
            assert await request.body() == b"some text"
        elif before == "stream":
            assert [chunk async for chunk in request.stream()] == [b"some ", b"text"]
        elif before == "waits":
            await trio.testing.wait_all_tasks_blocked()
        return await call_next(request)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        whole, more = b"", True
        while more:
            message = await receive()
            whole, more = whole + message["body"], message["more_body"]
        await send(start())
        await send(part(whole + b"!", more=False))

    exchange = Exchange("POST", "/bare", [(b"content-length", b"9")], [b"some ", b"text"])
    async with running(mounted(app, answer)):
        await exchange.run(app)
    assert exchange.body == (b"!" if before == "stream" else b"some text!")


async def test_a_body_is_echoed_while_it_comes(app: App) -> None:
    """A mounted app may read a stream and send one."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        while body := (await receive())["body"]:
            await send(part(body.upper()))
        await send(part(b"", more=False))

    exchange = Exchange("POST", "/bare", [(b"content-length", b"2")], [b"a", b"b"])
    async with running(mounted(app, answer)):
        await exchange.run(app)
    assert (exchange.body, exchange.complete) == (b"AB", True)


async def test_extensions_for_responses_are_kept_from_it(app: App) -> None:
    """What would go past the middlewares is not offered to a mounted app; all else is."""
    seen: list[Any] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(sorted(scope["extensions"]))
        await send(start())
        await send(part(b"", more=False))

    exchange = Exchange("GET", "/bare", extensions={"http.response.pathsend": {}, "tls": {}})
    async with running(mounted(app, answer)):
        await exchange.run(app)
    assert seen == [["tls", "trioweb"]]


# What comes out


async def test_a_part_arrives_when_it_is_sent(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """Parts leave when they are sent; the head leaves before them where the app sends an empty one."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, (b"Content-Type", b"text/plain")))
        await send(part(b""))
        for letter in (b"a", b"b"):
            await trio.sleep(10)
            await send(part(letter))
        await trio.sleep(10)
        await send(part(b"c", more=False))

    async with running(mounted(app, answer)), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/bare")
        nursery.start_soon(exchange.run, app)
        for body in (b"", b"a", b"ab", b"abc"):
            await trio.sleep(5)
            assert (exchange.body, exchange.headers["content-type"]) == (body, "text/plain")
            await trio.sleep(5)
        await exchange.done.wait()
    assert exchange.complete
    assert app.state.log == [200]


async def test_a_head_waits_for_its_first_part(app: App) -> None:
    """Where the first part is not empty, the head leaves with it, and nothing is made up."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"a"))
        await send(part(b"b", more=False))

    exchange = Exchange("GET", "/bare")
    async with running(mounted(app, answer)):
        await exchange.run(app)
    assert exchange.chunks[0] == b"a"


async def test_the_limits_of_the_outer_app_are_not_those_of_a_mounted_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """How long a mounted app's stream is silent, how long it all takes, and a body comes, is its own matter."""
    app = App(idle_timeout=5, max_duration=15, body_timeout=5)

    @app.middleware
    async def pass_on(request: Request, call_next: CallNext) -> Response:
        return await call_next(request)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        await send(start())
        for _ in range(3):
            await send(part(message["body"]))
            await trio.sleep(10)
        await send(part(b"", more=False))

    async def body() -> AsyncIterator[bytes]:
        await trio.sleep(10)
        yield b"x"

    async with TestClient(mounted(app, answer)) as client:
        response = await client.post("/bare", content=body())
    assert (response.status_code, response.text) == (200, "xxx")


@pytest.mark.parametrize("answers", [True, False])
async def test_a_mounted_app_is_told_that_its_client_has_left(
    app: App, answers: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Where that cancels nothing, before the response to a POST, and after it: `receive` says so."""
    seen: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["type"])
        if answers:
            await send(start())
            await send(part(b"x", more=False))
        seen.append((await receive())["type"])

    async with running(mounted(app, answer)), trio.open_nursery() as nursery:
        exchange = Exchange("POST", "/bare")
        nursery.start_soon(exchange.run, app)
        await trio.sleep(1)
        exchange.leave()
        with trio.fail_after(5):
            await exchange.done.wait()
    assert seen == ["http.request", "http.disconnect"]


async def test_the_app_waits_for_a_client_that_does_not_read(app: App, autojump_clock: Any) -> None:
    """What a mounted app sends is not piled up: it waits in `send` until its client takes."""
    sent = 0

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(100):
            await send(part(b"x" * 1000))
            sent += 1
        await send(part(b"", more=False))

    async with running(mounted(app, answer)), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/bare", window=1)
        nursery.start_soon(exchange.run, app)
        await trio.sleep(1)
        assert sent <= 3
        exchange.open_window()
        await exchange.done.wait()
    assert len(exchange.body) == 100_000


@pytest.mark.parametrize("sends", ["nothing", "head"])
@pytest.mark.parametrize("fails", [True, False])
async def test_an_app_that_does_not_answer(app: App, sends: str, fails: bool, caplog: Any) -> None:
    """What it raises is raised by `call_next`, as itself; where it says nothing at all the error names the mount."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if sends == "head":
            await send(start())
        if fails:
            raise KeyError

    assert (await ask(mounted(app, answer), "/bare")).status == 500
    assert app.state.log == ["KeyError" if fails else "RuntimeError"]
    assert fails or "the app mounted at /bare returned before its response was whole" in caplog.text


@pytest.mark.parametrize("fails", [True, False])
async def test_an_app_that_breaks_off(app: App, fails: bool, caplog: Any) -> None:
    """What it has sent arrives, and no end does."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"some"))
        if fails:
            raise KeyError("some reason")

    exchange = Exchange("GET", "/bare")
    async with running(mounted(app, answer)):
        await exchange.run(app)
    assert (exchange.body, exchange.complete) == (b"some", False)
    assert ("some reason" if fails else "returned before its response was whole") in caplog.text


async def test_an_app_of_ours_that_breaks_off_says_so_once(app: App, caplog: Any) -> None:
    """The error is logged where it happened, and not again by who passes it on."""
    inner = App()

    @inner.get("/")
    async def root() -> AsyncIterator[str]:
        yield "some"
        raise KeyError("some reason")

    app.mount("/inner", inner)
    async with running(app):
        exchange = Exchange("GET", "/inner/")
        await exchange.run(app)
    assert (exchange.body, exchange.complete) == (b"some", False)
    assert len(caplog.records) == 1
    assert "broken off after 4 bytes" in caplog.text


async def test_a_framework_that_answers_and_raises(app: App, caplog: Any) -> None:
    """Starlette sends its 500, and raises what it is about: the one is the response, the other is logged."""

    async def fails(_: StarletteRequest) -> StarletteResponse:
        raise KeyError("some reason")

    app.mount("/theirs", Starlette(routes=[Route("/fails", fails)]))
    exchange = Exchange("GET", "/theirs/fails")
    async with running(app):
        await exchange.run(app)
    assert (exchange.status, exchange.headers["x-seen"]) == (500, "/theirs/fails")
    assert "the app mounted at /theirs failed after its response" in caplog.text
    assert "some reason" in caplog.text


async def test_work_after_the_response(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """What an app does after its response is sent goes on, and holds no client up."""
    log: list[str] = []

    async def work() -> None:
        await trio.sleep(10)
        log.append("done")

    async def page(_: StarletteRequest) -> StarletteResponse:
        return StarletteText("x", background=BackgroundTask(work))

    app.mount("/theirs", Starlette(routes=[Route("/page", page)]))
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/theirs/page")
        nursery.start_soon(exchange.run, app)
        await trio.sleep(1)
        assert (exchange.complete, log) == (True, [])
        exchange.leave()
    assert log == ["done"]


class Endless:
    """A stream that holds nothing."""

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> str:
        await trio.sleep(1)
        return "x"


@pytest.mark.parametrize("ending", ["replaced", "204", "HEAD"])
@pytest.mark.parametrize("framework", ["bare", "ours", "theirs"])
@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_a_stream_that_is_not_sent_ends(
    app: App, framework: str, ending: str, version: str, caplog: Any, autojump_clock: Any
) -> None:
    """An app whose endless stream nobody takes hears of that in `send`, and the request ends; that is no error."""
    log: list[str] = []

    async def chunks() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await trio.sleep(1)
        finally:
            log.append("closed")

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        try:
            while True:
                await send(part(b"x"))
                await trio.sleep(1)
        except OSError:
            log.append("closed")
            raise

    async def stream(_: StarletteRequest) -> StarletteResponse:
        return StarletteStream(Endless())

    @app.middleware
    async def replace(request: Request, call_next: CallNext) -> Any:
        response = await call_next(request)
        if ending == "replaced":
            return "another"
        response.status_code = 204 if ending == "204" else 200
        return response

    inner = App()
    inner.get("/")(chunks)
    mounted(app, answer)
    app.mount("/ours", inner)
    app.mount("/theirs", Starlette(routes=[Route("/", stream)]))
    exchange = Exchange("HEAD" if ending == "HEAD" else "GET", f"/{framework}/", http_version=version)
    async with running(app):
        with trio.fail_after(60):
            await exchange.run(app)
    assert exchange.complete
    assert exchange.body == (b"another" if ending == "replaced" else b"")
    assert log == ([] if framework == "theirs" or (framework, ending) == ("ours", "HEAD") else ["closed"])
    assert caplog.records == []


@pytest.mark.parametrize("framework", ["ours", "theirs"])
async def test_a_client_that_leaves(
    app: App, framework: str, caplog: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """A client that leaves ends the stream of a mounted app at once, where it sleeps; nothing is logged."""
    log: list[str] = []

    async def chunks() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep(3600)
        finally:
            log.append("closed")

    async def stream(_: StarletteRequest) -> StarletteResponse:
        return StarletteStream(chunks())

    inner = App()
    inner.get("/")(chunks)
    app.mount("/ours", inner)
    app.mount("/theirs", Starlette(routes=[Route("/", stream)]))
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", f"/{framework}/")
        nursery.start_soon(exchange.run, app)
        await trio.sleep(1)
        assert exchange.body == b"x"
        exchange.leave()
        with trio.fail_after(1):
            await exchange.done.wait()
    assert log == ["closed"]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("begun", [True, False])
async def test_an_app_ends_by_itself_when_its_client_leaves(
    app: App, listens: bool, begun: bool, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """It is told by `receive`, as a server tells it, and may clean up; one that does not listen is cancelled soon."""
    log: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if begun:
            await send(start())
            await send(part(b"some"))
        try:
            if listens:
                log.append((await receive())["type"])
                await trio.sleep(0.1)
                log.append("clean")
            else:
                await trio.sleep(3600)
        except trio.Cancelled:
            log.append("cancelled")
            raise

    async with running(mounted(app, answer)), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/bare")
        nursery.start_soon(exchange.run, app)
        await trio.sleep(1)
        exchange.leave()
        with trio.fail_after(1):
            await exchange.done.wait()
    assert log == (["http.disconnect", "clean"] if listens else ["cancelled"])
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_events_of_a_mounted_app_end_at_a_stop(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """An app of ours that is mounted is told of the server's stop, and ends its event streams cleanly."""
    inner = App()

    @inner.get("/")
    async def root() -> Response:
        async def events() -> AsyncIterator[str]:
            while True:
                yield "x"
                await trio.sleep(1000)

        return EventStreamResponse(events())

    app.mount("/inner", inner)
    async with TestClient(app) as client, client.events("/inner/") as events:
        assert (await anext(events)).data == "x"
        client.announce_stop()
        assert [event async for event in events] == []


async def test_a_mounted_app_hears_of_a_stop(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """`app.stopping` is set in an app of ours that is mounted."""
    inner = App()

    @inner.get("/")
    async def root() -> str:
        await inner.stopping.wait()
        return "stopped"

    app.mount("/inner", inner)
    async with TestClient(app) as client, trio.open_nursery() as nursery:

        async def ask_inner() -> None:
            assert (await client.get("/inner/")).text == "stopped"

        nursery.start_soon(ask_inner)
        await trio.sleep(1)
        client.announce_stop()


async def test_an_error_of_a_mounted_app_is_raised_in_a_test(app: App) -> None:
    """The test client hears of what an app of ours that is mounted has logged."""
    inner = App()

    @inner.get("/")
    async def root() -> str:
        raise KeyError("some reason")

    app.mount("/inner", inner)
    async with TestClient(app) as client:
        with pytest.raises(KeyError, match="some reason"):
            await client.get("/inner/")


async def test_out_of_order(app: App) -> None:
    """A message out of order is an error in the app that sends it."""
    seen: list[str] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        for message in (part(b"x"), {"type": "http.response.trailers", "headers": []}):
            with pytest.raises(RuntimeError) as raised:
                await send(message)
            seen.append(str(raised.value))
        await send(start())
        with pytest.raises(RuntimeError):
            await send(start())
        await send(part(b"x", more=False))
        with pytest.raises(RuntimeError):
            await send(part(b"y", more=False))
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        assert await receive() == {"type": "http.disconnect"}
        seen.append("end")

    assert (await ask(mounted(app, answer), "/bare")).body == b"x"
    assert seen[0] == "the app mounted at /bare sent 'http.response.body', and it is not its turn"
    assert seen[-1] == "end"
