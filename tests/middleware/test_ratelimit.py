"""RateLimit, in memory and in Redis."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from tests.asgi import ask
from tests.hub.conftest import NEEDS_REDIS, own_redis, redis  # noqa: F401 - fixtures
from tests.hub.redis import Redis
from tests.servers import PATIENCE
from trioweb import App, Request, WebSocket
from trioweb.middleware import RateLimit, client_address, windows
from trioweb.middleware.windows import Windows
from trioweb.testing import TestClient, WebSocketDenied

UNCLOSED = pytest.mark.filterwarnings("ignore::ResourceWarning")
"""coredis leaves what belongs to a broken connection to the garbage collector."""
Clock = trio.testing.MockClock


def make(*limits: RateLimit) -> App:
    """An app behind limits."""
    app = App()
    for limit in limits:
        app.lifespan(limit)
        app.middleware(limit)

    @app.get("/")
    async def root() -> str:
        return "x"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "x"

    @app.get("/broken")
    async def broken() -> str:
        raise ValueError("no")

    @app.websocket("/ws")
    async def socket(ws: WebSocket) -> None:
        await ws.accept()

    return app


def of(user: str) -> dict[str, str]:
    """The headers of a user."""
    return {"x-user": user}


def by_user(request: Request) -> str | None:
    """What a user's requests have in common."""
    return request.headers.get("x-user")


@pytest.fixture(autouse=True)
def _patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is there may take its time on a busy machine."""
    if "redis" in request.fixturenames:
        monkeypatch.setattr(windows, "TRYING", PATIENCE)


async def test_requests_beyond_the_limit(autojump_clock: Clock) -> None:
    """In a window a client has as many requests as the limit, then a 429 that says when to come again; then as many."""
    async with TestClient(make(RateLimit(2, per=60)), raise_app_exceptions=False) as client:
        for _ in range(2):
            for path, remaining in (("/", 1), ("/stream", 0)):
                response = await client.get(path)
                assert response.status_code == 200
                assert response.headers["ratelimit-policy"] == '"default";q=2;w=60'
                assert response.headers["ratelimit"] == f'"default";r={remaining};t=60'
                assert "retry-after" not in response.headers
            await trio.sleep(59.5)
            response = await client.get("/")
            assert (response.status_code, response.headers["retry-after"]) == (429, "1")
            assert response.headers["ratelimit"] == '"default";r=0;t=1'
            assert response.json()["detail"] == "More than 2 requests in 60 s: try again in 1 s."
            await trio.sleep(1)


async def test_what_fails_counts_too() -> None:
    """Faults and what does not exist are counted, and their answers say so."""
    async with TestClient(make(RateLimit(3, per=60)), raise_app_exceptions=False) as client:
        answers = [await client.get(path) for path in ("/broken", "/nothing", "/", "/")]
    assert [answer.status_code for answer in answers] == [500, 404, 200, 429]
    assert [answer.headers["ratelimit"][:13] for answer in answers] == [f'"default";r={n}' for n in (2, 1, 0, 0)]


async def test_clients_are_counted_by_their_key() -> None:
    """Each key has a window of its own; what has none is not counted."""
    async with TestClient(make(RateLimit(1, per=60, key=by_user))) as client:
        for user in ("ada", "bob", "x" * 5000, "\u20ac"):
            headers = [(b"x-user", user.encode())]
            assert [(await client.get("/", headers=headers)).status_code for _ in range(2)] == [200, 429]
        for _ in range(3):
            response = await client.get("/")
            assert response.status_code == 200
            assert "ratelimit" not in response.headers


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::5", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unix", "unix", True),
        (None, None, True),
    ],
)
async def test_the_address_of_a_client(one: str | None, other: str | None, same: bool) -> None:
    """A client is its address; of IPv6 its network, since one client can have all addresses of that."""
    app = App()
    host: str | None = None

    async def placed(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": host and (host, 1)}, receive, send)

    @app.get("/")
    async def root(request: Request) -> str:
        return client_address(request)

    async with TestClient(placed) as client:
        host = one
        first = (await client.get("/")).text
        host = other
        assert ((await client.get("/")).text == first) is same


async def test_several_limits() -> None:
    """Limits add up, each with its own name in the headers; a route may have one of its own."""
    app = make(RateLimit(3, per=60, name="all"))

    @app.get("/login", middleware=[RateLimit(1, per=10, name="login")])
    async def login() -> str:
        return "in"

    async with TestClient(app) as client:
        first, second = await client.get("/login"), await client.get("/login")
        assert first.headers.get_list("ratelimit") == ['"login";r=0;t=10', '"all";r=2;t=60']
        assert (second.status_code, second.headers["retry-after"]) == (429, "10")
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/")).status_code == 429


async def test_memory_is_bounded(autojump_clock: Clock) -> None:
    """What is counted of clients does not grow beyond `most`, and is gone when its windows are over."""
    windows = Windows(60, 1000)
    for number in range(5000):
        windows.count(b"%d" % number)
    assert len(windows) == 1000
    assert windows.count(b"4999") == (2, 60)
    assert windows.count(b"0") == (1, 60)
    await trio.sleep(60)
    windows.count(b"x")
    assert len(windows) == 1


def test_another_run_of_trio() -> None:
    """What was counted in another run, whose clock was another, is over."""
    windows = Windows(60, 10)

    async def count(at: float) -> int:
        await trio.sleep(at)
        return windows.count(b"x")[0]

    for at in (1000, 10, 2000):
        assert trio.run(count, at, clock=Clock(autojump_threshold=0)) == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"limit": 0}, ValueError, "limit is at least 1, got 0"),
        ({"limit": "10"}, TypeError, "write an int"),
        ({"limit": True}, TypeError, "write an int"),
        ({"most": 0}, ValueError, "most is at least 1"),
        ({"per": 0}, ValueError, "per is a number of seconds above zero, at most a year, got 0"),
        ({"per": float("nan")}, ValueError, "per is a number of seconds"),
        ({"per": None}, ValueError, "per is a number of seconds"),
        ({"key": "x-user"}, TypeError, "write key=lambda request: ..."),
        ({"name": 'a"b'}, ValueError, "write printable ASCII without quotes"),
        ({"name": "a\r\nb"}, ValueError, "write printable ASCII without quotes"),
    ],
)
def test_what_is_no_limit(options: dict[str, Any], error: type[Exception], text: str) -> None:
    """Arguments that mean nothing are errors when the limit is made."""
    with pytest.raises(error, match=text):
        RateLimit(**{"limit": 1, "per": 1, **options})


async def test_a_key_that_is_none() -> None:
    """A key of another type is an error that says what to return."""
    app = make(RateLimit(1, per=1, key=lambda _: 5))  # type: ignore[arg-type, return-value]
    async with TestClient(app) as client:
        with pytest.raises(TypeError, match="RateLimit: key returned int: return a str, or None not to count"):
            await client.get("/")


def test_without_coredis(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing for Redis is named."""
    monkeypatch.setitem(sys.modules, "coredis", None)
    monkeypatch.setitem(sys.modules, "coredis.exceptions", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"RateLimit\(redis=...\) needs coredis: pip install trioweb\[redis\]"
    ):
        RateLimit(1, per=1, redis="redis://localhost")


