"""The app: which route answers, and what is answered where none does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import pytest
import trio.testing

from tests.asgi import ask
from trioweb import App, HTTPError, Request, Response, RouteError, Router


def named(name: str) -> Callable[[Request], Any]:
    """A handler that answers its own name."""

    async def handler(request: Request) -> str:
        return name

    handler.__name__ = name
    return handler


@pytest.fixture
def app() -> App:
    """An app with some routes."""
    app = App()
    app.get("/")(named("root"))
    app.get("/users/{id}")(named("user"))
    app.get("/users/me")(named("me"))
    app.delete("/users/{id}")(named("delete"))
    app.get("/files/{path:path}")(named("files"))
    app.get("/folder/")(named("folder"))
    app.post("/items")(named("items"))
    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/", 200, b"root"),
        ("GET", "/users/1", 200, b"user"),
        ("GET", "/users/me", 200, b"me"),
        ("DELETE", "/users/me", 200, b"delete"),
        ("HEAD", "/users/me", 200, b""),
        ("GET", "/files/a/b", 200, b"files"),
        ("GET", "/nowhere", 404, None),
        ("GET", "/users/", 404, None),
        ("GET", "/items", 405, None),
    ],
)
async def test_which_route_answers(app: App, method: str, path: str, status: int, body: bytes | None) -> None:
    """Plain segments win over parameters whatever the order, a method looks further, HEAD follows from GET."""
    exchange = await ask(app, path, method)
    assert exchange.status == status
    if body is not None:
        assert exchange.body == body


async def test_methods_that_are_not_there(app: App) -> None:
    """A 405 says which methods are there; OPTIONS is answered with them; an own HEAD or OPTIONS wins."""
    assert (await ask(app, "/items", "PUT")).headers["allow"] == "OPTIONS, POST"
    exchange = await ask(app, "/users/1", "OPTIONS")
    assert (exchange.status, exchange.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")

    @app.head("/users/{id}")
    async def head(id: str) -> Response:  # noqa: A002
        return Response(status_code=299)

    @app.options("/users/{id}")
    async def options(id: str) -> str:  # noqa: A002
        return "own"

    assert (await ask(app, "/users/1", "HEAD")).status == 299
    assert (await ask(app, "/users/1", "OPTIONS")).body == b"own"


@pytest.mark.parametrize(
    ("mode", "path", "status", "location"),
    [
        ("redirect", "/items/", 308, "/items?a=1"),
        ("redirect", "/folder", 308, "/folder/?a=1"),
        ("redirect", "/files", 308, "/files/?a=1"),
        ("redirect", "//items/", 404, None),
        ("strict", "/folder", 404, None),
        ("same", "/folder", 200, None),
        ("same", "/items/", 405, None),
    ],
)
async def test_trailing_slashes(
    app: App, mode: Literal["redirect", "strict", "same"], path: str, status: int, location: str | None
) -> None:
    """A path that differs by its last slash from a route is redirected to it, refused, or served, as the app says."""
    other = App(trailing_slash=mode)
    for route in app.routes:
        other.route(route.path, route.methods, name=route.name)(route.handler)
    exchange = await ask(other, path, query_string=b"a=1")
    assert (exchange.status, exchange.headers.get("location")) == (status, location)


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/x", "/\\evil.example"])
async def test_a_redirect_stays_on_its_host(path: str) -> None:
    """No redirect to another slash leads to a host that the client has written into the path."""
    app = App()
    app.get("/{path:path}/")(named("all"))
    exchange = await ask(app, path)
    location = exchange.headers.get("location", "")
    assert (exchange.status, location) == ((308, "/%5Cevil.example/") if "\\" in path else (404, ""))


def test_routes_that_match_the_same_requests(app: App) -> None:
    """Two routes that match the same requests are an error when the second is registered, naming both."""
    with pytest.raises(RouteError, match=r"GET /users/\{name\} matches the same requests as the route /users/\{id\}"):
        app.get("/users/{name}")(named("other"))
    router = Router("/users")
    router.get("/me")(named("other"))
    with pytest.raises(RouteError, match="matches the same"):
        app.include(router)
    app.get("/users/{id:int}")(named("by number"))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("users", 'must start with "/"'),
        ("/{a", "braces"),
        ("/{a:word}", "no converter 'word'"),
        ("/{a}/{a}", "stands twice"),
        ("/{a b}", "identifier"),
    ],
)
def test_wrong_paths(app: App, path: str, reason: str) -> None:
    """A path that is no template is an error when it is registered, with the reason."""
    with pytest.raises(RouteError, match=reason):
        app.get(path)(named("x"))


def test_a_parameter_that_nothing_can_fill(app: App) -> None:
    """A handler parameter that nothing can fill is an error when its route is registered."""

    async def handler(id: str, wanted) -> str:  # type: ignore[no-untyped-def]  # noqa: A002, ANN001 - as in the path
        return str(wanted)

    with pytest.raises(RouteError, match=r"GET /x/\{id\}: nothing can fill the parameter 'wanted'"):
        app.get("/x/{id}")(handler)


async def test_a_converter_of_the_users_own(app: App) -> None:
    """A converter recognises, reads and writes a parameter; a ValueError of it is a 404."""
    app.add_converter("day", r"\d{4}-\d\d-\d\d", date.fromisoformat, date.isoformat)

    @app.get("/on/{day:day}")
    async def on(day: date) -> str:
        return day.strftime("%A")

    assert (await ask(app, "/on/2026-11-20")).body == b"Friday"
    assert (await ask(app, "/on/2026-13-20")).status == 404
    assert app.url_for("on", day=date(2026, 11, 20)) == "/on/2026-11-20"
    with pytest.raises(RouteError, match="already"):
        app.add_converter("day", r"\d+")


def test_url_for(app: App) -> None:
    """A route's path is made from its name and parameters, escaped; a wrong name or parameter says what there is."""
    assert app.url_for("user", id="a bü") == "/users/a%20b%C3%BC"
    assert app.url_for("files", path="a/b c") == "/files/a/b%20c"
    with pytest.raises(LookupError, match="no route is named 'nobody'"):
        app.url_for("nobody")
    with pytest.raises(LookupError, match=r"takes \(id\), got \(name\)"):
        app.url_for("user", name="x")
    with pytest.raises(ValueError, match="would not match"):
        app.url_for("user", id="a/b")


