"""The test client: streams, backpressure, clients that leave, errors as themselves, and nothing that hangs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trioweb import (
    App,
    EventStreamResponse,
    FileResponse,
    HTTPError,
    JSONLinesResponse,
    Request,
    Response,
    ServerSentEvent,
    StreamingResponse,
)
from trioweb.testing import ASGIViolation, LifespanFailed, TestClient

Clock = trio.testing.MockClock


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


@pytest.fixture
async def client(app: App) -> AsyncIterator[TestClient]:
    """The fixture of two lines."""
    async with TestClient(app) as client:
        yield client


# As httpx's own


async def test_it_is_an_httpx_client(app: App) -> None:
    """Base URL, headers, cookies, redirects, queries and forms work as in httpx."""

    @app.get("/here")
    async def here(request: Request) -> Any:
        response = Response(status_code=303, headers={"location": "/there?a=1"})
        response.set_cookie("k", "v")
        return response

    @app.get("/there")
    async def there(request: Request) -> Any:
        return {
            "url": str(request.url), "cookie": request.cookies.get("k"), "x": request.headers["x"],
            "client": request.client, "version": request.http_version,
        }  # fmt: skip

    async with TestClient(app, base_url="http://shop.example", headers={"x": "1"}, follow_redirects=True) as client:
        response = await client.get("/here")
    assert response.json() == {
        "url": "http://shop.example/there?a=1", "cookie": "v", "x": "1", "client": ["testclient", 50000],
        "version": "1.1",
    }  # fmt: skip
    assert [r.status_code for r in response.history] == [303]


async def test_the_lifespan_runs_around_the_block() -> None:
    """`async with` starts the app and stops it; state that the lifespan left is there."""
    order = []
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        order.append("start")
        yield
        order.append("stop")

    async with app.test_client() as client:
        order.append("block")
        assert (await client.get("/nowhere")).status_code == 404
    assert order == ["start", "block", "stop"]


async def test_a_lifespan_that_fails_is_raised_as_itself() -> None:
    """What start-up or shutdown fails with is raised in the test, not in a group."""

    def failing(at: str) -> App:
        app = App()

        @app.lifespan
        async def life(app: App) -> AsyncIterator[None]:
            if at == "start":
                raise OSError("start")
            yield
            raise OSError("stop")

        return app

    for at in ("start", "stop"):
        with pytest.raises(OSError, match=at):
            async with TestClient(failing(at)):
                pass


async def test_an_error_of_the_test_is_raised_as_itself(client: TestClient) -> None:
    """What the test raises inside the block comes out as it is, not in a group."""
    with pytest.raises(KeyError):
        async with TestClient(App()):
            raise KeyError("of the test")


# Streaming


async def test_each_message_is_a_chunk_with_backpressure(app: App, client: TestClient) -> None:
    """The head comes when it is sent, each message as one chunk, and the producer waits until the test reads."""
    progress = []

    @app.get("/")
    async def handler() -> AsyncIterator[bytes]:
        for number in range(20):
            progress.append(number)
            yield bytes([number]) * 100_000

    async with client.stream("GET", "/") as response:
        assert response.status_code == 200
        chunks = response.aiter_raw()
        await trio.testing.wait_all_tasks_blocked()
        assert len(progress) <= 3
        sizes = [len(await anext(chunks))]
        await trio.testing.wait_all_tasks_blocked()
        assert len(progress) <= 4
        async for chunk in chunks:
            sizes.append(len(chunk))
    assert sum(sizes) == 2_000_000
    assert len(progress) == 20


async def test_leaving_the_block_is_a_client_that_leaves(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """Leaving a stream's block, also out of a loop, closes the generator before the block is left."""
    closed = []

    @app.get("/")
    async def handler() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await trio.sleep(60)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            closed.append(trio.current_time())

    async with client.stream("GET", "/") as response:
        count = 0
        async for line in response.aiter_lines():
            assert line == "tick"
            count += 1
            if count == 3:
                break
        assert closed == []
    assert closed == [121]


