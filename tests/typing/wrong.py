# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false
"""What is wrong, line by line."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import datetime
from typing import assert_type

from starlette.middleware.gzip import GZipMiddleware

from trioweb import (
    App,
    EventStreamResponse,
    HTTPError,
    JSONLinesResponse,
    Request,
    Response,
    ServerSentEvent,
    StreamingResponse,
    WebSocket,
)
from trioweb.contrib.postgres import PostgresPool
from trioweb.contrib.sqlite import SQLitePool
from trioweb.middleware import CallNext

app = App()


class Thing:
    """Nothing that can be sent."""


@app.get("/a")  # type: ignore[type-var]
async def returns_what_cannot_be_sent() -> Thing:
    """Return an object of a class that is no dataclass."""
    return Thing()


@app.get("/b")  # type: ignore[type-var]
def returns_a_time() -> datetime:
    """Return what JSON knows only inside of something."""
    return datetime.now()  # noqa: DTZ005


app.get("/c")(7)  # type: ignore[type-var]
app.get("/d", strict=True)  # type: ignore[call-arg]
app.get("/e", timeout="5")  # type: ignore[arg-type]
app.get(returns_a_time)  # type: ignore[arg-type]


@app.websocket("/f")  # type: ignore[type-var]
def not_async(ws: WebSocket) -> None:
    """Be no async def."""


@app.websocket("/g")  # type: ignore[type-var]
async def yields(ws: WebSocket) -> AsyncIterator[str]:
    """Yield where messages are sent."""
    yield "x"


@app.middleware  # type: ignore[type-var]
async def without_next(request: Request) -> Response:
    """Take no call_next."""
    return Response()


@app.middleware  # type: ignore[type-var]
def middleware_not_async(request: Request, call_next: CallNext) -> Response:
    """Be no async def."""
    return Response()


@app.middleware
async def forgets_to_await(request: Request, call_next: CallNext) -> Response:
    """Return what was not awaited."""
    call_next(request).headers  # type: ignore[attr-defined]  # noqa: B018
    return call_next(request)  # type: ignore[return-value]


app.add_middleware(GZipMiddleware, minimum_sise=500)  # type: ignore[call-arg]


@app.error_handler(ValueError)  # type: ignore[arg-type]
async def answers_another_class(request: Request, error: KeyError) -> str:
    """Take another class than it is registered for."""
    return str(error)


@app.error_handler(404)  # type: ignore[arg-type]
async def takes_no_error(request: Request) -> str:
    """Take only the request."""
    return "x"


app.error_handler("404")  # type: ignore[call-overload]


@app.lifespan  # type: ignore[type-var]
async def never_yields(app: App) -> None:
    """Return where it should yield."""


@app.lifespan  # type: ignore[type-var]
async def takes_no_app() -> AsyncIterator[None]:
    """Take nothing."""
    yield


async def values(request: Request, ws: WebSocket) -> None:
    """Give and take the wrong things."""
    StreamingResponse(lines(), buffersize=1024)  # type: ignore[call-arg]
    EventStreamResponse(lines(), ping="15")  # type: ignore[arg-type]
    ServerSentEvent("x", retry="soon")  # type: ignore[arg-type]
    JSONLinesResponse[int](lines())  # type: ignore[arg-type]
    HTTPError("404")  # type: ignore[arg-type]
    Response("x", headers={"a": 1})  # type: ignore[arg-type]
    await ws.send({"a": 1})  # type: ignore[arg-type]
    assert_type(await request.json(int), str)  # type: ignore[assert-type]


async def lines() -> AsyncIterator[str]:
    """Give lines."""
    yield "x"


def count_rows(database: sqlite3.Connection, least: int) -> int:
    """Work for a thread."""
    return database.total_changes + least


async def databases(pool: PostgresPool, files: SQLitePool) -> None:
    """Ask databases for the wrong things."""
    await files.read(count_rows, "1")  # type: ignore[arg-type]
    await files.write(count_rows)  # type: ignore[call-arg]
    files.rows("SELECT 1", 1)  # type: ignore[call-overload]
    PostgresPool(limit="10")  # type: ignore[arg-type]
    pool.copy_out(1)  # type: ignore[arg-type]
