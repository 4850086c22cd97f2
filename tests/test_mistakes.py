"""What is given to a decorator that takes something else is an error when it is given, and says where it belongs."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import pytest

from trioweb import App, JSONResponse, Provide, Request, Response, RouteError, Router, StaticFiles, WebSocket
from trioweb.hub import MemoryHub
from trioweb.middleware import CORS, CallNext, Compression, Metrics, RateLimit, Sessions
from trioweb.security import CSRF, BearerToken, MemorySessions, RedisSessions


async def log(request: Request, call_next: CallNext) -> Response:
    """Be a middleware."""
    return await call_next(request)


class Log:
    """A middleware, as an object."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next."""
        return await call_next(request)


class Inherited(Log):
    """A middleware by its base class."""


class Wrap:
    """ASGI middleware, which does not call its inner app ``app``."""

    def __init__(self, inner: Any, *, loud: bool = False) -> None:
        self.inner = inner
        self.loud = loud

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the inner app."""
        await self.inner(scope, receive, send)


class Site:
    """An ASGI app."""

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        """Serve nothing."""


class Page:
    """A WSGI app."""

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        """Serve nothing."""
        return [str((environ, start_response)).encode()]


async def life(app: App) -> AsyncIterator[None]:
    """Be a lifespan."""
    yield


def sync_life(app: App) -> Iterator[None]:
    """Be nearly one."""
    yield


async def login(request: Request) -> str:
    """Be a dependency."""
    return request.path


async def answer(request: Request, exc: Exception) -> str:
    """Be an error handler."""
    return f"{request.path}: {exc}"


async def one(request: Request) -> str:
    """Take too little for an error handler."""
    return request.path


async def talk(ws: WebSocket) -> None:
    """Be a handler of WebSockets."""
    await ws.accept()


def bare(ws: Any) -> None:
    """Be one without an annotation of a WebSocket."""


bare.__annotations__.clear()
managed = asynccontextmanager(life)


def get(given: Any) -> None:
    """Register a handler."""
    App().get("/x")(given)


def provide(given: Any) -> None:
    """Register a dependency."""

    async def handler(value: Annotated[Any, Provide(given)]) -> str:
        return str(value)

    App().get("/x")(handler)


def handle(given: Any) -> None:
    """Register an error handler."""
    App().error_handler(404)(given)


def mount(given: Any) -> None:
    """Mount an app."""
    App().mount("/x", given)


def on_route(given: Any) -> None:
    """Give a route a middleware."""
    App().get("/x", middleware=[given])(lambda: "x")


def override(given: Any) -> None:
    """Override a dependency."""
    App().dependency_overrides[given] = login


MISTAKES: list[tuple[Callable[[Any], object], Any, str]] = [
    (App().lifespan, log, "log is an async def without a yield: write app.middleware(log)"),
    (App().lifespan, Log(), "write app.middleware(Log(...))"),
    (App().lifespan, CORS(), "write app.middleware(CORS(...))"),
    (App().lifespan, Sessions, "write app.middleware(Sessions(...))"),
    (App().lifespan, Metrics, "write app.add_middleware(Metrics, ...)"),
    (App().lifespan, App(), 'write app.mount("/path", App(...))'),
    (App().lifespan, sync_life, "is a generator function without async: write `async def lifespan(app)"),
    (App().lifespan, MemoryHub, "is a class that takes no app: write app.lifespan(MemoryHub(...))"),
    (App().lifespan, RedisSessions, "write app.lifespan(RedisSessions(...))"),
    (App().lifespan, MemorySessions, "write app.lifespan(MemorySessions(...))"),
    (App().lifespan, life(App()), "write life without a call"),
    (App().lifespan, login, "is an async def without a yield: write `async def lifespan(app)"),
    (App().lifespan, Router(), "<Router, 0 routes> cannot be called"),
    (App().middleware, life, "write app.lifespan(life)"),
    (App().middleware, managed, "write app.lifespan(life)"),
    (App().middleware, MemoryHub(), "write app.lifespan(MemoryHub(...))"),
    (App().middleware, Sessions, "Sessions is a class: write Sessions(...) to use an object of it"),
    (App().middleware, Inherited, "Inherited is a class: write Inherited(...) to use an object of it"),
    (App().middleware, Metrics, "Metrics is a class: write app.add_middleware(Metrics, ...)"),
    (
        App().middleware,
        Wrap,
        "write Wrap(...) to use an object of it, or app.add_middleware(Wrap, ...) for one of ASGI",
    ),
    (App().middleware, dict, "or app.add_middleware(dict, ...) for one of ASGI"),
    (App().middleware, StaticFiles("."), 'write app.mount("/path", StaticFiles(...))'),
    (App().middleware, Provide(login), "write dependencies=[Provide(login)]"),
    (App().middleware, login, "must take (request, call_next): write `async def middleware(request, call_next)"),
    (App().middleware, login, "or dependencies=[Provide(login)] for what is called before handlers"),
    (App().middleware, BearerToken("x"), "or dependencies=[Provide(BearerToken(...))]"),
    (App().middleware, answer, "write @app.error_handler(...) above answer"),
    (App().middleware, lambda request, call_next: call_next(request), "must be an `async def`, got <lambda>: write `a"),
    (App().middleware, "http", "takes one middleware, got 'http': write @app.middleware above each"),
    (App().middleware, [log], "write @app.middleware above each"),
    (on_route, RateLimit, "GET /x: RateLimit is a class: write RateLimit(...) to use an object of it"),
    (on_route, Provide(login), "GET /x: a middleware must be an `async def`"),
    (App().add_middleware, log, "log is none: write app.middleware(log)"),
    (App().add_middleware, Log(), "write app.middleware(Log(...))"),
    (App().add_middleware, CSRF, "CSRF is none: write app.middleware(CSRF(...))"),
    (App().add_middleware, Compression(), "write app.middleware(Compression(...))"),
    (App().add_middleware, managed, "write app.lifespan(life)"),
    (App().add_middleware, Wrap(App()), "calls Wrap(...) with the app and what stands behind it, and it cannot be"),
    (App().add_middleware, login, "calls login with the app and what stands behind it, and it cannot be called so"),
    (partial(App().add_middleware, quiet=True), Wrap, "it cannot be called so"),
    (get, log, "GET /x: tests.test_mistakes.log cannot be called for a request: write app.middleware(log)"),
    (get, partial(log), "write app.middleware(log)"),
    (get, Log(), "write app.middleware(Log(...))"),
    (get, Log, "Log cannot be called for a request: write app.middleware(Log(...))"),
    (get, life, "write app.lifespan(life)"),
    (get, Site(), 'write app.mount("/path", Site(...))'),
    (get, Response, "write `return Response(...)` in a handler"),
    (get, talk, "annotate it as Request, or write @app.websocket(...)"),
    (get, bare, "takes 'ws': write @app.websocket(...) above it, or name it request"),
    (get, Provide(login), "a handler must be a function, got Provide"),
    (App().websocket("/x"), login, "annotate it as WebSocket, or write @app.get(...)"),
    (App().websocket("/x"), log, "write app.middleware(log)"),
    (provide, JSONResponse, "write `return JSONResponse(...)` in a handler"),
    (provide, Request, "write a parameter request: Request"),
    (provide, log, "write app.middleware(log)"),
    (provide, Sessions, "write app.middleware(Sessions(...))"),
    (provide, MemorySessions, "write app.middleware(MemorySessions(...))"),
    (provide, life, "write app.lifespan(life)"),
    (provide, MemoryHub(), "Provide takes a function, got MemoryHub: write app.lifespan(MemoryHub(...))"),
    (provide, BearerToken, "write BearerToken(...) for an object of it"),
    (provide, 5, "Provide takes a function, got int: write a function that returns it"),
    (handle, log, "the error handler log must take (request, exc): write app.middleware(log)"),
    (handle, one, "the error handler one must take (request, exc): write `async def on_error(request, exc)"),
    (handle, None, "the error handler None must take (request, exc)"),
    (mount, log, "is not an ASGI app: write app.middleware(log)"),
    (mount, login, "write app.include(...) for a router, @app.get(path) above a handler"),
    (mount, Router(), "write app.include(...) for a router"),
    (mount, Page(), 'write app.mount("/path", trioweb.contrib.wsgi.WSGI(Page(...)))'),
    (mount, StaticFiles, "is not an ASGI app: write StaticFiles(...)"),
    (App().include, App(), 'write app.mount("/path", ...) for an app'),
    (App().include, "/x", "include takes a Router and then a prefix, got '/x'"),
    (override, Provide(login), "write app.dependency_overrides[login] = ..."),
    (override, "login", "has fakes by the functions that they replace, got 'login'"),
]


@pytest.mark.parametrize(("take", "given", "message"), MISTAKES)
def test_what_belongs_elsewhere(take: Callable[[Any], object], given: Any, message: str) -> None:
    """The error says what was got, and what to write instead."""
    with pytest.raises((RouteError, TypeError), match=re.escape(message)):
        take(given)


def test_parameters_that_belong_elsewhere() -> None:
    """So does one for a parameter that other frameworks fill: a response to be changed, or a default that provides."""

    async def changes(response: Response) -> None: ...

    def by_default(user=BearerToken("x")) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001, B008

    with pytest.raises(RouteError, match=r"'response' of .* is no input: write `return Response\(...\)`, with its"):
        get(changes)
    with pytest.raises(RouteError, match=r"'user' of .* as its default: write user: Annotated\[..., Provide\(...\)\]"):
        get(by_default)


async def test_what_is_right() -> None:
    """None of these is taken for something else: a name is no proof."""
    app = App()

    @app.get("/rows")
    async def rows(app: str) -> AsyncIterator[str]:
        yield app

    @app.get("/words")
    def words(request: str, exc: str) -> str:
        return request + exc

    class Counts:
        def __init__(self, app: App, start: int = 0) -> None:
            self.app, self.start = app, start

        async def __aenter__(self) -> dict[str, int]:
            return {"start": self.start}

        async def __aexit__(self, *_: object) -> None: ...

    app.add_middleware(Wrap, loud=True)
    app.add_middleware(lambda inner: inner)
    app.middleware(partial(log))
    app.middleware(Log().__call__)
    app.lifespan(Counts)
    app.mount("/site", Site())
    async with app.test_client() as client:
        assert (await client.get("/rows?app=x")).text == "x"
        assert (await client.get("/words?request=a&exc=b")).text == "ab"
