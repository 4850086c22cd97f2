"""Dependencies: generators without async, what tests have called in their place, and when they are closed."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
import trio

from tests.asgi import ask
from tests.shapes import pass_on
from tests.sites import asked, asked_alone, on_hypercorn, on_trioweb
from trioweb import App, HTTPError, Provide, Request, RouteError, Router, WebSocket
from trioweb.testing import TestClient

# Generators without async


class Journal:
    """A dependency without async, that notes what happens to it, and where."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.threads: set[int] = set()

    def open(self) -> Iterator[str]:
        """As a generator function."""
        self._note("open")
        try:
            yield "it"
        except BaseException as error:
            self._note(type(error).__name__)
            raise
        finally:
            self._note("close")

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self.threads.add(threading.get_ident())


async def test_a_generator_without_async() -> None:
    """It runs in worker threads, and is closed after the response and its stream."""
    journal, app = Journal(), App()

    @app.get("/")
    async def stream(it: Annotated[str, Provide(journal.open)]) -> AsyncIterator[str]:
        yield it
        journal.notes.append("streamed")

    assert (await ask(app, "/")).body == b"it"
    assert journal.notes == ["open", "streamed", "close"]
    assert threading.get_ident() not in journal.threads


@pytest.mark.parametrize(("error", "status"), [(HTTPError(409), 409), (KeyError("x"), 500)])
async def test_an_error_is_raised_in_it(error: Exception, status: int) -> None:
    """The error of a request is raised at its `yield`."""
    journal, app = Journal(), App()

    @app.get("/")
    def fail(it: Annotated[str, Provide(journal.open)]) -> str:
        raise error

    assert (await ask(app, "/")).status == status
    assert journal.notes == ["open", type(error).__name__, "close"]


async def test_it_is_closed_when_the_client_leaves() -> None:
    """A client that leaves cancels the request; what the generator has opened is closed all the same, in its thread."""
    journal, app = Journal(), App()

    @app.get("/")
    async def stream(it: Annotated[str, Provide(journal.open)]) -> AsyncIterator[str]:
        yield it
        await trio.sleep_forever()

    async with TestClient(app) as client, client.stream("GET", "/"):
        pass
    assert journal.notes[0] == "open"
    assert journal.notes[-1] == "close"


async def test_giving_back_needs_no_thread_of_handlers() -> None:
    """Handlers that have all worker threads, and wait for what a dependency gives back, do not wait for ever."""
    app, free = App(), threading.Semaphore(1)

    def connection() -> Iterator[None]:
        free.acquire()  # waits in a thread
        yield
        free.release()

    @app.get("/")
    async def use(it: Annotated[None, Provide(connection)]) -> str:
        return "used"

    limiter = trio.to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 2
    try:
        async with TestClient(app) as client:
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    for _ in range(6):
                        nursery.start_soon(client.get, "/")
    finally:
        limiter.total_tokens = before


async def test_it_serves_a_websocket() -> None:
    """A WebSocket has it, too."""
    journal, app = Journal(), App()

    @app.websocket("/ws")
    async def talk(ws: WebSocket, it: Annotated[str, Provide(journal.open)]) -> None:
        await ws.accept()
        await ws.send(it)

    async with app.test_client() as client, client.websocket("/ws") as ws:
        assert await ws.receive() == "it"
    assert journal.notes == ["open", "close"]


# In the place of dependencies


async def database() -> str:
    """A dependency."""
    return "database"


async def user(db: Annotated[str, Provide(database)], name: str = "ada") -> str:
    """A dependency with one of its own."""
    return f"{name} of {db}"


async def login() -> None:
    """A dependency that lets nobody in."""
    raise HTTPError(401)


def make_app() -> App:
    """An app with dependencies: nested, of a router, of a WebSocket."""
    app = App()
    router = Router("/in", dependencies=[Provide(login)])

    @app.get("/user")
    async def show(user: Annotated[str, Provide(user)]) -> str:
        return user

    @router.get("/user")
    async def show_inside(request: Request, user: Annotated[str, Provide(user)]) -> str:
        return user

    @app.websocket("/ws")
    async def talk(ws: WebSocket, user: Annotated[str, Provide(user)]) -> None:
        await ws.accept()
        await ws.send(user)

    app.include(router)
    return app


async def said(app: App) -> list[str | int]:
    """What its routes say, or their statuses."""
    answers = [await ask(app, path, query_string=query) for path, query in PLACES]
    found: list[str | int] = [answer.body.decode() if answer.status == 200 else answer.status for answer in answers]
    async with app.test_client() as client, client.websocket("/ws") as ws:
        return [*found, str(await ws.receive())]


