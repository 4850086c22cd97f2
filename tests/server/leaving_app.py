"""Streams of other frameworks, each as its users write them: one that sleeps, and one that always has something."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from fastapi import FastAPI
from litestar import Litestar, get
from litestar.response import ServerSentEvent, Stream
from quart import make_response
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from trioweb import App

LOG = Path(os.environ.get("EVENT_LOG", os.devnull))
PAUSES = {"sleepy": 10_000.0, "chatty": 0.01}
HAS_EVENTS = importlib.util.find_spec("fastapi.sse") is not None
"""This FastAPI has event streams of its own."""
HAS_SSE_STARLETTE = importlib.util.find_spec("sse_starlette") is not None


def note(text: str) -> None:
    """Note a line."""
    with LOG.open("a") as file:
        file.write(text + "\n")


async def ticks(name: str, make: Callable[[int], Any] = "{}\n".format) -> AsyncIterator[Any]:
    """A stream without an end, which notes when it has begun, and when it is ended."""
    try:
        note(f"{name} began")
        for number in range(1_000_000):
            yield make(number)
            await trio.sleep(PAUSES[name.rpartition(".")[2]])
    finally:
        note(f"{name} ended")


async def stream(request: Request, name: str) -> StreamingResponse:
    """A stream of Starlette's, with work in the background."""
    return StreamingResponse(ticks(name), background=BackgroundTask(note, f"{name} background"))


async def events(request: Request, name: str) -> Any:
    """An event stream of sse-starlette's."""
    from sse_starlette.sse import EventSourceResponse  # noqa: PLC0415 - optional

    return EventSourceResponse(ticks(name, lambda number: {"data": number}))


async def poll(request: Request) -> StreamingResponse:
    """A stream that asks whether its client is there."""

    async def look() -> AsyncIterator[str]:
        try:
            note("poll began")
            while not await request.is_disconnected():
                yield "x"
                await trio.sleep(0.01)
        finally:
            note("poll ended")

    return StreamingResponse(look())


class Through(BaseHTTPMiddleware):
    """Middleware that does nothing."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        """Pass on."""
        return await call_next(request)


def make_starlette(name: str, *middleware: Any) -> Starlette:
    """An app of Starlette's, with middleware around it."""
    routes = [Route(f"/{pause}", partial(stream, name=f"{name}.{pause}")) for pause in PAUSES]
    routes += [Route(f"/events-{pause}", partial(events, name=f"{name}.events.{pause}")) for pause in PAUSES]
    return Starlette(routes=[*routes, Route("/poll", poll)], middleware=[Middleware(cls) for cls in middleware])


fastapi = FastAPI()
quart = QuartTrio(__name__)
handlers: list[Any] = []


def add(pause: str) -> None:
    """Add a stream to the frameworks that have routes by decorator."""

    @fastapi.get(f"/{pause}")
    async def plain() -> StreamingResponse:
        return StreamingResponse(ticks(f"fastapi.{pause}"))

    if HAS_EVENTS:
        from fastapi.sse import EventSourceResponse  # noqa: PLC0415 - not in all versions

        @fastapi.get(f"/events-{pause}", response_class=EventSourceResponse)
        async def own_events() -> AsyncIterator[str]:
            async for tick in ticks(f"fastapi.events.{pause}"):
                yield tick

    @get(f"/{pause}")
    async def litestar_plain() -> Stream:
        return Stream(ticks(f"litestar.{pause}"))

    @get(f"/events-{pause}")
    async def litestar_events() -> ServerSentEvent:
        return ServerSentEvent(ticks(f"litestar.events.{pause}"))

    async def quart_plain() -> Any:
        response = await make_response(ticks(f"quart.{pause}"))
        response.timeout = None  # type: ignore[union-attr]
        return response

    handlers.extend((litestar_plain, litestar_events))
    quart.add_url_rule(f"/{pause}", pause, quart_plain)


for _pause in PAUSES:
    add(_pause)

APPS: dict[str, Any] = {
    "starlette": make_starlette("starlette"),
    "middleware": make_starlette("middleware", Through, Through),
    "gzip": make_starlette("gzip", GZipMiddleware),
    "fastapi": fastapi,
    "litestar": Litestar(handlers, logging_config=None),  # whose logging is the root logger's, and all tests'
    "quart": quart,
}
mounting = App()
mounting.mount("/fastapi", fastapi)
mounting.mount("/starlette", APPS["starlette"])


@mounting.get("/-/ready")
async def ready() -> str:
    """Say that it is ready."""
    return "ready"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Each under a prefix, as the server calls it; and two of them as trioweb mounts them."""
    if scope["type"] == "lifespan" or scope["path"].startswith(("/-/", "/mounted/")):
        if scope["type"] != "lifespan":
            scope = {**scope, "path": scope["path"].removeprefix("/mounted")}
            scope["raw_path"] = scope["path"].encode()
        await mounting(scope, receive, send)
        return
    name, _, path = scope["path"][1:].partition("/")
    await APPS[name]({**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}, receive, send)
