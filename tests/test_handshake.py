"""Middleware around the handshake of a WebSocket, in process and by trio's mock clock."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as OtherWebSocket

from tests.asgi import shake
from trioweb import (
    App,
    ClientDisconnected,
    HTTPError,
    PlainTextResponse,
    Provide,
    Request,
    RequestID,
    Response,
    Router,
    Sessions,
    StreamingResponse,
    Timing,
    TrustedHosts,
    WebSocket,
    WebSocketDisconnect,
)
from trioweb.middleware import CallNext, request_id
from trioweb.testing import TestClient, WebSocketClosed, WebSocketDenied

notes: list[Any] = []
current: ContextVar[str] = ContextVar("current", default="none")


@pytest.fixture(autouse=True)
def fresh_notes() -> None:
    """Each test has notes of its own."""
    notes.clear()


async def marking(request: Request, call_next: CallNext) -> Response:
    """Mark all responses, those to errors too."""

    def mark(response: Response) -> None:
        response.headers["x-mark"] = "yes"

    request.mark_errors(mark)
    response = await call_next(request)
    mark(response)
    notes.append((request.method, request.is_websocket, request.url.scheme, response.status_code))
    return response


async def opened() -> AsyncIterator[str]:
    """Provide what is closed when the handler has ended."""
    try:
        yield "opened"
    finally:
        notes.append("closed")


def make(*middleware: Any) -> App:
    """An app with a handler that echoes, and middleware."""
    app = App()
    for each in middleware:
        app.middleware(each)

    @app.websocket("/echo")
    async def echo(ws: WebSocket, given: Annotated[str, Provide(opened)], status: int = 0) -> None:
        if status == 500:
            raise ZeroDivisionError
        if status:
            raise HTTPError(status)
        try:
            await ws.accept(headers={"x-own": "1"})
        except WebSocketDisconnect as error:
            notes.append(("disconnected", error.code))
            raise
        async for message in ws:
            await ws.send(f"{current.get()} {getattr(ws.state, 'name', None)} {message!s}")

    @app.get("/echo")
    async def page() -> str:
        return "a page"

    return app


async def refused(client: TestClient, path: str = "/echo", **options: Any) -> WebSocketDenied:
    """What comes of a handshake that is denied."""
    with pytest.raises(WebSocketDenied) as caught:
        async with client.websocket(path, **options):
            pass
    return caught.value


async def test_a_handshake_is_a_request() -> None:
    """Middleware sees a GET, and a 101 as its response, whose headers it may change; requests are as they were."""
    app = make(marking)
    async with TestClient(app) as client:
        async with client.websocket("/echo") as ws:
            assert notes == [("GET", True, "http", 101)]
            assert (ws.headers["x-mark"], ws.headers["x-own"]) == ("yes", "1")
            await ws.send("one")
            assert await ws.receive() == "none None one"
        notes.clear()
        response = await client.get("/echo")
        assert (response.text, response.headers["x-mark"]) == ("a page", "yes")
        assert notes == [("GET", False, "http", 200)]


async def test_the_handler_has_what_middleware_has_set() -> None:
    """State and context variables of middleware are the handler's for all of its life, not only for the handshake."""

    async def naming(request: Request, call_next: CallNext) -> Response:
        request.state.name = "ada"
        token = current.set("within")
        response = await call_next(request)
        current.reset(token)
        return response

    async with TestClient(make(naming)) as client, client.websocket("/echo") as ws:
        await ws.send("one")
        assert await ws.receive() == "within ada one"


async def test_middleware_refuses() -> None:
    """What middleware returns or raises instead of a call is the answer to the handshake; the handler is not called."""

    async def strict(request: Request, call_next: CallNext) -> Any:
        if "token" not in request.query:
            raise HTTPError(401, headers={"www-authenticate": "Bearer"})
        return PlainTextResponse("not today", 403)

    async with TestClient(make(marking, strict)) as client:
        denied = await refused(client)
        assert (denied.status_code, denied.headers["www-authenticate"], denied.headers["x-mark"]) == (
            401, "Bearer", "yes",
        )  # fmt: skip
        denied = await refused(client, "/echo?token=1")
        assert (denied.status_code, denied.body) == (403, b"not today")
    assert notes == [("GET", True, "http", 401), ("GET", True, "http", 403)]


