"""Credentials as dependencies of requests and WebSockets."""

import base64
import hmac
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

import pytest
from openapi_spec_validator import OpenAPIV32SpecValidator

from trioweb import App, Header, HTTPError, Provide, Request, RouteError, WebSocket
from trioweb.openapi import security
from trioweb.security import AnyOf, APIKey, BasicAuth, BasicCredentials, BearerToken
from trioweb.testing import TestClient, WebSocketDenied


def make(credential: Any) -> App:
    """An app with a route and a WebSocket that want a credential."""
    app = App()

    @app.get("/")
    async def who(user: Annotated[Any, Provide(credential)]) -> Any:
        return {"user": user}

    @app.websocket("/")
    async def talk(ws: WebSocket, user: Annotated[Any, Provide(credential)]) -> None:
        await ws.accept()
        await ws.send_json({"user": user})

    return app


async def ask(app: App, **options: Any) -> tuple[int, Any]:
    """What a request gets, and that a WebSocket gets the same: the status and the user, or the challenge."""
    async with TestClient(app) as client:
        response = await client.get("/", **options)
        challenge = response.headers.get("www-authenticate")
        found = response.json()["user"] if response.status_code == 200 else challenge
        query = "".join(f"?{name}={value}" for name, value in options.get("params", {}).items())
        handshake = client.websocket("/" + query, headers=options.get("headers"))
        if response.status_code == 200:
            async with handshake as ws:
                assert await ws.receive_json() == response.json()
        else:
            with pytest.raises(WebSocketDenied) as denied:
                await handshake.__aenter__()
            assert denied.value.status_code == response.status_code
            assert denied.value.headers.get("www-authenticate") == challenge
        return response.status_code, found


def bearer(*tokens: str) -> dict[str, Any]:
    """The options of a request with a token."""
    return {"headers": [("authorization", f"Bearer {token}") for token in tokens]}


def basic(text: str) -> dict[str, Any]:
    """The options of a request with a user and a password."""
    return {"headers": {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}}


MISSING, INVALID = "Bearer", 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (401, MISSING)),
        (bearer("secret"), (200, "secret")),
        ({"headers": {"authorization": "bEARER   secret"}}, (200, "secret")),
        (bearer("secre"), (401, INVALID)),
        (bearer("secrets"), (401, INVALID)),
        (bearer("SECRET"), (401, INVALID)),
        (bearer(""), (401, INVALID)),
        (bearer("secret x"), (401, INVALID)),
        (bearer("secret", "secret"), (401, INVALID)),
        (basic("ada:secret"), (401, MISSING)),
        ({"headers": {"authorization": "secret"}}, (401, MISSING)),
    ],
)
async def test_one_token(options: dict[str, Any], expected: tuple[int, Any]) -> None:
    """A token that is the one passes; nothing else does, and the challenge says whether there was one at all."""
    assert await ask(make(BearerToken("secret")), **options) == expected


@pytest.mark.parametrize(
    ("known", "token", "expected"),
    [
        (["one", "two"], "two", (200, "two")),
        (["one", "two"], "three", (401, INVALID)),
        ({"one": "ada", "two": {"id": 2}}, "one", (200, "ada")),
        ({"one": "ada", "two": {"id": 2}}, "two", (200, {"id": 2})),
        ({"one": "ada"}, "ada", (401, INVALID)),
    ],
)
async def test_several_tokens(known: Any, token: str, expected: tuple[int, Any]) -> None:
    """Of several tokens each passes, with the value that a mapping has for it."""
    assert await ask(make(BearerToken(known)), **bearer(token)) == expected


