"""The WebSockets of the tests, behind ASGI middleware of others and one that puts itself in between."""

from __future__ import annotations

from hypercorn.middleware import ProxyFixMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from tests.server.socket_app import app
from tests.server.wrapping import Wrapping
from trioweb import Request, WebSocket

app.add_middleware(ProxyFixMiddleware, mode="legacy", trusted_hops=1)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "x", "good.example"])
app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])
app.add_middleware(SessionMiddleware, secret_key="key")
app.add_middleware(Wrapping)


@app.get("/login")
async def login(request: Request) -> str:
    """Keep something in the session."""
    request.scope["session"]["user"] = "ada"
    return "ok"


@app.websocket("/who")
async def who(ws: WebSocket) -> None:
    """Say what the middlewares have left."""
    await ws.accept()
    await ws.send_json(
        {
            "user": ws.scope["session"].get("user"),
            "client": ws.client and ws.client[0],
            "scheme": ws.url.scheme,
            "host": ws.headers["host"],
        }
    )
