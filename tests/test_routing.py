"""Routers: decorators, prefixes, and how routes reach the app that includes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from trioweb import App, Router
from trioweb.ground.errors import RouteError


async def handler() -> None:
    """A handler of no parameters."""


def paths(router: Router) -> list[tuple[str, list[str]]]:
    """Path and methods of each of a router's routes."""
    return [(route.path, sorted(route.methods)) for route in router.routes]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head", "options"])
@pytest.mark.parametrize("router", [App, Router])
def test_decorators(router: type[Router], method: str) -> None:
    """Each decorator registers its own method, and leaves the handler as it is."""
    it = router()
    assert getattr(it, method)("/x")(handler) is handler
    assert paths(it) == [("/x", [method.upper()])]


def test_route() -> None:
    """``route`` registers any methods in capitals, and ``GET`` unless told otherwise."""
    router = Router()
    router.route("/a")(handler)
    router.route("/b", methods=["get", "Post", "PROPFIND"])(handler)
    assert paths(router) == [("/a", ["GET"]), ("/b", ["GET", "POST", "PROPFIND"])]
    assert router.routes[1].where == "GET POST PROPFIND /b"


def test_decorators_stack() -> None:
    """One handler may stand at several paths."""
    router = Router()
    router.get("/a")(router.post("/b")(handler))
    assert paths(router) == [("/b", ["POST"]), ("/a", ["GET"])]


def test_options() -> None:
    """A route keeps what its decorator was given, through all routers; its name is the handler's unless given."""
    inner = Router("/in")
    inner.get("/a")(handler)
    inner.get("/b", name="bee", streaming=True, cancel_on_disconnect=False, timeout=3)(handler)
    app = App()
    app.include(inner, "/v1")
    for router in (inner, app):
        plain, full = router.routes
        assert (plain.name, plain.options) == ("handler", {})
        assert full.name == "bee"
        assert full.options == {"name": "bee", "streaming": True, "cancel_on_disconnect": False, "timeout": 3}
    assert app.url_for("bee") == "/v1/in/b"


def test_an_option_that_is_none() -> None:
    """An option that does not exist is an error, and not a route that silently lacks it."""
    for router in (App(), Router()):
        with pytest.raises(TypeError, match="statuscode"):
            router.get("/x", statuscode=201)(handler)  # type: ignore[call-arg]
        assert router.routes == ()


@pytest.mark.parametrize(
    ("path", "methods", "message"),
    [
        ("x", ["GET"], "the path 'x' must start with \"/\""),
        ("", ["GET"], "the path '' must start with \"/\""),
        ("/x", "GET", "'/x': methods must be a list: write methods=['GET']"),
        ("/x", [], "'/x': give at least one method"),
        ("/{x", ["GET"], "'/{x': its braces do not pair up"),
        ("/{x}/{x}", ["GET"], "'/{x}/{x}': the parameter {x} stands twice"),
    ],
)
@pytest.mark.parametrize("router", [App, Router])
def test_routes_that_are_none(router: type[Router], path: str, methods: Any, message: str) -> None:
    """A route that is none is a RouteError where it is registered, and leaves nothing behind."""
    it = router()
    with pytest.raises(RouteError) as caught:
        it.route(path, methods)(handler)
    assert str(caught.value).startswith(message)
    assert it.routes == ()


def test_a_handler_that_nothing_fills() -> None:
    """A router checks its handlers too, before any app includes it."""
    with pytest.raises(RouteError, match=r"^GET /x: nothing can fill the parameter 'a' of "):
        Router().get("/x")(lambda a: a)


def test_converters_may_come_with_the_app() -> None:
    """A router's routes may name converters that only the app knows; the app refuses those that it does not."""
    router = Router()
    router.get("/{day:date}")(lambda day: day)
    with pytest.raises(RouteError, match="there is no converter 'date'"):
        App().include(router)
    app = App()
    app.add_converter("date", r"\d+")
    app.include(router)
    assert paths(app) == [("/{day:date}", ["GET"])]


@pytest.mark.parametrize("prefix", ["api", "/", "/api/", "api/"])
def test_prefixes_that_are_none(prefix: str) -> None:
    """A prefix starts with a slash and does not end with one, here and in ``include``."""
    with pytest.raises(RouteError, match=f'a prefix starts with "/" and does not end with one, got {prefix!r}'):
        Router(prefix)
    with pytest.raises(RouteError, match=f'a prefix starts with "/" and does not end with one, got {prefix!r}'):
        App().include(Router(), prefix)


def test_prefixes_are_templates() -> None:
    """A prefix may have parameters, each name once in the whole path."""
    with pytest.raises(RouteError, match="braces do not pair up"):
        Router("/{x")
    router = Router("/{x}")
    router.get("/{y}")(lambda x, y: x + y)
    with pytest.raises(RouteError, match=r"the parameter \{x\} stands twice"):
        router.get("/{x}")(lambda x: x)
    with pytest.raises(RouteError, match=r"the parameter \{y\} stands twice"):
        App().include(router, "/{y}")