async def test_routers(app: App) -> None:
    """Routers include routers, with their prefixes, and routes that are registered later are there too."""
    api, users = Router("/api"), Router("/users")
    users.get("/{id:int}")(named("first"))
    api.include(users)
    app.include(api, prefix="/v1")
    users.get("/later")(named("later"))
    assert (await ask(app, "/v1/api/users/1")).body == b"first"
    assert (await ask(app, "/v1/api/users/later")).body == b"later"
    assert app.url_for("first", id=3) == "/v1/api/users/3"
    with pytest.raises(RouteError, match="itself"):
        users.include(api)


async def test_mounts(app: App) -> None:
    """A mounted app gets what no route matches under its path, and makes its own answers from there."""
    inner = App()

    @inner.get("/")
    async def root(request: Request) -> str:
        return f"root of {request.scope['root_path']}"

    @inner.get("/x/{n:int}")
    async def x(n: int) -> int:
        return n

    app.mount("/inner", inner)
    app.get("/inner/own")(named("own"))
    inner.put("/own")(named("hidden"))
    assert (await ask(app, "/inner")).body == b"root of /inner"
    assert (await ask(app, "/inner/")).body == b"root of /inner"
    assert (await ask(app, "/inner/x/5")).body == b"5"
    assert (await ask(app, "/inner/own")).body == b"own"
    assert (await ask(app, "/inner/own", "PUT")).status == 405
    assert (await ask(app, "/inner/none")).status == 404
    assert (await ask(app, "/innermost")).status == 404
    assert (await ask(app, "/inner/x/5/")).headers["location"] == "/inner/x/5"
    with pytest.raises(RouteError, match="mounted"):
        app.mount("/inner/", inner)


async def test_a_mount_at_the_root_takes_the_rest(app: App) -> None:
    """What is mounted at "/" gets what neither a route nor a redirect answers."""

    async def rest(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode(), "more_body": False})

    app.mount("/", rest)
    assert (await ask(app, "/any/thing")).body == b"/any/thing"
    assert (await ask(app, "/items/")).status == 308
    assert (await ask(app, "/users/1")).body == b"user"


async def test_a_root_path_is_taken_off(app: App) -> None:
    """Behind a proxy that adds a prefix, routes are looked for below it, and redirects keep it."""
    assert (await ask(app, "/proxy/users/me", root_path="/proxy")).body == b"me"
    assert (await ask(app, "/proxy", root_path="/proxy")).body == b"root"
    assert (await ask(app, "/proxyother", root_path="/proxy")).status == 404
    assert (await ask(app, "/proxy/folder", root_path="/proxy")).headers["location"] == "/proxy/folder/"


async def test_other_scopes(app: App) -> None:
    """A WebSocket is refused, and what ASGI does not have is an error."""
    sent: list[str] = []
    told = iter(["websocket.connect", "websocket.disconnect"])

    async def receive() -> dict[str, str]:
        await trio.testing.wait_all_tasks_blocked()
        return {"type": next(told)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == ["websocket.close"]
    with pytest.raises(RuntimeError, match="scopes of type 'odd'"):
        await app({"type": "odd"}, receive, send)


def test_error_handlers_are_for_statuses_and_exceptions(app: App) -> None:
    """Anything else is a mistake that is told at once."""
    with pytest.raises(TypeError, match=r"a status or an exception class, got '404': write @app.error_handler\(404\)"):
        app.error_handler("404")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="400 to 599"):
        HTTPError(200)


def test_without_trio() -> None:
    """Called outside of trio the app says how to start it."""
    coroutine: Any = App()({"type": "http"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="run it with `hypercorn -k trio module:app`"):
        coroutine.send(None)
