"""What objects say of themselves, in a debugger, a log, or a test that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from trioweb import (
    App,
    EventStreamResponse,
    FileResponse,
    JSONResponse,
    RangeResponse,
    Request,
    Response,
    Router,
    StaticFiles,
    StreamingResponse,
    UploadFile,
    WebSocket,
)
from trioweb.io.inbox import Inbox
from trioweb.io.transport import Transport
from trioweb.testing import TestClient


async def events() -> AsyncIterator[str]:
    """Give nothing."""
    return
    yield


async def read(start: int, stop: int) -> AsyncIterator[bytes]:
    """Give nothing."""
    return
    yield


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Response(), "<Response 200, 0 bytes>"),
        (Response("text", 404), "<Response 404 text/plain; charset=utf-8, 4 bytes>"),
        (JSONResponse({}), "<JSONResponse 200 application/json, 2 bytes>"),
        (EventStreamResponse(events()), "<EventStreamResponse 200 text/event-stream, a stream from events>"),
        (StreamingResponse(iter([])), "<StreamingResponse 200, a stream from list_iterator>"),
        (FileResponse("/tmp/a.png"), "<FileResponse 200 image/png, '/tmp/a.png'>"),
        (RangeResponse(read, size=7), "<RangeResponse 200 application/octet-stream, of 7 bytes>"),
        (App(), "<App, 0 routes>"),
        (Router("/api"), "<Router '/api', 0 routes>"),
        (Router(), "<Router, 0 routes>"),
        (TestClient(App()), "<TestClient of <App, 0 routes>, not running>"),
        (StaticFiles(Path(__file__).parent), f"<StaticFiles({str(Path(__file__).parent)!r})>"),
    ],
)
def test_values(value: object, text: str) -> None:
    """Each says what it is, and what tells it from others of its kind."""
    assert repr(value) == text


def test_a_generator_is_named() -> None:
    """A stream says which generator it comes from."""
    generator = events()
    assert repr(StreamingResponse(generator)) == "<StreamingResponse 200, a stream from events>"


def test_routes() -> None:
    """A route says its methods, its path, and whose it is."""
    app = App()
    app.route("/users/{id:int}", methods=["PUT", "GET"])(lambda id: id)  # noqa: A006
    app.get("/x")(partial(test_routes))
    assert repr(app) == "<App, 2 routes>"
    first, second = app.routes
    assert repr(first) == "<Route GET PUT /users/{id:int}, tests.test_reprs.test_routes.<locals>.<lambda>>"
    assert repr(second) == "<Route GET /x, tests.test_reprs.test_routes>"
    router = Router("/api")
    router.get("/x")(test_routes)
    assert repr(router) == "<Router '/api', 1 route>"


async def test_what_is_under_way() -> None:
    """A client, its streams and sockets, and what serves them say where they stand."""
    app = App()
    seen: list[str] = []

    @app.post("/upload/{n}")
    async def upload(request: Request, file: UploadFile) -> None:
        seen.extend([repr(request), repr(file), repr(app.nursery), repr(await request.form())])

    @app.get("/events")
    async def stream() -> EventStreamResponse:
        return EventStreamResponse(events())

    @app.websocket("/talk")
    async def talk(ws: WebSocket) -> None:
        seen.append(repr(ws))
        await ws.accept()
        seen.append(repr(ws))
        async for _ in ws:
            await ws.close(4000)
        seen.append(repr(ws))

    @app.websocket("/left")
    async def left(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        seen.append(repr(ws))
        app.nursery.start_soon(trio.sleep_forever)
        await trio.lowlevel.checkpoint()
        seen.append(repr(app.nursery))

    async with TestClient(app) as client:
        assert repr(client) == "<TestClient of <App, 4 routes>, running>"
        await client.post("/upload/1", files={"file": ("a.txt", b"12345", "text/plain")})
        file = "<UploadFile 'a.txt' text/plain 5 bytes>"
        assert seen == ["<Request POST /upload/1>", file, "<AppNursery, 0 tasks>", f"FormData([('file', {file})])"]
        assert repr(client.events("/events", last_event_id="7")) == "<EventSource GET /events, last id '7'>"
        assert repr(client.events("/events", method="POST")) == "<EventSource POST /events>"
        seen.clear()
        async with client.websocket("/talk") as ws:
            assert repr(ws) == "<WebSocketSession /talk, open>"
            await ws.send("x")
            assert [message async for message in ws] == []
            assert repr(ws) == "<WebSocketSession /talk, closed with code 4000>"
        states = ("not accepted yet", "open", "closed by this side")
        assert seen == [f"<WebSocket /talk, {state}>" for state in states]
        async with client.websocket("/left"):
            pass
        assert seen[-2:] == ["<WebSocket /left, its peer has left>", "<AppNursery, 1 task>"]


def test_every_slot_is_there() -> None:
    """A request says what it is before anything was asked of it."""

    class Nobody:
        values: dict[object, Any] = {}  # noqa: RUF012

        @property
        def inbox(self) -> Inbox:
            raise AssertionError("nobody has asked for the body")

        def find_transport(self) -> Transport:
            raise AssertionError("nor for the server")

        @property
        def nursery(self) -> trio.Nursery:
            raise AssertionError("nor for a nursery")

        async def hint(self, links: list[bytes]) -> None:  # noqa: ARG002
            raise AssertionError("nor for links")

        async def enter(self, manager: object) -> Any:  # noqa: ARG002
            raise AssertionError("nor for a dependency")

    request = Request({"type": "http", "method": "GET", "path": "/x"}, App(), {}, Nobody(), 0)
    assert repr(request) == "<Request GET /x>"
