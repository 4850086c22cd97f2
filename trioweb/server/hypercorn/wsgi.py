"""WSGI apps, by Hypercorn's wrapper."""

from __future__ import annotations

from typing import Any

import trio
from hypercorn.app_wrappers import WSGIWrapper
from hypercorn.typing import WSGIFramework

from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send


def as_asgi(app: WSGIFramework, max_body_size: int) -> ASGIApp:
    """A WSGI app as an ASGI app. It runs in worker threads, with whole request bodies in memory."""
    wrapped: Any = WSGIWrapper(app, max_body_size)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await wrapped(scope, receive, send, trio.to_thread.run_sync, trio.from_thread.run)

    return call
