"""The examples in docstrings, executed. Those of the testing kit stand in ``tests/testing/test_examples.py``."""

from __future__ import annotations

import ast
import contextlib
import inspect
import logging
import os
import re
import secrets
import sqlite3
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

import trioweb
import trioweb.middleware
import trioweb.openapi
import trioweb.streams
from tests.contrib.cluster import Cluster
from tests.testing.test_examples import PLACES
from trioweb import App, Provide, RangeResponse, Request, Response
from trioweb.contrib.postgres import PostgresConnection, PostgresPool
from trioweb.contrib.sqlite import SQLitePool
from trioweb.hub import MemoryHub
from trioweb.middleware import Session
from trioweb.security import (
    CSRF,
    AnyOf,
    APIKey,
    BasicAuth,
    BearerToken,
    MemorySessions,
    RedisSessions,
    csrf_token,
    session,
)
from trioweb.testing import TestClient

PACKAGE = Path(trioweb.__file__).parent
NAMES: dict[str, Any] = {
    **{name: getattr(trioweb, name) for name in trioweb.__all__},
    "Annotated": Annotated, "TestClient": TestClient, "logging": logging, "os": os, "pytest": pytest,
    "secrets": secrets,
}  # fmt: skip
"""What an example takes for granted."""
Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented() -> Iterator[tuple[str, str]]:
    """Every place whose docstring has a block of code, and that block."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield from _blocks(ast.parse(path.read_text()), _name(path))


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _blocks(node: Definition, name: str) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node) or ""
    for block in re.findall(r"::\n\n((?:(?:    .*)?\n)+)", text + "\n"):
        yield name, textwrap.dedent(block).strip()
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _blocks(child, f"{name}.{child.name}")


BLOCKS = dict(documented())


async def execute(place: str, **names: Any) -> Any:
    """Run a block as the body of a function: what it returns, or else the names that it has made."""
    source = "async def example():\n" + textwrap.indent(BLOCKS[place], "    ") + "\n    return locals()"
    scope = {**NAMES, **names}
    exec(compile(source, f"<{place}>", "exec", dont_inherit=True), scope)
    return await scope["example"]()


async def ask(app: App, path: str = "/", method: str = "GET", **options: Any) -> Any:
    """A response of an app."""
    async with TestClient(app) as client:
        return await client.request(method, path, **options)


def site() -> App:
    """An app with a page."""
    app = App()

    @app.get("/")
    async def root() -> str:
        return "x" * 1000

    return app


async def middleware() -> None:
    """A header is added to what the app answers."""
    app = site()
    await execute("trioweb.app.app.App.middleware", app=app)
    assert (await ask(app)).headers["x-served-by"] == "one"


async def compression() -> None:
    """A page is compressed."""
    app = site()
    await execute("trioweb.middleware.compression.Compression", app=app)
    assert "content-encoding" in (await ask(app)).headers


async def cors() -> None:
    """A page of that origin may read it, cookies and all."""
    app = site()
    await execute("trioweb.middleware.cors.CORS", app=app)
    headers = (await ask(app, headers={"origin": "https://app.example"})).headers
    assert headers["access-control-allow-origin"] == "https://app.example"
    assert headers["access-control-allow-credentials"] == "true"


async def hosts() -> None:
    """One of its hosts is served, another is not."""
    app = site()
    await execute("trioweb.middleware.hosts.TrustedHosts", app=app)
    assert (await ask(app, headers={"host": "www.example.com"})).status_code == 200
    assert (await ask(app, headers={"host": "example.org"})).status_code == 400


async def sessions() -> None:
    """Who logs in is known at the next request."""
    app = App()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_KEY", secrets.token_urlsafe())
        await execute("trioweb.middleware.sessions.Sessions", app=app)

    @app.get("/who")
    async def who(request: Request) -> str:
        return str(request.state.session["user"])

    async with TestClient(app) as client:
        await client.post("/login", data={"name": "ada"})
        assert (await client.get("/who")).text == "ada"


class Money:
    """What an example teaches."""

    parse = int


async def add_type() -> None:
    """The class is described as it was said."""
    app = App()
    await execute("trioweb.app.described.Described.add_type", app=app, Money=Money)

    async def pay(money: Money) -> None: ...

    app.get("/")(pay)
    [parameter] = app.openapi()["paths"]["/"]["get"]["parameters"]
    assert parameter["schema"]["examples"] == ["9.50 EUR"]


async def dependency_overrides() -> None:
    """Another function is called in the place of a dependency."""
    app = App()

    async def user() -> str:
        return "nobody"

    async def me(user: str) -> str:
        return user

    me.__annotations__["user"] = Annotated[str, Provide(user)]
    app.get("/me")(me)
    async with TestClient(app) as client:
        await execute("trioweb.app.described.Described.dependency_overrides", app=app, user=user, client=client)
        assert (await client.get("/me")).text == "nobody"


async def security() -> None:
    """A route that uses the dependency is described with its scheme."""
    app = App()
    user = (await execute("trioweb.openapi.security.security", security=trioweb.openapi.security))["user"]

    async def root(user: str) -> str:
        return user

    root.__annotations__["user"] = Annotated[str, Provide(user)]
    app.get("/")(root)
    assert app.openapi()["paths"]["/"]["get"]["security"] == [{"token": []}]
    assert (await ask(app)).status_code == 401
    assert (await ask(app, headers={"authorization": "Bearer secret"})).text == "ada"


async def bearer_token() -> None:
    """Who has the token passes."""
    app = App()
    await execute("trioweb.security.credentials.BearerToken", app=app, BearerToken=BearerToken)
    assert (await ask(app, "/me")).status_code == 401
    assert (await ask(app, "/me", headers={"authorization": "Bearer secret"})).text == "ada"


async def basic_auth() -> None:
    """Who knows the password passes."""
    app = App()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADMIN_PASSWORD", "secret")
        await execute("trioweb.security.credentials.BasicAuth", app=app, BasicAuth=BasicAuth)
    assert (await ask(app, "/admin")).status_code == 401
    assert (await ask(app, "/admin", auth=("ada", "secret"))).text == "ada"


async def api_key() -> None:
    """Who has the key passes."""
    app = App()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_KEY", "secret")
        await execute("trioweb.security.credentials.APIKey", app=app, APIKey=APIKey)
    assert (await ask(app, "/orders", "POST")).status_code == 401
    assert (await ask(app, "/orders", "POST", headers={"x-api-key": "secret"})).text == "shop"


async def any_of() -> None:
    """Who has the token or the key passes."""
    app = App()
    names = {"AnyOf": AnyOf, "BearerToken": BearerToken, "APIKey": APIKey}
    await execute("trioweb.security.alternatives.AnyOf", app=app, **names)
    assert (await ask(app, "/me")).status_code == 401
    assert (await ask(app, "/me", headers={"authorization": "Bearer secret"})).text == "ada"
    assert (await ask(app, "/me", headers={"x-api-key": "key"})).text == "shop"


async def csrf() -> None:
    """The own form is taken, that of another site's page is not."""
    app = App()
    await execute("trioweb.security.csrf.CSRF", app=app, CSRF=CSRF, csrf_token=csrf_token)
    async with TestClient(app) as client:
        token = (await client.get("/transfer")).text.partition('value="')[2].partition('"')[0]
        assert (await client.post("/transfer", data={"csrf_token": token})).text == "done"
        for headers in ({}, {"origin": "https://evil.example"}):
            assert (await client.post("/transfer", headers=headers)).status_code == 403