@NEEDS_REDIS
async def test_redis_counts_for_all(redis: Redis) -> None:  # noqa: F811
    """Apps with the same Redis and name count together, under any name or prefix of their own by themselves."""

    def limit(**options: Any) -> RateLimit:
        return RateLimit(2, per=60, key=by_user, redis=redis.url, **options)

    one, two = make(limit(prefix="a:")), make(limit(prefix="a:"))
    other, named = make(limit(prefix="b:")), make(limit(prefix="a:", name="login"))
    async with (
        TestClient(one) as first,
        TestClient(two) as second,
        TestClient(other) as third,
        TestClient(named) as last,
    ):
        answers = [await client.get("/", headers=of("ada")) for client in (first, second, first, third, last)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200]
        assert answers[1].headers["ratelimit"] == '"default";r=0;t=60'
        assert answers[2].headers["retry-after"] == "60"
        assert (await first.get("/", headers=of("bob"))).status_code == 200


@NEEDS_REDIS
async def test_a_window_in_redis_ends(redis: Redis) -> None:  # noqa: F811
    """A window in Redis lasts as long as one in memory."""
    async with TestClient(make(RateLimit(1, per=0.2, redis=redis.url, prefix="end:"))) as client:
        assert (await client.get("/")).status_code == 200
        with trio.fail_after(PATIENCE):
            while (await client.get("/")).status_code == 429:
                await trio.sleep(0.02)


@NEEDS_REDIS
@pytest.mark.parametrize("milliseconds", [-1, 10**9])
async def test_a_window_of_another_length(redis: Redis, milliseconds: int) -> None:  # noqa: F811
    """A key in Redis that has no end, or the end of a longer window, holds nobody for longer than a window does."""
    import coredis  # noqa: PLC0415 - an extra

    async with TestClient(make(RateLimit(1, per=60, redis=redis.url, prefix=f"w{milliseconds}:"))) as client:
        assert (await client.get("/")).status_code == 200
        async with coredis.Redis.from_url(redis.url) as direct:
            [key] = await direct.keys(f"w{milliseconds}:*")
            await (direct.persist(key) if milliseconds < 0 else direct.pexpire(key, milliseconds))
            assert (await client.get("/")).headers["retry-after"] == "60"
            assert 0 < await direct.pttl(key) <= 60_000