async def test_a_client_that_gives_up_waiting(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A call that is cancelled while it waits for the head is a client that leaves: a GET is cancelled, a POST not."""
    ended = []

    @app.route("/", methods=["GET", "POST"])
    async def handler(request: Request) -> str:
        try:
            await trio.sleep(10)
        finally:
            ended.append((request.method, trio.current_time()))
        return "done"

    for method in ("GET", "POST"):
        with trio.move_on_after(1):
            await client.request(method, "/")
    await trio.sleep(20)
    assert ended == [("GET", 1), ("POST", 11)]


async def test_an_upload_streams(app: App, client: TestClient) -> None:
    """What an async generator gives as `content` arrives as it is produced, and a handler may answer meanwhile."""
    sent, gate = [], trio.Event()

    @app.post("/")
    async def handler(request: Request) -> AsyncIterator[bytes]:
        async for chunk in request.stream():
            yield chunk.upper()

    async def content() -> AsyncIterator[bytes]:
        sent.append("a")
        yield b"a"
        await gate.wait()
        sent.append("b")
        yield b"b"

    async with client.stream("POST", "/", content=content()) as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"A"
        assert sent == ["a"]
        gate.set()
        assert await anext(chunks) == b"B"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)


async def test_an_upload_that_breaks(app: App, client: TestClient) -> None:
    """A client whose own content fails has left in the middle, and the test gets its error."""
    seen = []

    @app.post("/")
    async def handler(request: Request) -> str:
        try:
            await request.body()
        except Exception as error:
            seen.append(type(error).__name__)
            raise
        return "never"

    async def content() -> AsyncIterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await client.post("/", content=content())
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["ClientDisconnected"]


async def test_a_form_and_json_are_sent(app: App, client: TestClient) -> None:
    """Bodies that httpx makes of values arrive whole."""

    @app.post("/")
    async def handler(request: Request) -> Any:
        return [request.headers["content-type"].partition(";")[0], await request.text()]

    assert (await client.post("/", json={"a": 1})).json() == ["application/json", '{"a":1}']
    assert (await client.post("/", data={"a": "1"})).json() == ["application/x-www-form-urlencoded", "a=1"]


# Errors


async def test_an_error_is_raised_as_itself(app: App, client: TestClient) -> None:
    """What goes wrong in a handler, in a child of its nursery, or before a first chunk is raised in the test."""

    @app.get("/handler")
    async def handler() -> str:
        raise ZeroDivisionError("handler")

    @app.get("/child")
    async def child(nursery: trio.Nursery) -> str:
        async def fail() -> None:
            raise ZeroDivisionError("child")

        nursery.start_soon(fail)
        await trio.sleep_forever()
        return "never"

    @app.get("/generator")
    async def generator() -> AsyncIterator[str]:
        if app:
            raise ZeroDivisionError("generator")
        yield ""

    @app.get("/thread")
    def thread() -> Iterator[str]:
        raise ZeroDivisionError("thread")
        yield ""

    for path in ("/handler", "/child", "/generator", "/thread"):
        with pytest.raises(ZeroDivisionError, match=path[1:]):
            await client.get(path)


async def test_an_error_in_the_middle_is_raised_as_itself(app: App, client: TestClient) -> None:
    """An error in the middle of a stream is raised after all that was sent before it."""

    @app.get("/")
    async def handler() -> AsyncIterator[str]:
        yield "whole\n"
        raise ZeroDivisionError("middle")

    lines = []
    with pytest.raises(ZeroDivisionError, match="middle"):
        async with client.stream("GET", "/") as response:
            async for line in response.aiter_lines():
                lines.append(line)
    assert lines == ["whole"]
    with pytest.raises(ZeroDivisionError):
        await client.get("/")
    with pytest.raises(ZeroDivisionError):
        await app.test_client().get("/")


async def test_what_a_client_sees_of_an_error(app: App) -> None:
    """Without `raise_app_exceptions` an error is the 500, and one in the middle a response that is broken off."""

    @app.get("/before")
    async def before() -> str:
        raise ZeroDivisionError

    @app.get("/middle")
    async def middle() -> AsyncIterator[str]:
        yield "some"
        raise ZeroDivisionError

    async with TestClient(app, raise_app_exceptions=False) as client:
        assert (await client.get("/before")).status_code == 500
        with pytest.raises(httpx.RemoteProtocolError, match="GET /middle: the response was broken off after 4 bytes"):
            await client.get("/middle")


async def test_deliberate_answers_are_no_errors(app: App, client: TestClient) -> None:
    """An HTTPError, and an error that has a handler, are responses."""

    @app.get("/refused")
    async def refused() -> str:
        raise HTTPError(409)

    @app.get("/handled")
    async def handled() -> str:
        raise KeyError

    @app.error_handler(KeyError)
    async def handle(request: Request, error: KeyError) -> Response:
        return Response("handled", 410)

    assert (await client.get("/refused")).status_code == 409
    assert (await client.get("/handled")).text == "handled"


async def test_an_error_after_the_response_is_raised_at_the_end() -> None:
    """What fails in the background after its response is raised where the client's block ends, and not lost."""
    app = App()

    async def fail() -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise ZeroDivisionError("late")

    @app.get("/request")
    async def in_request(nursery: trio.Nursery) -> str:
        nursery.start_soon(fail)
        return "ok"

    @app.get("/app")
    async def in_app() -> str:
        app.nursery.start_soon(fail)
        return "ok"

    for path in ("/request", "/app"):
        with pytest.raises(ZeroDivisionError, match="late"):
            async with TestClient(app) as client:
                assert (await client.get(path)).text == "ok"
                await trio.testing.wait_all_tasks_blocked(0.01)


# Without a block


async def test_without_a_block_each_call_runs_to_its_end(app: App) -> None:
    """Without `async with` a call is gathered, its request's nursery closed when it returns."""
    done = []

    @app.get("/stream")
    async def stream() -> Response:
        async def items() -> AsyncIterator[Any]:
            for i in range(3):
                yield {"index": i}

        return JSONLinesResponse(items())

    @app.get("/children")
    async def children(nursery: trio.Nursery) -> str:
        async def later() -> None:
            await trio.testing.wait_all_tasks_blocked()
            done.append(True)

        nursery.start_soon(later)
        return "ok"

    client = app.test_client()
    response = await client.get("/stream")
    assert response.status_code == 200
    assert response.text.splitlines() == ['{"index":0}', '{"index":1}', '{"index":2}']
    assert (await client.get("/children")).text == "ok"
    assert done == [True]


async def test_a_download(app: App, tmp_path: Any) -> None:
    """A download of 100 KB is whole, with its headers."""
    (tmp_path / "data.bin").write_bytes(b"x" * 100_000)

    @app.get("/download")
    async def download() -> Response:
        return FileResponse(tmp_path / "data.bin", filename="data.bin")

    client = app.test_client()
    response = await client.get("/download")
    assert len(response.content) == 100_000
    assert response.headers["content-disposition"] == 'attachment; filename="data.bin"'


# What does not end


async def test_a_handler_that_never_answers(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A handler that never answers is a ReadTimeout after an hour of trio's clock, or what the test says."""

    @app.get("/")
    async def handler() -> str:
        await trio.sleep_forever()
        return "never"

    with pytest.raises(httpx.ReadTimeout, match="GET /: the app sent no response for 3600 s"):
        await client.get("/")
    assert trio.current_time() == pytest.approx(3600)
    with pytest.raises(httpx.ReadTimeout, match="for 5 s"):
        await client.get("/", timeout=5)
    with pytest.raises(httpx.ReadTimeout):
        await app.test_client(timeout=1).get("/")


async def test_a_stream_that_stops(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A stream that gives nothing more is a ReadTimeout that says how far it came."""

    @app.get("/")
    async def handler() -> AsyncIterator[str]:
        yield "some"
        await trio.sleep_forever()

    with pytest.raises(httpx.ReadTimeout, match="GET /: nothing came after 4 bytes for 3600 s"):
        await client.get("/")


@pytest.mark.parametrize("pause", [0, 1])
async def test_an_endless_response_that_is_gathered(app: App, autojump_clock: Clock, pause: float) -> None:
    """A response without an end, slow or fast, is an error that says to stream it."""

    @app.get("/")
    async def handler() -> AsyncIterator[str]:
        while True:
            yield "x" * 50_000
            await trio.sleep(pause)

    for client in (TestClient(app, max_buffered=1_000_000), TestClient(app, max_buffered=1_000_000)):
        with pytest.raises(httpx.ReadError, match=r"GET /: no end after \d+ bytes: read it with client.stream"):
            await client.get("/")
    async with TestClient(app, max_buffered=1_000_000) as client:
        with pytest.raises(httpx.ReadError, match="no end"):
            await client.get("/")


@pytest.mark.parametrize("busy", [True, False])
async def test_an_app_that_does_not_listen(autojump_clock: Clock, busy: bool) -> None:
    """An app that goes on after its client has left, sending or asleep, is an error and not a test that hangs."""

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            if not busy:
                await trio.sleep_forever()

    error: type[Exception] = RuntimeError if busy else httpx.ReadTimeout
    with pytest.raises(error, match="since its client left" if busy else "the app did not return"):
        async with TestClient(deaf, timeout=60) as client, client.stream("GET", "/") as response:
            await anext(response.aiter_raw())


# Time


async def test_a_day_of_ticks(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A day of minutes passes in no time, each tick at its own."""

    @app.get("/")
    async def handler() -> AsyncIterator[dict[str, float]]:
        for _ in range(24 * 60):
            yield {"at": trio.current_time()}
            await trio.sleep(60)

    times = [eval(line)["at"] for line in (await client.get("/")).text.splitlines()]
    assert times == [60 * minute for minute in range(24 * 60)]


async def test_pings_and_an_idle_timeout(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """The pings of a quiet event stream and its idle timeout come when they are due."""

    async def nothing() -> AsyncIterator[str]:
        await trio.sleep(3600)
        yield "never"

    @app.get("/")
    async def handler() -> Response:
        return EventStreamResponse(nothing(), idle_timeout=60)

    times = []
    with pytest.raises(Exception, match="idle_timeout"):
        async with client.stream("GET", "/") as response:
            async for chunk in response.aiter_raw():
                times.append((chunk, trio.current_time()))
    assert times == [(b": ping\n\n", 15), (b": ping\n\n", 30), (b": ping\n\n", 45)]


# Strictness


async def test_header_names_in_mixed_case() -> None:
    """Header names in capitals are a warning that names the app's line: servers take them, of mounted apps too."""

    async def capitals(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Content-Type", b"text/plain"), (b"CONTENT-LENGTH", b"2"), (b"x-small", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    outer = App()
    outer.mount("/capitals", capitals)
    for app, path in ((capitals, "/"), (outer, "/capitals/")):
        with pytest.warns(UserWarning, match="header names are lower case in ASGI") as warned:
            async with TestClient(app) as client:
                response = await client.get(path)
        assert (response.text, response.headers["content-type"], response.headers["content-length"]) == (
            "ok", "text/plain", "2",
        )  # fmt: skip
        assert [Path(warning.filename) for warning in warned] == [Path(__file__)] * 2


async def test_a_length_in_capitals_is_a_length() -> None:
    """The rules of a header hold however its name is written."""

    async def short(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"3")]})
        await send({"type": "http.response.body", "body": b"ok"})

    with pytest.warns(UserWarning, match="lower case"), pytest.raises(ASGIViolation, match="ended after 2 bytes"):
        await TestClient(short).get("/")


@pytest.mark.parametrize(
    ("messages", "rule"),
    [
        ([{"type": "http.response.body", "body": b""}], "the first message is 'http.response.start'"),
        ([{"type": "http.response.start", "status": 200}] * 2, "after the start come"),
        (
            [{"type": "http.response.start", "status": 200}, *[{"type": "http.response.body"}] * 2],
            "nothing comes after",
        ),
        ([{"type": "http.response.start", "status": "200"}], "whole number"),
        ([{"type": "http.response.start", "status": 200, "headers": [("a", "b")]}], "pairs of bytes"),
        ([{"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc")]}], "split the message"),
        ([{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"x")]}], "a number"),
        (
            [{"type": "http.response.start", "status": 204}, {"type": "http.response.body", "body": b"x"}],
            "a 204 has no body",
        ),
        ([{"type": "http.response.start", "status": 200}, {"type": "http.response.body", "body": "x"}], "is bytes"),
        (
            [
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]},
                {"type": "http.response.body", "body": b"xy"},
            ],
            "longer than its content-length of 1",
        ),
        (
            [
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]},
                {"type": "http.response.body", "body": b"xy"},
            ],
            "ended after 2 bytes of a content-length of 3",
        ),
    ],
)
async def test_what_a_strict_server_refuses(messages: list[dict[str, Any]], rule: str) -> None:
    """A message that breaks ASGI or HTTP is an error that names the rule, in the test and in the app."""
    raised = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            try:
                await send(message)
            except ASGIViolation as error:
                raised.append(error)
                raise

    with pytest.raises(ASGIViolation, match=rule):
        await TestClient(app).get("/")
    assert len(raised) == 1