async def memory_sessions() -> None:
    """Who logs in is known at the next request."""
    app = App()
    names = {"MemorySessions": MemorySessions, "Session": Session, "session": session}
    await execute("trioweb.security.sessions.MemorySessions", app=app, **names)

    @app.get("/who")
    async def who(request: Request) -> str:
        return str(request.state.session["user"])

    async with TestClient(app) as client:
        await client.post("/login", data={"name": "ada"})
        assert (await client.get("/who")).text == "ada"


async def redis_sessions() -> None:
    """They are connected while the app runs; who has no cookie does not wait for them."""
    app = site()
    await execute("trioweb.security.redis.RedisSessions", app=app, RedisSessions=RedisSessions)
    assert (await ask(app)).status_code == 200


async def ranges() -> None:
    """It is a response of which a client may have parts."""
    response = await execute("trioweb.messages.ranges.RangeResponse", storage=None, key="a", length=10)
    assert isinstance(response, RangeResponse)
    prepared: Response = await response.prepare("HEAD")
    assert prepared.headers["accept-ranges"] == "bytes"
    assert prepared.headers["content-length"] == "10"


async def parts(tmp_path: Path) -> None:
    """The file of a form is saved, its field is not."""
    app = App()

    @app.post("/")
    async def upload(request: Request) -> None:
        await execute("trioweb.messages.request.Request.parts", request=request, directory=tmp_path)

    await ask(app, method="POST", files={"file": ("a.txt", b"12345")}, data={"note": "x"})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"12345"]


