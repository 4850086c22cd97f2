"""CORS: preflights, marks on responses of every kind, and what caches are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.asgi import Answer, ask
from trioweb import CORS, App

ORIGIN = "https://a.example"


def make(**options: Any) -> App:
    """An app behind CORS."""
    app = App()
    app.middleware(CORS(**options))

    @app.get("/")
    async def root() -> str:
        return "x"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "x"

    return app


async def get(app: App, path: str = "/", origin: str | None = ORIGIN) -> Answer:
    """A request of a page's."""
    return await ask(app, path, headers=[] if origin is None else [(b"origin", origin.encode())])


async def preflight(app: App, method: str = "PUT", origin: str = ORIGIN, **headers: str) -> Answer:
    """A browser's question whether a page may do something."""
    asked = {"origin": origin, "access-control-request-method": method, **headers}
    return await ask(
        app, "/", "OPTIONS", headers=[(k.replace("_", "-").encode(), v.encode()) for k, v in asked.items()]
    )


@pytest.mark.parametrize("path", ["/", "/stream", "/nowhere"])
async def test_an_allowed_origin_may_read_every_response(path: str) -> None:
    """Bodies, streams and errors name the origin that may read them; others get no mark; caches are told either way."""
    app = make(allow_origins=[ORIGIN], allow_origin_regex=r"https://.*\.b\.example", expose_headers=["x-a"])
    for origin in (ORIGIN, "https://x.b.example"):
        answer = await get(app, path, origin)
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-expose-headers"] == "x-a"
        assert answer.headers["vary"] == "origin"
    for other in ("https://evil.example", "https://x.b.example.evil.example", None):
        answer = await get(app, path, other)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "origin"


async def test_all_origins() -> None:
    """`*` is said as such; origins that match a pattern are named one by one, as credentials need it."""
    answer = await get(make(allow_origins=["*"]))
    assert (answer.headers["access-control-allow-origin"], "vary" in answer.headers) == ("*", False)
    answer = await get(make(allow_origin_regex=r"https://.*\.example", allow_credentials=True))
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "origin"


async def test_a_preflight_is_answered() -> None:
    """What is allowed is a 204 that says so, for any path; a request without a handler's say."""
    app = make(allow_origins=[ORIGIN], allow_methods=["put"], allow_headers=["X-A"], max_age=5)
    answer = await preflight(app, access_control_request_headers="x-a, content-type")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-methods"] == "PUT"
    assert "x-a" in answer.headers["access-control-allow-headers"].split(", ")
    assert answer.headers["access-control-max-age"] == "5"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"origin": "https://evil.example"}, "origin"),
        ({"method": "DELETE"}, "method"),
        ({"access_control_request_headers": "x-b"}, "headers"),
        ({"access_control_request_private_network": "true"}, "private network"),
    ],
)
async def test_a_preflight_that_is_refused_says_why(options: dict[str, str], words: str) -> None:
    """A preflight for what is not allowed is a 400 that names what."""
    answer = await preflight(make(allow_origins=[ORIGIN], allow_methods=["PUT"]), **options)
    assert (answer.status, answer.body) == (400, f"Not allowed across origins: {words}.".encode())


async def test_any_header_is_named_back() -> None:
    """With `*` for headers those that are asked for are named, since with credentials `*` is a header of that name."""
    app = make(
        allow_origins=[ORIGIN],
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=True,
        allow_private_network=True,
    )
    answer = await preflight(app, access_control_request_headers="x-b", access_control_request_private_network="true")
    assert (answer.status, answer.headers["access-control-allow-headers"]) == (204, "x-b")
    assert answer.headers["access-control-allow-private-network"] == "true"
    assert answer.headers["vary"] == "origin, access-control-request-headers"


async def test_options_without_a_question_is_no_preflight() -> None:
    """A plain OPTIONS request goes on to the app."""
    answer = await ask(make(allow_origins=["*"]), "/", "OPTIONS", headers=[(b"origin", ORIGIN.encode())])
    assert "GET" in answer.headers["allow"]


def test_a_string_for_a_list_is_refused() -> None:
    """A single string where a list belongs would allow each of its letters."""
    with pytest.raises(TypeError, match=r"write allow_origins=\['https://a.example'\]"):
        CORS(allow_origins=ORIGIN)