async def test_the_handlers_refusal_is_a_response() -> None:
    """An ``HTTPError`` of the handler, and no route, are responses to middleware; another error passes through it."""
    app = make(marking)
    async with TestClient(app, raise_app_exceptions=False) as client:
        for path, status in (("/echo?status=403", 403), ("/none", 404), ("/echo?status=x", 422)):
            denied = await refused(client, path)
            assert (denied.status_code, denied.headers["x-mark"]) == (status, "yes")
            assert notes[-1] == ("GET", True, "http", status)
        notes.clear()
        denied = await refused(client, "/echo?status=500")
        assert (denied.status_code, denied.headers["x-mark"]) == (500, "yes")
        assert notes == ["closed"]


async def test_an_error_handler_answers_within_middleware(caplog: pytest.LogCaptureFixture) -> None:
    """An error with a handler of its class is a response to middleware, and is not logged."""
    app = make(marking)

    @app.error_handler(ZeroDivisionError)
    async def by_zero(request: Request, exc: ZeroDivisionError) -> Response:
        assert request.is_websocket
        return PlainTextResponse("nothing is divided here", 409)

    async with TestClient(app) as client:
        denied = await refused(client, "/echo?status=500")
    assert (denied.status_code, denied.body) == (409, b"nothing is divided here")
    assert notes == ["closed", ("GET", True, "http", 409)]
    assert not caplog.records


async def test_an_error_is_logged_with_its_route(caplog: pytest.LogCaptureFixture) -> None:
    """An error before accept is logged once, and raised in a test that wants it."""
    with pytest.raises(ZeroDivisionError):
        async with TestClient(make(marking)) as client, client.websocket("/echo?status=500"):
            pass
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "WEBSOCKET /echo: " in record.getMessage()