async def hinted() -> None:
    """The client is told of the style sheet."""
    app = App()

    @app.get("/")
    async def page(request: Request) -> str:
        await execute("trioweb.messages.request.Request.early_hints", request=request)
        return "page"

    assert (await ask(app)).extensions["early_hints"] == ["</style.css>; rel=preload; as=style"]


async def marked_errors() -> None:
    """A fault's answer is marked as others are."""
    app = site()
    app.middleware((await execute("trioweb.messages.request.Request.mark_errors"))["add_server_name"])

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError

    async with TestClient(app, raise_app_exceptions=False) as client:
        for path, status in (("/", 200), ("/broken", 500)):
            response = await client.get(path)
            assert (response.status_code, response.headers["x-served-by"]) == (status, "one")


async def websocket() -> None:
    """It echoes."""
    app = App()
    await execute("trioweb.messages.websocket.WebSocket", app=app)
    async with TestClient(app) as client, client.websocket("/echo") as ws:
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def rate_limit() -> None:
    """The hundred and first request of a minute is refused."""
    app = site()
    await execute("trioweb.middleware.ratelimit.RateLimit", app=app, RateLimit=trioweb.middleware.RateLimit)
    async with TestClient(app) as client:
        assert [(await client.get("/")).status_code for _ in range(101)] == [*[200] * 100, 429]


async def counted() -> None:
    """Requests are counted by their route."""
    app, names = site(), vars(trioweb.middleware)
    await execute("trioweb.middleware.metrics.Metrics", app=app, **names)
    async with TestClient(app) as client:
        await client.get("/")
        assert 'route="/",status="200"' in (await client.get("/metrics")).text


