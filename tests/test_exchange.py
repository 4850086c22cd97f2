"""The request cycle in process: nurseries, errors, clients that leave, cancellations from outside."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio.testing

from tests.asgi import Exchange, ask, request_of, running
from tests.shapes import Shape
from trioweb import (
    App,
    ClientDisconnected,
    ContentLengthError,
    CSVResponse,
    EventStreamResponse,
    FileResponse,
    HTTPError,
    JSONResponse,
    Request,
    Response,
    StreamingResponse,
)

Log = pytest.LogCaptureFixture


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


def errors(caplog: Log) -> list[str]:
    """The messages that were logged as errors."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def small() -> str:
    """What is sent in one message."""
    return "small"


async def large() -> bytes:
    """What is sent in some."""
    return bytes(500_000)


async def stream() -> AsyncIterator[str]:
    """A stream that waits."""
    yield "a"
    await trio.sleep(1)
    yield "b"


async def events() -> Response:
    """A stream whose head leaves at once."""
    return EventStreamResponse(stream())


@pytest.mark.parametrize("scenario", [small, large, stream, events])
@pytest.mark.parametrize("window", range(3))
async def test_cancellation_never_reaches_send(
    app: App, shape: Shape, scenario: Any, window: int, autojump_clock: trio.testing.MockClock
) -> None:
    """A request that is cancelled at any of its sends finishes that send; a client's leaving does not reach it."""
    shape.add(app, scenario)
    async with running(app):
        for leaves in (False, True):
            exchange = request_of(shape, window=window)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(exchange.run, app)
                    await trio.sleep(2)
                    if leaves:
                        exchange.leave()
                        continue
                    scope.cancel()
                    with trio.CancelScope(shield=True):
                        await trio.sleep(1)
                        exchange.open_window()
            assert exchange.cancelled_sends == 0


@pytest.mark.parametrize("scenario", [small, large, stream, events])
async def test_a_body_that_was_not_announced(
    app: App, shape: Shape, scenario: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """HTTP/2 need not say that a body comes: one that nobody reads holds no answer up, nor one that comes late."""
    shape.add(app, scenario)
    async with running(app):
        for method in shape.methods:
            exchange = request_of(shape, method=method, http_version="2")
            await exchange.run(app)
            assert (exchange.status, exchange.complete) == (200, True)


async def test_a_request_that_is_cancelled_from_outside_is_broken_off(app: App, shape: Shape) -> None:
    """A stream that is cancelled from outside ends without an end, its generator closed."""
    closed = []

    async def endless() -> AsyncIterator[str]:
        try:
            yield "a"
            await trio.sleep_forever()
        finally:
            closed.append(True)

    shape.add(app, endless)
    exchange = request_of(shape)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.run, app)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert (exchange.body, exchange.complete, closed) == (b"a", False, [True])


async def test_a_failing_handler_has_its_nursery_closed_first(app: App, caplog: Log) -> None:
    """The request's nursery is cancelled and closed before the error handler answers, in a nursery of its own."""
    ended = []

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> str:
        async def child() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(nursery)

        nursery.start_soon(child)
        await trio.testing.wait_all_tasks_blocked()
        raise KeyError("x")

    @app.error_handler(LookupError)
    async def answer(request: Request, error: LookupError) -> dict[str, Any]:
        return {"ended": len(ended), "other": request.nursery is not ended[0], "error": repr(error)}

    exchange = await ask(app, "/")
    assert exchange.body == b'{"ended":1,"other":true,"error":"KeyError(\'x\')"}'
    assert errors(caplog) == []


async def test_a_group_of_one_is_that_one(app: App) -> None:
    """An error that comes out of a nursery reaches its handler as itself, however deep its group."""

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> str:
        async def fail() -> None:
            async with trio.open_nursery() as inner:
                inner.start_soon(raise_it)

        async def raise_it() -> None:
            raise HTTPError(409, "deep")

        nursery.start_soon(fail)
        await trio.sleep_forever()
        return "never"

    exchange = await ask(app, "/")
    assert (exchange.status, b"deep" in exchange.body) == (409, True)


