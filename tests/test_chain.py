"""Function middleware: its order, what counts as a response, what passes through, what is closed unsent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from tests.asgi import Exchange, ask, ask_for, request_of, running
from tests.servers import PATIENCE
from tests.shapes import Shape
from trioweb import (
    App,
    EventStreamResponse,
    FileResponse,
    HTTPError,
    Provide,
    Request,
    Response,
    RouteError,
    Router,
    StreamingResponse,
)
from trioweb.ground.http.asgi import Receive, Scope, Send
from trioweb.handlers.layers import CallNext, Middleware
from trioweb.io.transport import Transport, own_transport


class InConnection(Transport):
    """The transport of a server that runs a request in a scope of its own."""

    __slots__ = ("cancels",)

    def __init__(self, cancels: trio.CancelScope) -> None:
        self.cancels = cancels


@pytest.fixture(autouse=True, params=["plain server", "server with a scope"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of these tests is done for a server that knows ASGI alone, and for one that offers a scope to cancel."""
    call = App.__call__

    async def call_in_scope(app: App, scope: Scope, receive: Receive, send: Send) -> None:
        with trio.CancelScope() as cancels:
            transport: Any = own_transport(scope)
            if transport is None:
                scope = {**scope, "extensions": {"trioweb": InConnection(cancels)}}
            else:
                transport.cancels = cancels
            await call(app, scope, receive, send)

    if request.param == "server with a scope":
        monkeypatch.setattr(App, "__call__", call_in_scope)
    return str(request.param)


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


def marking(name: str, log: list[str]) -> Middleware:
    """A middleware that notes when it is entered and left, and with what status."""

    async def mark(request: Request, call_next: CallNext) -> Response:
        log.append(f"> {name}")
        response = await call_next(request)
        log.append(f"< {name} {response.status_code}")
        return response

    return mark


async def test_order_is_as_registered_from_the_app_to_the_route(app: App) -> None:
    """App, outer router, inner router, route: each in the order of its list, the first outermost."""
    log: list[str] = []
    app.middleware(marking("app 1", log))
    inner = Router("/in", middleware=[marking("inner", log)])

    @inner.get("/x", middleware=[marking("route 1", log), marking("route 2", log)])
    async def x() -> str:
        log.append("handler")
        return "x"

    outer = Router("/out", middleware=[marking("outer", log)])
    outer.include(inner)
    app.include(outer)
    app.middleware(marking("app 2", log))
    assert (await ask(app, "/out/in/x")).body == b"x"
    names = ["app 1", "app 2", "outer", "inner", "route 1", "route 2"]
    assert log == [f"> {name}" for name in names] + ["handler"] + [f"< {name} 200" for name in reversed(names)]


@pytest.mark.parametrize("with_lifespan", [True, False])
@pytest.mark.parametrize("streams", [True, False])
async def test_a_response_can_be_changed(app: App, shape: Shape, streams: bool, with_lifespan: bool) -> None:
    """Status, headers and body of every kind of handler's response are a middleware's to change."""

    @app.middleware
    async def change(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.status_code = 202
        response.headers["x-path"] = request.path

        async def upper(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk.upper()

        response.map_stream(upper)  # type: ignore[arg-type]
        return response

    async def text() -> str:
        return "text"

    async def stream() -> AsyncIterator[str]:
        yield "te"
        yield "xt"

    shape.add(app, stream if streams else text)
    async with running(app) if with_lifespan else nullcontext():
        answer = await ask_for(app, shape)
    assert (answer.status, answer.body, answer.headers["x-path"]) == (202, b"TEXT", "/")


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [("text", 200, b"text"), ({"a": 1}, 200, b'{"a":1}'), (None, 204, b""), (Response("r", 201), 201, b"r")],
)
async def test_a_middleware_answers_with_any_return_value(app: App, value: object, status: int, body: bytes) -> None:
    """What a handler may return a middleware may return too, without asking further; the outer ones see a response."""
    log: list[str] = []
    app.middleware(marking("outer", log))

    @app.middleware
    async def answer(request: Request, call_next: CallNext) -> object:
        return value

    got = await ask(app, "/nowhere")
    assert (got.status, got.body, log) == (status, body, ["> outer", f"< outer {status}"])


class Known(Exception):
    """It has a handler."""


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nowhere", None, 404), ("/refuses", "DELETE", 405), ("/refuses", None, 418), ("/known", None, 409)],
)
async def test_what_is_expected_is_a_response(
    app: App, shape: Shape, path: str, method: str | None, status: int
) -> None:
    """404s, 405s, HTTPErrors and exceptions with a handler of their class come out of `call_next` as responses."""
    log: list[str] = []
    app.middleware(marking("mw", log))

    async def refuses() -> None:
        raise HTTPError(418)

    async def fails() -> None:
        raise Known

    @app.error_handler(Known)
    async def known(request: Request, error: Known) -> Response:
        return Response("known", 409)

    shape.add(app, refuses, "/refuses")
    shape.add(app, fails, "/known")
    exchange = request_of(shape, path, method)
    await exchange.run(app)
    assert (exchange.status, log) == (status, ["> mw", f"< mw {status}"])


