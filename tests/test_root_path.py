"""Behind a proxy's prefix: an app, and what is mounted in it, whether the proxy takes the prefix off or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket as StarletteSocket

from tests.asgi import Exchange, ask
from trioweb import App, Request, Response, RouteError, Router, StaticFiles, WebSocket
from trioweb.ground.http.asgi import Receive, Scope, Send
from trioweb.handlers.layers import CallNext
from trioweb.testing import TestClient


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI app that tells what it was given."""
    text = f"{scope['root_path']} {scope['path']} {scope['raw_path'].decode()}"
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})


async def starlette_page(request: StarletteRequest) -> PlainTextResponse:
    """A page of another framework, which finds its own paths by the scope."""
    return PlainTextResponse(f"starlette {request.url.path} {request.url_for('page').path}")


async def starlette_talk(ws: StarletteSocket) -> None:
    """A WebSocket of another framework."""
    await ws.accept()
    await ws.send_text("starlette")
    await ws.close()


def make(folder: Path, middleware: bool) -> App:
    """An app that has everything mounted, at one level and at two."""
    app, inner, innermost = App(), App(), App()
    fast = FastAPI()

    @fast.get("/page")
    def fast_page() -> str:
        return "fastapi"

    for one in (app, inner, innermost):

        @one.get("/page")
        async def page(request: Request) -> str:
            return f"{request.scope['root_path']} {request.path} {request.url}"

        @one.get("/folder/")
        async def listing() -> str:
            return "listing"

        @one.websocket("/talk")
        async def talk(ws: WebSocket) -> None:
            await ws.accept()
            await ws.send(f"{ws.scope['root_path']} {ws.path}")

        if middleware:

            @one.middleware
            async def mw(request: Request, call_next: CallNext) -> Response:
                return await call_next(request)

    (folder / "docs").mkdir()
    (folder / "docs" / "index.html").write_text("index")
    (folder / "a.txt").write_text("text")
    starlette = Starlette(
        routes=[
            Route("/page", starlette_page, name="page"),
            WebSocketRoute("/talk", starlette_talk),
            Mount("/sub", routes=[Route("/page", starlette_page)]),
        ]
    )
    app.mount("/inner", inner)
    inner.mount("/innermost", innermost)
    for one in (app, inner):
        one.mount("/bare", bare)
        one.mount("/files", StaticFiles(folder, html=True))
        one.mount("/starlette", starlette)
        one.mount("/fast", fast)
    return app


PREFIXES = ("", "/inner")
ROOTS = ("/proxy", "/proxy/", "proxy", "/a/b", "/p\xe4th")


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("strips", [False, True])
async def test_all_that_is_mounted_is_found(strips: bool, root: str, middleware: bool, tmp_path: Path) -> None:
    """Whatever the proxy does with its prefix, and however that is written, an app sees one path: the whole."""
    app = make(tmp_path, middleware)
    root_path = "/" + root.strip("/")
    sent, raw = "" if strips else root_path, root_path.replace("\xe4", "%C3%A4")
    for level in PREFIXES:
        base, raw_base = root_path + level, raw + level
        for path, text in (
            ("/page", f"{base} {base}/page http://testserver{raw_base}/page"),
            ("/bare/x%20y", f"{base}/bare {base}/bare/x y {raw_base}/bare/x%20y"),
            ("/bare", f"{base}/bare {base}/bare {raw_base}/bare"),
            ("/files/a.txt", "text"),
            ("/files/docs/", "index"),
            ("/starlette/page", f"starlette {base}/starlette/page {base}/starlette/page"),
            ("/starlette/sub/page", f"starlette {base}/starlette/sub/page {base}/starlette/page"),
            ("/fast/page", '"fastapi"'),
        ):
            answer = await ask(app, sent + level + path, root_path=root)
            assert (answer.status, answer.body.decode()) == (200, text)
        for path, target in (("/folder", "/folder/"), ("/page/", "/page"), ("/files/docs", "/files/docs/")):
            answer = await ask(app, sent + level + path, root_path=root, query_string=b"a=1")
            assert (answer.status, answer.headers["location"]) == (308, f"{raw_base}{target}?a=1")
        assert (await ask(app, sent + level + "/nowhere", root_path=root)).status == 404
    assert (
        (await ask(app, sent + "/inner/innermost/page", root_path=root))
        .body.decode()
        .startswith(f"{root_path}/inner/innermost {root_path}/inner/innermost/page ")
    )


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("root", ["", "/proxy", "/proxy/"])
@pytest.mark.parametrize("strips", [False, True])
async def test_websockets_are_found(strips: bool, root: str, middleware: bool, tmp_path: Path) -> None:
    """The same of WebSockets."""
    root_path = root.rstrip("/")
    sent = "" if strips else root_path
    async with TestClient(make(tmp_path, middleware), root_path=root) as client:
        for path, text in (
            ("/talk", f"{root_path} {root_path}/talk"),
            ("/inner/talk", f"{root_path}/inner {root_path}/inner/talk"),
            ("/inner/innermost/talk", f"{root_path}/inner/innermost {root_path}/inner/innermost/talk"),
            ("/bare/x", f"{root_path}/bare {root_path}/bare/x {root_path}/bare/x"),
            ("/inner/bare/x", f"{root_path}/inner/bare {root_path}/inner/bare/x {root_path}/inner/bare/x"),
            ("/inner/starlette/talk", "starlette"),
        ):
            async with client.websocket(sent + path) as ws:
                assert await ws.receive() == text


