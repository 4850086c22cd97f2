"""Handshakes of WebSockets that are refused, by the server, the app or its framework: one response, and the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket

from tests.conftest import StartServer
from tests.server.running import Running, read_all, read_until, serving
from tests.servers import H2Client, Server
from trioweb import App, HTTPError, Response, WebSocket

PATIENCE = 5
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = "Sec-WebSocket-Version: 13\r\n"
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"

app = App()


@app.get("/")
async def page() -> str:
    """A page."""
    return "page"


@app.websocket("/")
async def echo(ws: WebSocket) -> None:
    """Send back what comes."""
    await ws.accept()
    async for message in ws:
        await ws.send(message)


@app.websocket("/deny/{status:int}")
async def deny(status: int) -> None:
    """Refuse."""
    raise HTTPError(status, "Not you.")


@app.websocket("/close")
async def close(ws: WebSocket) -> None:
    """Close before it was accepted, twice."""
    await ws.close()
    await ws.close(4000)


@app.websocket("/fail")
async def fail() -> None:
    """Fail before it was accepted."""
    raise ZeroDivisionError


@app.websocket("/return")
async def forget() -> None:
    """Neither accept nor refuse."""


@app.error_handler(KeyError)
async def answer(request: Any, error: Exception) -> Response:
    """Answer a handshake whose handler has failed."""
    return Response("mine", 418)


@app.websocket("/handled")
async def handled() -> None:
    """Fail with what has an error handler."""
    raise KeyError


def handshake(
    path: str = "/",
    *,
    method: str = "GET",
    version: str = "1.1",
    fields: str = UPGRADE + KEY + VERSION,
    rest: bytes = b"",
) -> bytes:
    """A handshake, or what looks like one."""
    return f"{method} {path} HTTP/{version}\r\nHost: x\r\n{fields}\r\n".encode() + rest


async def refused(running: Running, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """The status, headers and body that a client gets who then waits, and does not close; nothing may follow them."""
    async with await running.connect() as client:
        await client.send_all(data)
        with trio.fail_after(PATIENCE):
            received = await read_all(client)
        head, separator, body = received.partition(b"\r\n\r\n")
        assert separator, received
        line, *lines = head.decode().split("\r\n")
        assert line.startswith("HTTP/1.1 "), received
        headers = dict(field.lower().split(": ", 1) for field in lines)
        assert len(headers) == len(lines), lines
        if "content-length" in headers:
            assert int(headers["content-length"]) == len(body), received
        assert "close" in headers["connection"], headers
        return int(line.split(" ")[1]), headers, body


FAULTS = {
    "another version": (UPGRADE + KEY + "Sec-WebSocket-Version: 12\r\n", 426),
    "an older version": (UPGRADE + KEY + "Sec-WebSocket-Version: 8\r\n", 426),
    "a version that is no number": (UPGRADE + KEY + "Sec-WebSocket-Version: x\r\n", 426),
    "an empty version": (UPGRADE + KEY + "Sec-WebSocket-Version: \r\n", 426),
    "a list of versions": (UPGRADE + KEY + "Sec-WebSocket-Version: 13, 8\r\n", 426),
    "two versions": (UPGRADE + KEY + "Sec-WebSocket-Version: 8\r\n" + VERSION, 426),
    "no version": (UPGRADE + KEY, 400),
    "no key": (UPGRADE + VERSION, 400),
    "an empty key": (UPGRADE + VERSION + "Sec-WebSocket-Key: \r\n", 400),
    "a short key": (UPGRADE + VERSION + "Sec-WebSocket-Key: c2hvcnQ=\r\n", 400),
    "a long key": (UPGRADE + VERSION + KEY[:-4] + "AAAA==\r\n", 400),
    "a key that is not base64": (UPGRADE + VERSION + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n", 400),
    "two keys": (UPGRADE + VERSION + KEY + KEY, 400),
    "a subprotocol that is no token": (UPGRADE + KEY + VERSION + "Sec-WebSocket-Protocol: chat, caf\u00e9\r\n", 400),
    "an extension that is no token": (UPGRADE + KEY + VERSION + "Sec-WebSocket-Extensions: \u00e9\r\n", 400),
    "a connection that is no token": ("Connection: Upgrade, \u00e9\r\nUpgrade: websocket\r\n" + KEY + VERSION, 400),
    "a body with a length": (UPGRADE + VERSION + KEY + "Content-Length: 3\r\n", 400),
    "a chunked body": (UPGRADE + VERSION + KEY + "Transfer-Encoding: chunked\r\n", 400),
}


@pytest.mark.parametrize("http", ["auto", "h11"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_no_handshake(http: str, fault: str) -> None:
    """A handshake that is none by RFC 6455, section 4.2.1, is a 400; one of another version a 426 that names ours."""
    fields, status = FAULTS[fault]
    async with serving(app, http=http) as running:
        for rest in (b"", b"3\r\nabc\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x81\x80\0\0\0\0"):
            got, headers, body = await refused(running, handshake(fields=fields, rest=rest))
            assert (got, json.loads(body)["status"]) == (status, status)
            assert (headers.get("sec-websocket-version") == "13") == ("version" in fault)
            assert (headers.get("upgrade") == "websocket") == (status == 426)
        assert b"page" in await running.ask()


@pytest.mark.parametrize("http", ["auto", "h11"])
async def test_frames_before_the_answer(http: str) -> None:
    """A client that does not wait for the answer (RFC 6455, section 4.1) is refused, and its frames are nobody's."""
    async with serving(app, http=http) as running:
        assert (await refused(running, handshake(rest=b"\x81\x83\0\0\0\0abc")))[0] == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [("/deny/401", 401), ("/deny/503", 503), ("/close", 403), ("/fail", 500), ("/return", 500), ("/nowhere", 404),
     ("/handled", 418)],
)  # fmt: skip
@pytest.mark.parametrize("http", ["auto", "h11"])
async def test_a_handler_refuses(http: str, path: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a handler does in place of accepting is one response, and the end of the connection."""
    caplog.set_level(logging.CRITICAL)
    async with serving(app, http=http) as running:
        assert (await refused(running, handshake(path)))[0] == status


async def test_middleware_refuses() -> None:
    """Middleware of ours, and of others around a Starlette app, refuses a handshake as it refuses a request."""

    async def accept(ws: StarletteWebSocket) -> None:
        await ws.accept()

    async def deny(ws: StarletteWebSocket) -> None:
        raise HTTPException(401, "Not you.")

    async def close_early(ws: StarletteWebSocket) -> None:
        await ws.close(1008)

    routes = [
        WebSocketRoute("/", accept),
        WebSocketRoute("/deny", deny),
        WebSocketRoute("/close", close_early),
    ]
    theirs = Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["x", "y"])])
    async with serving(theirs) as running:
        assert (await refused(running, handshake().replace(b"Host: x", b"Host: z")))[0] == 400
        assert (await refused(running, handshake("/deny")))[0] == 401
        assert (await refused(running, handshake("/close")))[0] == 403
        assert (await refused(running, handshake("/nowhere")))[0] == 403
    async with serving(app, server_names=["y"]) as running:
        assert (await refused(running, handshake()))[0] == 404


START = {"type": "websocket.http.response.start", "status": 418, "headers": [(b"content-length", b"3")]}
END = {"type": "websocket.http.response.body", "body": b"abc"}
CLOSE = {"type": "websocket.close", "code": 1000}
PARTS: dict[str, tuple[Sequence[dict[str, Any]], int, bytes | None]] = {
    "close": ([CLOSE], 403, None),
    "close twice": ([CLOSE, CLOSE], 403, None),
    "close, then accept": ([CLOSE, {"type": "websocket.accept"}], 403, None),
    "a response": ([START, END], 418, b"abc"),
    "an empty response": ([{**START, "headers": [(b"content-length", b"0")]}, {**END, "body": b""}], 418, b""),
    "a response without headers": ([{"type": START["type"], "status": 418}, END], 418, b"abc"),
    "a response in pieces": ([START, {**END, "body": b"ab", "more_body": True}, {**END, "body": b"c"}], 418, b"abc"),
    "a response, then close": ([START, END, CLOSE], 418, b"abc"),
    "nothing but a head": ([START], 500, None),
    "nothing": ([], 500, None),
    "a subprotocol that nobody offered": ([{"type": "websocket.accept", "subprotocol": "x"}], 500, None),
    "a header that is none": ([{"type": "websocket.accept", "headers": [(b"a b", b"c")]}], 500, None),
    "a header with a line": ([{"type": "websocket.accept", "headers": [(b"a", b"b\r\nc: d")]}], 500, None),
}


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("parts", PARTS)
async def test_an_asgi_app_refuses(parts: str, goes_on: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an ASGI app sends in place of accepting is one response; an app that goes on after it holds up nothing,
    and hears that its client has left.
    """
    caplog.set_level(logging.CRITICAL)
    messages, status, body = PARTS[parts]
    heard: list[str] = []

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        for message in messages:
            await send({**message})
        if goes_on and messages not in ([], [START]):
            heard.append((await receive())["type"])

    async with serving(bare) as running:
        got, _, content = await refused(running, handshake())
    assert (got, None if body is None else content) == (status, body)
    assert body is not None or json.loads(content)["status"] == status
    assert heard == (["websocket.disconnect"] if goes_on and status != 500 else [])


async def test_refused_clients_that_stay_shut_nobody_out() -> None:
    """A client that was refused, and neither reads nor leaves, gives its place to the next one."""
    async with serving(app, max_connections=3) as running:
        clients = []
        with trio.fail_after(3 * PATIENCE):
            for fields in (UPGRADE + VERSION, UPGRADE + KEY + "Sec-WebSocket-Version: 7\r\n", UPGRADE + KEY) * 4:
                client = await running.connect()
                await client.send_all(handshake(fields=fields))
                clients.append(client)
            assert b"page" in await running.ask()
        for client in clients:
            await client.aclose()


@pytest.mark.parametrize("http", ["auto", "h11"])
async def test_what_asks_for_no_websocket_is_a_request(http: str) -> None:
    """Where neither method nor fields ask for this upgrade, the request is answered, and the connection goes on."""
    async with serving(app, http=http) as running, await running.connect() as client:
        for data in (
            handshake(fields="Upgrade: websocket\r\n" + KEY + VERSION),
            handshake(fields="Connection: Upgrade\r\n" + KEY + VERSION),
            handshake(fields="Connection: Upgrade\r\nUpgrade: other\r\n" + KEY + VERSION),
        ):
            await client.send_all(data)
            assert b" 200 " in await read_until(client, b"page")
        await client.send_all(
            handshake(method="POST", fields=UPGRADE + KEY + VERSION + "Content-Length: 3\r\n", rest=b"abc")
        )
        assert b" 405 " in await read_until(client, b"here.")
        await client.send_all(handshake())
        assert b" 101 " in await read_until(client, b"\r\n\r\n")


async def test_http_1_0_has_no_websockets() -> None:
    """Over HTTP/1.0 a handshake is a request, or refused by Hypercorn; either ends the connection."""
    async with serving(app) as running:
        assert (await refused(running, handshake(version="1.0")))[::2] == (200, b"page")
    async with serving(app, http="h11") as running:
        assert (await refused(running, handshake(version="1.0")))[0] == 400


def test_over_http2(start_server: StartServer) -> None:
    """Over HTTP/2 a refusal ends its stream, and the connection's other streams go on."""
    server: Server = start_server("tests.server.socket_app:app", runner="trioweb")
    client = H2Client(server)
    asked = [
        client.request(path, "CONNECT", [(":protocol", "websocket"), *version], end=False)
        for path, version in (
            ("/echo", []),
            ("/echo", [("sec-websocket-version", "12")]),
            ("/echo", [("sec-websocket-version", "13"), ("sec-websocket-protocol", "\u00e9")]),
            ("/deny/401", [("sec-websocket-version", "13")]),
            ("/nowhere", [("sec-websocket-version", "13")]),
        )
    ]
    for stream in asked:
        client.pump("ended", stream)
        assert stream in client.ended
    assert [client.received[stream][:1] for stream in asked] == [b"{"] * 5
    other = client.request("/-/ready")
    client.pump("ended", other)
    assert client.received[other] == b"ready"
    client.close()
    assert "rror" not in server.output
