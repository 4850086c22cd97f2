"""Requests that another site's page may have sent."""

import re
from typing import Annotated, Any

import pytest

from trioweb import App, Compression, Form, HTMLResponse, Provide, Request, Sessions, WebSocket
from trioweb.security import CSRF, csrf_token
from trioweb.testing import TestClient, WebSocketDenied

HOST = "shop.example"


def make(*args: Any, **options: Any) -> App:
    """An app with a form, an API and a WebSocket."""
    app = App()
    app.middleware(CSRF(*args, **options))

    @app.get("/form")
    async def form(token: Annotated[str, Provide(csrf_token)]) -> HTMLResponse:
        return HTMLResponse(f"<input value='{token}'>")

    @app.post("/form")
    async def sent(name: Annotated[str, Form] = "") -> str:
        return f"sent {name}"

    @app.route("/api", methods=["GET", "POST", "PUT", "DELETE"])
    async def api(request: Request) -> str:
        return (await request.body()).decode()

    @app.websocket("/ws")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()

    return app


OWN = [
    {"sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "same-origin", "origin": "https://proxied.example"},
    {"origin": "http://shop.example"},
    {"origin": "http://shop.example:80"},
    {"origin": "https://shop.example"},  # behind a proxy that ends TLS
    {"origin": "https://friend.example"},
    {"sec-fetch-site": "cross-site", "origin": "https://friend.example"},
    {},
    {"authorization": "Bearer x"},
]
OTHER = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://shop.example"},
    {"sec-fetch-site": "new-word"},
    {"origin": "https://evil.example"},
    {"origin": "https://shop.example.evil.example"},
    {"origin": "https://shop.example:8443"},
    {"origin": "https://shop.example@evil.example"},
    {"origin": "https://friend.example.evil.example"},
    {"origin": "http://friend.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "https://sub.shop.example"},
]


@pytest.mark.parametrize("headers", OWN)
async def test_what_own_pages_and_programs_send(headers: dict[str, str]) -> None:
    """What the browser says is of an own page, or the user's, passes, and what no browser has sent."""
    app = make(["https://friend.example"])
    async with TestClient(app, headers={"host": HOST}) as client:
        for method in ("POST", "PUT", "DELETE"):
            response = await client.request(method, "/api", headers=headers, content="x")
            assert (response.status_code, response.text) == (200, "x")
        async with client.websocket("/ws", headers={"host": HOST, **headers}):
            pass


@pytest.mark.parametrize("headers", OTHER)
@pytest.mark.parametrize("cookie", [{}, {"cookie": "session=1"}])
async def test_what_other_pages_send(headers: dict[str, str], cookie: dict[str, str]) -> None:
    """What the browser says is another site's, its subdomains' too, is a 403; reading is not."""
    app = make(["https://friend.example"])
    headers = {"host": HOST, **headers, **cookie}
    async with TestClient(app) as client:
        for method in ("POST", "PUT", "DELETE"):
            response = await client.request(method, "/api", headers=headers)
            assert (response.status_code, response.json()["detail"]) == (
                403,
                "This was sent by a page of another site.",
            )
        assert (await client.get("/api", headers=headers)).status_code == 200
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/ws", headers=headers):
                pass
        assert denied.value.status_code == 403


async def test_a_page_of_http_is_not_one_of_https() -> None:
    """Over HTTPS a page that anybody in between can change is another site's."""
    async with TestClient(make(), base_url="https://shop.example") as client:
        for origin, status in (("https://shop.example", 200), ("http://shop.example", 403)):
            assert (await client.post("/api", headers={"origin": origin})).status_code == status


async def load(client: TestClient, **options: Any) -> str:
    """The token of the form."""
    response = await client.get("/form", **options)
    assert "cookie" in response.headers["vary"].lower()
    [token] = re.findall("value='([^']+)'", response.text)
    return str(token)


@pytest.mark.parametrize("base_url", ["http://shop.example", "https://shop.example"])
async def test_the_token_of_an_old_browser(base_url: str) -> None:
    """A browser that says nothing of a request's page needs the token of the form, in a field or a header."""
    async with TestClient(make(), base_url=base_url) as client:
        client.cookies.set("session", "1")
        assert (await client.post("/form", data={"name": "ada"})).status_code == 403
        first, second = await load(client), await load(client)
        assert first != second
        for token in (first, second):
            response = await client.post("/form", data={"name": "ada", "csrf_token": token})
            assert (response.status_code, response.text) == (200, "sent ada")
            response = await client.post("/form", data={"csrf_token": token}, files={"file": b"x"})
            assert response.status_code == 200
            assert (await client.put("/api", headers={"x-csrf-token": token})).status_code == 200
        for wrong in ("", "x", first[:-1], first[1:] + "A", "A" * len(first), first + "\u00e9", "A" * 100_000):
            assert (await client.post("/form", data={"csrf_token": wrong})).status_code == 403
            assert (await client.post("/api", headers=[(b"x-csrf-token", wrong.encode())])).status_code == 403
        assert (await client.post("/api", json={"csrf_token": first})).status_code == 403
        assert (await client.post("/form", files={"csrf_token": first.encode()})).status_code == 403
        assert (await client.post("/form")).status_code == 403


async def test_a_token_of_another_browser() -> None:
    """A token is that of one browser: the attacker's own is worth nothing elsewhere."""
    app = make()
    async with TestClient(app) as attacker, TestClient(app) as client:
        token = await load(attacker)
        await load(client)
        assert (await client.post("/form", data={"csrf_token": token})).status_code == 403
        client.cookies.delete("csrf")
        client.cookies.set("session", "1")
        assert (await client.post("/form", data={"csrf_token": token})).status_code == 403


async def test_a_password_that_a_browser_has_kept() -> None:
    """Browsers lend a password as they do cookies, but no bearer token."""
    async with TestClient(make()) as client:
        assert (await client.post("/api", auth=("ada", "secret"))).status_code == 403
        assert (await client.post("/api", headers={"authorization": "Bearer x"})).status_code == 200


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://shop.example", "; Path=/; SameSite=lax; HttpOnly"),
        ("https://shop.example", "; Path=/; SameSite=lax; Secure; HttpOnly"),
    ],
)
async def test_the_cookie(base_url: str, expected: str) -> None:
    """The cookie is set once, where a token was asked for, and is one that no subdomain can set over HTTPS."""
    async with TestClient(make(), base_url=base_url) as client:
        assert "set-cookie" not in (await client.get("/api")).headers
        cookie = (await client.get("/form")).headers["set-cookie"]
        name = "__Host-csrf" if base_url.startswith("https") else "csrf"
        assert re.fullmatch(name + r"=[\w-]{43}" + expected, cookie)
        assert "set-cookie" not in (await client.get("/form")).headers
        client.cookies.clear()
        client.cookies.set(name, "short")
        assert "set-cookie" in (await client.get("/form")).headers