async def fail() -> None:
    """Fail as nobody expects."""
    raise KeyError("x")


async def test_another_exception_passes_as_itself_and_becomes_the_500_outside(app: App, shape: Shape) -> None:
    """An exception that nothing expects is raised by `call_next`, and answered by the handler for 500 outside."""
    seen: list[BaseException] = []

    @app.middleware
    async def watch(request: Request, call_next: CallNext) -> Response:
        try:
            return await call_next(request)
        except KeyError as error:
            seen.append(error)
            raise

    @app.error_handler(500)
    async def broken(request: Request, error: Exception) -> Response:
        return Response(f"broken by {error!r}", 500)

    shape.add(app, fail)
    answer = await ask_for(app, shape)
    assert (answer.status, answer.body) == (500, b"broken by KeyError('x')")
    assert [type(error) for error in seen] == [KeyError]


async def test_a_middleware_can_answer_an_exception(app: App, shape: Shape, caplog: pytest.LogCaptureFixture) -> None:
    """A middleware that catches an exception answers in its place, and nothing is reported."""

    @app.middleware
    async def rescue(request: Request, call_next: CallNext) -> Any:
        try:
            return await call_next(request)
        except KeyError:
            return {"rescued": True}

    shape.add(app, fail)
    assert (await ask_for(app, shape)).body == b'{"rescued":true}'
    assert caplog.records == []


@pytest.mark.parametrize("after", [True, False])
async def test_what_a_middleware_raises_is_a_response_to_those_around_it(app: App, after: bool) -> None:
    """An HTTPError of a middleware, before or after its `call_next`, is a response to the middleware outside of it."""
    log: list[str] = []
    app.middleware(marking("outer", log))

    @app.middleware
    async def refuse(request: Request, call_next: CallNext) -> Response:
        if after:
            await call_next(request)
        raise HTTPError(403)

    @app.error_handler(403)
    async def forbidden(request: Request, error: HTTPError) -> Response:
        return Response("no", 403)

    @app.get("/")
    async def root(request: Request) -> str:
        return "secret"

    answer = await ask(app, "/")
    assert (answer.status, answer.body, log) == (403, b"no", ["> outer", "< outer 403"])


async def provided(request: Request) -> AsyncIterator[str]:
    """Something that is rolled back when the request fails."""
    try:
        yield "x"
    except Known:
        request.app.state.log.append("rolled back")
        raise


async def test_the_nursery_of_a_failed_request_is_closed_before_its_error_handler_answers(app: App) -> None:
    """What a handler started has ended, and what it was provided with is closed with its error, when it is answered."""
    log: list[str] = []
    app.state.log = log
    app.middleware(marking("mw", log))

    @app.error_handler(Known)
    async def known(request: Request, error: Known) -> str:
        log.append("answered")
        return "known"

    @app.get("/")
    async def root(nursery: trio.Nursery, x: Annotated[str, Provide(provided)]) -> str:
        async def work() -> None:
            try:
                await trio.sleep_forever()
            finally:
                log.append("work ended")

        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        raise Known

    await ask(app, "/")
    assert sorted(log[1:3]) == ["rolled back", "work ended"]
    assert log[3:] == ["answered", "< mw 200"]


