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
    """`*` is said as such, and named one by one where credentials are sent along."""
    answer = await get(make(allow_origins=["*"]))
    assert (answer.headers["access-control-allow-origin"], "vary" in answer.headers) == ("*", False)
    answer = await get(make(allow_origins=["*"], allow_credentials=True))
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
        allow_origins=["*"],
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
