"""Sessions: kept in a signed cookie, and only where there is something to keep."""

from __future__ import annotations

import time
from datetime import timedelta
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

    @app.get("/replace")
    async def replace(request: Request, by: str) -> None:
        request.state.session = {"none": None, "empty": {}, "text": "rosa", "other": {"n": 1}}[by]

    @app.get("/delete")
    async def delete(request: Request) -> None:
        del request.state.session

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


@pytest.mark.parametrize("path", ["/replace?by=none", "/replace?by=empty", "/delete"])
async def test_a_session_that_is_replaced_by_nothing(path: str) -> None:
    """To put nothing in the place of the session signs out, and harms no later request."""
    async with make().test_client() as client:
        await client.get("/count")
        assert "Max-Age=0" in cookies(await client.get(path))[0]
        assert (await client.get("/look")).json() == {}


async def test_a_session_is_replaced_by_a_dict_only() -> None:
    """Another dict takes the session's place; anything else is an error, and is not kept."""
    async with make().test_client() as client:
        await client.get("/replace?by=other")
        with pytest.raises(TypeError, match=r"request\.state\.session is a dict, got str: write a name for its value"):
            await client.get("/replace?by=text")
        assert (await client.get("/look")).json() == {"n": 1}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", object(), r"request\.state\.session has a value that has no JSON form: .*object"),
        ("x", {"mean": float("nan")}, r"request\.state\.session has .* \$\.x\.mean is nan"),
        (7, "x", r"request\.state\.session has a value by 7: write '7'"),
    ],
)
async def test_a_value_that_would_come_back_as_another_is_an_error(name: Any, value: Any, message: str) -> None:
    """What has no JSON form, or another one than the next request would find, is an error that names the session."""
    app = App()
    app.middleware(Sessions(KEY))

    @app.get("/")
    async def index(request: Request) -> None:
        request.state.session[name] = value

    with pytest.raises(TypeError, match=message):
        await app.test_client().get("/")


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


def attributes(line: str) -> dict[str, str]:
    """The attributes of a cookie, their names in lower case."""
    pairs = (part.partition("=") for part in line.split("; ")[1:])
    return {name.lower(): value for name, _, value in pairs}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "options",
    [
        {"cookie": "__Host-session"},
        {"cookie": "__host-session", "secure": True},
        {"cookie": "__Secure-session", "domain": "testserver", "path": "/"},
        {"cookie": "__Host-Http-session"},
        {"samesite": "none"},
        {"samesite": "strict", "secure": True},
        {"domain": "testserver", "path": "/"},
        {"secure": False},
    ],
)
async def test_the_deletion_has_the_attributes_of_the_cookie(scheme: str, options: dict[str, Any]) -> None:
    """A browser obeys a deletion that says what the cookie said; ``Secure`` is there where it insists on that."""
    async with make(**options).test_client(base_url=f"{scheme}://testserver") as client:
        kept = cookies(await client.get("/count"))[0]
        name, _, value = kept.partition(";")[0].partition("=")
        deletion = cookies(await client.get("/clear", headers={"cookie": f"{name}={value}"}))[0]
    given, taken = attributes(kept), attributes(deletion)
    assert (taken.pop("max-age"), taken.pop("expires")) == ("0", "Thu, 01 Jan 1970 00:00:00 GMT")
    assert given.pop("max-age") == "1209600"
    assert taken == given
    asked_for = "__" in name or options.get("samesite") == "none" or options.get("secure")
    assert ("secure" in given) == bool(asked_for or (scheme == "https" and "secure" not in options))


@pytest.mark.parametrize(
    "options",
    [
        {"cookie": "__Host-a", "secure": False},
        {"cookie": "__Host-a", "path": "/shop"},
        {"cookie": "__Host-a", "domain": "a.example"},
        {"cookie": "__SECURE-a", "secure": False},
        {"samesite": "none", "secure": False},
        {"samesite": "loose"},
        {"cookie": "a b"},
        {"cookie": ""},
        {"path": "shop"},
        {"domain": "https://a.example"},
        {"max_age": 0},
        {"max_age": -1},
        {"max_age": timedelta()},
        {"max_age": 1.5},
        {"max_age": "60"},
        {"max_age": True},
    ],
)
def test_a_session_that_no_browser_keeps_is_refused(options: dict[str, Any]) -> None:
    """Options whose cookie browsers would throw away are refused when the app is written."""
    with pytest.raises((TypeError, ValueError)):
        make(**options)


async def test_a_session_until_the_browser_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an age the cookie has none, and what a browser keeps open is signed out after 14 days without a visit."""
    now = int(time.time())
    async with make(max_age=None).test_client() as client:
        first = cookies(await client.get("/count"))[0]
        assert not attributes(first).keys() & {"max-age", "expires"}
        for days, session in ((13, {"count": 1}), (15, {})):
            monkeypatch.setattr("itsdangerous.timed.time.time", lambda days=days: now + days * 86400)
            assert (await client.get("/look", headers={"cookie": first.partition(";")[0]})).json() == session


async def test_an_age_as_a_timedelta() -> None:
    """``max_age`` may be a ``timedelta``."""
    async with make(max_age=timedelta(hours=1)).test_client() as client:
        assert attributes(cookies(await client.get("/count"))[0])["max-age"] == "3600"
        assert (await client.get("/count")).json() == 2