async def test_a_time_limit_around_call_next_cancels_the_handler(
    app: App, shape: Shape, autojump_clock: trio.testing.MockClock
) -> None:
    """A scope of a middleware's that expires in `call_next` has the handler ended before the middleware goes on."""
    log: list[str] = []

    @app.middleware
    async def limit(request: Request, call_next: CallNext) -> Any:
        with trio.move_on_after(5):
            return await call_next(request)
        log.append("limit")
        return "too late"

    async def sleep() -> None:
        try:
            await trio.sleep(3600)
        finally:
            log.append("handler ended")

    shape.add(app, sleep)
    assert (await ask_for(app, shape)).body == b"too late"
    assert log == ["handler ended", "limit"]


class Source:
    """A stream that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close it."""
        self.closed = True


@pytest.mark.parametrize("kind", [StreamingResponse, EventStreamResponse])
@pytest.mark.parametrize("ending", ["replace", "raise", "fail", "twice"])
async def test_a_response_that_is_not_sent_is_closed(app: App, ending: str, kind: type[Response]) -> None:
    """What a response held is closed when a middleware replaces it, raises after it, or asks for another one."""
    sources: list[Source] = []

    @app.middleware
    async def replace(request: Request, call_next: CallNext) -> Any:
        await call_next(request)
        if ending == "replace":
            return "another"
        if ending == "twice":
            return await call_next(request)
        raise HTTPError(403) if ending == "raise" else KeyError

    @app.get("/")
    async def root(request: Request) -> Response:
        sources.append(Source())
        return kind(sources[-1])

    await ask(app, "/")
    assert [source.closed for source in sources] == [True] * (2 if ending == "twice" else 1)


async def test_a_stream_of_a_middlewares_own_that_is_not_sent_is_closed(app: App) -> None:
    """The same holds for a stream that a middleware makes, and the one around it replaces."""
    source = Source()

    @app.middleware
    async def outer(request: Request, call_next: CallNext) -> str:
        await call_next(request)
        return "another"

    @app.middleware
    async def inner(request: Request, call_next: CallNext) -> Response:
        return StreamingResponse(source)

    assert (await ask(app, "/")).body == b"another"
    assert source.closed