async def test_an_app_that_returns_without_a_response() -> None:
    """An app that returns without a response is told apart from one that sent an empty one."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        """Return."""

    with pytest.raises(httpx.RemoteProtocolError, match="GET /: the app returned without a response"):
        await TestClient(silent).get("/")


async def test_an_app_that_only_says_that_it_failed() -> None:
    """A start-up that failed with a message only is raised with that message."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no disk"})

    with pytest.raises(LifespanFailed, match="no disk"):
        async with TestClient(app):
            pass


async def test_mapped_streams_and_rules_in_process(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A deadline around a `yield` passes while the test reads nothing; what follows it arrives, through a map."""

    async def source() -> AsyncIterator[str]:
        with trio.move_on_after(5):
            while True:
                yield "x" * 65536
        yield "end"

    async def same(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk

    @app.get("/")
    async def handler() -> Response:
        response = StreamingResponse(source())
        response.map_stream(same)
        return response

    async with client.stream("GET", "/") as response:
        await trio.sleep(10)
        assert (await response.aread()).endswith(b"xend")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_ends_its_side(app: App, client: TestClient, autojump_clock: Clock, method: str) -> None:
    """A client that ends its side cancels a generator that sleeps for an hour, at once."""
    closed = []

    @app.route("/", methods=[method])
    async def handler() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep(3600)
        finally:
            closed.append(trio.current_time())

    async with client.stream(method, "/") as response:
        assert await anext(response.aiter_raw()) == b"x"
        await trio.sleep(10)
        response.extensions["conversation"].half_close()
        await trio.testing.wait_all_tasks_blocked()
        assert closed == [10]


async def test_two_clients_at_once() -> None:
    """Two clients of an app may be open at once, as two fixtures have it; when one has left, the other goes on."""
    app, log = App(), list[str]()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[dict[str, int]]:
        log.append("start")
        yield {"number": len(log)}
        log.append("end")

    @app.get("/state")
    async def state(request: Request) -> int:
        app.nursery.start_soon(trio.sleep, 0)
        return int(request.state.number)

    @app.get("/events")
    async def events() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("first")
        await trio.sleep(0)
        yield ServerSentEvent("last")

    async with TestClient(app) as first:
        stopping = app.stopping
        async with TestClient(app) as second:
            assert [(await client.get("/state")).text for client in (second, first)] == ["2", "1"]
            assert "last" in (await first.get("/events")).text
            second.announce_stop()
            await app.stopping.wait()
            assert not stopping.is_set()
        assert (await first.get("/state")).text == "1"
        assert "last" in (await first.get("/events")).text
        assert app.stopping is stopping
        first.announce_stop()
        await stopping.wait()
    assert log == ["start", "start", "end", "end"]
    with pytest.raises(RuntimeError, match="is open only while"):
        _ = app.nursery
