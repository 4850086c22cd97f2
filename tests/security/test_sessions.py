"""Sessions on the server: what is promised of those in memory holds for those in Redis."""

import re
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any, TypeAlias

import httpx
import pytest
import trio

from tests.hub.conftest import NEEDS_REDIS
from tests.hub.redis import Redis
from trioweb import App, Provide, Request, Sessions, WebSocket
from trioweb.middleware import Session
from trioweb.security import MemorySessions, RedisSessions, session
from trioweb.testing import TestClient

pytestmark = [
    # Of coredis, which leaves the streams of a lost connection to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Make: TypeAlias = Callable[..., App]
PREFIXES = count()
KEY = "a secret of sixteen letters"


def build(sessions: Any) -> App:
    """An app that counts, by browser."""
    app = App()
    if not isinstance(sessions, Sessions):
        app.lifespan(sessions)
    app.middleware(sessions)

    @app.get("/count")
    async def counted(session: Annotated[Session, Provide(session)]) -> int:
        session["count"] = session.get("count", 0) + 1
        return int(session["count"])

    @app.get("/look")
    async def look(session: Annotated[Session, Provide(session)]) -> Any:
        return dict(session)

    @app.get("/login")
    async def login(session: Annotated[Session, Provide(session)]) -> None:
        session.renew()
        session["user"] = "ada"

    @app.get("/renew")
    async def renew(session: Annotated[Session, Provide(session)]) -> None:
        session.renew()

    @app.get("/replace")
    async def replace(request: Request) -> None:
        request.state.session = {"user": "bob"}

    @app.get("/clear")
    async def clear(session: Annotated[Session, Provide(session)]) -> None:
        session.clear()

    @app.get("/large")
    async def large(session: Annotated[Session, Provide(session)], size: int) -> None:
        session["x"] = "x" * size

    @app.websocket("/ws")
    async def talk(ws: WebSocket, session: Annotated[Session, Provide(session)]) -> None:
        session["count"] = session.get("count", 0) + 1
        await ws.accept()
        await ws.send_json(dict(session))

    return app


@pytest.fixture(params=["memory", pytest.param("redis", marks=NEEDS_REDIS)])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes apps with sessions."""
    if request.param == "memory":
        return lambda **options: build(MemorySessions(**options))
    server: Redis = request.getfixturevalue("redis")

    def make(**options: Any) -> App:
        return build(RedisSessions(server.url, prefix=f"test{next(PREFIXES)}:", **options))

    return make


def cookies(response: httpx.Response) -> list[str]:
    """What it sets."""
    return response.headers.get_list("set-cookie")


async def test_a_session_is_kept_from_request_to_request(make: Make) -> None:
    """What a handler changes is there at the next request; a request that changes nothing sets no cookie."""
    async with TestClient(make()) as client, TestClient(make()) as other:
        assert cookies(await client.get("/look")) == []
        [cookie] = cookies(await client.get("/count"))
        expected = r"session=[\w-]{43}; Path=/; Max-Age=1209600; SameSite=lax; HttpOnly"
        assert re.fullmatch(expected, cookie)
        assert (await client.get("/count")).json() == 2
        response = await client.get("/look")
        assert (response.json(), cookies(response)) == ({"count": 2}, [])
        assert "cookie" in response.headers["vary"].lower()
        assert (await other.get("/look")).json() == {}


async def test_a_session_ends_for_whoever_has_its_cookie(make: Make) -> None:
    """After signing out the cookie is worth nothing, and it is deleted."""
    async with TestClient(make()) as client:
        await client.get("/count")
        stolen = client.cookies["session"]
        [deletion] = cookies(await client.get("/clear"))
        assert "Max-Age=0" in deletion
        response = await client.get("/look", headers={"cookie": f"session={stolen}"})
        assert response.json() == {}
        assert "Max-Age=0" in cookies(response)[0]
        assert (await client.get("/count")).json() == 1


@pytest.mark.parametrize("path", ["/login", "/renew", "/replace"])
async def test_an_id_that_was_planted(make: Make, path: str) -> None:
    """A session that is renewed, or replaced, has another id, and the one before is worth nothing."""
    async with TestClient(make()) as client:
        await client.get("/count")
        planted = client.cookies["session"]
        assert len(cookies(await client.get(path))) == 1
        assert client.cookies["session"] != planted
        kept = (await client.get("/look")).json()
        assert (
            kept == {"/login": {"count": 1, "user": "ada"}, "/renew": {"count": 1}, "/replace": {"user": "bob"}}[path]
        )
        client.cookies.clear()
        assert (await client.get("/look", headers={"cookie": f"session={planted}"})).json() == {}


@pytest.mark.parametrize("value", ["", "x", "A" * 43, "A" * 3000, "../" * 14 + "A", '"\\303\\244"'])
async def test_an_id_that_a_client_has_made_up(make: Make, value: str) -> None:
    """An id that is none is never one of a session."""
    async with TestClient(make()) as client:
        headers = {"cookie": f"session={value}"}
        assert (await client.get("/look", headers=headers)).json() == {}
        [cookie] = cookies(await client.get("/count", headers=headers))
        assert value == "" or f"session={value};" not in cookie


async def test_a_request_that_is_under_way_revives_nothing(make: Make) -> None:
    """Of two requests the one that ends the session wins, though the other saves later."""
    app = make()
    begun, go_on = trio.Event(), trio.Event()

    @app.get("/slow")
    async def slow(session: Annotated[Session, Provide(session)]) -> None:
        session["late"] = True
        begun.set()
        await go_on.wait()

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        await client.get("/login")
        stolen = client.cookies["session"]
        responses: list[httpx.Response] = []

        async def ask() -> None:
            responses.append(await client.get("/slow", headers={"cookie": f"session={stolen}"}))

        nursery.start_soon(ask)
        await begun.wait()
        await client.get("/clear")
        go_on.set()
        while not responses:
            await trio.sleep(0.01)
        assert "Max-Age=0" in cookies(responses[0])[0]
        headers = {"cookie": f"session={stolen}"}
        assert (await client.get("/look", headers=headers)).json() == {}


async def test_a_session_ages(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written anew when half of its lifetime is over, with its id, and ends when all of it is."""
    now = [1_000_000.0]
    monkeypatch.setattr("trioweb.security.sessions.clock", lambda: now[0])
    async with TestClient(make(max_age=100)) as client:
        await client.get("/count")
        first = client.cookies["session"]
        for seconds, renewed in ((40, 0), (20, 1), (60, 1)):
            now[0] += seconds
            response = await client.get("/look", headers={"cookie": f"session={first}"})
            assert (response.json(), len(cookies(response))) == ({"count": 1}, renewed)
            assert client.cookies["session"] == first
        now[0] += 101
        assert (await client.get("/look", headers={"cookie": f"session={first}"})).json() == {}


async def test_a_session_of_a_browser(make: Make) -> None:
    """Without an age the cookie has none; a partitioned one says so, and browsers take it."""
    async with TestClient(make(max_age=None)) as client:
        assert "Max-Age" not in cookies(await client.get("/count"))[0]
    app = make(partitioned=True, samesite="none", cookie="__Host-id")
    async with TestClient(app, base_url="https://testserver") as client:
        [cookie] = cookies(await client.get("/count"))
        assert cookie.endswith("; SameSite=none; Secure; HttpOnly; Partitioned")
        [deletion] = cookies(await client.get("/clear", headers={"cookie": cookie.partition(";")[0]}))
        assert deletion.endswith("; SameSite=none; Secure; HttpOnly; Partitioned")


async def test_a_session_that_is_too_large(make: Make) -> None:
    """Its size has a bound, and an error says what to do."""
    app = make(max_size=1000)
    async with TestClient(app) as client:
        assert (await client.get("/large?size=900")).status_code == 204
        with pytest.raises(ValueError, match="its max_size is 1000: keep the rest in a database"):
            await client.get("/large?size=1000")


async def test_handshakes(make: Make) -> None:
    """A WebSocket has the session of the browser, and can begin one until it accepts."""
    async with TestClient(make()) as client:
        async with client.websocket("/ws") as ws:
            assert await ws.receive_json() == {"count": 1}
            cookie = ws.headers["set-cookie"].partition(";")[0]
        assert (await client.get("/look", headers={"cookie": cookie})).json() == {"count": 1}
        async with client.websocket("/ws", headers={"cookie": cookie}) as ws:
            assert await ws.receive_json() == {"count": 2}


async def test_one_in_a_cookie_is_used_alike() -> None:
    """``Provide(session)`` is the session of ``Sessions``, too, and that may be partitioned."""
    app = build(Sessions(KEY, partitioned=True, samesite="none"))
    async with TestClient(app, base_url="https://testserver") as client:
        [cookie] = cookies(await client.get("/login"))
        assert cookie.endswith("; SameSite=none; Secure; HttpOnly; Partitioned")
        headers = {"cookie": cookie.partition(";")[0]}
        assert (await client.get("/look", headers=headers)).json() == {"user": "ada"}
        assert len(cookies(await client.get("/renew", headers=headers))) == 1


async def test_sessions_in_memory_have_a_bound() -> None:
    """Beyond the limit those that were not used for longest end: strangers make it no larger, and end none in use."""
    app = build(MemorySessions(max_size=1000, limit=100_000))
    made: list[str] = []
    async with TestClient(app) as client:

        async def ask(path: str, cookie: str = "") -> httpx.Response:
            client.cookies.clear()
            return await client.get(path, headers={"cookie": cookie})

        ada, bob = [cookies(await ask("/login"))[0].partition(";")[0] for _ in range(2)]
        for _ in range(300):
            made += [each.partition(";")[0] for each in cookies(await ask("/large?size=800"))]
            assert (await ask("/look", ada)).json() == {"user": "ada"}
        assert (await ask("/look", bob)).json() == {}
        living = [bool((await ask("/look", each)).json()) for each in made]
    assert len(made) == 300
    assert 50 < sum(living) <= 100_000 // 800
    assert living == sorted(living)


@NEEDS_REDIS
async def test_redis_is_away(own_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """While Redis gives no answer, requests with a session are a 503, logged; others are answered. Then all goes on."""
    app = build(RedisSessions(own_redis.url))
    async with TestClient(app) as client:
        await client.get("/count")
        own_redis.kill()
        response = await client.get("/look")
        assert (response.status_code, response.json()["detail"]) == (503, "Sessions are not available at the moment.")
        assert "Redis gives no answer" in caplog.text
        assert (await client.get("/look", headers={"cookie": ""})).status_code == 200
        own_redis.start()
        assert (await client.get("/look")).json() == {"count": 1}


@NEEDS_REDIS
async def test_redis_has_no_ids(redis: Redis) -> None:
    """Who reads what is kept can use no session; and what is not used any more goes."""
    coredis = pytest.importorskip("coredis")
    sessions = RedisSessions(redis.url, prefix="seen:", max_age=77)
    async with TestClient(build(sessions)) as client, coredis.Redis.from_url(redis.url, verify_version=False) as inside:
        await client.get("/login")
        [key] = await inside.keys("seen:*")
        assert client.cookies["session"] not in key.decode()
        assert await inside.ttl(key) in (76, 77)


async def test_redis_without_its_lifespan() -> None:
    """Sessions that were never connected say what is missing."""
    app = App()
    app.middleware(RedisSessions("redis://127.0.0.1:1"))

    @app.get("/")
    async def root(session: Annotated[Session, Provide(session)]) -> None:
        session["x"] = 1

    with pytest.raises(RuntimeError, match=r"write app.lifespan\(sessions\)"):
        await app.test_client().get("/")


async def test_a_session_without_middleware() -> None:
    """A session that nobody keeps is an error that says what to write."""
    app = App()

    @app.get("/")
    async def root(session: Annotated[Session, Provide(session)]) -> None: ...

    with pytest.raises(RuntimeError, match=r"write app.middleware\(MemorySessions\(\)\)"):
        await app.test_client().get("/")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_size": 0}, "max_size is a number of bytes"),
        ({"limit": 1000}, "limit is a number of bytes, and more than max_size"),
        ({"max_age": 0}, "MemorySessions: max_age is how long"),
        ({"partitioned": True, "secure": False}, "with partitioned=True write secure=True"),
    ],
)
def test_mistakes(options: Any, words: str) -> None:
    """What cannot be kept is refused."""
    with pytest.raises(ValueError, match=words):
        MemorySessions(**options)