async def test_an_error_handler_may_stream(app: App) -> None:
    """An error handler may return any value, a stream too, and be a plain function or a generator."""

    @app.get("/")
    async def handler() -> str:
        raise KeyError

    @app.error_handler(KeyError)
    async def answer(request: Request, error: Exception) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    @app.error_handler(404)
    def not_found(request: Request, error: HTTPError) -> Response:
        return JSONResponse({"path": request.path}, 404)

    assert (await ask(app, "/")).body == b"ab"
    exchange = await ask(app, "/nowhere")
    assert (exchange.status, exchange.body) == (404, b'{"path":"/nowhere"}')


async def test_the_handler_of_last_resort_answers_and_logs(app: App, caplog: Log) -> None:
    """`error_handler(Exception)` or `(500)` answers what nothing else expects, which is logged all the same."""

    @app.get("/")
    async def handler() -> str:
        raise KeyError("x")

    @app.error_handler(Exception)
    async def answer(request: Request, error: Exception) -> Response:
        return Response("sorry", 500)

    assert (await ask(app, "/")).body == b"sorry"
    assert len(errors(caplog)) == 1
    other = App()
    other.get("/")(handler)
    other.error_handler(500)(answer)
    assert (await ask(other, "/")).body == b"sorry"
    assert len(errors(caplog)) == 2


@pytest.mark.parametrize("middleware", [False, True])
async def test_the_handler_of_last_resort_leaves_answers_alone(app: App, middleware: bool) -> None:
    """An HTTPError is an answer and no fault: `error_handler(Exception)` does not make a 500 of a 404."""

    @app.get("/")
    async def handler() -> str:
        raise HTTPError(418)

    @app.error_handler(Exception)
    async def answer(request: Request, error: Exception) -> Response:
        return Response("sorry", 500)

    if middleware:

        @app.middleware
        async def pass_on(request: Request, call_next: Any) -> Response:
            return await call_next(request)  # type: ignore[no-any-return]

    assert (await ask(app, "/")).status == 418
    assert (await ask(app, "/nowhere")).status == 404


async def test_debug_shows_the_traceback(app: App, caplog: Log) -> None:
    """Only a debugging app shows an error to its client; a browser gets a page."""

    async def handler() -> str:
        raise KeyError("<secret>")

    for debug in (False, True):
        app = App(debug=debug)
        app.get("/")(handler)
        exchange = await ask(app, "/")
        assert exchange.headers["content-type"] == "application/problem+json"
        assert (b"secret" in exchange.body) is debug
        exchange = await ask(app, "/", headers=[(b"accept", b"text/html,*/*;q=0.8")])
        assert exchange.headers["content-type"] == "text/html; charset=utf-8"
        assert (b"&lt;secret&gt;" in exchange.body) is debug


async def test_a_cancelled_nursery_without_an_answer_is_a_500(app: App, caplog: Log) -> None:
    """A handler that cancels the request's nursery and never returns is told what to do instead."""

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> str:
        nursery.cancel_scope.cancel()
        await trio.sleep(1)
        return "never"

    assert (await ask(app, "/")).status == 500
    assert "cancel a scope around what should stop instead" in caplog.text


async def test_a_nursery_may_be_cancelled_before_the_answer(app: App) -> None:
    """A handler that cancels its children and returns is answered."""

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> str:
        nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()
        return "done"

    exchange = await ask(app, "/")
    assert exchange.body == b"done"