PLACES = [("/user", b""), ("/in/user", b""), ("/user", b"name=eve")]
ITSELF = ["ada of database", 401, "eve of database", "ada of database"]


async def test_another_function_in_the_place_of_a_dependency() -> None:
    """`app.dependency_overrides` holds from the next request on: for nested dependencies, those of routers without a
    value, and WebSockets; `clear()` ends it.
    """
    app = make_app()
    assert await said(app) == ITSELF
    app.dependency_overrides[database] = lambda: "fake"
    assert await said(app) == ["ada of fake", 401, "eve of fake", "ada of fake"]
    app.dependency_overrides[login] = lambda: None
    assert await said(app) == ["ada of fake", "ada of fake", "eve of fake", "ada of fake"]
    app.dependency_overrides[user] = lambda: "nobody"
    assert await said(app) == ["nobody"] * 4
    app.dependency_overrides.clear()
    assert await said(app) == ITSELF


async def test_it_is_a_dict() -> None:
    """It is changed as a dict is, and assigned as one."""
    app = make_app()
    overrides = app.dependency_overrides
    assert (dict(overrides), len(overrides), repr(overrides)) == ({}, 0, "{}")
    overrides.update({database: lambda: "updated"})
    assert (await said(app))[0] == "ada of updated"
    app.dependency_overrides = {user: lambda: "assigned"}
    assert (await said(app))[0] == "assigned"
    app.dependency_overrides |= {login: lambda: None}
    assert (await said(app))[:2] == ["assigned", "assigned"]
    del overrides[user]
    assert list(overrides) == [login]
    assert (await said(app))[:2] == ["ada of database", "ada of database"]
    assert overrides.pop(login) is not None
    with pytest.raises(KeyError):
        del overrides[login]
    assert await said(app) == ITSELF
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(overrides, database, lambda: "patched")
        assert (await said(app))[0] == "ada of patched"
    assert await said(app) == ITSELF


async def test_routes_that_come_later() -> None:
    """It holds for routes that are registered after it, and includes routers."""
    app = App()
    app.dependency_overrides[user] = lambda: "fake"
    router = Router()
    app.include(router)

    @router.get("/")
    async def show(user: Annotated[str, Provide(user)]) -> str:
        return user

    assert (await ask(app, "/")).body == b"fake"
    app.dependency_overrides.clear()
    assert (await ask(app, "/")).body == b"ada of database"


async def test_a_fake_with_dependencies() -> None:
    """A function in the place of another has inputs and dependencies of its own, and may yield."""
    app = make_app()
    log: list[str] = []

    async def fake(role: str, db: Annotated[str, Provide(database)]) -> AsyncIterator[str]:
        log.append("open")
        yield f"{role} of {db}"
        log.append("close")

    app.dependency_overrides[user] = fake
    assert (await ask(app, "/user", query_string=b"role=cook")).body == b"cook of database"
    assert (await ask(app, "/user")).status == 422
    assert log == ["open", "close"]


async def test_what_cannot_stand_in_the_place_of_another() -> None:
    """A function that no dependency can be is an error where it is set, which then changes nothing."""
    app = make_app()
    app.dependency_overrides[login] = lambda: None
    unfillable: list[tuple[Any, str]] = [
        (lambda x: x, "nothing can fill the parameter 'x'"),
        (3, "Provide takes a function, got int"),
        (user, "provided by way of itself"),
    ]
    for fake, message in unfillable:
        with pytest.raises(RouteError, match=message):
            app.dependency_overrides[database] = fake
        assert list(app.dependency_overrides) == [login]
        assert (await said(app))[0] == "ada of database"
    with pytest.raises(RouteError, match="nothing can fill"):
        app.dependency_overrides.update({database: lambda x: x})


def test_the_description_stays() -> None:
    """The description of the API is that of the app, and not of what a test has put in places."""
    app = make_app()
    described = app.openapi()
    app.dependency_overrides[user] = lambda: "nobody"
    assert app.openapi() == described


async def test_a_mounted_app_has_its_own() -> None:
    """Each app has its own, a mounted one, too."""
    app, inner = make_app(), make_app()
    app.mount("/mounted", inner)
    app.dependency_overrides[database] = lambda: "outer"
    assert (await ask(app, "/mounted/user")).body == b"ada of database"
    inner.dependency_overrides[database] = lambda: "inner"
    assert (await ask(app, "/mounted/user")).body == b"ada of inner"
    assert (await ask(app, "/user")).body == b"ada of outer"


# When they are closed


