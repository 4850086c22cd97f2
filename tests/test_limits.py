"""The limits of an app, a route and a response: which one holds, and what happens when it is reached."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio.testing

from tests.asgi import ask
from trioweb import App, EventStreamResponse, Request, Response, Router, StreamingResponse, StreamTimeout
from trioweb.testing import TestClient

Clock = trio.testing.MockClock
SECONDS = ("timeout", "body_timeout", "idle_timeout", "write_timeout", "max_duration")


async def slow() -> str:
    """Answer after ten seconds."""
    await trio.sleep(10)
    return "done"


async def slow_with_request(request: Request) -> str:
    """Answer after ten seconds, with a task in the request's nursery."""
    request.nursery.start_soon(trio.sleep_forever)
    await trio.sleep(10)
    return "done"


async def slow_to_yield() -> AsyncIterator[str]:
    """Give the first chunk after ten seconds."""
    await trio.sleep(10)
    yield "done"


@pytest.mark.parametrize("handler", [slow, slow_with_request, slow_to_yield])
@pytest.mark.parametrize("where", ["app", "route"])
async def test_a_handler_that_takes_too_long(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture, handler: Callable[..., Any], where: str
) -> None:
    """A handler that has not answered within its timeout is cancelled at that moment; the client gets a 503."""
    app = App(timeout=2) if where == "app" else App()
    options = {} if where == "app" else {"timeout": 2}
    app.route("/", ["GET"], **options)(handler)  # type: ignore[arg-type]
    async with TestClient(app) as client:
        response = await client.get("/")
    assert (response.status_code, trio.current_time()) == (503, 2)
    assert response.headers["content-type"] == "application/problem+json"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"GET /: tests.test_limits.{handler.__name__} took longer than its timeout of 2 s"


async def test_time_left_by_the_handler(autojump_clock: Clock) -> None:
    """What a handler has used of its timeout is not there for its stream; a shorter limit of the stream's own holds."""
    app = App()
    closed = []

    async def chunks() -> AsyncIterator[str]:
        yield "x"
        try:
            await trio.sleep_forever()
        finally:
            closed.append(trio.current_time())

    @app.get("/{limit:int}", timeout=5)
    async def handler(limit: int) -> Response:
        await trio.sleep(2)
        return StreamingResponse(chunks(), max_duration=limit)

    async with TestClient(app, raise_app_exceptions=False) as client:
        for limit in (60, 1):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"/{limit}")
    assert closed == [5, 5 + 2 + 1]


async def test_an_error_handler_may_take_its_time(autojump_clock: Clock) -> None:
    """An error handler answers a timeout, as a stream too, however long that takes."""
    app = App(timeout=1)
    app.get("/")(slow)

    @app.error_handler(503)
    async def sorry(request: Request, error: Exception) -> AsyncIterator[str]:
        await trio.sleep(3)
        yield "sorry"
        await trio.sleep(3)
        yield "!"

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "sorry!"


async def test_routes_choose(autojump_clock: Clock) -> None:
    """A route's own timeout, and its `None` for none, win over the app's, through routers as well."""
    app = App(timeout=2)
    router = Router("/in")
    router.get("/longer", timeout=20)(slow)
    router.get("/none", timeout=None)(slow)
    app.include(router)
    async with TestClient(app) as client:
        assert [(await client.get(f"/in/{path}")).text for path in ("longer", "none")] == ["done", "done"]


async def test_what_the_app_sets_for_streams(autojump_clock: Clock) -> None:
    """A stream that was not given a limit has the app's; one that was, `None` too, has its own."""
    app = App(idle_timeout=3, max_duration=7)

    @app.get("/idle")
    async def idle() -> AsyncIterator[str]:
        yield "x"
        await trio.sleep_forever()

    @app.get("/long")
    async def long() -> AsyncIterator[str]:
        while True:
            yield "x"
            await trio.sleep(1)

    @app.get("/own")
    async def own() -> Response:
        return EventStreamResponse(slow_to_yield(), idle_timeout=None, max_duration=None)

    async with TestClient(app) as client:
        with pytest.raises(StreamTimeout, match="idle_timeout of 3 s"):
            await client.get("/idle")
        assert trio.current_time() == 3
        with pytest.raises(StreamTimeout, match="max_duration of 7 s"):
            await client.get("/long")
        assert trio.current_time() == 10
        assert b"data: done" in (await client.get("/own")).content


@pytest.mark.parametrize("streams", [True, False])
async def test_the_write_timeout_of_an_app(autojump_clock: Clock, streams: bool) -> None:
    """A client that takes nothing is given up after the app's write_timeout, whatever kind of response it holds up."""
    app = App(write_timeout=5)

    @app.get("/")
    async def handler() -> Response:
        return StreamingResponse([bytes(1_000_000)]) if streams else Response(bytes(1_000_000))

    async with TestClient(app) as client, client.stream("GET", "/") as response:
        await trio.sleep(20)
        with pytest.raises(StreamTimeout, match="write_timeout of 5 s"):
            await response.aread()


