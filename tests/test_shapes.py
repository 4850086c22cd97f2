"""What is the same for every shape of a handler: its context, its nursery, and what a stop does to its stream."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import pytest
import trio

from tests.asgi import Exchange, ask, running
from trioweb import App, EventStreamResponse, HTTPError, Provide, Request, Response, StreamingResponse
from trioweb.middleware import CallNext
from trioweb.testing import TestClient

USER: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


async def plain() -> str:
    """A dependency that is a value."""
    return "plain"


async def opened() -> AsyncIterator[str]:
    """A dependency that is left after the response, and sets a context variable."""
    USER.set("of the dependency")
    yield "opened"


TASKS: list[object] = []


async def workers() -> AsyncIterator[trio.Nursery]:
    """A dependency that opens a nursery."""
    TASKS.append(trio.lowlevel.current_task())
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()
    TASKS.append(trio.lowlevel.current_task())


async def fails() -> AsyncIterator[None]:
    """A dependency that cannot be had."""
    raise HTTPError(418)
    yield


def shapes() -> App:
    """An app with a handler of each shape behind a middleware that tells what it sees of the context."""
    app = App()

    @app.middleware
    async def tell(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers["x-user"] = USER.get()
        return response

    @app.get("/nothing")
    async def nothing() -> str:
        USER.set("ada")
        return "x"

    @app.get("/request")
    async def with_request(request: Request) -> str:
        USER.set("ada")
        return request.path

    @app.get("/nursery")
    async def with_nursery(nursery: trio.Nursery) -> int:
        USER.set("ada")
        return len(nursery.child_tasks)

    @app.get("/opens")
    async def opens(request: Request) -> str:
        request.nursery.start_soon(trio.sleep, 0)
        USER.set("ada")
        return "x"

    @app.get("/dependency")
    async def dependency(given: Annotated[str, Provide(plain)]) -> str:
        USER.set("ada")
        return given

    @app.get("/opened")
    async def with_opened(given: Annotated[str, Provide(opened)]) -> str:
        assert USER.get() == "of the dependency"
        USER.set("ada")
        return given

    @app.get("/timeout", timeout=5)
    async def timed() -> str:
        USER.set("ada")
        return "x"

    @app.get("/refuses")
    async def refuses(request: Request) -> str:
        USER.set("ada")
        raise HTTPError(409, request.path)

    return app


@pytest.mark.parametrize(
    "path", ["nothing", "request", "nursery", "opens", "dependency", "opened", "timeout", "refuses"]
)
async def test_middleware_sees_what_a_handler_sets(path: str) -> None:
    """A handler runs in the task and the context of its middlewares, whatever it takes."""
    async with running(shapes()) as app:
        answer = await ask(app, f"/{path}")
    assert answer.headers["x-user"] == "ada"


async def test_a_scope_of_a_middleware_may_end_before_what_a_dependency_opens() -> None:
    """What a dependency holds is entered and left in one task, beside the scopes that middleware opens."""
    TASKS.clear()
    app = App()

    @app.middleware
    async def in_time(request: Request, call_next: CallNext) -> Response:
        with trio.move_on_after(5):
            return await call_next(request)
        raise HTTPError(503)

    @app.get("/")
    async def root(nursery: Annotated[trio.Nursery, Provide(workers)]) -> StreamingResponse:
        nursery.start_soon(trio.sleep_forever)

        async def chunks() -> AsyncIterator[str]:
            yield "a"
            await trio.sleep(0)
            yield "b"

        return StreamingResponse(chunks())

    async with running(app):
        assert (await ask(app, "/")).body == b"ab"
    assert TASKS[0] is TASKS[1]


async def test_a_dependency_s_error_is_the_request_s() -> None:
    """What a dependency raises while it is entered is answered as the handler's own errors are."""
    app = App()

    @app.get("/")
    async def root(_: Annotated[None, Provide(fails)]) -> str:
        return "x"

    async with running(app):
        assert (await ask(app, "/")).status == 418


@pytest.mark.parametrize("takes", ["parameter", "attribute"])
async def test_a_task_that_fails_cancels_the_handler(takes: str) -> None:
    """What fails in the request's nursery interrupts a handler that waits, and is its failure."""
    app, log = App(), []

    async def fail() -> None:
        raise KeyError("in the nursery")

    async def work(nursery: Any) -> None:
        nursery.start_soon(fail)
        try:
            await trio.sleep_forever()
        finally:
            log.append("interrupted")

    if takes == "parameter":

        @app.get("/")
        async def with_nursery(nursery: trio.Nursery) -> None:
            await work(nursery)
    else:

        @app.get("/")
        async def with_request(request: Request) -> None:
            await work(request.nursery)

    @app.error_handler(KeyError)
    async def on_error(request: Request, error: KeyError) -> Response:
        log.append("answered")
        return Response(str(error), 500)

    async with running(app):
        answer = await ask(app, "/")
    assert (answer.status, answer.body, log) == (500, b"'in the nursery'", ["interrupted", "answered"])


