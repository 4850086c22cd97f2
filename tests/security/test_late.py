"""Changes of a session after its response has begun, or its WebSocket was accepted: saved at the end, or refused."""

import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import httpx
import pytest
import trio

from tests.hub.conftest import NEEDS_REDIS
from tests.hub.redis import Redis
from tests.servers import PATIENCE
from trioweb import App, Request, Response, Sessions, WebSocket
from trioweb.middleware import CallNext, Session
from trioweb.security import MemorySessions, RedisSessions
from trioweb.testing import TestClient

pytestmark = [
    # Of coredis, which leaves the streams of a lost connection to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
PREFIXES = count()
KEY = "a secret of sixteen letters"
Change = Callable[[Session], object]


class Site:
    """An app whose handlers change the session late, as a test says."""

    def __init__(self, sessions: Any) -> None:
        self.app = App()
        if not isinstance(sessions, Sessions):
            self.app.lifespan(sessions)
        self.app.middleware(sessions)
        self.change: Change = len
        self.goes_on = trio.Event()
        self.goes_on.set()
        self.app.get("/look")(self.look)
        self.app.post("/set")(self.put)
        self.app.post("/end")(self.end)
        self.app.get("/stream")(self.stream)
        self.app.get("/sync-stream")(self.sync_stream)
        self.app.get("/task")(self.task)
        self.app.websocket("/ws")(self.talk)
        self.app.websocket("/replace")(self.replace)

    async def look(self, request: Request) -> Any:
        """Show the session."""
        return dict(request.state.session)

    async def put(self, request: Request) -> None:
        """Put something in it."""
        request.state.session.update(await request.json())

    async def end(self, request: Request) -> None:
        """End it."""
        request.state.session.clear()

    async def stream(self, request: Request) -> AsyncIterator[str]:
        """Change it after the first chunk."""
        yield "begun "
        await self.goes_on.wait()
        self.change(request.state.session)
        yield "changed"

    def sync_stream(self, request: Request) -> Iterator[str]:
        """Change it in a thread."""
        yield "begun "
        self.change(request.state.session)
        yield "changed"

    async def task(self, request: Request) -> str:
        """Change it when the response is sent."""
        request.nursery.start_soon(self.later, request)
        return "begun"

    async def later(self, request: Request) -> None:
        """Change it."""
        await trio.sleep(1)
        self.change(request.state.session)

    async def talk(self, ws: WebSocket) -> None:
        """Change it after the handshake."""
        await ws.accept()
        await self.goes_on.wait()
        self.change(ws.state.session)

    async def replace(self, ws: WebSocket) -> None:
        """Put another dict in its place."""
        await ws.accept()
        ws.state.session = {"c": 3}


@pytest.fixture(params=["memory", pytest.param("redis", marks=NEEDS_REDIS)])
def site(request: pytest.FixtureRequest) -> Site:
    """A site with sessions on the server."""
    if request.param == "memory":
        return Site(MemorySessions())
    server: Redis = request.getfixturevalue("redis")
    return Site(RedisSessions(server.url, prefix=f"late{next(PREFIXES)}:"))


async def ask(client: httpx.AsyncClient, way: str) -> None:
    """Have a handler change the session, and wait for its end."""
    if way == "/ws":
        assert isinstance(client, TestClient)
        async with client.websocket("/ws") as ws:
            assert [each async for each in ws] == []
    else:
        assert (await client.get(way)).text == "begun changed"


def set_item(session: Session) -> None:
    """Assign one."""
    session["a"] = 2


def merge(session: Session) -> None:
    """Assign by an operator."""
    session |= {"a": 2}


@pytest.mark.parametrize("way", ["/ws", "/stream", "/sync-stream"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_item, {"a": 2, "b": [1]}),
        (merge, {"a": 2, "b": [1]}),
        (lambda session: session.update(c=3), {"a": 1, "b": [1], "c": 3}),
        (lambda session: session.setdefault("c", 3), {"a": 1, "b": [1], "c": 3}),
        (lambda session: session.pop("a"), {"b": [1]}),
        (lambda session: session.popitem(), {"a": 1}),
        (lambda session: session.__delitem__("b"), {"a": 1}),
        (lambda session: session.clear(), {}),
    ],
)
async def test_it_is_saved_at_the_end(site: Site, way: str, change: Change, expected: Any) -> None:
    """Whatever way a handler changes it, the next request sees that."""
    async with TestClient(site.app) as client:
        await client.post("/set", json={"a": 1, "b": [1]})
        site.change = change
        await ask(client, way)
        await wait_until(client, expected)


async def wait_until(client: TestClient, expected: Any) -> None:
    """Look until the session is so: the end of a stream is sent before the request has ended."""
    with trio.fail_after(PATIENCE):
        while (await client.get("/look")).json() != expected:
            await trio.sleep(0.01)


async def test_what_is_within_a_value(site: Site) -> None:
    """A WebSocket's session is looked at as a whole; what replaces it counts, too."""
    async with TestClient(site.app) as client:
        await client.post("/set", json={"a": 1, "b": [1]})
        site.change = lambda session: session["b"].append(2)
        await ask(client, "/ws")
        assert (await client.get("/look")).json() == {"a": 1, "b": [1, 2]}
        async with client.websocket("/replace") as ws:
            assert [each async for each in ws] == []
        assert (await client.get("/look")).json() == {"c": 3}


