"""The client for tests that are plain functions. None of these runs in a loop."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trioweb import App, EventStreamResponse, HTTPError, Provide, Request, Response, ServerSentEvent, WebSocket
from trioweb.testing import SyncTestClient, WebSocketClosed, WebSocketDenied


def make_app(log: list[str]) -> App:  # noqa: C901 - it is a list
    """An app that notes what happens to it."""
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[dict[str, str]]:
        log.append("start")
        yield {"pool": "pool"}
        log.append("end")

    @app.get("/hello/{name}")
    async def hello(name: str, request: Request) -> str:
        return f"Hello, {name}, {getattr(request.state, 'pool', None)}!"

    @app.get("/ticks")
    async def ticks() -> AsyncIterator[dict[str, int]]:
        try:
            for number in range(10**9):
                yield {"tick": number}
                await trio.sleep(0)
        finally:
            log.append("ticks closed")

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body())

    @app.get("/fails")
    async def fail() -> None:
        raise KeyError("a mistake")

    @app.get("/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "begun"
        raise KeyError("later")

    @app.get("/cookie")
    async def cookie(request: Request) -> Response:
        response = Response(str(dict(request.cookies)))
        response.set_cookie("seen", "1")
        return response

    @app.get("/move")
    async def move() -> Response:
        return Response(status_code=307, headers={"location": "/hello/you"})

    @app.get("/clock")
    async def clock(request: Request) -> Response:
        async def events() -> AsyncIterator[ServerSentEvent]:
            first = int(request.last_event_id or 0) + 1
            for number in range(first, first + 2):
                yield ServerSentEvent(number, event="tick", id=number, retry=1)
            await trio.sleep_forever()

        return EventStreamResponse(events())

    @app.websocket("/ws")
    async def talk(ws: WebSocket) -> None:
        if ws.query.get("deny"):
            raise HTTPError(403, "not you")
        await ws.accept("chat" if ws.subprotocols else None, {"x-cookie": str(ws.cookies.get("seen"))})
        try:
            async for message in ws:
                if message == "bye":
                    await ws.close(4000, "so long")
                elif message == "fail":
                    raise KeyError("in the socket")
                else:
                    await ws.send(message)
        finally:
            log.append("socket left")

    return app


@pytest.fixture
def log() -> list[str]:
    """What happens to the app."""
    return []


@pytest.fixture
def app(log: list[str]) -> App:
    """The app."""
    return make_app(log)


@pytest.fixture
def client(app: App) -> Iterator[SyncTestClient]:
    """The client, while the app runs."""
    with SyncTestClient(app) as client:
        yield client


def test_the_life_of_the_app(app: App, log: list[str]) -> None:
    """With a block the app's lifespan runs, in a thread that ends with it; without one it does not, and calls work."""
    before = threading.active_count()
    with SyncTestClient(app) as client:
        assert log == ["start"]
        assert client.get("/hello/you").text == "Hello, you, pool!"
        assert repr(client) == f"<SyncTestClient of {app!r}, running>"
    assert log == ["start", "end"]
    client = SyncTestClient(app)
    assert client.get("/hello/you").text == "Hello, you, None!"
    assert repr(client) == f"<SyncTestClient of {app!r}, not running>"
    assert log == ["start", "end"]
    assert not [each for each in threading.enumerate() if each.name == "trioweb.testing"]
    assert threading.active_count() <= before + 2  # trio keeps threads of its own for a while


def test_streams_arrive_chunk_by_chunk(client: SyncTestClient, log: list[str]) -> None:
    """A stream without an end is read as far as the test likes; the end of the block is a client that leaves."""
    with client.stream("GET", "/ticks") as response:
        lines = response.iter_lines()
        assert [next(lines) for _ in range(3)] == ['{"tick":0}', '{"tick":1}', '{"tick":2}']
        assert "ticks closed" not in log
    assert log[-1] == "ticks closed"


def test_what_is_sent(client: SyncTestClient) -> None:
    """Bodies of all kinds are sent: bytes, JSON, forms, files, and what a generator makes, in chunks."""

    def chunks() -> Iterator[bytes]:
        yield b"a"
        yield b""
        yield b"b" * 100_000

    assert client.post("/echo", content=b"bytes").content == b"bytes"
    assert client.post("/echo", json={"a": 1}).json() == {"a": 1}
    assert client.post("/echo", data={"a": "b"}).text == "a=b"
    assert b'filename="f.txt"' in client.post("/echo", files={"f": ("f.txt", b"x")}).content
    assert client.post("/echo", content=chunks()).content == b"a" + b"b" * 100_000