@NEEDS_REDIS
async def test_many_at_once(redis: Redis) -> None:  # noqa: F811
    """Of requests that come at once exactly as many as the limit are let through."""
    statuses: list[int] = []
    async with TestClient(make(RateLimit(20, per=60, redis=redis.url, prefix="many:"))) as client:

        async def get() -> None:
            statuses.append((await client.get("/")).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(get)
    assert sorted(statuses) == [200] * 20 + [429] * 30


@NEEDS_REDIS
@UNCLOSED
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_redis_hangs(own_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    """A Redis that does not answer is not waited for, and not asked again for a while."""
    async with TestClient(make(RateLimit(2, per=600, redis=own_redis.url))) as client:
        assert (await client.get("/")).status_code == 200
        assert own_redis.process is not None
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            with trio.fail_after(30):
                assert [(await client.get("/")).status_code for _ in range(4)] == [200, 200, 429, 429]
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        assert caplog.text.count("RateLimit: Redis is away (no answer within 0.5 s)") == 1


@pytest.mark.skipif(importlib.util.find_spec("coredis") is None, reason="needs coredis")
@UNCLOSED
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_redis_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure nothing is sent to Redis until the pause is over."""
    monkeypatch.setattr(windows, "PAUSE", 3600.0)
    asked: list[int] = []

    async def silent(stream: trio.SocketStream) -> None:
        asked.append(0)
        async for data in stream:
            asked.append(len(data))

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, silent, listeners)
        async with TestClient(make(RateLimit(2, per=600, redis=f"redis://127.0.0.1:{port}"))) as client:
            assert (await client.get("/")).status_code == 200
            before = len(asked)
            assert before
            assert [(await client.get("/")).status_code for _ in range(3)] == [200, 429, 429]
            assert len(asked) == before
        nursery.cancel_scope.cancel()


@NEEDS_REDIS
@UNCLOSED
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_redis_is_away(own_redis: Redis, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    """While Redis is away requests are counted in memory, which is logged once, and together again when it is back."""
    own_redis.kill()
    async with TestClient(make(RateLimit(2, per=600, redis=own_redis.url))) as client:
        assert [(await client.get("/")).status_code for _ in range(4)] == [200, 200, 429, 429]
        assert caplog.text.count("RateLimit: Redis is away (") == 1
        own_redis.start()
        with trio.fail_after(PATIENCE):
            while "RateLimit: Redis is back" not in caplog.text:
                await client.get("/")
                await trio.sleep(0.1)
        own_redis.kill()
        await client.get("/")
        assert caplog.text.count("RateLimit: Redis is away (") == 2


@NEEDS_REDIS
async def test_a_limit_that_is_not_connected(redis: Redis) -> None:  # noqa: F811
    """A limit in Redis without its lifespan is an error that says what to write."""
    app = App()
    app.middleware(RateLimit(1, per=1, redis=redis.url))
    assert (await ask(app, "/")).status == 500
    async with TestClient(app) as client:
        with pytest.raises(RuntimeError, match=r"write app.lifespan\(limit\) beside app.middleware"):
            await client.get("/")


async def test_handshakes(autojump_clock: Clock) -> None:
    """The handshake of a WebSocket counts as a request, and beyond the limit it is denied with the same 429."""
    app = make(RateLimit(3, per=60))

    @app.websocket("/few", middleware=[RateLimit(1, per=60, name="few")])
    async def few(ws: WebSocket) -> None:
        await ws.accept()

    async with TestClient(app) as client:
        async with client.websocket("/few") as ws:
            assert ws.headers.getlist("ratelimit") == ['"few";r=0;t=60', '"default";r=2;t=60']
        assert (await client.get("/")).headers["ratelimit"] == '"default";r=1;t=60'
        await denied(client, "/few")
        await denied(client, "/ws")
        assert (await client.get("/")).status_code == 429
        await trio.sleep(60)
        for path in ("/ws", "/few"):
            async with client.websocket(path):
                pass


async def denied(client: TestClient, path: str) -> None:
    """See a handshake refused."""
    with pytest.raises(WebSocketDenied) as refused:
        await client.websocket(path).__aenter__()
    assert (refused.value.status_code, refused.value.headers["retry-after"]) == (429, "60")