@pytest.mark.parametrize(
    ("credential", "given"),
    [
        (BearerToken("one"), [bearer("one"), bearer("two"), bearer("o"), bearer("one" * 400)]),
        (BearerToken(["one", "two", "three"]), [bearer("one"), bearer("three"), bearer("four"), bearer("x" * 1200)]),
        (
            BasicAuth({"ada": "a", "bob": "b"}),
            [basic("ada:a"), basic("ada:b"), basic("eve:a"), basic("bob:" + "b" * 99)],
        ),
    ],
)
async def test_comparisons_tell_nothing(credential: Any, given: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As much is compared, in constant time, for a known secret as for another, and for users who are not there."""
    compare, compared, seen = hmac.compare_digest, list[tuple[int, int]](), set[tuple[tuple[int, int], ...]]()

    def count(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", count)
    app = make(credential)
    for options in given:
        compared.clear()
        await ask(app, **options)
        seen.add(tuple(compared))
    [one] = seen
    assert one
    assert set(one) == {(32, 32)}


async def find(token: str) -> Any:
    """Know some users."""
    if token == "late":
        raise HTTPError(403, "Not any more.")
    return {"ada": {"name": "Ada"}, "yes": True, "no": False, "zero": 0}.get(token)


def find_in_thread(token: str) -> Any:
    """Know one user, and say in which thread."""
    return threading.current_thread() is threading.main_thread() if token == "x" else {"thread": token}


@pytest.mark.parametrize(
    ("check", "token", "expected"),
    [
        (find, "ada", (200, {"name": "Ada"})),
        (find, "yes", (200, "yes")),
        (find, "no", (401, INVALID)),
        (find, "zero", (200, 0)),
        (find, "bob", (401, INVALID)),
        (find, "late", (403, None)),
        (find_in_thread, "x", (401, INVALID)),
        (find_in_thread, "y", (200, {"thread": "y"})),
    ],
)
async def test_a_function(check: Any, token: str, expected: tuple[int, Any]) -> None:
    """A function says who it is; ``None`` and ``False`` are nobody. A plain ``def`` is called in a thread."""
    assert await ask(make(BearerToken(check)), **bearer(token)) == expected


async def test_without_a_check() -> None:
    """Any credential is provided as it came, for a dependency of one's own to refuse it, whatever the connection."""
    token = BearerToken(realm="shop")

    async def user(connection: Request | WebSocket, given: Annotated[str, Provide(token)]) -> str:
        if given != "ada":
            raise token.refused(f"{connection.path}: the token is not ada's.")
        return "Ada"

    app = make(user)
    assert await ask(app, **bearer("ada")) == (200, "Ada")
    assert await ask(app, **bearer("bob")) == (401, 'Bearer realm="shop", error="invalid_token"')
    assert await ask(app) == (401, 'Bearer realm="shop"')
    assert await ask(make(BasicAuth()), **basic("ada:a:b")) == (200, ["ada", "a:b"])
    assert BasicCredentials("ada", "b").user == "ada"


def wants_a_number(token: str, limit: int) -> None:
    """Be a function of somebody who knows nothing of requests."""


class Users:
    """What knows tokens, and exists only while an app runs."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known


async def find_users(connection: Request | WebSocket) -> Users:
    """The one of the app, for a request or a WebSocket."""
    users: Users = connection.app.state.users
    return users


FINDING = Provide(find_users)
Known = Annotated[Users, FINDING]


async def look_up(token: str, users: Known) -> str | None:
    """Ask what the app has."""
    return users.known.get(token)


def look_up_in_thread(token: str, connection: Request | WebSocket, *, users: Known, top: int = 3) -> str | None:
    """The same in a thread, with the connection and something that nobody gives."""
    assert (connection.path, top) == ("/", 3)
    return users.known.get(token)


class LookUp:
    """The same as an object."""

    async def __call__(self, token: str, *, users: Known) -> str | None:
        """Know what the app knows."""
        return users.known.get(token)


@pytest.mark.parametrize("check", [look_up, look_up_in_thread, LookUp(), partial(look_up)])
async def test_a_check_takes_what_a_dependency_takes(check: Any) -> None:
    """A check has dependencies and the connection, so what the running app has made; a client sets nothing of it."""
    credential = BearerToken(check)
    one, other = make(credential), make(credential)

    for app, known in ((one, {"secret": "ada"}), (other, {"secret": "bob"})):

        @app.lifespan
        async def life(app: App, known: dict[str, str] = known) -> AsyncIterator[None]:
            app.state.users = Users(known)
            yield

    assert await ask(one, **bearer("secret"), params={"top": "1", "users": "x"}) == (200, "ada")
    assert await ask(other, **bearer("secret")) == (200, "bob")
    assert await ask(one, **bearer("other")) == (401, INVALID)
    assert await ask(one) == (401, MISSING)
    one.dependency_overrides[find_users] = lambda: Users({"test": "eve"})
    assert await ask(one, **bearer("test")) == (200, "eve")


async def test_a_check_of_user_and_password_takes_more() -> None:
    """That of `BasicAuth` does, too, and its errors and inputs are those of a dependency."""

    async def check(user: str, password: str, tenant: Annotated[int, Header("x-tenant")]) -> str | None:
        return f"{user} of {tenant}" if password == "secret" else None

    app = make(BasicAuth(check))
    own = basic("ada:secret")
    assert await ask(app, headers={**own["headers"], "x-tenant": "7"}) == (200, "ada of 7")
    async with TestClient(app) as client:
        assert (await client.get("/", headers={**own["headers"], "x-tenant": "x"})).status_code == 422
    assert "x-tenant" in str(app.openapi())


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda token, other: token + other, r"must take token: write .*must say where it is from, as request: Req"),
        (lambda token, *, key: token + key, "must say where it is from"),
        (wants_a_number, "must say where it is from"),
    ],
)
def test_a_check_says_where_all_is_from(check: Any, message: str) -> None:
    """What a check takes besides and does not say from where is an error: a client would set it."""
    with pytest.raises(TypeError, match=message):
        BearerToken(check)


def test_a_check_with_a_default_of_fastapi() -> None:
    """A dependency that is noted where nobody looks is an error when the route is registered, and names the check."""

    async def check(token: str, users: Any = FINDING) -> None: ...

    with pytest.raises(RouteError, match=r"'users' of .*BearerToken\(.*check\) has Provide as its default"):
        make(BearerToken(check))


async def who_is_signed_in(request: Request | WebSocket) -> str | None:
    """A session, as it were."""
    return request.headers.get("x-session")


signed_in = security("session", {"type": "apiKey", "in": "cookie", "name": "session"})(who_is_signed_in)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, 'Bearer, Basic realm="here", charset="UTF-8"')),
        ({"authorization": "Bearer secret"}, (200, "ada")),
        ({"authorization": "Basic Ym9iOnNlY3JldA=="}, (200, "bob")),
        ({"x-session": "eve"}, (200, "eve")),
        ({"x-session": "eve", "authorization": "Bearer secret"}, (200, "ada")),
        ({"x-session": "eve", "authorization": "Bearer other"}, (401, INVALID)),
    ],
)
async def test_one_of_several(headers: dict[str, str], expected: tuple[int, Any]) -> None:
    """One credential of several is enough, the first counts, and a wrong one is refused whatever else is there."""
    token, basic = BearerToken({"secret": "ada"}, optional=True), BasicAuth({"bob": "secret"}, optional=True)
    assert await ask(make(AnyOf(token, basic, signed_in)), headers=headers) == expected
    if not headers:
        assert await ask(make(AnyOf(token, signed_in, optional=True))) == (200, None)


def test_one_of_several_is_described() -> None:
    """Each of them is a way of its own in the description; what is optional may be left out; two may be needed."""
    token, key = BearerToken("a", optional=True), APIKey("b", header="x-key", optional=True)
    cases: dict[str, tuple[list[Any], list[Any]]] = {
        "either": ([AnyOf(token, key)], [{"bearer": []}, {"x-key": []}]),
        "session": ([AnyOf(token, signed_in)], [{"bearer": []}, {"session": []}]),
        "maybe": ([AnyOf(token, key, optional=True)], [{}, {"bearer": []}, {"x-key": []}]),
        "both": ([BearerToken("a"), APIKey("b", header="x-key")], [{"bearer": [], "x-key": []}]),
        "each": ([token, key], [{}, {"x-key": []}, {"bearer": []}, {"bearer": [], "x-key": []}]),
        "and": ([BasicAuth({"a": "b"}), AnyOf(token, key)], [{"basic": [], "bearer": []}, {"basic": [], "x-key": []}]),
        "sure": ([token, BearerToken("a")], [{"bearer": []}]),
    }
    app = App()
    for name, (credentials, _) in cases.items():
        app.get(f"/{name}", dependencies=[Provide(each) for each in credentials])(lambda: "x")
    document = app.openapi()
    OpenAPIV32SpecValidator(document).validate()
    for name, (_, ways) in cases.items():
        assert document["paths"][f"/{name}"]["get"]["security"] == ways, name
    assert set(document["components"]["securitySchemes"]) == {"basic", "bearer", "session", "x-key"}


@pytest.mark.parametrize(
    ("make_it", "words"),
    [
        (lambda: AnyOf(BearerToken("a", optional=True)), r"takes two credentials or more: write AnyOf\("),
        (
            lambda: AnyOf(signed_in, BearerToken("a")),
            r"BearerToken\(.*\) refuses: write BearerToken\(..., opt",
        ),
        (lambda: AnyOf(signed_in, "secret"), "takes dependencies, got 'secret': write BearerToken"),  # type: ignore[arg-type]
        (lambda: AnyOf(signed_in, BearerToken), "takes dependencies, got <class"),
    ],
)
def test_what_are_no_alternatives(make_it: Any, words: str) -> None:
    """What would refuse a client with another credential, or checks nothing, is an error that says what to write."""
    with pytest.raises(TypeError, match=words):
        make_it()


@pytest.mark.parametrize(
    ("credential", "missing", "refused"),
    [
        (BearerToken(optional=True), MISSING, INVALID),
        (BasicAuth(optional=True), 'Basic realm="here", charset="UTF-8"', 'Basic realm="here", charset="UTF-8"'),
        (APIKey(header="x-key", optional=True), "APIKey", "APIKey"),
    ],
)
async def test_errors_of_ones_own(credential: Any, missing: str, refused: str) -> None:
    """A dependency around an optional one raises the same 401s: for nothing that was sent, and for what is invalid."""

    async def user(given: Annotated[Any, Provide(credential)]) -> Any:
        raise credential.missing() if given is None else credential.refused()

    valid = {"headers": {"authorization": "Bearer x", "x-key": "x"}}
    if isinstance(credential, BasicAuth):
        valid = basic("a:b")
    assert await ask(make(user), **valid) == (401, refused)
    assert await ask(make(user)) == (401, missing)


@pytest.mark.parametrize(
    ("credential", "right", "wrong"),
    [
        (BearerToken("secret", optional=True), bearer("secret"), bearer("other")),
        (BasicAuth({"ada": "secret"}, optional=True), basic("ada:secret"), basic("ada:other")),
        (
            APIKey("secret", header="x-key", optional=True),
            {"headers": {"x-key": "secret"}},
            {"headers": {"x-key": "x"}},
        ),
    ],
)
async def test_optional(credential: Any, right: Any, wrong: Any) -> None:
    """What is optional may be missing, and is refused if it is wrong."""
    app = make(credential)
    assert await ask(app) == (200, None)
    assert (await ask(app, **right))[0] == 200
    assert (await ask(app, **wrong))[0] == 401


async def yielding(token: str) -> Any:
    """Be no check."""
    yield token


BASIC = 'Basic realm="here", charset="UTF-8"'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (401, BASIC)),
        (basic("ada:secret"), (200, "ada")),
        (basic("bäb:pass:wörd\xa0"), (200, "bäb")),
        (basic("ada:pass:wörd\xa0"), (401, BASIC)),
        (basic("eve:secret"), (401, BASIC)),
        (basic("eve:None"), (401, BASIC)),
        (basic(":"), (401, BASIC)),
        (basic("ada"), (401, BASIC)),
        (basic("ada:secret\n"), (401, BASIC)),
        ({"headers": {"authorization": "Basic !"}}, (401, BASIC)),
        ({"headers": {"authorization": "Basic /w=="}}, (401, BASIC)),
        (bearer("secret"), (401, BASIC)),
    ],
)
async def test_basic(options: dict[str, Any], expected: tuple[int, Any]) -> None:
    """A user passes with their own password, and nobody else does."""
    assert await ask(make(BasicAuth({"ada": "secret", "bäb": "pass:wörd\xa0"})), **options) == expected


async def test_basic_by_a_function() -> None:
    """A function gets user and password; ``True`` stands for the user's name."""

    def check(user: str, password: str) -> bool:
        return (user, password) == ("ada", "secret")

    app = make(BasicAuth(check, realm="the shop"))
    assert await ask(app, **basic("ada:secret")) == (200, "ada")
    assert await ask(app, **basic("ada:other")) == (401, 'Basic realm="the shop", charset="UTF-8"')


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ({"header": "X-Key"}, lambda key: {"headers": {"x-key": key}}),
        ({"query": "key"}, lambda key: {"params": {"key": key}}),
        ({"cookie": "key"}, lambda key: {"headers": {"cookie": f"key={key}"}}),
    ],
)
async def test_keys(place: Any, options: Any) -> None:
    """A key is found in its place."""
    app = make(APIKey({"secret": "shop"}, **place))
    assert await ask(app, **options("secret")) == (200, "shop")
    assert await ask(app, **options("other")) == (401, "APIKey")
    assert await ask(app, **options("")) == (401, "APIKey")
    assert await ask(app) == (401, "APIKey")