def test_what_httpx_does(client: SyncTestClient) -> None:
    """Cookies, redirects, base URLs and parameters are httpx's own."""
    assert client.get("/cookie").text == "{}"
    assert client.get("/cookie").text == "{'seen': '1'}"
    assert client.get("/move").status_code == 307
    assert client.get("/move", follow_redirects=True).text == "Hello, you, pool!"
    assert client.get("/nothing").status_code == 404


@pytest.mark.parametrize("block", [True, False])
def test_errors_are_raised_as_themselves(app: App, block: bool) -> None:
    """An error of the app is raised in the test; with `raise_app_exceptions=False` it is the 500 that a client sees."""
    if not block:
        with pytest.raises(KeyError, match="a mistake"):
            SyncTestClient(app).get("/fails")
        assert SyncTestClient(app, raise_app_exceptions=False).get("/fails").status_code == 500
        return
    with SyncTestClient(app) as client:
        with pytest.raises(KeyError, match="a mistake"):
            client.get("/fails")
        with pytest.raises(KeyError, match="later"), client.stream("GET", "/breaks") as response:
            response.read()
        assert client.get("/hello/you").status_code == 200
    broken = pytest.raises(httpx.RemoteProtocolError, match="broken off after 5 bytes")
    with SyncTestClient(app, raise_app_exceptions=False) as client, broken:
        client.get("/breaks")


def test_errors_of_the_lifespan(app: App, log: list[str]) -> None:
    """An error at start-up is raised by `with`, one at the end by its end, unless the test has failed by itself."""

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        if app.state.fails == "start":
            raise OSError("no disk")
        yield
        raise OSError("no disk left")

    app.state.fails = "start"
    with pytest.raises(OSError, match="no disk"), SyncTestClient(app):
        pass
    app.state.fails = "end"
    with pytest.raises(OSError, match="no disk left"), SyncTestClient(app):
        pass
    with pytest.raises(ValueError, match="the test's"), SyncTestClient(app):
        raise ValueError("the test's")


@pytest.mark.parametrize("path", ["/", "/ws"])
def test_what_ends_the_loop_is_told(path: str) -> None:
    """An app that exits ends its loop: the test is told of that, and not only that there was no response."""
    app = App()

    @app.get("/")
    async def leave() -> None:
        sys.exit("no disk")

    @app.websocket("/ws")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        sys.exit("no disk")

    with pytest.raises(BaseExceptionGroup) as caught, SyncTestClient(app) as client:
        if path == "/":
            client.get("/")
        with client.websocket("/ws") as ws:
            ws.receive()
    assert caught.value.subgroup(SystemExit) is not None


def test_a_read_that_gets_nothing() -> None:
    """A read times out by the real clock, and its client has left then."""
    app, log = App(), list[str]()

    @app.get("/")
    async def sleep() -> AsyncIterator[str]:
        try:
            yield "first"
            await trio.sleep_forever()
        finally:
            log.append("left")

    late = pytest.raises(httpx.ReadTimeout, match="nothing came after 5 bytes")
    with SyncTestClient(app, timeout=1) as client, late:  # in which the beginning comes, on a busy machine too
        client.get("/")
    assert log == ["left"]
    with pytest.raises(httpx.ReadError, match="give TestClient a larger max_buffered"):
        SyncTestClient(make_app(log), max_buffered=1000).get("/ticks")


def test_websockets(client: SyncTestClient, log: list[str]) -> None:
    """A WebSocket has the methods of the server's side; the end of its block leaves."""
    client.get("/cookie")
    with client.websocket("/ws", subprotocols=["chat"], headers={"x-a": "b"}) as ws:
        assert (ws.subprotocol, ws.headers["x-cookie"]) == ("chat", "1")
        ws.send("text")
        assert ws.receive() == "text"
        ws.send(b"bytes")
        assert ws.receive() == b"bytes"
        ws.send_json({"a": 1})
        assert ws.receive_json() == {"a": 1}
    assert log[-1] == "socket left"
    with client.websocket("/ws") as ws:
        ws.send("one")
        ws.send("bye")
        assert list(ws) == ["one"]
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive()
        assert (closed.value.code, closed.value.reason) == (4000, "so long")
    with pytest.raises(WebSocketDenied) as denied, client.websocket("/ws?deny=1"):
        pass
    assert denied.value.status_code == 403
    with pytest.raises(KeyError, match="in the socket"), client.websocket("/ws") as ws:
        ws.send("fail")
        ws.receive()
    with pytest.raises(ValueError, match="the test's"), client.websocket("/ws") as ws:
        raise ValueError("the test's")
    with client.websocket("/ws") as ws:
        ws.close(4001)
    assert client.get("/hello/you").status_code == 200


