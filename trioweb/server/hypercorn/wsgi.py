"""WSGI apps, by Hypercorn's wrapper."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import trio
from hypercorn.app_wrappers import WSGIWrapper
from hypercorn.typing import WSGIFramework

from trioweb.ground.http.asgi import ASGIApp


def as_asgi(app: WSGIFramework, max_body_size: int) -> ASGIApp:
    """A WSGI app as an ASGI app. It runs in worker threads, with whole request bodies in memory."""
    wrapped = cast("Callable[..., Awaitable[None]]", WSGIWrapper(app, max_body_size))
    return partial(wrapped, sync_spawn=trio.to_thread.run_sync, call_soon=trio.from_thread.run)
