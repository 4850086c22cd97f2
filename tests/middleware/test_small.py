"""TrustedHosts, RequestID, SecurityHeaders and Timing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.asgi import ask
from trioweb import App, RequestID, Response, SecurityHeaders, Timing, TrustedHosts
from trioweb.middleware import measure, request_id


def make(middleware: Any) -> App:
    """An app behind a middleware."""
    app = App()
    app.middleware(middleware)

    @app.get("/")
    async def root() -> str:
        return str(request_id.get(""))

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield str(request_id.get(""))

    @app.get("/own")
    async def own() -> Response:
        with measure("db"):
            pass
        with measure("db"):
            pass
        return Response("x", headers={"x-frame-options": "SAMEORIGIN", "server-timing": "own;dur=1"})

    return app


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("a.example", 200), ("A.Example:8000", 200), ("a.example.", 200), ("x.b.example", 200), ("[::1]:80", 200),
        ("b.example", 400), ("a.example.evil", 400), ("evila.example", 400), ("", 400), (".b.example", 400),
    ],
)  # fmt: skip
async def test_trusted_hosts(host: str, status: int) -> None:
    """Only the hosts that are named are answered for, whatever their case and port."""
    app = make(TrustedHosts(["a.example", "*.b.example", "[::1]"]))
    assert (await ask(app, "/", headers=[(b"host", host.encode())])).status == status


def test_what_is_no_list_of_hosts_is_refused() -> None:
    """A string, an empty list and a star in the middle are mistakes that would let in everybody or nobody."""
    with pytest.raises(TypeError, match=r"write TrustedHosts\(\['a'\]\)"):
        TrustedHosts("a")
    for wrong in ([], ["a.*"], ["*"]):
        with pytest.raises(ValueError, match="host"):
            TrustedHosts(wrong)


@pytest.mark.parametrize("path", ["/", "/stream"])
async def test_request_id(path: str) -> None:
    """The id is the same in handler, stream and header; a sane one that came with the request is kept."""
    app = make(RequestID())
    answer = await ask(app, path)
    assert answer.body.decode() == answer.headers["x-request-id"]
    assert len(answer.body) == 32
    answer = await ask(app, path, headers=[(b"x-request-id", b"abc-1")])
    assert (answer.body, answer.headers["x-request-id"]) == (b"abc-1", "abc-1")
    answer = await ask(app, path, headers=[(b"x-request-id", b"<script>")])
    assert b"<" not in answer.body
    untrusting = make(RequestID(trust=False, header="x-id", generate=lambda: "made"))
    assert (await ask(untrusting, path, headers=[(b"x-id", b"abc")])).headers["x-id"] == "made"


async def test_security_headers() -> None:
    """Headers are added to errors too, a response's own are kept, and HSTS is for HTTPS alone."""
    app = make(SecurityHeaders(referrer_policy=None, content_security_policy="default-src 'self'", hsts="max-age=1"))
    answer = await ask(app, "/nowhere")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert "referrer-policy" not in answer.headers
    assert "strict-transport-security" not in answer.headers
    assert (await ask(app, "/own")).headers["x-frame-options"] == "SAMEORIGIN"
    async with app.test_client(base_url="https://testserver") as client:
        assert (await client.get("/")).headers["strict-transport-security"] == "max-age=1"


async def test_timing() -> None:
    """The time until the response is told, with what was measured within; a response's own header is kept."""
    headers = (await ask(make(Timing("all")), "/own")).headers
    figures = headers["server-timing"].split(", ")
    assert [figure.partition(";dur=")[0] for figure in figures] == ["own", "all", "db"]
    with measure("outside"):
        pass