@pytest.mark.parametrize("how", ["returns", "raises", "fails", "status"])
async def test_middleware_changes_its_mind(how: str) -> None:
    """After ``call_next`` middleware can still refuse: ``accept`` then raises in the handler, which cleans up."""

    async def late(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        assert response.status_code == 101
        if how == "raises":
            raise HTTPError(403)
        if how == "fails":
            raise ZeroDivisionError
        if how == "status":
            response.status_code = 403
            return response
        return PlainTextResponse("no", 403)

    async with TestClient(make(late), raise_app_exceptions=False) as client:
        denied = await refused(client)
        await trio.testing.wait_all_tasks_blocked()
    assert denied.status_code == (500 if how == "fails" else 403)
    assert notes == [("disconnected", 1006), "closed"]


async def test_a_time_limit_for_the_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """A scope around ``call_next`` cancels a handler that does not answer; one that has is not concerned."""

    async def limited(request: Request, call_next: CallNext) -> Response:
        with trio.move_on_after(5):
            return await call_next(request)
        return PlainTextResponse("too slow", 503)

    app = make(limited)

    @app.websocket("/slow")
    async def slow(ws: WebSocket, given: Annotated[str, Provide(opened)]) -> None:
        try:
            await trio.sleep(60)
        finally:
            notes.append(trio.current_time() - begin)

    async with TestClient(app) as client:
        begin = trio.current_time()
        assert (await refused(client, "/slow")).status_code == 503
        assert notes == [5, "closed"]
        async with client.websocket("/echo") as ws:
            await trio.sleep(60)
            await ws.send("one")
            assert await ws.receive() == "none None one"


@pytest.mark.parametrize("first", [0, 403])
async def test_a_second_call(first: int) -> None:
    """``call_next`` can be called again: the first handler has ended by then, and the second is accepted."""

    async def again(request: Request, call_next: CallNext) -> Response:
        notes.append((await call_next(request)).status_code)
        response = await call_next(request)
        notes.append(response.status_code)
        return response

    app = App()
    app.middleware(again)
    calls = iter([first, 0])

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        if status := next(calls):
            raise HTTPError(status)
        try:
            await ws.accept()
            async for message in ws:
                await ws.send(message)
        finally:
            notes.append("ended")

    async with TestClient(app) as client:
        async with client.websocket("/") as ws:
            await ws.send("one")
            assert await ws.receive() == "one"
        await trio.testing.wait_all_tasks_blocked()
    assert notes == [first or 101, *([] if first else ["ended"]), 101, "ended"]


async def _stream(request: Request, call_next: CallNext) -> Response:
    return StreamingResponse(["one"])


async def _unaccepted(request: Request, call_next: CallNext) -> Response:
    response = Response()
    response.status_code = 101
    return response


async def _own_header(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    response.headers["sec-websocket-protocol"] = "one"
    return response


async def _nursery(request: Request, call_next: CallNext) -> Response:
    request.nursery.start_soon(trio.sleep, 0)
    return await call_next(request)


@pytest.mark.parametrize(
    ("middleware", "error", "words"),
    [
        (_stream, TypeError, "answered a handshake with a stream: give it a body in one piece"),
        (_unaccepted, RuntimeError, "returned a 101 for a handshake that was not accepted"),
        (_own_header, ValueError, "'sec-websocket-protocol', which is the handshake's own"),
        (_nursery, RuntimeError, "a handshake has no nursery: use ws.nursery"),
    ],
)
async def test_mistakes(middleware: Any, error: type[Exception], words: str) -> None:
    """What cannot be an answer to a handshake is an error that names the route."""
    app = make(middleware)
    with pytest.raises(error, match=words) as caught:
        async with TestClient(app) as client, client.websocket("/echo"):
            pass
    assert "WEBSOCKET /echo" in str(caught.value)
    async with TestClient(app, raise_app_exceptions=False) as client:
        assert (await refused(client)).status_code == 500


async def test_the_body_of_a_handshake_is_empty() -> None:
    """Middleware that reads the body finds none, and takes nothing from the peer."""

    async def reading(request: Request, call_next: CallNext) -> Response:
        notes.append((await request.body(), request.is_disconnected))
        return await call_next(request)

    async with TestClient(make(reading)) as client, client.websocket("/echo") as ws:
        await ws.send("one")
        assert await ws.receive() == "none None one"
    assert notes[0] == (b"", False)


async def test_routers_and_routes() -> None:
    """Middleware of routers and routes is inside of the app's, and around their WebSockets only."""

    def noting(name: str) -> Any:
        async def middleware(request: Request, call_next: CallNext) -> Response:
            notes.append(name)
            return await call_next(request)

        return middleware

    app = make(noting("app"))
    router = Router("/in", middleware=[noting("router")])

    @router.websocket("/one", middleware=[noting("route")])
    async def one(ws: WebSocket) -> None:
        await ws.accept()

    app.include(router)
    async with TestClient(app) as client:
        async with client.websocket("/in/one"):
            assert notes == ["app", "router", "route"]
        notes.clear()
        async with client.websocket("/echo"):
            assert notes == ["app"]


async def test_a_route_alone() -> None:
    """A route may have middleware where its app has none."""
    app = make()

    @app.websocket("/one", middleware=[marking])
    async def one(ws: WebSocket) -> None:
        await ws.accept()

    async with TestClient(app) as client, client.websocket("/one") as ws:
        assert ws.headers["x-mark"] == "yes"


async def _other_accepts(ws: OtherWebSocket) -> None:
    await ws.accept(subprotocol="two", headers=[(b"x-own", b"2")])
    async for message in ws.iter_text():
        await ws.send_text(f"{ws.state.name} {message}")


async def _other_refuses(ws: OtherWebSocket) -> None:
    raise HTTPException(403, "other")


async def _other_closes(ws: OtherWebSocket) -> None:
    await ws.close()


async def _other_returns(ws: OtherWebSocket) -> None:
    return None


async def test_mounted_apps() -> None:
    """The handshakes of a mounted app of another framework stand behind middleware as those of handlers do."""

    async def naming(request: Request, call_next: CallNext) -> Response:
        if "refuse" in request.query:
            raise HTTPError(418)
        request.state.name = "ada"
        response = await call_next(request)
        if "late" in request.query:
            raise HTTPError(418)
        return response

    app = make(marking, naming)
    routes = {"accepts": _other_accepts, "refuses": _other_refuses, "closes": _other_closes, "returns": _other_returns}
    app.mount("/other", Starlette(routes=[WebSocketRoute(f"/{name}", each) for name, each in routes.items()]))
    async with TestClient(app, raise_app_exceptions=False) as client:
        async with client.websocket("/other/accepts", subprotocols=["one", "two"]) as ws:
            assert (ws.subprotocol, ws.headers["x-mark"], ws.headers["x-own"]) == ("two", "yes", "2")
            await ws.send("one")
            assert await ws.receive() == "ada one"
        for path, status in (
            ("accepts?refuse=1", 418), ("accepts?late=1", 418), ("refuses", 403), ("closes", 403), ("nothing", 403),
            ("returns", 500),
        ):  # fmt: skip
            denied = await refused(client, f"/other/{path}")
            assert (denied.status_code, denied.headers["x-mark"]) == (status, "yes"), path


async def test_a_mounted_app_of_ours() -> None:
    """Middleware of the outer app is around that of the inner one, and a refusal of the inner keeps its body."""
    outer = App()
    outer.middleware(marking)
    outer.mount("/in", make(marking))
    async with TestClient(outer, raise_app_exceptions=False) as client:
        async with client.websocket("/in/echo") as ws:
            await ws.send("one")
            assert await ws.receive() == "none None one"
        denied = await refused(client, "/in/none")
        assert (denied.status_code, b"problem" in denied.body or b"404" in denied.body) == (404, True)
        assert (await refused(client, "/in/echo?status=500")).status_code == 500
    assert notes[:2] == [("GET", True, "http", 101)] * 2


async def test_a_peer_that_leaves_before_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    """``call_next`` raises ``ClientDisconnected`` then, and nothing is logged."""

    async def watching(request: Request, call_next: CallNext) -> Response:
        try:
            return await call_next(request)
        except ClientDisconnected:
            notes.append("left")
            raise

    app = make(watching)

    @app.websocket("/slow", cancel_on_disconnect=True)
    async def slow(ws: WebSocket) -> None:
        await trio.sleep_forever()

    sent = await shake(app, "/slow", "websocket.connect", "websocket.disconnect")
    assert (notes, sent, caplog.records) == (["left"], [], [])


async def test_without_the_denial_extension() -> None:
    """A server that knows no other refusal is told to close before accept."""

    async def strict(request: Request, call_next: CallNext) -> Response:
        raise HTTPError(401)

    sent = await shake(make(strict), "/echo", "websocket.connect", "websocket.disconnect")
    assert sent == ["websocket.close"]


async def test_a_stop_closes_with_1001(autojump_clock: trio.testing.MockClock) -> None:
    """A WebSocket behind middleware hears of a stop of the server as any other."""
    app = make(marking)
    async with TestClient(app) as client, client.websocket("/echo") as ws:
        client.announce_stop()
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
        assert closed.value.code == 1001


async def test_ready_made_middleware() -> None:
    """Sessions, trusted hosts, request ids and timing are for handshakes what they are for requests."""
    app = App()
    for each in (RequestID(), Timing(), TrustedHosts(["testserver"]), Sessions("a secret of sixteen letters")):
        app.middleware(each)

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        ws.state.session["count"] = ws.state.session.get("count", 0) + 1
        await ws.accept()
        await ws.send_json([request_id.get(), ws.state.session["count"]])

    async with TestClient(app) as client:
        cookie = ""
        for count in (1, 2):
            headers = {"x-request-id": "mine", "cookie": cookie}
            async with client.websocket("/", headers=headers) as ws:
                assert await ws.receive_json() == ["mine", count]
                assert ws.headers["x-request-id"] == "mine"
                assert ws.headers["server-timing"].startswith("app;dur=")
                assert "; HttpOnly" in ws.headers["set-cookie"]
                cookie = ws.headers["set-cookie"].partition(";")[0]
        denied = await refused(client, "/", headers={"host": "evil.example"})
        assert (denied.status_code, denied.headers["server-timing"][:7]) == (400, "app;dur")


async def _fails_late(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "one"})
    raise ZeroDivisionError


async def _denies_in_pieces(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 409, "headers": [(b"x-own", b"1")]})
    await send({"type": "websocket.http.response.body", "body": b"one, ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"two"})
    with pytest.raises(OSError, match="denied"):
        await send({"type": "websocket.accept"})
    assert await receive() == {"type": "websocket.disconnect", "code": 1006}
    notes.append("told")


async def _sends_at_once(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.send", "text": "one"})


async def test_mounted_apps_that_do_it_otherwise() -> None:
    """A mounted app's late error is raised to the server, its denial may come in pieces, and what it may not send is an
    error.
    """
    app = make(marking)
    for path, mounted in (("/late", _fails_late), ("/pieces", _denies_in_pieces), ("/at-once", _sends_at_once)):
        app.mount(path, mounted)
    with pytest.raises(ZeroDivisionError):
        async with app.test_client().websocket("/late/") as ws:
            assert await ws.receive() == "one"
            await ws.receive()
    async with TestClient(app) as client:
        denied = await refused(client, "/pieces/")
        assert (denied.status_code, denied.headers["x-own"], denied.body) == (409, "1", b"one, two")
        assert (denied.headers["x-mark"], notes[-1]) == ("yes", "told")
    with pytest.raises(RuntimeError, match=r"'websocket\.send' was sent before the handshake was answered"):
        async with app.test_client().websocket("/at-once/"):
            pass


async def test_a_peer_that_was_never_there() -> None:
    """Middleware is not called for a peer that has left before its handshake was looked at."""
    assert await shake(make(marking), "/echo", "websocket.disconnect") == []
    assert notes == []


async def test_a_peer_that_leaves_before_its_denial() -> None:
    """Nobody is left who would be told of it, and that is no error."""

    async def slow(request: Request, call_next: CallNext) -> Response:
        await trio.testing.wait_all_tasks_blocked()
        raise HTTPError(403)

    await shake(make(slow), "/echo", "websocket.connect", "websocket.disconnect", gone=True)


async def test_a_cancellation_from_outside(autojump_clock: trio.testing.MockClock) -> None:
    """It cancels the middleware, and ends a handler that waits in ``accept`` for it, at once."""

    async def saving(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        await trio.sleep(60)
        return response

    assert await shake(make(saving), "/echo", "websocket.connect", limit=5) == []
    assert trio.current_time() < 5.1
    assert notes[-1] == "closed"


async def test_the_route_of_a_handshake() -> None:
    """Middleware sees the route of a handshake before the handler is called, and none where there is none."""

    async def routed(request: Request, call_next: CallNext) -> Response:
        notes.append(request.route and request.route.path)
        return await call_next(request)

    app = make(routed)

    @app.websocket("/rooms/{room}", dependencies=[Provide(opened)])
    async def talk(ws: WebSocket, room: str) -> None:
        await ws.accept()

    async with TestClient(app) as client:
        async with client.websocket("/rooms/tea"):
            pass
        await refused(client, "/none")
    assert notes == ["/rooms/{room}", "closed", None]


async def test_the_route_of_a_mounted_app() -> None:
    """A tool around all of it sees the route that has served in a mounted app, also behind middleware."""
    app = make(marking)
    app.mount("/other", Starlette(routes=[WebSocketRoute("/closes", _other_closes)]))

    class Tool:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.inner(scope, receive, send)
            if scope["type"] == "websocket":
                notes.append(scope["route"].path)

    app.add_middleware(Tool)
    await refused(app.test_client(), "/other/closes")
    assert notes[-1] == "/other/closes"