async def test_the_request_ends_with_its_nursery(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """What was started in the nursery goes on after the response, and a client that leaves cancels it no more."""
    done = []

    @app.get("/")
    async def handler(request: Request) -> str:
        async def later() -> None:
            await trio.sleep(5)
            done.append(trio.current_time())

        request.nursery.start_soon(later)
        return "answered"

    exchange = Exchange("GET", "/")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        await trio.sleep(1)
        assert exchange.complete
        exchange.leave()
        await trio.sleep(1)
        assert not exchange.done.is_set()
    assert done == [5]


async def test_an_error_after_the_response_is_logged(app: App, caplog: Log) -> None:
    """A task that fails in the nursery after the response is logged with its request."""

    @app.get("/late")
    async def handler(nursery: trio.Nursery) -> str:
        async def fail() -> None:
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("late")

        nursery.start_soon(fail)
        return "answered"

    exchange = await ask(app, "/late")
    assert exchange.body == b"answered"
    assert errors(caplog) == ["GET /late: failed after its response of 8 bytes was sent"]


async def test_a_reader_whose_client_leaves(app: App, caplog: Log) -> None:
    """A handler that reads a body whose client leaves gets ClientDisconnected, which is not logged."""
    seen = []

    @app.post("/")
    async def handler(request: Request) -> str:
        try:
            await request.body()
        except ClientDisconnected:
            seen.append(True)
            raise
        return "never"

    exchange = Exchange("POST", "/", body=None, headers=[(b"content-length", b"5")])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked()
        exchange.leave()
    assert seen == [True]
    assert (exchange.messages, errors(caplog)) == ([], [])


async def test_two_readers_of_one_body(app: App) -> None:
    """Tasks that read the body at the same time get all of it, each."""
    sizes = []

    @app.post("/")
    async def handler(request: Request) -> None:
        async def read() -> None:
            sizes.append(len(await request.body()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
        await read()

    await Exchange("POST", "/", body=[b"x" * 1000] * 5, headers=[(b"content-length", b"5000")]).run(app)
    assert sizes == [5000] * 3


async def test_head_of_a_channel_that_is_fed(app: App, caplog: Log) -> None:
    """HEAD of a handler whose child feeds the channel that it returns is no error of the child's."""

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> trio.MemoryReceiveChannel[str]:
        send, receive = trio.open_memory_channel[str](0)

        async def feed() -> None:
            async with send:
                while True:
                    await send.send("x")

        nursery.start_soon(feed)
        return receive

    assert (await ask(app, "/", "HEAD")).status == 200
    assert errors(caplog) == []


def fails_after(rows: int) -> Iterator[str]:
    """Yield so many rows, then fail."""
    for _ in range(rows):
        yield "R"
    raise ValueError("in the stream")


async def fails_later(rows: int) -> AsyncIterator[str]:
    """Do the same in the event loop."""
    for row in fails_after(rows):
        yield row


async def in_tags(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Map each letter to a tag."""
    async for chunk in chunks:
        yield b"".join(b"<%c>" % letter for letter in chunk.lower())


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(
    ("rows", "last", "status", "body", "complete"),
    [
        (2, "E", 200, b"<r><r><e>", True),
        (1, "E", 200, b"<r><e>", True),
        (1, None, 200, b"<r>", False),
        (0, "E", 500, None, True),
    ],
)
async def test_an_error_in_band_behind_a_mapping(
    app: App, caplog: Log, kind: str, held: bool, rows: int, last: str | None, status: int, body: bytes, complete: bool
) -> None:
    """A mapping gets what `on_error` makes of an error as one more chunk, and the error is logged all the same."""

    @app.get("/")
    async def handler() -> Response:
        source = fails_after(rows) if kind == "sync" else fails_later(rows)
        response = StreamingResponse(source, on_error=lambda _: last)
        response.map_stream(in_tags)
        return response

    async def hands_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    if held:
        app.middleware(hands_on)

    exchange = Exchange("GET", "/")
    await exchange.run(app)
    assert (exchange.status, exchange.complete) == (status, complete)
    if body is not None:
        assert exchange.body == body
    assert "in the stream" in caplog.text


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_generator_that_has_ended(app: App, caplog: Log, kind: str) -> None:
    """A response whose generator was used up is an error that says so, and not an empty body that looks whole."""

    async def rows() -> AsyncIterator[str]:
        yield "a"

    def rows_in_thread() -> Iterator[str]:
        yield "a"

    kept = StreamingResponse(rows() if kind == "async" else rows_in_thread())
    made_anew = StreamingResponse(rows if kind == "async" else rows_in_thread)
    app.get("/kept")(lambda: kept)
    app.get("/anew")(lambda: made_anew)
    async with running(app):
        assert (await ask(app, "/kept")).body == b"a"
        assert (await ask(app, "/kept")).status == 500
        assert [(await ask(app, "/anew")).body for _ in range(2)] == [b"a", b"a"]
    assert "has ended already: make one for each response" in caplog.text


async def test_a_mapping_that_is_none(app: App, caplog: Log) -> None:
    """What `map_stream` cannot run over the chunks is an error that says what to write; its stream is closed."""

    async def not_a_generator(chunks: Any) -> Any:
        return chunks

    @app.get("/")
    async def handler() -> Response:
        response = StreamingResponse(iter(["a"]))
        response.map_stream(not_a_generator)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        return response

    assert (await ask(app, "/")).status == 500
    assert (
        "GET /: what map_stream was given returned coroutine: write `async def function(chunks): async" in caplog.text
    )
    with pytest.raises(TypeError, match="map_stream takes an async generator function, got str"):
        Response("a").map_stream("upper")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_a_response_is_data_until_it_is_sent(app: App) -> None:
    """Whoever has the response may change its status, headers and stream before anything is sent."""

    @app.get("/")
    async def handler() -> Response:
        response = StreamingResponse(letters())
        response.status_code = 201
        response.headers["x-test"] = "1"
        response.map_stream(upper)
        return response

    async def letters() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def upper(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk.upper()

    exchange = await ask(app, "/")
    assert (exchange.status, exchange.body, exchange.headers["x-test"]) == (201, b"AB", "1")
    assert exchange.headers["content-type"] == "text/plain; charset=utf-8"


async def test_backpressure_reaches_the_generator(app: App) -> None:
    """A client that takes no message stops the generator after one message, its buffer and one chunk."""
    count = 0

    @app.get("/")
    async def handler() -> AsyncIterator[bytes]:
        nonlocal count
        while True:
            count += 1
            yield bytes(65536)

    exchange = Exchange("GET", "/", window=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked()
        assert count == 4
        exchange.open_window(1)
        await trio.testing.wait_all_tasks_blocked()
        assert count == 6
        assert [len(chunk) for chunk in exchange.chunks] == [131072]
        exchange.leave()


async def test_a_response_that_was_delivered_whole_is_not_cancelled(app: App) -> None:
    """A client that leaves when it has all the bytes that were declared cancels no producer that still finishes."""
    ended: list[str] = []

    async def source() -> AsyncIterator[bytes]:
        yield b"12345"
        await go_on.wait()
        ended.append("well")

    @app.get("/")
    async def handler() -> Response:
        return StreamingResponse(source(), headers={"content-length": "5"})

    go_on = trio.Event()
    exchange = Exchange("GET", "/")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked()
        exchange.leave()
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
    assert ended == ["well"]


async def test_a_mapped_file_has_no_length(app: App, tmp_path: Path) -> None:
    """A file that goes through a map has not the file's length, and arrives whole."""
    (tmp_path / "file").write_bytes(b"12345")

    async def twice(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk * 2

    @app.get("/")
    async def handler() -> Response:
        response = FileResponse(tmp_path / "file")
        response.map_stream(twice)
        return response

    exchange = await ask(app, "/")
    assert (exchange.body, "content-length" in exchange.headers) == (b"1234512345", False)


async def test_all_of_an_event_stream_goes_through_its_maps(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """Retry, pings and a CSV header without rows go through the maps as the chunks do."""

    async def shout(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk.upper()

    async def source() -> AsyncIterator[str]:
        await trio.sleep(25)
        yield "late"

    @app.get("/events")
    async def events() -> Response:
        response = EventStreamResponse(source(), ping=10, retry=5)
        response.map_stream(shout)
        return response

    @app.get("/csv")
    async def table() -> Response:
        response = CSVResponse([], header=["a"])
        response.map_stream(shout)
        return response

    assert (await ask(app, "/events")).body == b"RETRY: 5\n\n: PING\n\n: PING\n\nDATA: LATE\n\n"
    assert (await ask(app, "/csv")).body == b"A\r\n"


@pytest.mark.parametrize("error", [ConnectionResetError, trio.BrokenResourceError, trio.BusyResourceError])
@pytest.mark.parametrize("scenario", [small, large, stream, events, None])
async def test_a_send_that_fails_is_a_client_that_left(
    app: App,
    shape: Shape,
    scenario: Any,
    error: type[Exception],
    caplog: Log,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A `send` that raises what says that the client has left is no error: nothing is raised back, or logged."""
    if scenario is not None:
        shape.add(app, scenario)

    for fails_at in (1, 2):
        sent: list[Any] = []

        async def send(message: Any, fails_at: int = fails_at, sent: list[Any] = sent) -> None:
            sent.append(message)
            if len(sent) >= fails_at:
                raise error

        exchange = request_of(shape)
        async with running(app):
            await app(exchange.scope, exchange.receive, send)
        assert len(sent) == fails_at
    assert errors(caplog) == []


# Servers that are not known, and tools that are none


def breaking() -> App:
    """An app whose responses break."""
    app = App()

    @app.get("/generator")
    async def generator() -> AsyncIterator[str]:
        yield "x"
        raise KeyError("in the stream")

    @app.get("/sync")
    def in_thread() -> Iterator[str]:
        yield "x"
        raise KeyError("in the stream")

    @app.get("/request")
    async def with_request(request: Request) -> AsyncIterator[str]:
        yield "x"
        raise KeyError("in the stream")

    @app.get("/nursery")
    async def in_nursery(request: Request) -> AsyncIterator[str]:
        async def fail() -> None:
            raise KeyError("in the stream")

        yield "x"
        await trio.testing.wait_all_tasks_blocked()
        request.nursery.start_soon(fail)
        await trio.sleep_forever()

    @app.get("/length")
    async def too_short() -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield "x"

        return StreamingResponse(chunks(), headers={"content-length": "5"})

    @app.get("/whole")
    async def whole() -> AsyncIterator[str]:
        yield "x"

    @app.get("/in-band")
    async def in_band() -> Response:
        return StreamingResponse(generator(), on_error=lambda _: "sorry")

    return app


PLACES = ("alone", "middleware", "mounted", "mounted behind middleware")


def placed(app: App, place: str) -> tuple[App, str]:
    """The app where it stands in a program."""

    async def mw(request: Request, call_next: Any) -> Response:
        return await call_next(request)  # type: ignore[no-any-return]

    if place == "middleware":
        app.middleware(mw)
    if not place.startswith("mounted"):
        return app, ""
    outer = App()
    outer.mount("/inner", app)
    if place.endswith("middleware"):
        outer.middleware(mw)
    return outer, "/inner"


@pytest.mark.parametrize("lives", [False, True])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/generator", KeyError), ("/sync", KeyError), ("/request", KeyError), ("/nursery", KeyError),
        ("/length", ContentLengthError), ("/whole", None), ("/in-band", None),
    ],
)  # fmt: skip
async def test_a_stream_that_breaks_is_raised_to_others(
    path: str, error: type[Exception] | None, place: str, lives: bool, caplog: Log
) -> None:
    """Plain ASGI has no other word for it: ``httpx.ASGITransport`` and the like would take the response for a whole
    one. It is raised as itself, once the head has left, and logged once.
    """
    app, prefix = placed(breaking(), place)
    async with AsyncExitStack() as stack:
        if lives:
            await stack.enter_async_context(running(app))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")
        )
        if error is None:
            assert (await client.get(prefix + path)).text.startswith("x")
        else:
            with pytest.raises(error):
                await client.get(prefix + path)
    assert len(errors(caplog)) == (path != "/whole")


async def test_a_plain_function_runs_in_a_thread(app: App) -> None:
    """A `def` handler runs in a worker thread, where it can call back into trio."""

    @app.get("/light")
    def light() -> str:
        return str(threading.get_ident() == main)

    @app.post("/request")
    def with_request(request: Request) -> Any:
        return trio.from_thread.run(request.json)

    main = threading.get_ident()
    async with running(app):
        assert (await ask(app, "/light")).body == b"False"
        exchange = await ask(app, "/request", "POST", body=[b'{"a":', b"1}"], headers=[(b"content-length", b"7")])
        assert exchange.body == b'{"a":1}'


class Order(msgspec.Struct):
    """A typed body."""

    n: int


JSON = [(b"content-type", b"application/json"), (b"content-length", b"10")]


async def test_a_typed_body_that_is_refused(app: App) -> None:
    """What is wrong with a body is answered in the same way as elsewhere, and its rest is drained."""

    @app.post("/", max_body_size=20)
    async def handler(order: Order) -> int:
        return order.n

    async with running(app):
        for headers, chunks, status in (
            (JSON, [b'{"n": "x"}'], 422),
            (JSON, [b'{"n": '], 400),
            (JSON, [b"[" * 15, b"[" * 15, b"[" * 15], 413),
            ([(b"content-length", b"10")], [b'{"n": 5}'], 415),
            ([], [b""], 422),
        ):
            exchange = Exchange("POST", "/", headers, chunks)
            await exchange.run(app)
            assert (exchange.status, exchange.complete) == (status, True)


async def test_a_client_that_leaves_its_typed_body(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves before its body is whole is not answered, its handler not called, and nothing is logged."""

    @app.post("/")
    async def handler(order: Order) -> None:
        raise AssertionError

    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("POST", "/", JSON, [b'{"n": 5}'], endless=True)
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked()
        exchange.leave()
        await exchange.done.wait()
    assert exchange.messages == []
    assert not caplog.records