class Resource:
    """Something that is open for a while, and whose uses are noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.is_open = False

    async def open(self) -> AsyncIterator["Resource"]:
        """As a dependency; it has a nursery of its own, which is entered and left in one task."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            self.is_open = True
            try:
                yield self
            except BaseException as error:
                self.notes.append(type(error).__name__)
                raise
            finally:
                self.is_open = False
                self.notes.append("closed")
                nursery.cancel_scope.cancel()

    async def begin(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The same, once it is told to have begun."""
        task_status.started()
        await self.use()

    async def use(self, *, fails: bool = False) -> None:
        """Work with it for a while."""
        try:
            await trio.sleep(0.01)
            if fails:
                raise KeyError("the work")
        finally:
            self.notes.append(f"used, open: {self.is_open}")


RESOURCE = Resource()
Opened = Annotated[Resource, Provide(RESOURCE.open)]


def make_busy_app() -> App:
    """An app whose handlers leave work to the request's nursery."""
    app = App()

    @app.get("/parameter")
    async def with_parameter(nursery: trio.Nursery, it: Opened) -> str:
        nursery.start_soon(it.use)
        return "done"

    @app.get("/request")
    async def with_request(it: Opened, request: Request) -> str:
        request.nursery.start_soon(it.use)
        return "done"

    @app.get("/plain")
    def in_thread(it: Opened, request: Request) -> str:
        trio.from_thread.run_sync(lambda: request.nursery.start_soon(it.use))
        return "done"

    @app.get("/stream")
    async def stream(it: Opened, request: Request) -> AsyncIterator[str]:
        request.nursery.start_soon(it.use)
        yield "do"
        await trio.sleep(0)
        yield "ne"

    @app.get("/endless")
    async def endless(it: Opened, request: Request) -> AsyncIterator[str]:
        await request.nursery.start(it.begin)
        yield "do"
        await trio.sleep_forever()

    @app.get("/fails")
    async def fail(it: Opened, request: Request) -> str:
        request.nursery.start_soon(it.use)
        raise HTTPError(409)

    @app.get("/work-fails")
    async def work_fails(it: Opened, request: Request, at: str) -> str:
        request.nursery.start_soon(lambda: it.use(fails=True))
        if at == "once":
            await trio.sleep_forever()
        return "done"

    @app.get("/cancels")
    async def cancel(it: Opened, request: Request) -> AsyncIterator[str]:
        yield "begun"
        request.nursery.start_soon(it.use)
        request.nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    return app


@pytest.mark.parametrize("behind", ["nothing", "middleware"])
@pytest.mark.parametrize("site", [asked, asked_alone, on_hypercorn, on_trioweb])
async def test_what_is_open_while_work_goes_on(site: Callable[..., Any], behind: str) -> None:
    """What a dependency has opened is closed after the work in the request's nursery that uses it, however the handler
    has started that.
    """
    app = make_busy_app()
    if behind == "middleware":
        app.middleware(pass_on)
    async with site(app) as place:
        for path in ("/parameter", "/request", "/plain", "/stream"):
            RESOURCE.notes.clear()
            talk = await (await place.request(path, "GET", {}, b"")).end()
            await place.quiet()
            assert (talk.status, talk.body, RESOURCE.notes) == (200, b"done", ["used, open: True", "closed"]), path


@pytest.mark.parametrize("behind", ["nothing", "middleware"])
async def test_errors_in_what_is_open(behind: str) -> None:
    """A handler's error cancels the work, and then is raised in the dependency; so is that of the work itself."""
    app = make_busy_app()
    if behind == "middleware":
        app.middleware(pass_on)
    for path, query, status, error in (
        ("/fails", b"", 409, "HTTPError"),
        ("/work-fails", b"at=once", 500, "KeyError"),
    ):
        RESOURCE.notes.clear()
        assert (await ask(app, path, query_string=query)).status == status
        assert RESOURCE.notes == ["used, open: True", error, "closed"], path
    RESOURCE.notes.clear()
    async with TestClient(app, raise_app_exceptions=False) as client:
        await client.get("/work-fails", params={"at": "last"})  # the response has been sent when it fails
    assert RESOURCE.notes == ["used, open: True", "KeyError", "closed"]


async def test_work_that_is_cancelled() -> None:
    """A client that leaves, and a nursery that is cancelled, end the work first, and then close what it uses."""
    app = make_busy_app()
    RESOURCE.notes.clear()
    async with TestClient(app) as client:
        async with client.stream("GET", "/endless") as response:
            await anext(response.aiter_raw())
        assert RESOURCE.notes[0] == "used, open: True"
        assert RESOURCE.notes[-1] == "closed"
        RESOURCE.notes.clear()
        with pytest.raises(Exception, match=r"broken off|cancelled"):
            await client.get("/cancels")
    assert RESOURCE.notes == ["used, open: True", "Cancelled", "closed"]
