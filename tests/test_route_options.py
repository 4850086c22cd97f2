"""What a route says beside its path: the status of what its handler returns, and dependencies without a value."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from trioweb import App, Header, HTTPError, JSONResponse, Provide, Request, Response, RouteError, Router, WebSocket
from trioweb.openapi import security
from trioweb.testing import TestClient, WebSocketDenied


@dataclass
class Item:
    """A value."""

    name: str


def ticks() -> Iterator[int]:
    """A stream."""
    yield 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("text", "text/plain; charset=utf-8"),
        (b"bytes", "application/octet-stream"),
        ({"a": 1}, "application/json"),
        (Item("tea"), "application/json"),
        (None, None),
    ],
)
async def test_the_status_of_what_is_no_response(value: Any, kind: str | None) -> None:
    """`status_code=` is the status of whatever a handler returns that is no `Response`; a 201 of `None` has no body."""
    app = App()
    app.post("/x", status_code=201)(lambda: value)
    response = await app.test_client().post("/x")
    assert (response.status_code, response.headers.get("content-type")) == (201, kind)
    assert bool(response.content) == (value is not None)


async def test_the_status_of_a_stream() -> None:
    """It is that of a stream, too: of a generator, and of a list that is streamed; behind a middleware as well."""
    app = App()

    @app.get("/ticks", status_code=202)
    async def produce() -> AsyncIterator[int]:
        yield 1

    app.get("/list", status_code=203, streaming=True)(lambda: [1, 2])
    app.get("/returned", status_code=206)(ticks)

    async def asked() -> list[int]:
        return [(await app.test_client().get(path)).status_code for path in ("/ticks", "/list", "/returned")]

    assert await asked() == [202, 203, 206]
    app.middleware(_pass)
    assert await asked() == [202, 203, 206]


async def test_a_response_has_its_own_status() -> None:
    """What is a `Response` has its own status, and an error, too."""
    app = App()

    @app.post("/x", status_code=201)
    async def make(there: bool = False) -> Response | dict[str, int]:
        if there:
            return JSONResponse({"id": 1})
        return {"id": 2}

    @app.post("/fails", status_code=201)
    async def fail() -> str:
        raise HTTPError(409)

    client = app.test_client()
    statuses = [(await client.post(path)).status_code for path in ("/x", "/x?there=1", "/fails", "/x?there=what")]
    assert statuses == [201, 200, 409, 422]


async def test_a_body_for_a_status_without_one() -> None:
    """A value that a handler returns for a 204 is an error that names the handler, not a body that is dropped."""
    app = App()
    app.delete("/x", status_code=204)(lambda: "gone")
    app.delete("/y", status_code=204)(lambda: None)
    client = app.test_client()
    with pytest.raises(TypeError, match=r"lambda> returned str, and its route has status_code=204.*: return None"):
        await client.delete("/x")
    assert (await client.delete("/y")).status_code == 204


async def _response() -> JSONResponse:
    return JSONResponse(1)


async def _both() -> JSONResponse | Response:
    return JSONResponse(1)


async def _text() -> str:
    return "text"


async def _stream() -> AsyncIterator[str]:
    yield "text"


@pytest.mark.parametrize(
    ("handler", "status", "message"),
    [
        (_response, 201, r"POST /x: status_code=201 .*write JSONResponse\(..., status_code=201\)"),
        (_both, 201, "no Response"),
        (_text, 204, "POST /x: a response with status_code=204 has no body.*return None"),
        (_text, 304, "no body"),
        (_stream, 205, "no body.*streams"),
        (_text, 101, "a status from 200 to 599, got 101"),
        (_text, 600, "got 600"),
        (_text, "201", "got '201'"),
        (_text, True, "got True"),
        (_text, None, "got None"),
    ],
)
def test_a_status_that_can_mean_nothing(handler: Callable[[], Any], status: Any, message: str) -> None:
    """A status that is none, or that could have no effect, is an error when the route is registered."""
    for router in (App(), Router()):
        with pytest.raises(RouteError, match=message):
            router.post("/x", status_code=status)(handler)
        assert router.routes == ()


def test_the_status_is_described() -> None:
    """The description has the status of what is no `Response`; what is one has its own."""
    app = App()

    @app.post("/x", status_code=201)
    async def make() -> JSONResponse | Item:
        return Item("tea")

    @app.post("/nothing", status_code=202)
    async def nothing() -> None: ...

    @app.post("/stream", status_code=202)
    async def stream() -> AsyncIterator[Item]:
        yield Item("tea")

    paths = app.openapi()["paths"]
    assert set(paths["/x"]["post"]["responses"]) == {"200", "201"}
    assert list(paths["/nothing"]["post"]["responses"]) == ["202"]
    assert "itemSchema" in paths["/stream"]["post"]["responses"]["202"]["content"]["application/x-ndjson"]


# Dependencies without a value


async def _pass(request: Request, call_next: Any) -> Any:
    return await call_next(request)


@security("token", {"type": "http", "scheme": "bearer"})
async def login(authorization: Annotated[str, Header] = "") -> str:
    """A dependency that lets some in."""
    if authorization != "Bearer secret":
        raise HTTPError(401, headers={"www-authenticate": "Bearer"})
    return "ada"


def recorder(log: list[str], name: str) -> Callable[[], AsyncIterator[None]]:
    """A dependency that notes when it is opened and closed."""

    async def note() -> AsyncIterator[None]:
        log.append(name)
        yield
        log.append(f"/{name}")

    return note


async def test_the_order_of_dependencies() -> None:
    """Those of the app come first, then those of routers from the outside in, of the route, and of the parameters; each
    is called once, and closed in the reverse order.
    """
    log: list[str] = []
    of = {name: recorder(log, name) for name in ("app", "outer", "inner", "route", "parameter")}
    app = App(dependencies=[Provide(of["app"])])
    outer = Router("/outer", dependencies=[Provide(of["outer"])])
    inner = Router("/inner", dependencies=[Provide(of["inner"]), Provide(of["app"])])

    @inner.get("/x", dependencies=[Provide(of["route"])])
    async def handler(
        value: Annotated[None, Provide(of["parameter"])], again: Annotated[None, Provide(of["app"])]
    ) -> str:
        log.append(f"handler {value} {again}")
        return "x"

    outer.include(inner)
    app.include(outer)
    assert (await app.test_client().get("/outer/inner/x")).text == "x"
    names = ["app", "outer", "inner", "route", "parameter"]
    assert log == [*names, "handler None None", *(f"/{name}" for name in reversed(names))]


async def test_dependencies_keep_clients_out() -> None:
    """A dependency that raises answers in the place of the handler: of all routes, also those that come later."""
    app = App(dependencies=[Provide(login)])
    router = Router("/api")
    app.include(router)
    router.get("/later")(lambda: "later")
    app.get("/plain")(lambda: "plain")
    app.add_docs()

    @app.websocket("/ws")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("hello")

    async with TestClient(app) as client:
        for path in ("/api/later", "/plain", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 401, path
            assert (await client.get(path, headers={"authorization": "Bearer secret"})).status_code == 200, path
        with pytest.raises(WebSocketDenied) as caught:
            async with client.websocket("/ws"):
                pass
        assert caught.value.status_code == 401
        async with client.websocket("/ws", headers={"authorization": "Bearer secret"}) as ws:
            assert await ws.receive() == "hello"


async def test_dependencies_of_a_websocket_s_route() -> None:
    """The route of a WebSocket has dependencies of its own, behind those of its router."""
    log: list[str] = []
    router = Router(dependencies=[Provide(recorder(log, "router"))])

    @router.websocket("/ws", dependencies=[Provide(recorder(log, "route"))])
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        log.append("handler")

    app = App()
    app.include(router)
    async with app.test_client() as client, client.websocket("/ws"):
        pass
    assert log == ["router", "route", "handler", "/route", "/router"]


async def test_dependencies_take_parts_of_the_path() -> None:
    """A dependency without a value takes what any other does, and a part of the path that the handler does not."""
    app = App()
    seen: list[int] = []

    async def check(number: int, limit: int = 1) -> None:
        seen.append(number * limit)

    @app.get("/x/{number:int}", dependencies=[Provide(check)])
    async def handler() -> str:
        return "x"

    client = app.test_client()
    assert (await client.get("/x/7?limit=6")).text == "x"
    assert (await client.get("/x/7?limit=what")).json()["errors"][0]["loc"] == ["query", "limit"]
    assert seen == [42]


def test_dependencies_are_described() -> None:
    """Parameters and security schemes of dependencies without a value are in the description of each route."""

    async def paged(page: int) -> None: ...

    app = App(dependencies=[Provide(login)])
    router = Router(dependencies=[Provide(paged)])
    router.get("/x")(lambda: "x")
    app.include(router)
    document = app.openapi()
    operation = document["paths"]["/x"]["get"]
    assert operation["security"] == [{"token": []}]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["page"]
    assert {"401", "422"} <= set(operation["responses"])
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}


@pytest.mark.parametrize(
    ("dependencies", "message"),
    [
        (login, r"dependencies is a list: write dependencies=\[Provide\(login\)\]"),
        ([login], r"write dependencies=\[Provide\(login\)\]"),
        ([Provide], r"write dependencies=\[Provide\(function\)\]"),
        (Provide(login), "is a list"),
        ([Provide(3)], "Provide takes a function, got int"),  # type: ignore[arg-type]
        ([None], r"dependencies has None"),
    ],
)
def test_what_is_no_dependency(dependencies: Any, message: str) -> None:
    """Anything else than a list of `Provide(function)` is an error that says what to write: it could be a login."""
    with pytest.raises(RouteError, match=message):
        App().get("/x", dependencies=dependencies)(lambda: "x")
    with pytest.raises(RouteError, match=message):
        App().websocket("/x", dependencies=dependencies)(_talk)
    with pytest.raises(RouteError, match=message):
        App(dependencies=dependencies).get("/x")(lambda: "x")
    with pytest.raises(RouteError, match=message):
        Router(dependencies=dependencies).get("/x")(lambda: "x")


async def _talk(ws: WebSocket) -> None:
    await ws.accept()