async def test_a_channel_that_is_not_sent_is_no_error_to_who_feeds_it(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a channel is replaced, the request's task that feeds it is cancelled, and the replacement is sent."""
    mapped: list[bytes] = []

    async def note(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            mapped.append(chunk)
            yield chunk

    @app.middleware
    async def replace(request: Request, call_next: CallNext) -> str:
        response = await call_next(request)
        response.map_stream(note)  # type: ignore[arg-type]
        return "another"

    @app.get("/")
    async def root(nursery: trio.Nursery) -> trio.MemoryReceiveChannel[str]:
        send, receive = trio.open_memory_channel[str](0)

        async def feed() -> None:
            while True:
                await send.send("x")

        nursery.start_soon(feed)
        return receive

    answer = await ask(app, "/")
    assert (answer.status, answer.body) == (200, b"another")
    assert (mapped, caplog.records) == ([], [])


async def test_a_file_is_prepared_when_a_middleware_sees_it(app: App, tmp_path: Path) -> None:
    """A middleware sees the 206 or 304 that a file has become for this request; one that it replaces is closed."""
    (tmp_path / "file").write_bytes(b"0123456789" * 10_000)
    seen: list[int] = []
    replaced: list[Any] = []

    @app.middleware
    async def look(request: Request, call_next: CallNext) -> Any:
        response = await call_next(request)
        seen.append(response.status_code)
        replaced.append(response)
        return response if "x-keep" in request.headers else "gone"

    @app.get("/")
    async def root() -> Response:
        return FileResponse(tmp_path / "file")

    answer = await ask(app, "/", headers=[(b"range", b"bytes=0-1"), (b"x-keep", b"1")])
    assert (answer.status, answer.body, seen) == (206, b"01", [206])
    assert (await ask(app, "/")).body == b"gone"
    assert replaced[-1]._file is None


@pytest.mark.parametrize("calls", [True, False])
@pytest.mark.parametrize("keep", [True, False])
async def test_a_file_of_a_middlewares_own_is_closed(app: App, tmp_path: Path, keep: bool, calls: bool) -> None:
    """A file that a middleware answers with is closed, be it sent or replaced by a middleware around it."""
    (tmp_path / "file").write_bytes(b"0123456789" * 100_000)
    seen: list[Any] = []

    @app.middleware
    async def outer(request: Request, call_next: CallNext) -> Any:
        response = await call_next(request)
        seen.append(response)
        assert response._file is not None  # type: ignore[attr-defined]
        return response if keep else "gone"

    @app.middleware
    async def inner(request: Request, call_next: CallNext) -> Response:
        if calls:
            await call_next(request)
        return FileResponse(tmp_path / "file")

    @app.get("/")
    async def root(request: Request) -> str:
        return "replaced"

    assert len((await ask(app, "/")).body) == (1_000_000 if keep else 4)
    assert seen[0]._file is None


@pytest.mark.parametrize("with_lifespan", [True, False])
@pytest.mark.parametrize("where", ["before", "handler", "after"])
async def test_a_client_that_leaves(
    app: App, shape: Shape, where: str, with_lifespan: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """A client that leaves cancels middleware and handler of a safe method, wherever they wait; others go on."""
    log: list[str] = []

    async def wait(here: str) -> None:
        if here == where:
            log.append("waits")
            try:
                await trio.sleep(10)
            except trio.Cancelled:
                log.append("cancelled")
                raise
            log.append("ended")

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        await wait("before")
        response = await call_next(request)
        await wait("after")
        return response

    async def root() -> str:
        await wait("handler")
        return "x"

    shape.add(app, root)
    for method in shape.methods:
        log.clear()
        async with running(app) if with_lifespan else nullcontext(), trio.open_nursery() as nursery:
            exchange = request_of(shape, method=method)
            nursery.start_soon(exchange.run, app)
            await trio.sleep(1)
            assert log == ["waits"]
            exchange.leave()
            await exchange.done.wait()
        assert log == ["waits", "cancelled" if method == "GET" else "ended"]


async def test_cancelling_a_request_from_outside_ends_its_handler_first(app: App) -> None:
    """A request that is cancelled from outside returns when its middlewares and its handler have ended."""
    log: list[str] = []

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        try:
            return await call_next(request)
        finally:
            log.append("middleware")

    @app.get("/")
    async def root(request: Request) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            log.append("handler")

    async with running(app):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Exchange("GET", "/").run, app)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert log == ["handler", "middleware"]


async def test_a_task_of_the_request_that_fails_is_answered_outside(app: App) -> None:
    """What fails in the request's nursery while a middleware still works cancels that, and is the app's to answer."""

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        await trio.sleep_forever()
        raise AssertionError

    @app.error_handler(Known)
    async def known(request: Request, error: Known) -> Response:
        return Response("known", 409)

    @app.get("/")
    async def root(nursery: trio.Nursery) -> str:
        async def fail() -> None:
            await trio.testing.wait_all_tasks_blocked()
            raise Known

        nursery.start_soon(fail)
        return "x"

    answer = await ask(app, "/")
    assert (answer.status, answer.body) == (409, b"known")


async def test_a_task_that_fails_as_the_last_middleware_returns(app: App) -> None:
    """The same where no middleware waits any more: the stream that has begun is closed, whichever comes first."""
    log: list[str] = []

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await request.state.failing.wait()
        return response

    @app.get("/")
    async def root(request: Request) -> AsyncIterator[str]:
        request.state.failing = trio.Event()

        async def fail() -> None:
            await trio.testing.wait_all_tasks_blocked()
            request.state.failing.set()
            raise Known

        request.nursery.start_soon(fail)
        try:
            yield "x"
            await trio.sleep_forever()
        finally:
            log.append("closed")

    with trio.fail_after(PATIENCE):
        async with running(app):
            for _ in range(20):  # trio shuffles the tasks
                exchange = Exchange("GET", "/")
                await exchange.run(app)
                assert exchange.status == 500 or not exchange.complete
    assert log == ["closed"] * 20


async def test_a_task_that_fails_ends_the_stream_of_an_error_handler(app: App) -> None:
    """What an error handler streams is broken off by its nursery, also behind a middleware."""
    app.middleware(marking("mw", []))

    @app.error_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> StreamingResponse:
        async def fail() -> None:
            await trio.testing.wait_all_tasks_blocked()
            raise Known

        async def chunks() -> AsyncIterator[str]:
            yield "x"
            await trio.sleep_forever()

        request.nursery.start_soon(fail)
        return StreamingResponse(chunks())

    @app.get("/")
    async def root(request: Request) -> None:
        raise ZeroDivisionError

    with trio.fail_after(PATIENCE):
        async with running(app):
            exchange = Exchange("GET", "/")
            await exchange.run(app)
    assert not exchange.complete


async def test_a_task_that_an_error_handler_starts_and_that_fails_is_answered_outside(app: App) -> None:
    """The same where the handler itself needs no nursery; what the middlewares say after that comes too late."""
    log: list[str] = []

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        try:
            await trio.sleep(0.1)
        except trio.Cancelled:
            log.append("cancelled")
            raise
        log.append(f"ended {response.status_code}")
        return response

    @app.error_handler(404)
    async def missing(request: Request, error: HTTPError) -> Response:
        async def fail() -> None:
            await trio.testing.wait_all_tasks_blocked()
            raise Known

        request.nursery.start_soon(fail)
        return Response("missing", 404)

    @app.get("/")
    async def root() -> str:
        raise HTTPError(404)

    async with running(app):
        exchange = Exchange("GET", "/")
        await exchange.run(app)
    assert (exchange.status, exchange.complete, len(exchange.messages)) == (500, True, 2)
    assert log == ["ended 404"]


async def test_the_wrong_argument_to_call_next_is_explained(app: App) -> None:
    """`call_next()` with anything but the request says what to write."""

    @app.middleware
    async def mw(request: Request, call_next: CallNext) -> Any:
        with pytest.raises(TypeError, match="write `await call_next\\(request\\)`"):
            await call_next(request.path)  # type: ignore[arg-type]
        return "x"

    assert (await ask(app, "/")).body == b"x"


class NotMade:
    """A class where an object is wanted."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call."""
        return await call_next(request)


def _plain(request: Request, call_next: CallNext) -> Response:
    raise NotImplementedError


async def _one_argument(request: Request) -> Response:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (NotMade, r"write NotMade\(\.\.\.\) to use an object"),
        (_plain, "must be an `async def`"),
        (_one_argument, r"must take \(request, call_next\)"),
        (None, "must be an `async def`"),
    ],
)
def test_what_is_no_middleware_is_refused_when_registered(app: App, given: Any, message: str) -> None:
    """App, router and route refuse what is no middleware, and say what to write instead."""
    registrations: list[Callable[[], object]] = [
        lambda: app.middleware(given),
        lambda: Router(middleware=[given]),
        lambda: app.get("/", middleware=[given])(lambda: None),
    ]
    for register in registrations:
        with pytest.raises(RouteError, match=message):
            register()
    with pytest.raises(RouteError, match="middleware is a list"):
        Router(middleware=_one_argument)  # type: ignore[arg-type]


async def test_an_object_is_a_middleware(app: App) -> None:
    """An object with an async `__call__` is a middleware, and is given back by what registers it."""
    made = NotMade()
    assert app.middleware(made) is made

    @app.get("/")
    async def root() -> str:
        return "x"

    assert (await ask(app, "/")).body == b"x"
