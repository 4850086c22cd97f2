"""One WebSocket from its handshake to its close, in process and by trio's mock clock."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.asgi import shake
from trioweb import App, Cookie, Header, HTTPError, Provide, Request, Response, Router, WebSocket, WebSocketDisconnect
from trioweb.testing import TestClient, WebSocketClosed, WebSocketDenied

notes: list[Any] = []


async def greeting(x_lang: Annotated[str, Header], ws: WebSocket) -> AsyncIterator[str]:
    """Provide something for as long as the handler runs."""
    notes.append(("opened", ws.path))
    yield {"de": "Hallo"}[x_lang]
    notes.append("closed")


async def ledger() -> AsyncIterator[str]:
    """Provide what takes a moment to close."""
    yield "ledger"
    await trio.sleep(1)
    notes.append("committed")


async def database() -> AsyncIterator[str]:
    """Provide what cannot be closed."""
    yield "database"
    raise ZeroDivisionError


async def held() -> AsyncIterator[str]:
    """Provide what is closed however its WebSocket ends."""
    try:
        yield "held"
    finally:
        notes.append("closed")


@pytest.fixture(autouse=True)
def fresh_notes() -> None:
    """Each test has notes of its own."""
    notes.clear()


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


async def test_a_handler_that_returns_closes(app: App) -> None:
    """Messages go both ways, and when the handler returns the peer is told 1000."""

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            if message == "bye":
                return
            await ws.send(message)

    async with app.test_client() as client, client.websocket("/echo") as ws:
        for message in ("text", b"bytes", ""):
            await ws.send(message)
            assert await ws.receive() == message
        await ws.send("bye")
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert (closed.value.code, closed.value.reason) == (1000, "")


async def test_inputs_are_those_of_a_request(app: App) -> None:
    """Path, query, headers, cookies and what functions provide are found by the handler's signature."""

    @app.websocket("/rooms/{room:int}")
    async def room(
        ws: WebSocket,
        room: int,
        hello: Annotated[str, Provide(greeting)],
        session: Annotated[str, Cookie],
        limit: int = 10,
    ) -> None:
        ws.state.seen = True
        await ws.accept()
        await ws.send_json([room, hello, session, limit, ws.query["limit"], ws.headers["x-lang"], ws.state.seen])
        notes.append("handled")

    headers = {"x-lang": "de", "cookie": "session=s1"}
    async with app.test_client() as client:
        async with client.websocket("/rooms/7?limit=3", headers=headers) as ws:
            assert await ws.receive_json() == [7, "Hallo", "s1", 3, "3", "de", True]
            with pytest.raises(WebSocketClosed):
                await ws.receive()
            assert notes == [("opened", "/rooms/7"), "handled", "closed"]
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/rooms/7?limit=x", headers=headers):
                pass
        assert denied.value.status_code == 422
        assert b'"query"' in denied.value.body
        assert app.url_for("room", room=7) == "/rooms/7"