async def test_names_and_other_middleware() -> None:
    """Cookie, field and header have the names that they are given, beside a session and compression."""
    app = make(cookie="c", field="f", header="x-h")
    app.middleware(Sessions("a secret of sixteen letters"))
    app.middleware(Compression(minimum_size=1))
    async with TestClient(app) as client:
        token = await load(client)
        assert "c" in client.cookies
        assert (await client.post("/form", data={"f": token})).status_code == 200
        assert (await client.post("/api", headers={"x-h": token})).status_code == 200
        assert (await client.post("/form", data={"csrf_token": token})).status_code == 403


@pytest.mark.parametrize(
    ("make_it", "error", "words"),
    [
        (lambda: CSRF("https://a.example"), TypeError, r"write CSRF\(\['https://a.example'\]\)"),
        (lambda: CSRF(["a.example"]), ValueError, "CSRF: origins has 'a.example', which is not an origin"),
        (lambda: CSRF(["https://a.example/"]), ValueError, "write 'https://a.example'"),
        (lambda: CSRF(["null"]), ValueError, "every site can have the origin 'null'"),
        (lambda: CSRF(cookie="a b"), ValueError, "is not a cookie name"),
        (lambda: CSRF(header="a b"), ValueError, "'a b' is not the name of a header"),
    ],
)
def test_mistakes(make_it: Any, error: type[Exception], words: str) -> None:
    """Options that no browser obeys are refused."""
    with pytest.raises(error, match=words):
        make_it()


async def test_a_token_without_the_middleware() -> None:
    """A token that nobody would look at is an error that says what to write."""
    app = App()

    @app.get("/")
    async def form(token: Annotated[str, Provide(csrf_token)]) -> str:
        return token

    with pytest.raises(RuntimeError, match=r"write app.middleware\(CSRF\(\)\)"):
        await app.test_client().get("/")
