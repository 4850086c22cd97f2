"""WebSockets of the kit, against bare ASGI apps."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from trioweb import App, WebSocket
from trioweb.testing import ASGIViolation, TestClient, WebSocketClosed, WebSocketDenied


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back what comes, text in capitals; close on "bye"."""
    assert (await receive())["type"] == "websocket.connect"
    chosen = scope["subprotocols"][-1] if scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": chosen, "headers": [(b"x", scope["path"].encode())]})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            left.append((message["code"], message["reason"]))
            return
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 4000, "reason": "as asked"})
            return
        if message.get("text") is not None:
            await send({"type": "websocket.send", "text": message["text"].upper()})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


left: list[tuple[int, str]] = []


async def test_the_verbs() -> None:
    """Text, bytes and JSON go and come; the app hears how the client closed."""
    async with TestClient(echo).websocket("/room?a=1", subprotocols=["one", "two"]) as ws:
        assert ws.subprotocol == "two"
        assert ws.headers["X"] == "/room"
        await ws.send("text")
        assert await ws.receive() == "TEXT"
        await ws.send(b"bytes")
        assert await ws.receive() == b"bytes"
        await ws.send_json({"A": 1})
        assert await ws.receive_json() == {"A": 1}
        await ws.close(4001, "enough")
    assert left.pop() == (4001, "enough")


async def test_leaving_the_block_closes() -> None:
    """Leaving the block closes with 1000; an error in the block with 1006, and comes out as itself."""
    async with TestClient(echo).websocket("/"):
        pass
    assert left.pop()[0] == 1000
    with pytest.raises(KeyError):
        async with TestClient(echo).websocket("/"):
            raise KeyError
    assert left.pop()[0] == 1006


async def test_the_app_closes() -> None:
    """An app that closes ends the iteration, and `receive` then says with which code."""
    async with TestClient(echo).websocket("/") as ws:
        await ws.send("a")
        await ws.send("bye") if await ws.receive() == "A" else None
        assert [message async for message in ws] == []
        with pytest.raises(WebSocketClosed) as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.reason) == (4000, "as asked")
        with pytest.raises(WebSocketClosed):
            await ws.send("more")


@pytest.mark.parametrize(
    ("answers", "status", "body"),
    [
        ([{"type": "websocket.close"}], 403, b""),
        (
            [
                {"type": "websocket.http.response.start", "status": 401, "headers": []},
                {"type": "websocket.http.response.body", "body": b"who ", "more_body": True},
                {"type": "websocket.http.response.body", "body": b"are you"},
            ],
            401,
            b"who are you",
        ),
    ],
)
async def test_a_handshake_that_is_denied(answers: list[Any], status: int, body: bytes) -> None:
    """A refused handshake raises with its status and body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for answer in answers:
            await send(answer)

    with pytest.raises(WebSocketDenied) as caught:
        async with TestClient(app).websocket("/"):
            pytest.fail("not to be reached")
    assert (caught.value.status_code, caught.value.body) == (status, body)


async def test_errors_and_violations() -> None:
    """An error in the app, and a message out of order, are raised in the test as themselves."""

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.send", "text": "x"})

    with pytest.raises(ZeroDivisionError):
        async with TestClient(breaks).websocket("/") as ws:
            await ws.receive()
    with pytest.raises(ASGIViolation, match="a WebSocket that is connecting"):
        async with TestClient(hasty).websocket("/"):
            pass


async def test_what_does_not_answer(autojump_clock: trio.testing.MockClock) -> None:
    """A handshake, or a message, that does not come is a TimeoutError by trio's clock."""

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/accepts":
            await send({"type": "websocket.accept"})
        await trio.sleep_forever()

    with pytest.raises(TimeoutError, match="neither accepted nor denied"):
        async with TestClient(silent, timeout=60).websocket("/"):
            pass
    with pytest.raises(TimeoutError, match="no message came for 60 s"):
        async with TestClient(silent, timeout=60).websocket("/accepts") as ws:
            await ws.receive()
    assert trio.current_time() == pytest.approx(240)


async def test_an_app_of_ours_tells_what_failed() -> None:
    """An error that the app has turned into a code is raised in the test, unless it does not want to see any."""
    app = App()

    @app.websocket("/{accept}")
    async def breaks(ws: WebSocket, accept: bool) -> None:
        if accept:
            await ws.accept()
        raise ZeroDivisionError

    for path in ("/true", "/false"):
        with pytest.raises(ZeroDivisionError):
            async with TestClient(app).websocket(path) as ws:
                await ws.receive()
    client = TestClient(app, raise_app_exceptions=False)
    with pytest.raises(WebSocketDenied) as denied:
        async with client.websocket("/false"):
            pass
    assert denied.value.status_code == 500
    async with client.websocket("/true") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1011
