"""Streams behind middlewares: begun before these see the response, and sent, mapped or closed as they say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from tests.asgi import Exchange, ask, running
from trioweb import (
    App,
    HTTPError,
    JSONLinesResponse,
    Provide,
    Request,
    Response,
    StreamingResponse,
)
from trioweb.handlers.layers import CallNext
from trioweb.io.transport import Transport


class Known(Exception):
    """It has a handler."""


@pytest.fixture
def app() -> App:
    """An app behind a middleware that passes all on."""
    app = App()

    @app.middleware
    async def pass_on(request: Request, call_next: CallNext) -> Response:
        return await call_next(request)

    @app.error_handler(Known)
    async def known(request: Request, error: Known) -> Response:
        return Response("known", 409)

    return app


def failing(kind: str, error: type[Exception] | Exception) -> Callable[..., Any]:
    """A handler that streams, and fails before its first chunk."""

    async def from_generator() -> AsyncIterator[str]:
        await trio.sleep(0)
        raise error
        yield "x"

    def from_thread() -> Iterator[str]:
        raise error
        yield "x"

    async def from_response() -> Response:
        return StreamingResponse(from_generator())

    async def with_request(request: Request) -> Response:
        return StreamingResponse(from_generator)

    handlers: dict[str, Callable[..., Any]] = {
        "generator": from_generator, "thread": from_thread, "response": from_response, "function": with_request
    }  # fmt: skip
    return handlers[kind]


KINDS = ["generator", "thread", "response", "function"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("error", "seen", "status"), [(HTTPError(418), 418, 418), (Known, 409, 409), (KeyError, KeyError, 500)]
)
async def test_an_error_at_the_beginning_is_one_to_middlewares_too(
    app: App, kind: str, error: Any, seen: Any, status: int
) -> None:
    """What is expected comes out of `call_next` as a response, and what is not is raised there as itself."""
    told: list[Any] = []

    @app.middleware
    async def note(request: Request, call_next: CallNext) -> Response:
        try:
            response = await call_next(request)
        except KeyError as raised:
            told.append(type(raised))
            raise
        told.append(response.status_code)
        return response

    app.get("/")(failing(kind, error))
    assert (await ask(app, "/")).status == status
    assert told == [seen]


def upper(chunks: AsyncIterator[bytes]) -> Any:
    """A map."""

    async def mapped() -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk.upper()

    return mapped()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", ["generator", "thread", "lines", "list", "empty"])
async def test_a_stream_that_was_begun_is_whole(app: App, kind: str, mapped: bool) -> None:
    """Its first chunk is there, once and at its place, with maps and without; its content type is known by then."""
    types: list[str | None] = []

    @app.middleware
    async def look(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        types.append(response.headers.get("content-type"))
        if mapped:
            response.map_stream(upper)
        return response

    async def generator() -> AsyncIterator[str]:
        for letter in "abc":
            yield letter

    def thread() -> Iterator[str]:
        yield from "abc"

    async def lines() -> Response:
        return JSONLinesResponse(generator())

    async def from_list() -> Response:
        return StreamingResponse([b"a", b"bc"])

    async def empty() -> AsyncIterator[str]:
        for letter in "":
            yield letter

    handlers: dict[str, Any] = {
        "generator": generator, "thread": thread, "lines": lines, "list": from_list, "empty": empty
    }  # fmt: skip
    app.get("/")(handlers[kind])
    body = {"lines": b'"a"\n"b"\n"c"\n', "empty": b""}.get(kind, b"abc")
    answer = await ask(app, "/")
    assert answer.body == (body.upper() if mapped else body)
    text = "text/plain; charset=utf-8"
    known = {"lines": "application/x-ndjson", "list": "application/octet-stream", "empty": None}
    assert types == [known.get(kind, text)]
    assert answer.headers.get("content-type") == types[0]


@pytest.mark.parametrize("mapped", [False, True])
async def test_a_generator_that_was_begun_lives_in_one_task(app: App, mapped: bool) -> None:
    """It is started, resumed and closed in one task, and so is what maps it."""
    tasks: set[trio.lowlevel.Task] = set()

    async def noting(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            tasks.add(trio.lowlevel.current_task())
            yield chunk

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        if mapped:
            response.map_stream(noting)  # type: ignore[arg-type]
        await trio.sleep(0)
        return response

    @app.get("/")
    async def root() -> AsyncIterator[str]:
        try:
            for letter in "abc":
                tasks.add(trio.lowlevel.current_task())
                yield letter
        finally:
            tasks.add(trio.lowlevel.current_task())

    assert (await ask(app, "/")).body == b"abc"
    assert len(tasks) == 1


@pytest.mark.parametrize("ending", ["replaced", "204", "raises", "refuses", "left"])
@pytest.mark.parametrize("kind", ["generator", "thread"])
async def test_a_stream_that_was_begun_and_is_not_sent_is_closed(app: App, kind: str, ending: str) -> None:
    """It is closed where it lives, and before the request has ended, whatever a middleware makes of it."""
    log: list[str] = []

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Any:
        response = await call_next(request)
        if ending == "204":
            response.status_code = 204
            return response
        if ending == "raises":
            raise KeyError
        if ending == "refuses":
            raise HTTPError(403)
        if ending == "left":
            exchange.leave()
            await trio.sleep_forever()
        return "another"

    async def generator() -> AsyncIterator[str]:
        task = trio.lowlevel.current_task()
        try:
            yield "a"
            log.append("resumed")
        finally:
            log.append("closed" if trio.lowlevel.current_task() is task else "closed elsewhere")

    def thread() -> Iterator[str]:
        try:
            yield "a"
            for _ in range(10_000):
                yield "x" * 65536
            log.append("resumed")
        finally:
            log.append("closed")

    app.get("/")(generator if kind == "generator" else thread)
    async with running(app):
        exchange = Exchange("GET", "/")
        await exchange.run(app)
    assert log == ["closed"]
    if ending != "left":
        assert exchange.status == {"replaced": 200, "204": 204, "raises": 500, "refuses": 403}[ending]
        assert exchange.complete


async def test_a_map_that_asks_for_nothing(app: App) -> None:
    """A map that gives chunks of its own alone is sent, and the stream behind it is closed where it lives."""
    log: list[str] = []

    async def own(_: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield b"own"

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.map_stream(own)  # type: ignore[arg-type]
        return response

    @app.get("/")
    async def root() -> AsyncIterator[str]:
        task = trio.lowlevel.current_task()
        try:
            yield "a"
        finally:
            log.append("closed" if trio.lowlevel.current_task() is task else "closed elsewhere")

    assert (await ask(app, "/")).body == b"own"
    assert log == ["closed"]


async def provided(request: Request) -> AsyncIterator[str]:
    """Something to use."""
    try:
        yield "x"
    finally:
        request.app.state.log.append("dependency closed")


async def test_a_stream_that_was_begun_is_closed_before_what_it_uses(app: App) -> None:
    """Where a middleware fails after it, the generator has ended when its dependencies are closed."""
    app.state.log = log = []

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        raise KeyError

    @app.get("/")
    async def root(x: Annotated[str, Provide(provided)]) -> AsyncIterator[str]:
        try:
            yield x
        finally:
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
            log.append("stream closed")

    assert (await ask(app, "/")).status == 500
    assert log == ["stream closed", "dependency closed"]


async def test_a_stream_that_is_not_sent_lets_no_client_cancel(
    app: App, autojump_clock: trio.testing.MockClock
) -> None:
    """With a body in place of a stream, a client that leaves cancels nothing of a POST, as without the stream."""
    log: list[str] = []

    @app.middleware
    async def replace(request: Request, call_next: CallNext) -> str:
        await call_next(request)
        return "x" * 1_000_000

    @app.post("/")
    async def root(nursery: trio.Nursery) -> AsyncIterator[str]:
        async def work() -> None:
            await trio.sleep(10)
            log.append("done")

        nursery.start_soon(work)
        yield "x"

    async with running(app), trio.open_nursery() as tasks:
        exchange = Exchange("POST", "/", window=1)
        tasks.start_soon(exchange.run, app)
        await trio.sleep(1)
        exchange.leave()
    assert log == ["done"]


async def test_what_waits_in_a_thread_is_bounded(app: App) -> None:
    """A sync stream behind middleware holds no more than its buffer and a chunk, though it passes two channels."""
    made = 0

    @app.get("/")
    async def root() -> Response:
        def chunks() -> Iterator[bytes]:
            nonlocal made
            for _ in range(1000):
                made += 1
                yield b"x" * 1024

        return StreamingResponse(chunks(), buffer_size=16384)

    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/", window=1)
        nursery.start_soon(exchange.run, app)
        before = -1
        while before != made:
            before = made
            await trio.sleep(0.2)
        assert made <= 16 + 1 + 32 + 1  # besides the one message that is being written, and the one in hand
        exchange.leave()


@pytest.mark.parametrize("mapped", [False, True])
async def test_a_deadline_around_the_first_yield(
    app: App, mapped: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """What passes while a middleware has the response is raised at the `yield`; no chunk is lost, and all follows."""
    log: list[str] = []

    @app.middleware
    async def slow(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await trio.sleep(10)
        if mapped:
            response.map_stream(upper)
        return response

    @app.get("/")
    async def root() -> AsyncIterator[str]:
        with trio.move_on_after(5) as scope:
            yield "a"
        log.append(f"interrupted: {scope.cancelled_caught}")
        yield "b"
        yield "c"

    answer = await ask(app, "/")
    assert answer.body == (b"ABC" if mapped else b"abc")
    assert log == ["interrupted: True"]


@pytest.mark.parametrize(("limit", "status"), [("idle_timeout", 500), ("max_duration", 500), ("timeout", 503)])
async def test_the_limits_hold_for_the_first_chunk(
    app: App, limit: str, status: int, autojump_clock: trio.testing.MockClock
) -> None:
    """A stream that does not begin in time is an error of its own to the middlewares, and to the client."""
    seen: list[Any] = []

    @app.middleware
    async def note(request: Request, call_next: CallNext) -> Response:
        begin = trio.current_time()
        try:
            response = await call_next(request)
        except Exception as error:
            seen.append((type(error).__name__, trio.current_time() - begin))
            raise
        seen.append((response.status_code, trio.current_time() - begin))
        return response

    async def chunks() -> AsyncIterator[str]:
        await trio.sleep(3600)
        yield "x"

    @app.get("/", timeout=5 if limit == "timeout" else None)
    async def root() -> Response:
        return StreamingResponse(chunks(), **({} if limit == "timeout" else {limit: 5}))  # type: ignore[arg-type]

    assert (await ask(app, "/")).status == status
    assert seen == [(503 if limit == "timeout" else "StreamTimeout", pytest.approx(5))]


async def test_a_middleware_that_takes_its_time_makes_no_stream_idle(
    app: App, autojump_clock: trio.testing.MockClock
) -> None:
    """While a middleware has the response, the stream's producer is not what is waited for."""

    @app.middleware
    async def slow(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await trio.sleep(60)
        return response

    @app.get("/")
    async def root() -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            await trio.sleep(4)
            yield "b"

        return StreamingResponse(chunks(), idle_timeout=5)

    assert (await ask(app, "/")).body == b"ab"


async def test_a_slow_client_is_no_silent_producer(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """A producer that waits for what its client does next has its idle_timeout from when the client took the chunk."""
    taken = trio.Event()

    @app.get("/")
    async def root() -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            await taken.wait()
            await trio.sleep(4)
            yield "b"

        return StreamingResponse(chunks(), idle_timeout=5)

    exchange = Exchange("GET", "/", window=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        await trio.sleep(22)
        exchange.open_window()
        taken.set()
    assert exchange.complete
    assert exchange.body == b"ab"


@pytest.mark.parametrize("broken", ["fails", "outlasts"])
async def test_what_broke_a_stream_is_logged_first(
    broken: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a client can see that its stream was broken off, the reason is in the log; and it is there once."""
    app = App()
    logged: list[list[str]] = []

    def messages() -> list[str]:
        return [record.getMessage() for record in caplog.records]

    class Server(Transport):
        async def abort(self) -> None:
            logged.append(messages())

    @app.get("/fails")
    async def fails() -> AsyncIterator[str]:
        yield "one"
        raise ValueError("boom")

    @app.get("/outlasts", timeout=1)
    async def outlasts() -> AsyncIterator[str]:
        yield "one"
        await trio.sleep(10)

    async with running(app):
        await Exchange("GET", f"/{broken}", extensions={"trioweb": Server()}).run(app)
    assert logged == [messages()]
    [text] = messages()
    assert f"GET /{broken}: the response was broken off after 3 bytes" in text


@pytest.mark.parametrize("mapped", [False, True])
async def test_a_generator_in_a_thread_that_swallows_its_end(
    app: App, mapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that catches all that is raised in it, for a while, is closed all the same, and silently."""
    closed: list[int] = []

    def thread() -> Iterator[bytes]:
        swallowed = 0
        try:
            while swallowed < 5:
                try:
                    yield b"x" * 65536
                except BaseException:
                    swallowed += 1
        finally:
            closed.append(swallowed)

    @app.get("/")
    async def root() -> Response:
        response = StreamingResponse(thread())
        if mapped:
            response.map_stream(upper)
        return response

    async with running(app), trio.open_nursery() as tasks:
        exchange = Exchange("GET", "/", window=3)
        tasks.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked(0.01)
        exchange.leave()
        await exchange.done.wait()
    assert closed == [5]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