async def test_a_prefix_ends_at_a_slash() -> None:
    """A path that only begins like the prefix is not below it: it is one of the app's own."""
    app = App()

    @app.get("/proxyother")
    async def other() -> str:
        return "other"

    for path in ("/proxyother", "/proxy/proxyother"):
        assert (await ask(app, path, root_path="/proxy")).body == b"other"
    assert (await ask(app, "/proxyother", root_path="/")).body == b"other"


@pytest.mark.parametrize("root", ["", "/proxy"])
async def test_a_target_that_is_a_whole_url(root: str, tmp_path: Path) -> None:
    """A server may hand on a whole URL as the path (RFC 9112, section 3.2.2): what is mounted is found all the same."""
    app = make(tmp_path, middleware=False)
    for path, text in (("/inner/page", b"/inner"), ("/bare/x", b"/bare"), ("/inner/bare/x", b"/inner/bare")):
        target = f"http://shop.example{path}"
        exchange = Exchange("GET", target, root_path=root)
        await exchange.run(app)
        assert exchange.messages[0]["status"] == 200
        assert b"".join(exchange.chunks).startswith(root.encode() + text + b" ")
    for target, status in (("http://shop.example", 404), ("*", 400), ("x", 400), ("", 404 if root else 400)):
        exchange = Exchange("GET", target, root_path=root)
        await exchange.run(app)
        assert (target, exchange.messages[0]["status"]) == (target, status)
    exchange = Exchange("OPTIONS", "*", root_path=root)
    await exchange.run(app)
    assert exchange.messages[0]["status"] == 204


@pytest.mark.parametrize(
    "path", ["/t/{tenant}", "/{tenant}", "/{tenant}/", "/t/{tenant:int}/x", "/files/{rest:path}", "/a{b", "/a}"]
)
def test_a_mount_has_no_parameters(path: str) -> None:
    """They would never match; the error says where parameters go."""
    for app in (App(), App()):
        with pytest.raises(RouteError, match=r"no parameters in its path: mount it at '/.*' and let its own routes"):
            app.mount(path, App())


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (Router(), r"write app.include\(...\) for a router"),
        (StaticFiles, r"write StaticFiles\(...\)"),
        ("static", "is not an ASGI app"),
        (None, "is not an ASGI app"),
    ],
)
def test_what_cannot_be_mounted(wrong: Any, hint: str) -> None:
    """What is no ASGI app is refused when it is mounted."""
    with pytest.raises(RouteError, match=hint):
        App().mount("/x", wrong)


async def test_parameters_before_what_a_router_has() -> None:
    """A prefix with parameters is a router's, included at one level or at two."""
    app, outer, inner = App(), Router("/t/{tenant}"), Router("/{shop:int}")

    @inner.get("/x")
    async def x(tenant: str, shop: int, region: str = "") -> str:
        return f"{tenant} {shop} {region}"

    outer.include(inner)
    app.include(outer, prefix="/r")
    assert (await ask(app, "/proxy/r/t/acme/5/x", root_path="/proxy")).body == b"acme 5 "
    assert (await ask(app, "/r/t/acme/5/x", root_path="/proxy")).body == b"acme 5 "