async def test_several_keys() -> None:
    """Of several keys none counts."""
    app = make(APIKey("secret", query="key"))
    async with TestClient(app) as client:
        assert (await client.get("/?key=secret&key=other")).status_code == 401


@pytest.mark.parametrize(
    ("make_it", "error", "words"),
    [
        (lambda: BearerToken(None), TypeError, "got NoneType: leave it out to take any"),  # type: ignore[arg-type]
        (lambda: BearerToken(""), ValueError, "an empty secret is none: is a variable of the environment not set"),
        (lambda: BearerToken([]), ValueError, "there is no secret"),
        (lambda: BearerToken(["a", None]), TypeError, "a secret is a str, got NoneType"),  # type: ignore[list-item]
        (lambda: BearerToken(lambda: None), TypeError, r"must take token: write `async def check\(token\)"),
        (lambda: BearerToken(yielding), TypeError, r"yielding yields: return the value"),
        (lambda: BearerToken("a", realm='a"b'), ValueError, "a realm is ASCII text"),
        (lambda: BasicAuth("secret"), TypeError, "a mapping of users to passwords"),  # type: ignore[arg-type]
        (lambda: BasicAuth({"ada": ""}), ValueError, "the password of 'ada': an empty secret"),
        (lambda: BasicAuth({}), ValueError, "there is no user"),
        (lambda: APIKey("a"), TypeError, r"takes one place: write APIKey\(..., header="),
        (lambda: APIKey("a", header="x", query="y"), TypeError, "takes one place"),
        (lambda: APIKey("a", header="a b"), ValueError, "'a b' is not the name of a header"),
    ],
)
def test_mistakes(make_it: Any, error: type[Exception], words: str) -> None:
    """What could let everybody pass, or nobody, is refused when it is written."""
    with pytest.raises(error, match=words):
        make_it()


def test_they_describe_themselves() -> None:
    """The description of the API has their schemes, and a 401 for each route that wants one."""
    app = App()
    credentials = {
        "bearer": BearerToken("a", format="JWT"),
        "basic": BasicAuth({"a": "b"}),
        "x-key": APIKey("a", header="x-key"),
        "maybe": APIKey("a", cookie="key", name="maybe", optional=True),
    }
    for name, credential in credentials.items():

        async def handler(user: Annotated[Any, Provide(credential)]) -> str:
            return str(user)

        app.get(f"/{name}", name=name)(handler)
    document = app.openapi()
    OpenAPIV32SpecValidator(document).validate()
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "basic": {"type": "http", "scheme": "basic"},
        "x-key": {"type": "apiKey", "in": "header", "name": "x-key"},
        "maybe": {"type": "apiKey", "in": "cookie", "name": "key"},
    }
    for name in credentials:
        operation = document["paths"][f"/{name}"]["get"]
        assert operation["security"] == ([{}, {name: []}] if name == "maybe" else [{name: []}])
        assert "401" in operation["responses"]
