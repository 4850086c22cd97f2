# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false
"""What is right, and the types that it has."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict, assert_type

import httpx
import msgspec
import psycopg
import trio
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware

from trioweb import (
    CORS,
    App,
    Compression,
    EventStreamResponse,
    FormData,
    Headers,
    HTTPError,
    JSONLinesResponse,
    Provide,
    Query,
    Request,
    RequestID,
    Response,
    Route,
    Router,
    ServerSentEvent,
    StreamingResponse,
    UploadFile,
    WebSocket,
)
from trioweb.contrib.jinja import Templates
from trioweb.contrib.postgres import PostgresConnection, PostgresPool
from trioweb.contrib.sqlite import SQLitePool
from trioweb.contrib.wsgi import WSGI
from trioweb.middleware import (
    CallNext,
    Metrics,
    RateLimit,
    RequestIDFilter,
    Session,
    client_address,
    metrics_page,
    request_id,
)
from trioweb.security import CSRF, APIKey, BasicAuth, BearerToken, MemorySessions, RedisSessions, session
from trioweb.testing import EventSource, SyncEventSource, SyncTestClient, SyncWebSocketSession, TestClient


class Item(msgspec.Struct):
    """A struct."""

    name: str


@dataclass
class Point:
    """A dataclass."""

    x: int


class Fields(TypedDict):
    """A dict with known keys."""

    name: str


app = App()
router = Router("/api")

# What a handler may return


@app.get("/str")
async def text() -> str:
    """Text."""
    return "x"


@app.get("/dict")
async def mapping() -> dict[str, int]:
    """JSON."""
    return {"a": 1}


@app.get("/fields")
async def fields() -> Fields:
    """JSON, again."""
    return {"name": "x"}


@app.get("/list")
def numbers() -> list[int]:
    """JSON from a thread."""
    return [1]


@app.get("/struct")
async def struct() -> Item | None:
    """A struct, or nothing."""
    return None


@app.get("/point")
async def point() -> Point:
    """A dataclass."""
    return Point(1)


@app.get("/response")
async def response() -> Response | str:
    """One or the other."""
    return Response("x")


@app.get("/any")
async def anything() -> Any:
    """What is not said is not checked."""
    return object()


@app.get("/lines")
async def lines() -> AsyncIterator[dict[str, int]]:
    """A stream."""
    yield {"a": 1}


@app.get("/thread")
def from_thread() -> Iterator[str]:
    """A stream from a thread."""
    yield "x"


@app.get("/channel")
async def channel() -> trio.MemoryReceiveChannel[str]:
    """A stream from a channel."""
    return trio.open_memory_channel[str](0)[1]


@app.get("/list-stream", streaming=True)
async def streamed() -> tuple[str, ...]:
    """An iterable that is streamed."""
    return ("a", "b")


# A decorator gives back what it got, so it can be called as it is


async def check_decorated() -> None:
    """Types of decorated functions."""
    assert_type(await text(), str)
    assert_type(numbers(), list[int])
    assert_type(lines(), AsyncIterator[dict[str, int]])


@router.route("/many", methods=["GET", "POST"], timeout=5.0, max_body_size=1024, middleware=[Compression()])
async def many(request: Request, limit: Annotated[int, Query, msgspec.Meta(ge=1)] = 10) -> int:
    """Inputs."""
    return limit


# Middleware, error handlers, lifespans


@app.middleware
async def middleware(request: Request, call_next: CallNext) -> Response:
    """A function."""
    answer = await call_next(request)
    assert_type(answer, Response)
    return answer


@app.middleware
async def other(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> dict[str, str] | Response:
    """A function whose types are spelled out."""
    return {"a": "b"}


app.middleware(CORS(allow_origins=["*"]))
app.add_middleware(GZipMiddleware, minimum_size=500)
limit = RateLimit(100, per=60, key=lambda request: request.headers.get("x-key"), redis="redis://localhost")
app.lifespan(limit)
app.middleware(limit)
app.middleware(RateLimit(5, 1.5, key=client_address))
assert_type(request_id.get(), str | None)


@app.error_handler(404)
async def not_found(request: Request, error: HTTPError) -> str:
    """For a status."""
    return error.detail or ""


@app.error_handler(ValueError)
def wrong_value(request: Request, error: ValueError) -> Response:
    """For a class, in a thread."""
    return Response(str(error), 400)


@app.error_handler(LookupError)
async def lookup(request: Request, error: Exception) -> None:
    """For a class, by what it derives from."""


@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    """A generator."""
    yield


@app.lifespan
@asynccontextmanager
async def managed(app: App) -> AsyncGenerator[None, None]:
    """A context manager."""
    yield


@app.lifespan
def made(app: App) -> AbstractAsyncContextManager[None]:
    """What makes one."""
    return managed(app)


# WebSockets and requests


@app.websocket("/chat/{room}")
async def chat(ws: WebSocket, room: str) -> None:
    """Talk."""
    await ws.accept()
    async for message in ws:
        assert_type(message, str | bytes)
    async for item in ws.messages(Item):
        assert_type(item, Item)
    assert_type(await ws.receive_json(Item), Item)


async def ask(request: Request) -> None:
    """What a request gives."""
    assert_type(request.query.getlist("a"), list[str])
    assert_type(request.headers, Headers)
    assert_type(request.client, tuple[str, int] | None)
    assert_type(request.nursery, trio.Nursery)
    assert_type(await request.json(Item), Item)
    assert_type(await request.json(list[int]), list[int])
    assert_type(await request.form(), FormData)
    assert_type((await request.form())["file"], str | UploadFile)
    async for item in request.json_lines(Item):
        assert_type(item, Item)
    async for chunk in request.stream():
        assert_type(chunk, bytes)


async def connect() -> AsyncIterator[Mapping[str, int]]:
    """A dependency."""
    yield {}


@app.get("/provided")
async def provided(pool: Annotated[Mapping[str, int], Provide(connect)], nursery: trio.Nursery) -> Response:
    """Responses that stream."""
    StreamingResponse(lines(), buffer_size=1024, idle_timeout=5, on_error=lambda error: f"{error}")
    JSONLinesResponse([1, 2], write_timeout=None)
    return EventStreamResponse([ServerSentEvent({"a": 1}, event="x", id=1)], ping=None)


@app.get("/items-of")
async def typed_items() -> EventStreamResponse[Item | str]:
    """A stream that says what it is made of; any other class of streams does so, too, or says nothing."""
    assert_type(JSONLinesResponse([1, 2]), JSONLinesResponse[int])
    untold: JSONLinesResponse = JSONLinesResponse([1])
    assert untold
    return EventStreamResponse(["x", "y"])


@app.get("/paths", summary="Paths", tags=["x"], responses={404: "There is none.", 201: Item}, include_in_schema=True)
async def path_of() -> Path:
    """What becomes JSON by its class."""
    return Path("x")


async def check_testing() -> None:
    """What the test client gives."""
    async with TestClient(app) as client:
        assert_type(client, TestClient)
        assert_type(await client.get("/"), httpx.Response)
        async with client.events("/x") as events:
            assert_type(events, EventSource)
            assert_type(await anext(events), ServerSentEvent)
    assert_type(app.test_client(), TestClient)
    assert_type(app.routes, tuple[Route, ...])
    assert_type(app.url_for("text"), str)


def count_rows(database: sqlite3.Connection, least: int) -> int:
    """Work for a thread."""
    return len(database.execute("SELECT 1 WHERE 1 > ?", [least]).fetchall())


Transaction = Annotated[PostgresConnection, Provide(PostgresPool().transaction)]


@app.put("/rows")
async def put_rows(request: Request, connection: Transaction) -> int:
    """What a transaction gives."""
    assert_type(connection, PostgresConnection)
    return await connection.copy_in("COPY rows FROM STDIN", request.stream())


async def check_databases(pool: PostgresPool, files: SQLitePool) -> AsyncIterator[bytes]:
    """What databases give."""
    async with pool.connection() as connection:
        assert_type(connection, PostgresConnection)
        assert_type(await PostgresConnection.connect("dbname=shop"), PostgresConnection)
    async with pool.listen("a", "b") as notifications:
        assert_type(await anext(notifications), psycopg.Notify)
    assert_type(await files.read(count_rows, 1), int)
    assert_type(await files.write(count_rows, least=1), int)
    assert_type(files.rows("SELECT 1 AS name", make=Item), AsyncGenerator[Item, None])
    assert_type(files.rows("SELECT :a", {"a": 1}), AsyncGenerator[dict[str, Any], None])
    async for row in pool.copy_out("COPY rows TO STDOUT"):
        assert_type(row, bytes)
        yield row
    app.lifespan(pool)
    app.lifespan(files)


# Mounts, sign-in and what stands around requests


def wsgi(environ: dict[str, Any], start_response: Callable[..., Callable[[bytes], object]]) -> Iterable[bytes]:
    """A WSGI app."""
    start_response("200 OK", [])
    return [b"x"]


async def find_user(token: str) -> Item | None:
    """Who has a token."""
    return Item(token)


bearer = BearerToken(find_user)
key = APIKey(header="x-api-key", check=["one", "two"])
sessions = MemorySessions(max_age=3600)
shared = RedisSessions("redis://localhost")
pages = Templates(Path("pages"))

app.mount("/shop", WSGI(wsgi, threads=8))
app.mount("/old", Starlette(), name="old")
app.add_middleware(Metrics)
app.get("/metrics", dependencies=[Provide(bearer)])(metrics_page)
app.middleware(RequestID(trust=False))
app.middleware(CSRF())
app.middleware(sessions)
app.lifespan(sessions)
app.lifespan(shared)
logging.StreamHandler().addFilter(RequestIDFilter(default="none"))
app.dependency_overrides[find_user] = lambda: Item("ada")


@app.post("/items", status_code=201, dependencies=[Provide(key), Provide(BasicAuth())])
async def make_item(
    request: Request, user: Annotated[Item, Provide(bearer)], session: Annotated[Session, Provide(session)]
) -> Response:
    """What a request knows of itself."""
    assert_type(request.route.path if request.route else None, str | None)
    assert_type(request.url_for("text"), str)
    assert_type(request.is_websocket, bool)
    await request.early_hints(["</style.css>; rel=preload"])
    if session.get("full"):
        raise HTTPError(409, {"left": 0, "items": ["a"]}, {"retry-after": "5"})
    return pages.page(request, "item.html", user=user)


def test_plainly() -> None:
    """A test without trio."""
    with SyncTestClient(app, raise_app_exceptions=False) as client:
        assert_type(client, SyncTestClient)
        assert_type(client.get("/").json(), Any)
        with client.websocket("/ws") as ws:
            assert_type(ws, SyncWebSocketSession)
            assert_type(ws.receive(), str | bytes)
        with client.events("/x") as events:
            assert_type(events, SyncEventSource)
            assert_type(next(events), ServerSentEvent)
        with client.stream("GET", "/x") as response:
            assert_type(response, httpx.Response)