async def test_a_request_s_nursery_can_start_a_task_and_wait_for_it() -> None:
    """``request.nursery`` has ``start`` and its scope before it is open, as any nursery."""
    app = App()

    @app.get("/")
    async def root(request: Request) -> str:
        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            task_status.started("started")
            await trio.sleep_forever()

        assert not request.nursery.cancel_scope.cancel_called
        value: str = await request.nursery.start(serve)
        assert len(request.nursery.child_tasks) == 1
        request.nursery.cancel_scope.cancel()
        return value

    async with running(app):
        assert (await ask(app, "/")).body == b"started"


def ticking(at_stop: Literal["end", "finish"] | None) -> App:
    """An app whose event streams go on for three seconds after it is told to stop."""
    app = App()

    @app.route("/", methods=["GET", "POST"])
    async def root() -> EventStreamResponse:
        async def events() -> AsyncIterator[str]:
            yield "first"
            await app.stopping.wait()
            await trio.sleep(3)
            yield "last"

        return EventStreamResponse(events()) if at_stop is None else EventStreamResponse(events(), at_stop=at_stop)

    return app


@pytest.mark.parametrize(
    ("method", "at_stop", "finishes"),
    [("GET", None, False), ("POST", None, True), ("GET", "finish", True), ("POST", "end", False)],
)
async def test_what_a_stop_does_to_events(method: str, at_stop: Any, finishes: bool, autojump_clock: object) -> None:
    """Events that answer a GET end at a stop, others finish, and ``at_stop`` says otherwise; both end cleanly."""
    async with TestClient(ticking(at_stop)) as client, client.stream(method, "/") as response:
        await trio.sleep(1)
        client.announce_stop()
        text = (await response.aread()).decode()
    assert ("data: first" in text, "data: last" in text) == (True, finishes)


async def test_a_stream_that_is_no_event_stream_may_end_at_a_stop(autojump_clock: object) -> None:
    """``at_stop`` is an option of every response that streams."""
    app = App()

    @app.get("/")
    async def root() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            await trio.sleep_forever()

        return StreamingResponse(chunks(), at_stop="end")

    async with TestClient(app) as client, client.stream("GET", "/") as response:
        await trio.sleep(1)
        client.announce_stop()
        assert await response.aread() == b"a"


def test_a_word_for_a_stop_that_is_none() -> None:
    """Another word is refused when the response is made."""
    with pytest.raises(ValueError, match='at_stop is "end" or "finish", got "later"'.replace('"later"', "'later'")):
        StreamingResponse(iter(()), at_stop="later")  # type: ignore[arg-type]


@pytest.mark.parametrize("leaves", [False, True])
async def test_who_feeds_a_stream_is_cancelled_silently(
    leaves: bool, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    """A stop that ends an event stream, or a client that leaves, cancels its feeder: no broken channel, no log."""
    app, seen = App(), []

    @app.get("/")
    async def root(nursery: trio.Nursery) -> EventStreamResponse:
        send, receive = trio.open_memory_channel[str](0)

        async def feed() -> None:
            try:
                while True:
                    await send.send("x")
                    await trio.sleep(0.5)
            except BaseException as error:
                seen.append(type(error).__name__)
                raise

        nursery.start_soon(feed)
        return EventStreamResponse(receive)

    if leaves:
        async with running(app), trio.open_nursery() as tasks:
            exchange = Exchange("GET", "/")
            tasks.start_soon(exchange.run, app)
            await trio.sleep(2)
            exchange.leave()
    else:
        async with TestClient(app) as client, client.stream("GET", "/") as response:
            await trio.sleep(2)
            client.announce_stop()
            await response.aread()
    assert (seen, [record for record in caplog.records if record.levelname == "ERROR"]) == (["Cancelled"], [])


CLOSED: list[int] = []


def swallowing() -> Iterator[bytes]:
    """Catch what is raised at a ``yield``, five times."""
    swallowed = 0
    try:
        while swallowed < 5:
            try:
                yield b"x" * 65536
            except BaseException:
                swallowed += 1
    finally:
        CLOSED.append(swallowed)


async def swallowing_too() -> AsyncIterator[bytes]:
    """The same, iterated by the event loop."""
    swallowed = 0
    try:
        while swallowed < 5:
            try:
                yield b"x" * 65536
            except BaseException:
                swallowed += 1
    finally:
        CLOSED.append(swallowed)


async def same(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A map that changes nothing."""
    async for chunk in chunks:
        yield chunk


async def pass_on(request: Request, call_next: CallNext) -> Response:
    """A middleware that changes nothing."""
    return await call_next(request)


async def with_request(request: Request) -> StreamingResponse:
    """A handler that takes the request."""
    return StreamingResponse(swallowing_too())


async def with_a_map() -> StreamingResponse:
    """A handler whose stream has a map."""
    response = StreamingResponse(swallowing_too())
    response.map_stream(same)
    return response


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("handler", [swallowing, swallowing_too, with_request, with_a_map])
async def test_a_generator_that_swallows_all_for_a_while_is_closed(
    handler: Any, behind: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that catches everything that is raised in it, for a while, is closed all the same, and silently."""
    CLOSED.clear()
    app = App()
    app.get("/", middleware=[pass_on] if behind else [])(handler)
    async with running(app), trio.open_nursery() as tasks:
        exchange = Exchange("GET", "/", window=3)
        tasks.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked(0.01)
        exchange.leave()
        await exchange.done.wait()
    assert CLOSED == [5]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