async def test_refusals(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """What is raised before the handshake is accepted is its answer: an HTTPError with its status, all else a 500."""

    @app.websocket("/{what}")
    async def refuse(ws: WebSocket, what: str) -> None:
        if what == "unknown":
            raise HTTPError(401, "Who are you?", {"www-authenticate": "Bearer"})
        if what == "closed":
            await ws.close(1008)
        if what == "broken":
            raise ZeroDivisionError

    async def status(path: str) -> tuple[int, bytes]:
        with pytest.raises(WebSocketDenied) as denied:
            async with TestClient(app, raise_app_exceptions=False).websocket(path):
                pass
        return denied.value.status_code, denied.value.body

    assert (await status("/unknown"))[0] == 401
    assert b"Who are you?" in (await status("/unknown"))[1]
    assert (await status("/closed"))[0] == 403
    assert (await status("/no/such"))[0] == 404
    assert not caplog.records
    assert (await status("/broken"))[0] == 500
    [record] = caplog.records
    assert record.getMessage().startswith("WEBSOCKET /broken: ")
    assert "refuse failed" in record.getMessage()
    caplog.clear()
    assert (await status("/silent"))[0] == 500
    assert "await ws.accept()" in caplog.text


class NotKnown(Exception):
    """It has a handler."""


async def test_error_handlers_refuse_too(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """What is raised before accept goes to error handlers, as a request's; what one of them fails with is answered."""

    @app.websocket("/{what}")
    async def refuse(ws: WebSocket, what: str) -> None:
        if what == "late":
            await ws.accept()
        raise HTTPError(int(what)) if what.isdigit() else KeyError(what) if what == "fault" else NotKnown(what)

    @app.error_handler(NotKnown)
    async def unknown(request: Request, error: NotKnown) -> Any:
        if error.args == ("stream",):
            return iter(["a", "b"])
        if error.args == ("again",):
            raise HTTPError(409)
        if error.args == ("breaks",):
            raise ZeroDivisionError
        assert (request.method, await request.body()) == ("GET", b"")
        return Response(f"{request.path} {request.path_params['what']}", 401, {"x-why": "unknown"})

    @app.error_handler(404)
    def missing(request: Request, error: HTTPError) -> dict[str, str]:
        return {"nothing at": request.path}

    @app.error_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return Response("sorry", 500)

    async def answer(path: str) -> tuple[int, bytes]:
        with pytest.raises(WebSocketDenied) as denied:
            async with TestClient(app, raise_app_exceptions=False).websocket(path):
                pass
        return denied.value.status_code, denied.value.body

    assert await answer("/x") == (401, b"/x x")
    assert await answer("/no/such") == (200, b'{"nothing at":"/no/such"}')
    assert (await answer("/again"))[0] == 409
    assert (await answer("/403"))[0] == 403
    assert caplog.records == []
    assert await answer("/fault") == (500, b"sorry")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]
    caplog.clear()
    assert (await answer("/breaks"))[0] == 500
    assert "unknown failed" in caplog.text
    assert (await answer("/stream"))[0] == 500
    assert "answered a handshake with a stream: give it a body in one piece" in caplog.text
    async with TestClient(app, raise_app_exceptions=False) as client, client.websocket("/late") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1011


async def test_without_the_denial_extension() -> None:
    """A server that knows no other refusal is told to close before accept, which is its 403."""
    sent = await shake(App(), "/", "websocket.connect", "websocket.disconnect", extensions=None)
    assert sent == ["websocket.close"]


async def test_errors_are_closes(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """After accept an error closes with 1011, is logged with its route, and is raised in a test that wants it."""

    @app.websocket("/breaks")
    async def breaks(ws: WebSocket) -> None:
        await ws.accept()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with app.test_client().websocket("/breaks") as ws:
            await ws.receive()
    caplog.clear()
    async with app.test_client(raise_app_exceptions=False).websocket("/breaks") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1011
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "WEBSOCKET /breaks: " in record.getMessage()


@pytest.mark.parametrize("gone", ["send", "receive"])
async def test_a_peer_that_leaves_is_no_error(app: App, gone: str, caplog: pytest.LogCaptureFixture) -> None:
    """After the peer has left ``send`` and ``receive`` raise its code, which may leave the handler unlogged."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        notes.append([message async for message in ws])
        assert ws.is_disconnected
        try:
            await (ws.send("x") if gone == "send" else ws.receive())
        except WebSocketDisconnect as left:
            notes.append((left.code, left.reason))
            raise

    async with app.test_client() as client, client.websocket("/") as ws:
        await ws.send("one")
        await ws.send("two")
        await ws.close(4001, "enough")
    assert notes == [["one", "two"], (4001, "enough")]
    assert not caplog.records


async def test_the_nursery_goes_with_the_peer(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """A peer that leaves cancels what runs in ``ws.nursery``, while the handler, busy elsewhere, goes on."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.nursery.start_soon(forward, ws)
        await trio.sleep(50)
        notes.append(("handler", trio.current_time() - start))

    async def forward(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send("tick")
                await trio.sleep(1)
        finally:
            notes.append(("forward", trio.current_time() - start))

    async with app.test_client() as client:
        start = trio.current_time()
        async with client.websocket("/") as ws:
            assert [await ws.receive() for _ in range(4)] == ["tick"] * 4
            await trio.sleep(0.5)
    assert notes == [("forward", 3.5), ("handler", 50)]


async def test_a_handler_that_wants_to_go_with_the_peer(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """With ``cancel_on_disconnect`` a peer that leaves cancels the handler too, wherever it waits."""

    @app.websocket("/{seconds:int}", cancel_on_disconnect=True)
    async def handler(ws: WebSocket, seconds: int, used: Annotated[str, Provide(ledger)]) -> None:
        await ws.accept()
        try:
            await trio.sleep(seconds)
        finally:
            notes.append(trio.current_time() - start)

    async with app.test_client() as client:
        start = trio.current_time()
        async with client.websocket("/10"):
            await trio.sleep(1)
        assert notes == [1]
        notes.clear()
        start = trio.current_time()
        async with client.websocket("/2"):
            await trio.sleep(2.5)
        assert notes == [2, "committed"]


async def test_the_nursery_goes_with_the_handler(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """When the handler returns what runs in ``ws.nursery`` is cancelled, and has ended before the close is sent."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.nursery.start_soon(slow)
        await trio.sleep(1)

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            notes.append(trio.current_time() - start)

    start = trio.current_time()
    async with app.test_client().websocket("/") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
        assert (closed.value.code, trio.current_time() - start, notes) == (1000, 6, [6])


async def test_what_fails_in_the_nursery(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """A task of ``ws.nursery`` that fails fails the handler: a close with 1011, and the error is that task's."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.nursery.start_soon(fails)
        try:
            await ws.receive()
        finally:
            notes.append("handler ended")

    async def fails() -> None:
        await trio.sleep(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with app.test_client().websocket("/") as ws:
            await ws.receive()
    assert notes == ["handler ended"]
    async with app.test_client(raise_app_exceptions=False).websocket("/") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1011


@pytest.mark.parametrize("ends", ["returns", "leaves", "fails"])
async def test_tasks_end_before_what_they_use(app: App, ends: str, autojump_clock: trio.testing.MockClock) -> None:
    """However a WebSocket ends, the tasks of its nursery have ended before its dependencies are closed."""

    @app.websocket("/", cancel_on_disconnect=ends == "leaves")
    async def handler(ws: WebSocket, nursery: trio.Nursery, used: Annotated[str, Provide(held)]) -> None:
        await ws.accept()
        nursery.start_soon(work)
        await trio.sleep(1 if ends == "returns" else 100)

    async def work() -> None:
        try:
            await trio.sleep(2 if ends == "fails" else 100)
            raise ZeroDivisionError
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            notes.append("task ended")

    async with app.test_client(raise_app_exceptions=False) as client, client.websocket("/") as ws:
        if ends != "leaves":
            with pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
            assert closed.value.code == (1011 if ends == "fails" else 1000)
    assert notes == ["task ended", "closed"]


async def test_a_nursery_that_is_cancelled_ends_the_handler(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """Code that cancels ``ws.nursery`` cancels the handler too, and is told what to do instead, as with a request."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    async with app.test_client(raise_app_exceptions=False) as client, client.websocket("/") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1011
    assert "cancel a scope around what should stop instead" in caplog.text


async def test_a_task_that_hears_of_the_peer_leaving_fails_nobody(app: App) -> None:
    """Who sends in ``ws.nursery`` when the peer leaves does not take with it the handler, nor what that uses."""

    @app.websocket("/")
    async def handler(ws: WebSocket, used: Annotated[str, Provide(ledger)]) -> None:
        await ws.accept()
        ws.nursery.start_soon(stubborn, ws)
        async for _ in ws:
            pass
        await trio.sleep(0)
        notes.append("tidied up")

    async def stubborn(ws: WebSocket) -> None:
        with trio.CancelScope(shield=True):
            while True:
                await ws.send("x")

    async with app.test_client() as client, client.websocket("/") as ws:
        await ws.receive()
    assert notes == ["tidied up", "committed"]


async def test_a_task_that_hears_of_our_close_fails_nobody(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """Nor does one that receives when the handler itself closes; the handler may go on, and start more."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.nursery.start_soon(ws.receive)
        await trio.sleep(1)
        await ws.close(4000)
        await trio.sleep(1)
        ws.nursery.start_soon(trio.sleep_forever)
        notes.append("went on")

    async with app.test_client() as client, client.websocket("/") as ws:
        with pytest.raises(WebSocketClosed):
            await ws.receive()
        await trio.sleep(5)
    assert notes == ["went on"]


async def test_a_stop_closes_with_1001(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """When the server stops the peer is told 1001 at once, and the handler hears of it and may take its time."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.nursery.start_soon(trio.sleep_forever)
        async for _ in ws:
            pass
        for attempt in (ws.send("more"), ws.receive()):
            with pytest.raises(WebSocketDisconnect) as closed:
                await attempt
            notes.append(closed.value.code)
        await trio.sleep(10)
        notes.append("done")

    async with app.test_client() as client, client.websocket("/") as ws:
        client.announce_stop()
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
        assert closed.value.code == 1001
        await trio.sleep(5)
        assert notes == [1001, 1001]
    assert notes == [1001, 1001, "done"]


async def test_a_stop_before_accept(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """A handshake that is under way when the server stops is finished, and closed with 1001."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        notes.append("called")
        await trio.sleep(5)
        await ws.accept()
        notes.append([message async for message in ws])

    async def stop_soon(client: Any) -> None:
        await trio.sleep(1)
        client.announce_stop()

    async with app.test_client() as client, trio.open_nursery() as nursery:
        nursery.start_soon(stop_soon, client)
        async with client.websocket("/") as ws:
            with pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
            assert closed.value.code == 1001
    assert notes == ["called", []]


async def test_a_peer_that_takes_nothing(autojump_clock: trio.testing.MockClock, caplog: Any) -> None:
    """A message that is not taken within the write timeout is the end: the handler hears 1006, and it is logged."""
    app = App(write_timeout=5)

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep(3)
        start = trio.current_time()
        try:
            await ws.send("x" * 1000)
        except WebSocketDisconnect as left:
            notes.append((left.code, trio.current_time() - start))
            raise

    async with app.test_client(raise_app_exceptions=False) as client, client.websocket("/"):
        await trio.sleep(20)
    assert notes == [(1006, 5)]
    assert "the peer took nothing for the write_timeout of 5 s" in caplog.text


async def test_a_cancellation_from_outside(app: App, autojump_clock: trio.testing.MockClock) -> None:
    """A server that cancels the app while a message is stuck is not held up by it, and the handler is cancelled."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.send("x")
        finally:
            notes.append("ended")

    async def receive() -> Any:
        if not notes:
            notes.append("connected")
            return {"type": "websocket.connect"}
        return await trio.sleep_forever()

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            await trio.sleep_forever()

    with trio.move_on_after(3) as scope:
        await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert scope.cancelled_caught
    assert trio.current_time() < 10
    assert notes == ["connected", "ended"]


async def test_a_dependency_that_fails_at_its_end(app: App, caplog: pytest.LogCaptureFixture) -> None:
    """What a handler uses is closed before the close is sent, which therefore tells if that failed."""

    @app.websocket("/")
    async def handler(ws: WebSocket, opened: Annotated[str, Provide(database)]) -> None:
        await ws.accept()

    async with app.test_client(raise_app_exceptions=False).websocket("/") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1011
    assert "ZeroDivisionError" in caplog.text


class Move(msgspec.Struct):
    """A typed message."""

    x: int


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (b'{"x": 1}', 1003, "only text"),
        ('{"x": ', 1007, "not JSON"),
        ('{"x": "1"}', 1007, "x: Expected `int`"),
        ("{}", 1007, "x: Missing"),
    ],
)
async def test_typed_messages(app: App, message: str | bytes, code: int, reason: str) -> None:
    """Messages come as the type; a bad one ends the iteration, and the peer is told why by RFC 6455's codes."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for move in ws.messages(Move):
            notes.append(move.x)
        with pytest.raises(WebSocketDisconnect):
            await ws.send("after")
        notes.append("end")

    @app.websocket("/once")
    async def once(ws: WebSocket) -> None:
        await ws.accept()
        notes.append((await ws.receive_json(Move)).x)
        notes.append(await ws.receive_json())

    async with app.test_client() as client:
        async with client.websocket("/") as ws:
            await ws.send_json({"x": 1})
            await ws.send_json({"x": 2})
            await ws.send(message)
            with pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
        assert closed.value.code == code
        assert reason in closed.value.reason
        assert notes == [1, 2, "end"]
        async with client.websocket("/once") as ws:
            await ws.send_json({"x": 3})
            await ws.send_json({"y": 4})
            with pytest.raises(WebSocketClosed):
                await ws.receive()
    assert notes[3:] == [3, {"y": 4}]


async def test_mounts_and_routers(app: App) -> None:
    """A router's WebSockets are found under its prefix, a mounted app's under its path; ``same`` minds no slash."""
    router = Router(prefix="/api")
    app.include(router)
    inner = App(trailing_slash="same")
    app.mount("/inner", inner)

    @router.websocket("/where", name="at")
    @inner.websocket("/where")
    async def where(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json([ws.path, ws.scope["root_path"]])

    async with app.test_client() as client:
        for path, root in (("/api/where", ""), ("/inner/where", "/inner"), ("/inner/where/", "/inner")):
            async with client.websocket(path) as ws:
                assert await ws.receive_json() == [path, root]
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/api/where/"):
                pass
        response = await client.get("/api/where")
        assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")
        assert app.url_for("at") == "/api/where"