@pytest.mark.parametrize(
    ("origin", "hint"),
    [
        ("https://a.example/", "write 'https://a.example'"),
        ("https://a.example/app?x#y", "write 'https://a.example'"),
        ("https://A.example", "write 'https://a.example'"),
        ("HTTPS://a.example", "write 'https://a.example'"),
        ("https://a.example:443", "write 'https://a.example'"),
        ("http://a.example:80/", "write 'http://a.example'"),
        ("http://A.example:0443", "write 'http://a.example:443'"),
        ("http://[0:0::1]:8000", "write 'http://\\[::1]:8000'"),
        ("a.example", 'as in "https://app.example"'),
        ("//a.example", 'as in "https://app.example"'),
        ("a.example:8000", 'as in "https://app.example"'),
        ("https://", 'as in "https://app.example"'),
        ("https:a.example", 'as in "https://app.example"'),
        ("https://user@a.example", 'as in "https://app.example"'),
        ("https://a.example:port", 'as in "https://app.example"'),
        ("https://a.example:99999", 'as in "https://app.example"'),
        (" https://a.example", 'as in "https://app.example"'),
        ("https://a.example ", 'as in "https://app.example"'),
        ("https://a.example,https://b.example", 'as in "https://app.example"'),
        ("https://b\xfccher.example", 'as in "https://app.example"'),
        ("", 'as in "https://app.example"'),
        ("https://*.a.example", "write allow_origin_regex="),
        ("*.a.example", "write allow_origin_regex="),
        ("https://*", "write allow_origin_regex="),
    ],
)
def test_an_origin_that_no_browser_sends(origin: str, hint: str) -> None:
    """An origin is compared as text, so one that is written otherwise is refused, with what to write."""
    with pytest.raises(ValueError, match=hint):
        CORS(allow_origins=["https://b.example", origin])


@pytest.mark.parametrize(
    "origin",
    [
        *("https://a.example", "http://localhost:3000", "http://127.0.0.1:8000", "http://[::1]:8000", "null"),
        *(
            "https://xn--bcher-kva.example",
            "http://a.example:443",
            "chrome-extension://abcdefgh",
            "capacitor://localhost",
        ),
    ],
)
async def test_an_origin_as_browsers_send_it(origin: str) -> None:
    """Origins of every kind of page may be named."""
    answer = await get(make(allow_origins=[origin], allow_credentials=origin != "null"), origin=origin)
    assert answer.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"allow_origins": ["*"], "allow_credentials": True}, r"name the origins, as in allow_origins=\["),
        ({"allow_origins": [ORIGIN, "*"], "allow_credentials": True}, "name the origins"),
        *(
            ({"allow_origin_regex": pattern, "allow_credentials": True}, "every site could act as the user's")
            for pattern in (
                ".*",
                "https?://.*",
                r"http://[^/]+",
                r"https://.+\.invalid|https://a.example",
                "null|https://a",
            )
        ),
        ({"allow_origins": [ORIGIN, "null"], "allow_credentials": True}, "every site could act as the user's"),
        ({"expose_headers": ["*"], "allow_credentials": True}, "name the headers"),
        ({"allow_methods": ["GET POST"]}, "'GET POST', which is not a method"),
        ({"allow_methods": ["GET,POST"]}, "is not a method"),
        ({"allow_methods": [""]}, "is not a method"),
        ({"allow_headers": ["x a"]}, "'x a', which is not a header name"),
        ({"allow_headers": ["x-a: 1"]}, "is not a header name"),
        ({"allow_headers": ["x-a, x-b"]}, "is not a header name"),
        ({"allow_headers": ["x-\xe9"]}, "is not a header name"),
        ({"expose_headers": ["x-a\r\nx-b"]}, "is not a header name"),
        ({"expose_headers": [""]}, "is not a header name"),
        ({"allow_origin_regex": "https://("}, r"'https://\(' does not compile"),
        ({"allow_origin_regex": r"https://.*\.app\.example/"}, "ends in a slash, and no origin does"),
        ({"allow_origin_regex": r"https://.*\.app\.example/$"}, "ends in a slash"),
        ({"max_age": -2}, "or -1 to remember nothing"),
    ],
)
def test_options_that_would_not_do_what_they_say(options: dict[str, Any], hint: str) -> None:
    """What browsers would not obey, or what lets in every site, is refused when the app is written."""
    with pytest.raises(ValueError, match=hint):
        CORS(**options)


@pytest.mark.parametrize(
    "options",
    [
        *({name: "x-a"} for name in ("allow_origins", "allow_methods", "allow_headers", "expose_headers")),
        *({name: [b"x-a"]} for name in ("allow_origins", "allow_methods", "allow_headers", "expose_headers")),
        {"allow_origins": None},
        {"allow_origins": True},
        {"allow_credentials": "false"},
        {"allow_private_network": 1},
        {"allow_origin_regex": ["https://.*"]},
        {"allow_origin_regex": b"https://.*"},
        {"max_age": "600"},
        {"max_age": 0.5},
        {"max_age": True},
    ],
)
def test_options_of_another_type(options: dict[str, Any]) -> None:
    """An option of another type is refused with its name."""
    with pytest.raises(TypeError, match=f"CORS: {next(iter(options))} is "):
        CORS(**options)