async def request_ids() -> None:
    """What is logged has the id of its request."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        handler = (await execute("trioweb.middleware.requestid.RequestIDFilter", **vars(trioweb.middleware)))["handler"]
        record = logging.makeLogRecord({"msg": "paid", "levelname": "INFO"})
        assert handler.filter(record)
        assert handler.format(record) == "INFO [-] paid"
        assert root.handlers == [handler]
    finally:
        root.handlers = handlers


async def hub_stream() -> None:
    """A stream has what is published."""
    app, hub = App(), MemoryHub()
    app.lifespan(hub)
    await execute("trioweb.hub.hub.Hub.stream", app=app, hub=hub)
    async with TestClient(app) as client, client.events("/news") as events:
        await hub.publish("news", "new")
        assert (await anext(events)).data == "new"


async def event_reader(capsys: pytest.CaptureFixture[str]) -> None:
    """The events of a service are printed."""
    app = App()

    @app.post("/events")
    async def events() -> AsyncIterator[trioweb.ServerSentEvent]:
        yield trioweb.ServerSentEvent("x", event="tick")

    names = {"url": "/events", "question": {}, "EventReader": trioweb.streams.EventReader}
    async with TestClient(app) as client:
        await execute("trioweb.streams.reader.EventReader", client=client, **names)
    assert capsys.readouterr().out == "tick x\n"


async def postgres_pool(request: pytest.FixtureRequest) -> None:
    """A price is found."""
    cluster: Cluster = request.getfixturevalue("postgres")
    app = App()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        async with await PostgresConnection.connect() as connection:
            await connection.set_autocommit(True)
            await connection.execute("CREATE DATABASE shop")
        names = await execute("trioweb.contrib.postgres.PostgresPool", app=app, PostgresPool=PostgresPool)
        async with TestClient(app) as client, names["pool"].connection() as connection:
            await connection.execute("CREATE TABLE products AS SELECT 'tea' AS name, 9.5::float AS price")
            await connection.commit()
            assert (await client.get("/price/tea")).json() == {"price": 9.5}


async def sqlite_pool(tmp_path: Path) -> None:
    """A table is exported."""
    with contextlib.chdir(tmp_path), contextlib.closing(sqlite3.connect("shop.sqlite3")) as database:
        database.execute("CREATE TABLE orders AS SELECT 1 AS id, 'tea' AS product, 9.5 AS price")
        app = App()
        await execute("trioweb.contrib.sqlite.SQLitePool", app=app, SQLitePool=SQLitePool)
        assert (await ask(app, "/orders.csv")).text == "id,product,price\r\n1,tea,9.5\r\n"


async def fixture() -> None:
    """The fixture gives a client of the app."""
    made = (await execute("trioweb.testing", app=site()))["client"]
    async for client in inspect.unwrap(made)():
        assert (await client.get("/")).status_code == 200


CASES: dict[str, Callable[..., Awaitable[None]]] = {
    "trioweb.app.app.App.middleware": middleware,
    "trioweb.app.described.Described.add_type": add_type,
    "trioweb.app.described.Described.dependency_overrides": dependency_overrides,
    "trioweb.contrib.postgres.PostgresPool": postgres_pool,
    "trioweb.contrib.sqlite.SQLitePool": sqlite_pool,
    "trioweb.hub.hub.Hub.stream": hub_stream,
    "trioweb.middleware.compression.Compression": compression,
    "trioweb.middleware.cors.CORS": cors,
    "trioweb.middleware.hosts.TrustedHosts": hosts,
    "trioweb.middleware.metrics.Metrics": counted,
    "trioweb.middleware.ratelimit.RateLimit": rate_limit,
    "trioweb.middleware.requestid.RequestIDFilter": request_ids,
    "trioweb.middleware.sessions.Sessions": sessions,
    "trioweb.messages.ranges.RangeResponse": ranges,
    "trioweb.messages.request.Request.early_hints": hinted,
    "trioweb.messages.request.Request.mark_errors": marked_errors,
    "trioweb.messages.request.Request.parts": parts,
    "trioweb.messages.websocket.WebSocket": websocket,
    "trioweb.openapi.security.security": security,
    "trioweb.security.alternatives.AnyOf": any_of,
    "trioweb.security.credentials.APIKey": api_key,
    "trioweb.security.credentials.BasicAuth": basic_auth,
    "trioweb.security.credentials.BearerToken": bearer_token,
    "trioweb.security.csrf.CSRF": csrf,
    "trioweb.security.redis.RedisSessions": redis_sessions,
    "trioweb.security.sessions.MemorySessions": memory_sessions,
    "trioweb.streams.reader.EventReader": event_reader,
    "trioweb.testing": fixture,
}


@pytest.mark.parametrize("place", CASES)
async def test_examples(
    place: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every example in a docstring does what it is there to show."""
    case, known = CASES[place], {"request": request, "tmp_path": tmp_path, "capsys": capsys}
    await case(*(known[name] for name in inspect.signature(case).parameters))


def test_all_are_executed() -> None:
    """No example is left out: it is executed here, or where the testing kit's are."""
    kit = {f"{place.__module__}.{place.__qualname__}" for place in PLACES}
    assert set(CASES) | kit == set(BLOCKS)
    assert len(list(documented())) == len(BLOCKS)