async def test_the_buffer_of_an_app(autojump_clock: Clock) -> None:
    """A producer whose client does not read stops when it has filled the app's buffer_size."""
    app = App(buffer_size=1000)
    given = []

    @app.get("/")
    async def handler() -> AsyncIterator[bytes]:
        for number in range(1000):
            given.append(number)
            yield bytes(100)

    async with TestClient(app) as client, client.stream("GET", "/"):
        await trio.testing.wait_all_tasks_blocked()
        assert 10 <= len(given) <= 100


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1, "3"])
def test_what_is_no_time(name: str, value: Any) -> None:
    """A limit that is no number of seconds above zero is refused when the app is made."""
    with pytest.raises(ValueError, match=f"{name} must be a number of seconds above zero"):
        App(**{name: value})


def test_what_is_no_limit_of_a_route() -> None:
    """A route's timeout that is none is refused with the route's name; so is a buffer that holds no chunk."""
    with pytest.raises(ValueError, match=r"GET /: timeout must be a number of seconds above zero.*got 0"):
        App().get("/", timeout=0)(slow)
    with pytest.raises(ValueError, match="buffer_size must be at least 64 bytes"):
        App(buffer_size=1)


async def size(request: Request) -> int:
    """Take a body whole."""
    return len(await request.body())


async def test_the_nearest_size_of_a_body_counts() -> None:
    """A route's own ``max_body_size`` wins over its router's, that over an outer router's, and that over the app's."""
    app, outer, inner = App(max_body_size=10), Router("/outer", max_body_size=20), Router("/inner", max_body_size=30)
    app.post("/app")(size)
    app.post("/own", max_body_size=15)(size)
    outer.post("/x")(size)
    outer.post("/own", max_body_size=0)(size)
    outer.include(inner)
    app.include(outer)
    inner.post("/x")(size)  # also one that comes afterwards
    plain = Router("/plain")
    plain.post("/x")(size)
    outer.include(plain)
    for path, most in (
        ("/app", 10), ("/own", 15), ("/outer/x", 20), ("/outer/own", 0), ("/outer/inner/x", 30), ("/outer/plain/x", 20),
    ):  # fmt: skip
        assert (await ask(app, path, "POST", body=[b"x" * most])).body == b"%d" % most
        assert (await ask(app, path, "POST", body=[b"x" * (most + 1)])).status == 413


@pytest.mark.parametrize("wrong", [-1, 1.5, "1", True])
def test_a_size_that_is_none(wrong: Any) -> None:
    """A size that is no number of bytes is refused on app, router and route."""
    for make in (App, Router):
        with pytest.raises(ValueError, match="max_body_size must be a whole number from 0 on"):
            make(max_body_size=wrong)
    with pytest.raises(ValueError, match="POST /: max_body_size must be a whole number from 0 on"):
        App().post("/", max_body_size=wrong)(size)


class Body(msgspec.Struct):
    """A typed body."""

    n: int


async def typed(body: Body) -> int:
    """Take a typed body."""
    return body.n


async def streamed(request: Request) -> int:
    """Take a body as it comes."""
    return sum([len(chunk) async for chunk in request.stream()])


@pytest.mark.parametrize("handler", [size, streamed, typed])
@pytest.mark.parametrize("seconds", [5.0, None])
async def test_a_body_that_stops_coming(autojump_clock: Clock, handler: Any, seconds: float | None) -> None:
    """A body of which nothing comes for the app's ``body_timeout`` is a 408 at that moment; without, it may come."""
    app = App(body_timeout=seconds)
    app.post("/")(handler)

    async def body() -> AsyncIterator[bytes]:
        for piece in (b'{"n"', b": 1"):
            yield piece
            await trio.sleep(4)
        await trio.sleep(1000)
        yield b"}"

    async with TestClient(app) as client:
        begin = trio.current_time()
        answer = await client.post("/", content=body(), headers={"content-type": "application/json"})
        passed = trio.current_time() - begin
    if seconds is None:
        assert (answer.status_code, passed) == (200, 1008)
    else:
        assert (answer.status_code, passed) == (408, 9)
        assert "for 5 s" in answer.json()["detail"]


async def test_a_slow_handler_does_not_time_its_client_out(autojump_clock: Clock) -> None:
    """Only the time counts in which the handler waits for the body."""
    app = App(body_timeout=5)

    @app.post("/")
    async def handler(request: Request) -> int:
        await trio.sleep(100)
        size = 0
        async for chunk in request.stream():
            await trio.sleep(100)
            size += len(chunk)
        return size

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"

    async with TestClient(app) as client:
        assert (await client.post("/", content=body())).text == "3"