def test_a_path_below_a_prefix_starts_with_a_slash() -> None:
    """A path that would run into its prefix is a RouteError; an empty one is the prefix itself."""
    router = Router("/api")
    router.get("")(handler)
    with pytest.raises(RouteError, match="the path 'users' must start with"):
        router.get("users")(handler)
    assert paths(router) == [("/api", ["GET"])]


def test_a_decorator_without_its_path() -> None:
    """A decorator that was not called, as `@app.get` above a handler, is told how it is written."""
    with pytest.raises(RouteError, match=r'a route begins with its path, got handler: write @app.get\("/..."\) above'):
        App().get(handler)  # type: ignore[arg-type]
    with pytest.raises(RouteError, match="a route begins with its path, got 7"):
        App().websocket(7)  # type: ignore[arg-type]


def test_includes_are_nested_and_live() -> None:
    """Routes reach the app through all routers and prefixes, also those that are registered later."""
    app, outer, inner = App(), Router("/outer"), Router("/inner")
    inner.get("/a")(handler)
    outer.include(inner, "/mid")
    app.include(outer)
    outer.post("/b")(handler)
    inner.put("/c")(handler)
    last = Router()
    inner.include(last, "/deep")
    last.get("/d")(handler)
    assert paths(inner) == [("/inner/a", ["GET"]), ("/inner/c", ["PUT"]), ("/inner/deep/d", ["GET"])]
    assert paths(app) == [
        ("/outer/mid/inner/a", ["GET"]),
        ("/outer/b", ["POST"]),
        ("/outer/mid/inner/c", ["PUT"]),
        ("/outer/mid/inner/deep/d", ["GET"]),
    ]
    assert paths(last) == [("/d", ["GET"])]


def test_a_router_may_be_included_in_several_places() -> None:
    """One router may stand under several prefixes, and what comes later comes to all of them."""
    app, router = App(), Router()
    app.include(router, "/v1")
    app.include(router, "/v2")
    router.get("/x")(handler)
    assert paths(app) == [("/v1/x", ["GET"]), ("/v2/x", ["GET"])]
    with pytest.raises(RouteError, match="GET /v1/x matches the same requests as the route /v1/x"):
        app.include(router, "/v1")


def test_circles() -> None:
    """Routers that would include each other in a circle are a RouteError, at any distance."""
    first, second, third = Router(), Router("/b"), Router("/c")
    first.include(second)
    second.include(third)
    for outer, inner in ((first, first), (second, first), (third, first), (third, second)):
        with pytest.raises(RouteError, match="a router cannot include itself, directly or through others"):
            outer.include(inner)
    third.get("/x")(handler)
    assert paths(first) == [("/b/c/x", ["GET"])]


def test_a_late_conflict() -> None:
    """A route that conflicts in an app is an error where it is registered on the router."""
    app, router = App(), Router()
    app.get("/x")(handler)
    app.include(router)
    with pytest.raises(RouteError, match="GET /x matches the same requests"):
        router.get("/x")(handler)
    assert paths(app) == [("/x", ["GET"])]


def test_names_of_routes() -> None:
    """``url_for`` knows a route by its name and parameters, and an error lists what there is."""
    app = App()

    @app.get("/users/{id:int}")
    @app.get("/users/{id:int}/{tab}")
    async def user(id: int, tab: str = "") -> None:  # noqa: A002
        ...

    assert app.url_for("user", id=5) == "/users/5"
    assert app.url_for("user", id=5, tab="a b") == "/users/5/a%20b"
    with pytest.raises(LookupError, match=r"the route 'user' takes \(id, tab\) or \(id\), got \(name\)"):
        app.url_for("user", name="x")
    with pytest.raises(LookupError, match=r"no route is named 'users': there are user$"):
        app.url_for("users")
    with pytest.raises(LookupError, match=r"there are none$"):
        App().url_for("user")


def test_websocket_routes() -> None:
    """They stand beside requests' at the same path, not beside another of their own, and their handlers are async."""
    app = App()

    @app.get("/x")
    @app.websocket("/x", name="live")
    async def handler() -> None: ...

    assert [(route.where, route.name, route.is_websocket) for route in app.routes] == [
        ("WEBSOCKET /x", "live", True),
        ("GET /x", "handler", False),
    ]
    with pytest.raises(RouteError, match="WEBSOCKET /x matches the same requests"):
        app.websocket("/x")(handler)
    with pytest.raises(RouteError, match=r"write @app.websocket\('/x'\)"):
        app.route("/x", ["websocket"])
    with pytest.raises(RouteError, match="must start with"):
        app.websocket("x")

    def plain() -> None: ...
    async def yields() -> AsyncIterator[None]:
        yield

    for wrong in (plain, yields, "handler"):
        for router in (app, Router()):
            with pytest.raises(RouteError, match=r"must be an async def, and without a yield: .* is not"):
                router.websocket("/y")(wrong)  # type: ignore[type-var]
