"""The test kit: an in-process client that streams, for any ASGI app under trio.

One fixture serves all tests of an app, with pytest-trio (``trio_mode = true``) or with anyio's plugin on trio::

    @pytest.fixture
    async def client():
        async with TestClient(app) as client:
            yield client

It works under trio's ``MockClock``: with pytest-trio's ``autojump_clock`` an hour of events takes milliseconds. For
tests that are plain functions there is ``SyncTestClient``.
"""

from __future__ import annotations

try:
    import httpx as _httpx
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "trioweb.testing needs httpx: pip install trioweb[testing]", name=error.name, path=error.path
    ) from None

from trioweb.testing.client import TestClient
from trioweb.testing.engines import cut_engine
from trioweb.testing.events import EventSource
from trioweb.testing.lifespan import LifespanFailed
from trioweb.testing.plain import SyncEventSource, SyncWebSocketSession
from trioweb.testing.strict import ASGIViolation
from trioweb.testing.sync import SyncTestClient
from trioweb.testing.websocket import WebSocketClosed, WebSocketDenied, WebSocketSession

del _httpx

__all__ = [
    "ASGIViolation",
    "EventSource",
    "LifespanFailed",
    "SyncEventSource",
    "SyncTestClient",
    "SyncWebSocketSession",
    "TestClient",
    "WebSocketClosed",
    "WebSocketDenied",
    "WebSocketSession",
    "cut_engine",
]
