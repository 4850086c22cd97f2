"""Sessions: kept in a signed cookie, and only where there is something to keep."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from trioweb import App, Request, Sessions

KEY = "k" * 16


def make(key: str | list[str] = KEY, **options: Any) -> App:
    """An app that counts, per browser."""
    app = App()
    app.middleware(Sessions(key, **options))

    @app.get("/count")
    async def count(request: Request) -> int:
        session = request.state.session
        session["count"] = session.get("count", 0) + 1
        return int(session["count"])

    @app.get("/look")
    async def look(request: Request) -> Any:
        return dict(request.state.session)

    @app.get("/clear")
    async def clear(request: Request) -> None:
        request.state.session.clear()

    @app.get("/large")
    async def large(request: Request) -> None:
        request.state.session["x"] = [hash(str(n)) for n in range(1000)]

    return app


def cookies(response: httpx.Response) -> list[str]:
    """What it sets."""
    return response.headers.get_list("set-cookie")


async def test_a_session_is_kept_from_request_to_request() -> None:
    """What a handler changes is there at the next request; a request that changes nothing sets no cookie."""
    async with make().test_client() as client:
        assert cookies(await client.get("/look")) == []
        first = await client.get("/count")
        assert "HttpOnly" in cookies(first)[0]
        assert "Secure" not in cookies(first)[0]
        assert first.headers["vary"] == "cookie"
        assert (await client.get("/count")).json() == 2
        look = await client.get("/look")
        assert (look.json(), cookies(look)) == ({"count": 2}, [])
        assert "Max-Age=0" in cookies(await client.get("/clear"))[0]
        assert (await client.get("/look")).json() == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v[:-9] + ("A" if v[-9] != "A" else "B") + v[-8:],
        lambda v: "x" + v,
        lambda _: "junk",
        lambda _: "a.b.c",
    ],
)
async def test_a_cookie_that_is_not_ours_is_an_empty_session(change: Any) -> None:
    """A cookie that was changed, or made up, counts as none."""
    async with make().test_client() as client:
        value = (await client.get("/count")).cookies["session"]
        client.cookies.clear()
        forged = await client.get("/look", headers={"cookie": f"session={change(value)}"})
        assert forged.json() == {}
        assert (await client.get("/look", headers={"cookie": f"session={value}"})).json() == {"count": 1}


async def test_a_session_ends_and_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session is renewed by a request after half of its time; after all of it its cookie is taken away."""
    now = int(time.time())
    async with make(max_age=100).test_client() as client:
        value = (await client.get("/count")).cookies["session"]
        client.cookies.clear()
        for seconds, session, renewed in ((40, {"count": 1}, 0), (60, {"count": 1}, 1), (110, {}, 1)):
            monkeypatch.setattr("itsdangerous.timed.time.time", lambda seconds=seconds: now + seconds)
            monkeypatch.setattr("trioweb.middleware.sessions.clock", lambda seconds=seconds: now + seconds)
            response = await client.get("/look", headers={"cookie": f"session={value}"})
            client.cookies.clear()
            assert (response.json(), len(cookies(response))) == (session, renewed)


async def test_keys_can_be_changed() -> None:
    """A session that was signed with an old key is read as long as that is listed."""
    async with make().test_client() as client:
        value = (await client.get("/count")).cookies["session"]
    for keys, session in (([KEY, "n" * 16], {"count": 1}), (["n" * 16], {})):
        async with make(keys).test_client() as client:
            assert (await client.get("/look", headers={"cookie": f"session={value}"})).json() == session


async def test_a_session_that_no_browser_keeps_is_an_error() -> None:
    """A session too large for a cookie is an error that says what to do, not a session that is lost."""
    async with make().test_client() as client:
        with pytest.raises(ValueError, match="keep an id in it"):
            await client.get("/large")


async def test_a_cookie_is_secure_over_https() -> None:
    """A cookie that was set over HTTPS is sent over HTTPS only, unless said otherwise."""
    async with make().test_client(base_url="https://testserver") as client:
        assert "Secure" in cookies(await client.get("/count"))[0]


def test_a_key_to_guess_is_refused() -> None:
    """A key shorter than 16 characters is refused."""
    for wrong in ("short", [], [KEY, "short"]):
        with pytest.raises(ValueError, match="at least 16 characters"):
            Sessions(wrong)
