"""The life of an app: the order of its start and end, and its nursery."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial, wraps
from typing import Any, Self

import pytest
import trio
import trio.testing
from fastapi import FastAPI
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse as StarletteText
from starlette.routing import Route as StarletteRoute
from starlette.testclient import TestClient as StarletteClient

from tests.asgi import ask, running
from tests.sites import asked, mounted, on_hypercorn, on_trioweb
from trioweb import App, Request, Response, RouteError
from trioweb.ground.http.asgi import Receive, Scope, Send
from trioweb.handlers.layers import CallNext
from trioweb.testing import TestClient


class Cut(Exception):
    """What a server raises in the lifespan for a message that says that it failed."""


async def run_life(app: App, *, until: float = 1) -> list[str]:
    """Run an app's lifespan for some time; returns what it told the server."""
    told: list[str] = []
    shutdown = trio.Event()
    asked = False

    async def receive() -> dict[str, str]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "lifespan.startup"}
        await shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: dict[str, Any]) -> None:
        told.append(message["type"] + (f" {message['message']}" if "message" in message else ""))
        if message["type"].endswith("failed"):
            raise Cut

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, {"type": "lifespan"}, receive, send)
        await trio.sleep(until)
        shutdown.set()
    return told


async def test_the_order_of_start_and_end(autojump_clock: trio.testing.MockClock) -> None:
    """Lifespans start in order and end in reverse; first requests' tasks end, and before each lifespan its own."""
    app, inner, order = App(), App(), []

    async def task(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append(f"{name} ends")

    @app.lifespan
    async def first(app: App) -> AsyncIterator[None]:
        order.append("first starts")
        app.nursery.start_soon(task, "own task")
        yield
        order.append("first ends")

    @app.lifespan
    @asynccontextmanager
    async def second(app: App) -> AsyncIterator[None]:
        order.append("second starts")
        app.state.ready = True
        yield
        order.append("second ends")

    @inner.lifespan
    async def mounted(app: App) -> AsyncIterator[None]:
        order.append("mounted starts")
        yield
        order.append("mounted ends")

    @app.get("/")
    async def handler() -> None:
        app.nursery.start_soon(task, "request's task")

    app.mount("/inner", inner)
    async with running(app):
        await ask(app, "/")
        await trio.testing.wait_all_tasks_blocked()
        assert app.state.ready
    assert order == [
        "first starts", "second starts", "mounted starts",
        "request's task ends", "mounted ends", "second ends", "own task ends", "first ends",
    ]  # fmt: skip


async def test_a_start_that_fails(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """An error at start-up is told to the server as itself, and what had started is cleaned up."""
    app, ended = App(), []

    @app.lifespan
    async def first(app: App) -> AsyncIterator[None]:
        yield
        ended.append("first")

    @app.lifespan
    async def second(app: App) -> AsyncIterator[None]:
        app.nursery.start_soon(trio.sleep_forever)
        raise OSError("no database")
        yield

    with pytest.raises(ExceptionGroup) as caught:
        await run_life(app)
    assert caught.group_contains(Cut)
    assert "the app's lifespan failed at start-up" in caplog.text
    assert "OSError: no database" in caplog.text
    assert ended == []  # its generator was left by the error, as `async with` has it


async def test_a_life_that_fails_later(autojump_clock: trio.testing.MockClock) -> None:
    """A task that the lifespan started and that fails ends the app, and the server is told."""
    app = App()

    async def fail() -> None:
        await trio.sleep(0.5)
        raise ValueError("crashed")

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        app.nursery.start_soon(fail)
        yield

    with pytest.raises(ExceptionGroup) as caught:
        await run_life(app)
    assert caught.group_contains(Cut)
    assert trio.current_time() == pytest.approx(0.5)


async def test_what_requests_start_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A task that a request started in the app's nursery and that fails is logged, and the app lives."""
    app = App()

    async def fail() -> None:
        raise ValueError("in the background")

    @app.get("/")
    async def handler() -> str:
        app.nursery.start_soon(fail)
        return "ok"

    async with running(app):
        for _ in range(2):
            assert (await ask(app, "/")).body == b"ok"
        await trio.testing.wait_all_tasks_blocked()
    assert caplog.text.count("ValueError: in the background") == 2


async def test_start_waits_for_the_task(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """`app.nursery.start` gives what the task says it is ready with, and raises what fails before that."""
    app = App()

    async def good(*, task_status: trio.TaskStatus[int]) -> None:
        await trio.sleep(1)
        task_status.started(42)
        raise ValueError("later")

    async def bad(*, task_status: trio.TaskStatus[int]) -> None:
        raise KeyError("at once")

    async with running(app):
        assert await app.nursery.start(good) == 42
        with pytest.raises((KeyError, ExceptionGroup)):
            await app.nursery.start(bad)
        await trio.testing.wait_all_tasks_blocked()
    assert "ValueError: later" in caplog.text


def test_the_nursery_is_open_only_while_the_app_runs() -> None:
    """Outside of the app's life its nursery says so."""
    with pytest.raises(RuntimeError, match="only while a server"):
        _ = App().nursery


def test_a_lifespan_must_be_one() -> None:
    """A coroutine function, which could not be left again, is refused with what to write."""

    async def wrong(app: App) -> None:
        """Return, where it should yield."""

    with pytest.raises(RouteError, match="async generator function"):
        App().lifespan(wrong)  # type: ignore[type-var]


def sync_generator(app: App) -> Iterator[None]:
    """A generator, and not an async one."""
    yield


@contextmanager
def sync_manager(app: App) -> Iterator[None]:
    """A context manager that is none of `async with`."""
    yield


async def takes_nothing() -> AsyncIterator[None]:
    """The app has no place."""
    yield


async def takes_two(app: App, other: int) -> AsyncIterator[None]:
    """Nobody gives a second argument."""
    yield


async def yields_never(app: App) -> None:
    """Return, where it should yield."""


class SyncLife:
    """An object to call, with a sync generator in it."""

    def __call__(self, app: App) -> Iterator[None]:
        """Yield."""
        yield next(self.method(app))

    def method(self, app: App) -> Iterator[None]:
        """Yield."""
        app.state.life = self
        yield


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (sync_generator, "sync_generator is a generator function without async: write `async def lifespan"),
        (partial(sync_generator), "is a generator function without async"),
        (sync_manager, "is a generator function without async"),
        (SyncLife(), "is a generator function without async"),
        (SyncLife().method, "is a generator function without async"),
        (yields_never, "yields_never is an async def without a yield"),
        (sync_manager(App()), "is a context manager without async"),
        (ExitStack(), "is a context manager without async"),
        (ExitStack, "is a context manager without async"),
        (SyncLife, "SyncLife is a class without __aenter__"),
        (None, "None cannot be called"),
        ("lifespan", "cannot be called"),
        (takes_nothing, "takes_nothing must take one argument, the app"),
        (takes_two, "takes_two must take one argument, the app"),
    ],
)
def test_what_is_no_lifespan(wrong: Any, reason: str) -> None:
    """It is refused when it is registered, with what to write."""
    with pytest.raises(RouteError, match=re.escape(reason)):
        App().lifespan(wrong)


class Life:
    """A life as an async context manager, or as an object to call."""

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self.order: list[str] = []

    async def __aenter__(self) -> Self:
        self.order.append("starts")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.order.append("ends")

    async def method(self, app: App) -> AsyncIterator[None]:
        """Live."""
        self.app = app
        async with self:
            yield


class CalledLife:
    """An object to call."""

    def __init__(self, order: list[str]) -> None:
        self.order = order

    async def __call__(self, app: App) -> AsyncIterator[None]:
        """Live."""
        app.state.order = self.order
        self.order.append("starts")
        yield
        self.order.append("ends")


def wrapping(function: Any) -> Any:
    """A decorator that hides what it decorates."""

    @wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


async def test_lifespans_of_every_shape() -> None:
    """Functions, methods, partials, decorated functions, classes, managers and objects to call are lifespans."""
    life, lives = Life(), []

    def made(app: App) -> Life:
        lives.append(Life(app))
        return lives[-1]

    class OfApp(Life):
        def __init__(self, app: Any = None) -> None:
            super().__init__(app)
            lives.append(self)

    for given in (
        made, lambda app: [made(app)][0], partial(made), OfApp, wrapping(made), life, life.method, partial(life.method),
        wrapping(life.method), CalledLife(life.order), asynccontextmanager(life.method),
        asynccontextmanager(life.method)(App()),
    ):  # fmt: skip
        app = App()
        app.lifespan(given)
        async with running(app):
            assert [*lives, life][0 if lives else -1].order == ["starts"]
        assert [*lives, life][0 if lives else -1].order == ["starts", "ends"]
        lives.clear()
        life.order.clear()


@pytest.mark.parametrize("given", [object(), "x", 5])
async def test_a_function_that_returns_no_manager(given: Any) -> None:
    """What a function returns is known when it is called: then the start fails, with what to write."""
    app = App()

    @app.lifespan
    def life(app: App) -> Any:
        return given

    with pytest.raises(TypeError, match=r"life returned \w+, no async context manager: write `async def lifespan"):
        async with TestClient(app):
            pass


async def test_a_function_that_returns_a_coroutine() -> None:
    """A decorator may hide an ``async def``: that is told at the start, and its coroutine is closed."""
    app = App()
    app.lifespan(lambda app: yields_never(app))  # type: ignore[type-var]  # noqa: PLW0108 - it says nothing of itself
    with pytest.raises(TypeError, match="returned coroutine, no async context manager"):
        async with TestClient(app):
            pass


# Who runs a life without a server


def failing(when: str) -> App:
    """An app whose life fails."""
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        if when == "start":
            raise OSError("no database")
        if when == "task":
            app.nursery.start_soon(fail)
        yield
        if when == "end":
            raise OSError("no database")

    async def fail() -> None:
        raise OSError("no database")

    return app


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize(
    ("when", "messages"),
    [
        ("start", ["lifespan.startup.failed"]),
        ("end", ["lifespan.startup.complete", "lifespan.shutdown.failed"]),
        ("task", ["lifespan.startup.complete", "lifespan.shutdown.failed"]),
        ("never", ["lifespan.startup.complete", "lifespan.shutdown.complete"]),
    ],
)
async def test_a_failure_is_told_and_then_raised(
    when: str, messages: list[str], depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    """After the message that tells of it a failure is raised as itself, a mounted app's too; it is logged once."""
    app, sent, told = failing(when), [], iter(["lifespan.startup", "lifespan.shutdown"])
    if depth:
        outer = App()
        outer.mount("/inner", app)
        app = outer

    async def receive() -> dict[str, str]:
        await trio.testing.wait_all_tasks_blocked()
        return {"type": next(told)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    if when == "never":
        await app({"type": "lifespan"}, receive, send)
    else:
        with pytest.raises(OSError, match="no database"):
            await app({"type": "lifespan"}, receive, send)
    assert sent == messages
    assert caplog.text.count("the app's lifespan failed") == (when != "never")


@pytest.mark.parametrize("when", ["start", "end"])
def test_another_frameworks_test_client_raises_it(when: str) -> None:
    """Starlette's test client runs no test of an app that has not started, or does not end well."""
    app = failing(when)

    @app.get("/")
    async def root() -> str:
        return "x"

    reached = False
    with pytest.raises(OSError, match="no database"), StarletteClient(app, backend="trio") as client:
        reached = client.get("/").text == "x"
    assert reached == (when == "end")


@pytest.mark.parametrize("site", [asked, on_hypercorn, on_trioweb, mounted])
async def test_what_a_lifespan_leaves_to_requests(site: Callable[..., Any]) -> None:
    """The items of a mapping that a lifespan yields are in `request.state`, a copy for each request; later ones replace
    earlier ones. ASGI tools find them in the scope.
    """
    app, scopes = App(), []

    @app.lifespan
    async def first(app: App) -> AsyncIterator[dict[str, Any]]:
        yield {"pool": "old", "names": ["a"]}

    @app.lifespan
    @asynccontextmanager
    async def second(app: App) -> AsyncIterator[dict[str, Any]]:
        yield {"pool": "new"}

    @app.get("/")
    async def handler(request: Request) -> str:
        state = request.state
        said = f"{state.pool} {state.names} {getattr(state, 'own', None)}"
        state.own, state.pool = 1, "changed"
        scopes.append(request.scope.get("state", {}))
        return said

    async with site(app) as place:
        for _ in range(2):
            talk = await (await place.request("/", "GET", {}, b"")).end()
            assert talk.body == b"new ['a'] None"
    if site is on_trioweb:
        assert scopes[0] == {"pool": "new", "names": ["a"]}


async def test_what_lifespans_leave_in_mounted_apps() -> None:
    """A mounted app's requests have what its own lifespan leaves, and then what the outer one's does."""
    app, inner = App(), App()

    def add(app: App, **state: str) -> None:
        @app.lifespan
        async def life(app: App) -> AsyncIterator[dict[str, str]]:
            yield state

        @app.get("/")
        async def handler(request: Request) -> dict[str, Any]:
            return vars(request.state)

    add(app, outer="outer", both="outer")
    add(inner, inner="inner")
    app.mount("/inner", inner)
    async with TestClient(app) as client:
        assert (await client.get("/")).json() == {"outer": "outer", "both": "outer"}
        assert (await client.get("/inner/")).json() == {"outer": "outer", "both": "outer", "inner": "inner"}


async def test_a_lifespan_that_yields_no_names() -> None:
    """A mapping without names is an error at the start; what is no mapping is left alone."""
    app = App()

    @app.lifespan
    async def odd(app: App) -> AsyncIterator[Any]:
        yield {5: "x"}

    with pytest.raises(TypeError, match="yielded a mapping with 5"):
        async with TestClient(app):
            pass
    other = App()

    @other.lifespan
    async def plain(app: App) -> AsyncIterator[Any]:
        yield [5]

    async with TestClient(other):
        pass


@pytest.mark.parametrize("how", ["start_soon", "start"])
async def test_tasks_of_a_lifespan_end_before_it_cleans_up(autojump_clock: trio.testing.MockClock, how: str) -> None:
    """A task that a lifespan has started may use what that has opened until it has ended, in its own clean-up too."""
    app, order = App(), list[str]()

    class Pool:
        def __init__(self, name: str) -> None:
            self.name, self.open = name, True

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            self.open = False
            order.append(f"{self.name} closed")

    async def work(pool: Pool, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            order.append(f"work with {pool.name}, open: {pool.open}")

    def add(name: str) -> None:
        @app.lifespan
        async def life(app: App) -> AsyncIterator[None]:
            async with Pool(name) as pool:
                if how == "start":
                    await app.nursery.start(work, pool)
                else:
                    app.nursery.start_soon(work, pool)
                yield
                app.nursery.start_soon(work, Pool("what is started at the end"))
                await trio.sleep(0)

    add("first")
    add("second")
    async with running(app):
        await trio.testing.wait_all_tasks_blocked()
        assert len(app.nursery.child_tasks) >= 2
    ended = [line for line in order if "at the end" not in line]
    assert ended == [
        "work with second, open: True", "second closed", "work with first, open: True", "first closed",
    ]  # fmt: skip
    assert len(order) == 6


# The lives of mounted apps of other frameworks


def noting(name: str, log: list[str], fails: str = "") -> Callable[[Any], Any]:
    """A lifespan of Starlette and FastAPI, which notes when it starts and ends, and leaves its name to requests."""

    @asynccontextmanager
    async def life(_: object) -> AsyncIterator[dict[str, str]]:
        log.append(f"{name} starts")
        if fails == "start":
            raise OSError("no database")
        yield {"name": name}
        await trio.lowlevel.checkpoint()
        log.append(f"{name} ends")
        if fails == "end":
            raise OSError("no database")

    return life


async def say_name(request: StarletteRequest) -> StarletteText:
    """Answer with what the lifespan, and what a middleware, has left; and change it, for this request alone."""
    name, request.state.name = request.state.name, "changed"
    return StarletteText(f"{name} {getattr(request.state, 'user', '-')}")


FRAMEWORKS: dict[str, Callable[[Any], Any]] = {
    "Starlette": lambda life: Starlette(routes=[StarletteRoute("/name", say_name)], lifespan=life),
    "FastAPI": lambda life: FastAPI(routes=[StarletteRoute("/name", say_name)], lifespan=life),
}


@pytest.mark.parametrize("behind", [True, False])
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_another_frameworks_lifespan_runs_inside_of_ours(framework: str, behind: bool) -> None:
    """It starts after the app's and ends before it, at any depth; what it yields reaches its requests, a copy each."""
    outer, middle, log = App(), App(), []

    @outer.lifespan
    @asynccontextmanager
    async def life(app: App) -> AsyncIterator[None]:
        log.append("ours starts")
        yield
        log.append("ours ends")

    if behind:

        @outer.middleware
        async def name_user(request: Request, call_next: CallNext) -> Response:
            request.state.user = "Ada"
            return await call_next(request)

    made = FRAMEWORKS[framework](noting("deep", log))
    middle.mount("/deep", made)
    middle.mount("/again", made)
    outer.mount("/flat", FRAMEWORKS[framework](noting("flat", log)))
    outer.mount("/middle", middle)
    async with TestClient(outer) as client:
        assert log == ["ours starts", "deep starts", "flat starts"]
        user = "Ada" if behind else "-"
        for _ in range(2):
            assert (await client.get("/flat/name")).text == f"flat {user}"
            assert (await client.get("/middle/deep/name")).text == f"deep {user}"
            assert (await client.get("/middle/again/name")).text == f"deep {user}"
    assert log[3:] == ["flat ends", "deep ends", "ours ends"]


@pytest.mark.parametrize("when", ["start", "end"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_another_frameworks_lifespan_that_fails(
    framework: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is raised as itself to whoever runs the lifespan, logged once; what had started is ended."""
    app, log = App(), []

    @app.lifespan
    @asynccontextmanager
    async def life(app: App) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await trio.lowlevel.checkpoint()
            log.append("ours ends")

    app.mount("/first-one", FRAMEWORKS[framework](noting("good", log)))
    app.mount("/second", FRAMEWORKS[framework](noting("bad", log, when)))
    with pytest.raises(OSError, match="no database"):
        async with TestClient(app):
            log.append("runs")
    if when == "start":
        assert log == ["good starts", "bad starts", "good ends", "ours ends"]
    else:
        assert log == ["good starts", "bad starts", "runs", "bad ends", "good ends", "ours ends"]
    assert caplog.text.count("the app's lifespan failed") == 1


@pytest.mark.parametrize("goes_on", ["returns", "receives", "sends"])
@pytest.mark.parametrize("stage", ["startup", "shutdown"])
async def test_an_app_that_only_says_that_it_failed(stage: str, goes_on: str) -> None:
    """The error has its message and names the mount; an app that goes on, as Quart does, is cancelled."""
    app, told = App(), []

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while True:
                message = await receive()
                each = message["type"].split(".")[1]
                failed = each == stage
                await send({"type": f"lifespan.{each}.{'failed' if failed else 'complete'}", "message": "no disk"})
                if failed and goes_on != "receives":
                    if goes_on == "sends":
                        await send({"type": "lifespan.startup.complete"})
                    return
        except trio.Cancelled:
            told.append("cancelled")
            raise

    app.mount("/bare", bare)
    with pytest.raises(RuntimeError, match="the lifespan of the app mounted at /bare failed: no disk"):
        async with TestClient(app):
            pass
    assert told == ([] if goes_on == "returns" else ["cancelled"])


async def test_an_app_of_quart_that_cannot_start() -> None:
    """Its reason is that of the error, as it says it by a message only."""
    app, quart = App(), QuartTrio("shop")

    @quart.before_serving
    async def fail() -> None:
        raise OSError("no database")

    app.mount("/shop", quart)
    with pytest.raises(RuntimeError, match="the lifespan of the app mounted at /shop failed: no database"):
        async with TestClient(app):
            pass


@pytest.mark.parametrize("ours", [True, False])
async def test_an_app_that_is_mounted_at_two_depths(ours: bool) -> None:
    """Its lifespan runs once, and what that leaves reaches its requests by both ways."""
    outer, middle, log = App(), App(), list[str]()
    shared: Any = FRAMEWORKS["Starlette"](noting("shared", log))
    if ours:
        shared = own = App()
        own.lifespan(noting("shared", log))

        @own.get("/name")
        async def name(request: Request) -> str:
            assert request.app.nursery is not None
            return f"{request.state.name} -"

    outer.mount("/flat", shared)
    outer.mount("/middle", middle)
    middle.mount("/deep", shared)
    for _ in range(2):
        async with TestClient(outer) as client:
            for path in ("/flat/name", "/middle/deep/name"):
                assert (await client.get(path)).text == "shared -"
        assert log == ["shared starts", "shared ends"]
        log.clear()


@pytest.mark.parametrize("how", ["raises", "returns", "raises later", "returns later"])
async def test_an_app_without_a_lifespan(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is served without, as ASGI has it; an error after it was asked to start is a warning that names the mount."""
    app = App()

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            if "later" in how:
                await receive()
            if "raises" in how:
                raise OSError("no database")
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})

    app.mount("/bare", bare)
    async with TestClient(app) as client:
        assert (await client.get("/bare")).text == "served"
    texts = [record.getMessage() for record in caplog.records]
    warning = "the app mounted at /bare has raised an error at its start, and is served without a lifespan"
    assert texts == ([warning] if how == "raises later" else [])


async def test_an_app_whose_lifespan_ends_too_early(autojump_clock: trio.testing.MockClock) -> None:
    """One that returns after its start is served on; one that raises then ends the app with its error."""

    async def returns(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        await returns(scope, receive, send)
        await trio.sleep(1)
        raise OSError("no database")

    app = App()
    app.mount("/returns", returns)
    async with TestClient(app) as client:
        assert (await client.get("/nowhere")).status_code == 404
    app.mount("/raises", raises)
    with pytest.raises(OSError, match="no database"):
        async with TestClient(app):
            await trio.sleep(2)


async def test_a_mounted_apps_middleware_is_around_its_lifespan() -> None:
    """ASGI middleware of a mounted `App` sees its lifespan, too; a message that no lifespan has is an error in it."""
    app, inner, seen = App(), App(), []

    class Look:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])
            with pytest.raises(RuntimeError, match=r"the app mounted at /inner sent 'http.response.start' in its life"):
                await send({"type": "http.response.start"})
            await self.app(scope, receive, send)

    inner.add_middleware(Look)
    app.mount("/inner", inner)
    async with TestClient(app):
        pass
    assert seen == ["lifespan"]


async def test_state_is_new_for_each_start() -> None:
    """What a mounted app's lifespan left at an earlier start is gone at the next."""
    app, starts = App(), []

    @asynccontextmanager
    async def life(_: object) -> AsyncIterator[dict[str, str]]:
        starts.append(1)
        yield {f"start{len(starts)}": "x"}

    async def names(request: StarletteRequest) -> StarletteText:
        return StarletteText(" ".join(name for name in request.scope["state"] if name.startswith("start")))

    app.mount("/", Starlette(routes=[StarletteRoute("/", names)], lifespan=life))
    for count in (1, 2):
        async with TestClient(app) as client:
            assert (await client.get("/")).text == f"start{count}"


async def test_a_cancelled_lifespan_cancels_that_of_a_mounted_app() -> None:
    """A cancellation waits for no mounted app that hangs in its clean-up."""
    app, log = App(), []

    @asynccontextmanager
    async def life(_: object) -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("ends")
            await trio.sleep_forever()

    app.mount("/", Starlette(lifespan=life))
    with trio.move_on_after(30) as scope:
        async with TestClient(app):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert log in ([], ["ends"])
