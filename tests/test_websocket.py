"""A WebSocket as its handler sees it."""

from __future__ import annotations

from typing import Any

import pytest

from trioweb import App, Headers, WebSocket
from trioweb.testing import WebSocketClosed, WebSocketDenied

MISTAKES: dict[str, Any] = {
    "subprotocol": lambda ws: ws.accept("three"),
    "header": lambda ws: ws.accept(headers={"x": "a\r\nb"}),
    "own header": lambda ws: ws.accept(headers={"Sec-WebSocket-Protocol": "one"}),
    "code": lambda ws: ws.close(1005),
    "reason": lambda ws: ws.close(1000, "x" * 124),
    "message": lambda ws: ws.send({"a": 1}),
    "value": lambda ws: ws.send_json(object()),
}


@pytest.mark.parametrize(
    ("which", "error", "words"),
    [
        ("subprotocol", ValueError, "does not speak the subprotocol 'three', but one, two"),
        ("header", ValueError, "control character"),
        ("own header", ValueError, r"leave it out \(a subprotocol is given as ws.accept"),
        ("code", ValueError, "cannot be closed with code 1005"),
        ("reason", ValueError, "at most 123 bytes"),
        ("message", TypeError, r"takes str or bytes, got dict: write await ws.send_json"),
        ("value", TypeError, "object"),
    ],
)
async def test_mistakes_are_told_before_anything_is_sent(which: str, error: type[Exception], words: str) -> None:
    """What cannot be sent is refused with what to write instead, and the WebSocket goes on."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        late = which in {"message", "value"}
        if late:
            await ws.accept("one")
        with pytest.raises(error, match=words):
            await MISTAKES[which](ws)
        if not late:
            await ws.accept("one")
        await ws.send("fine")

    async with app.test_client().websocket("/", subprotocols=["one", "two"]) as ws:
        assert await ws.receive() == "fine"
        assert ws.subprotocol == "one"


async def test_accept_sends_headers() -> None:
    """Headers of the answer arrive, several of a name too; those that only a server may set do not."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        headers = Headers([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "close")])
        await ws.accept(headers=headers)

    async with app.test_client().websocket("/") as ws:
        assert ws.headers.getlist("set-cookie") == ["a=1", "b=2"]
        assert ws.subprotocol is None


async def test_the_handler_closes() -> None:
    """``close`` tells code and reason; twice is harmless, before ``accept`` it is a refusal."""
    app = App()

    @app.websocket("/{early}")
    async def handler(ws: WebSocket, early: bool) -> None:
        if not early:
            await ws.accept()
        await ws.close(4000, "done")
        await ws.close()
        if not early:
            assert [message async for message in ws] == []

    async with app.test_client() as client:
        async with client.websocket("/false") as ws:
            with pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
        assert (closed.value.code, closed.value.reason) == (4000, "done")
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/true"):
                pass
        assert denied.value.status_code == 403


async def test_the_nursery_belongs_to_the_handler() -> None:
    """``ws.nursery`` says what to use where it is not open."""
    app = App()
    kept: list[WebSocket] = []

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        kept.append(ws)
        assert ws.subprotocols == []

    async with app.test_client().websocket("/") as ws:
        with pytest.raises(WebSocketClosed):
            await ws.receive()
    with pytest.raises(RuntimeError, match=r"use app.nursery"):
        _ = kept[0].nursery


async def test_the_nursery_stays_open_while_the_handler_runs() -> None:
    """What a handler starts after the peer has left is cancelled, and no error: it need not know yet."""
    app = App()
    seen: list[str] = []

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        ws.nursery.start_soon(ws.receive)
        seen.append("started")

    async with app.test_client() as client, client.websocket("/"):
        pass
    assert seen == ["started"]