def test_a_websocket_without_a_block(app: App, log: list[str]) -> None:
    """A WebSocket is opened without the app's lifespan, too."""
    with SyncTestClient(app).websocket("/ws") as ws:
        ws.send("hello")
        assert ws.receive() == "hello"
    assert log == ["socket left"]


def test_events(client: SyncTestClient) -> None:
    """Events are iterated over, from the last one that was seen; with `reconnect` as a browser does it."""
    with client.events("/clock", last_event_id="6") as events:
        assert [next(events).id for _ in range(2)] == ["7", "8"]
        assert (events.last_event_id, events.retry) == ("8", 1)
        assert events.response is not None
    with client.events("/clock", reconnect=True) as events:
        assert [next(events).id for _ in range(2)] == ["1", "2"]
        assert events.response is not None
        client.announce_stop()  # ends the stream, and each that comes after it
        assert next(events).id == "3"
    with pytest.raises(httpx.RemoteProtocolError, match="is no event stream"), client.events("/hello/you"):
        pass


def test_a_stop(app: App) -> None:
    """`announce_stop` is a server that stops: event streams end cleanly."""
    with SyncTestClient(app) as client, client.stream("GET", "/clock") as response:
        client.announce_stop()
        assert b"event: tick" in response.read()


def test_dependencies_are_replaced(app: App) -> None:
    """`app.dependency_overrides` holds from the next call on."""

    async def user() -> str:
        return "ada"

    async def me(user: str) -> str:
        return user

    me.__annotations__["user"] = Annotated[str, Provide(user)]
    app.get("/me")(me)
    with SyncTestClient(app) as client:
        assert client.get("/me").text == "ada"
        app.dependency_overrides[user] = lambda: "eve"
        assert client.get("/me").text == "eve"


def test_apps_of_others() -> None:
    """It drives any ASGI app that runs on trio."""

    async def hello(request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    with SyncTestClient(Starlette(routes=[Route("/", hello)]), base_url="https://shop.example") as client:
        assert client.get("/").text == "hello"


def test_calls_from_several_threads(client: SyncTestClient) -> None:
    """Threads of a test may ask at the same time."""
    answers: list[str] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(client.get(f"/hello/{n}").text)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [f"Hello, {n}, pool!" for n in range(8)]


def test_one_lifespan_at_a_time(app: App, client: SyncTestClient) -> None:
    """A second client with a block is an error that says what to do: its loop would share the app's nursery."""
    with pytest.raises(RuntimeError, match="share one SyncTestClient, or make an app for each"), SyncTestClient(app):
        pass
    assert client.get("/hello/you").text == "Hello, you, pool!"
    assert SyncTestClient(make_app([])).get("/hello/you").status_code == 200


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_loop_that_has_ended_before_its_block(error: type[BaseException]) -> None:
    """What has ended the loop is raised where the client's block ends, also if that goes on for a while."""
    app = App()

    @app.get("/")
    async def leave() -> None:
        raise error

    with pytest.raises(BaseExceptionGroup) as caught, SyncTestClient(app) as client:
        ended = False
        while not ended:  # it ends a moment after the first call
            try:
                client.get("/")
            except (httpx.RemoteProtocolError, trio.Cancelled):
                continue
            except trio.RunFinishedError:
                ended = True
    assert caught.value.split(error)[1] is None


@pytest.mark.parametrize("when", ["start", "end"])
def test_a_lifespan_that_hangs(when: str) -> None:
    """It is told after the client's timeout, of the real clock."""
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        if when == "start":
            await trio.sleep_forever()
        yield
        await trio.sleep_forever()

    late = pytest.raises(trio.TooSlowError, match="in life")
    with late, SyncTestClient(app, timeout=0.05):
        pass


async def test_not_in_an_async_test(app: App) -> None:
    """In a task of trio it would block the loop, and says what to write instead."""
    with pytest.raises(RuntimeError, match=r"write `async with TestClient\(app\)`"):
        SyncTestClient(app).get("/hello/you")
    with pytest.raises(RuntimeError, match="blocks the loop"), SyncTestClient(app):
        pass