async def test_others_change_it_meanwhile(site: Site) -> None:
    """A long WebSocket or stream saves the values that it has changed, and leaves the others as they are then."""
    async with TestClient(site.app) as client, trio.open_nursery() as nursery:
        for way in ("/ws", "/stream"):
            await client.post("/set", json={"a": 1, "b": 1})
            site.goes_on = trio.Event()
            site.change = set_item
            nursery.start_soon(ask, client, way)
            await wait_until(client, {"a": 1, "b": 1})
            await trio.testing.wait_all_tasks_blocked(0.05)
            await client.post("/set", json={"b": 7})
            site.goes_on.set()
            await wait_until(client, {"a": 2, "b": 7})


async def test_one_that_has_ended_stays_so(site: Site) -> None:
    """A WebSocket that goes on revives no session that was ended meanwhile."""
    async with TestClient(site.app) as client:
        await client.post("/set", json={"a": 1})
        stolen = {"cookie": f"session={client.cookies['session']}"}

        site.change, site.goes_on = set_item, trio.Event()
        async with client.websocket("/ws") as ws:
            await client.post("/end")
            site.goes_on.set()
            assert [each async for each in ws] == []
        assert (await client.get("/look", headers=stolen)).json() == {}


@pytest.mark.parametrize("way", ["/ws", "/stream", "/task"])
async def test_a_browser_without_a_session(
    site: Site, way: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no cookie to find it by, and none can be set any more: the change is an error."""
    site.change = set_item
    async with TestClient(site.app, raise_app_exceptions=False) as client:
        await fail(client, way)
    assert (
        "the session was changed after the response had begun, or the WebSocket was accepted, and the br" in caplog.text
    )


@pytest.mark.parametrize("way", ["/ws", "/stream", "/task"])
async def test_one_in_a_cookie(
    way: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The cookie was sent, so that the change is an error, and says which sessions can be changed late."""
    site = Site(Sessions(KEY))
    async with TestClient(site.app, raise_app_exceptions=False) as client:
        await client.post("/set", json={"a": 1, "b": [1]})
        for site.change in (set_item, merge, lambda session: session.clear(), lambda session: session.pop("no", 1)):
            caplog.clear()
            await fail(client, way)
            assert "change it before, or take MemorySessions or RedisSessions" in caplog.text
        assert (await client.get("/look")).json() == {"a": 1, "b": [1]}


async def fail(client: TestClient, way: str) -> None:
    """Have a handler change it, where it cannot be."""
    if way == "/ws":
        async with client.websocket("/ws") as ws:
            assert [each async for each in ws] == []
    elif way == "/task":
        assert (await client.get(way)).text == "begun"
        await trio.sleep(2)
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(way)


async def test_a_change_within_a_value_of_a_cookie_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be refused when it happens is logged at the end of a WebSocket: it is not lost silently."""
    site = Site(Sessions(KEY))
    async with TestClient(site.app, raise_app_exceptions=False) as client:
        await client.post("/set", json={"b": [1]})
        site.change = lambda session: session["b"].append(2)
        await fail(client, "/ws")
    assert "what was to be done at its end failed" in caplog.text
    assert "change it before, or take MemorySessions" in caplog.text


@pytest.mark.parametrize("kind", [MemorySessions, lambda: Sessions(KEY)])
async def test_a_middleware_outside(kind: Callable[[], Any]) -> None:
    """A middleware around sessions changes one before `call_next`, or not at all; a new id comes too late as well."""
    late: list[Change] = [set_item, Session.renew]
    app = App()

    @app.middleware
    async def outside(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        late.pop()(request.state.session)
        return response

    app.middleware(kind())
    app.get("/")(lambda: "x")
    async with TestClient(app) as client:
        with pytest.raises(RuntimeError, match=r"session.renew\(\) came after the response had begun"):
            await client.get("/")
        with pytest.raises(RuntimeError, match="the session was changed after the response had begun"):
            await client.get("/")


@NEEDS_REDIS
async def test_redis_is_away_at_the_end(own_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be saved then is logged, and breaks nothing off."""
    site = Site(RedisSessions(own_redis.url))
    async with TestClient(site.app, raise_app_exceptions=False) as client:
        await client.post("/set", json={"a": 1})

        def stop(session: Session) -> None:
            own_redis.kill()
            set_item(session)

        site.change = stop
        with caplog.at_level(logging.ERROR):
            await ask(client, "/stream")
    assert "Redis gives no answer" in caplog.text


@pytest.mark.parametrize("way", ["/look", "/ws", "/stream"])
@pytest.mark.parametrize("kind", [MemorySessions, lambda: Sessions(KEY)])
async def test_no_session_waits_for_the_collector(kind: Callable[[], Any], way: str) -> None:
    """A session, and the request that it belongs to, is freed when the request has ended."""
    site = Site(kind())
    seen: list[weakref.ref[Session]] = []

    @site.app.middleware
    async def watch(request: Request, call_next: CallNext) -> Response:
        seen.append(weakref.ref(request.state.session))
        return await call_next(request)

    async with TestClient(site.app) as client:
        await client.post("/set", json={"a": 1})
        gc.collect()
        gc.disable()
        try:
            if way == "/look":
                await client.get(way)
            else:
                await ask(client, way)
            await trio.testing.wait_all_tasks_blocked()
            assert [each() for each in seen] == [None] * len(seen)
        finally:
            gc.enable()
