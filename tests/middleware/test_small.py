"""TrustedHosts, RequestID, SecurityHeaders and Timing."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.asgi import Exchange, ask
from trioweb import App, Compression, RequestID, Response, SecurityHeaders, Timing, TrustedHosts
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
        ("[0:0:0:0:0:0:0:1]", 200), ("[::1]", 200), ("a.example:1", 200), ("a.example.:65535", 200),
        ("y.x.b.example", 200),
        ("a.example:x@evil.example", 400), ("x@a.example", 400), ("a.example:80@evil.example", 400),
        ("a.example:", 400), ("a.example:0", 400), ("a.example:65536", 400), ("a.example:+80", 400),
        ("a.example:8a", 400), ("a.example:80:80", 400), ("a.example:\u0661", 400), ("a.example..", 400), (":80", 400),
        ("a.example/x", 400), ("a.example, evil.example", 400), ("a.example evil.example", 400), ("a.example#", 400),
        ("a.example?x", 400), ("a.example\\x", 400), ("x..b.example", 400), ("[::1]x", 400),
        ("[::1].evil.example", 400),
        ("[::1", 400), ("::1", 400), ("[::1%25lo]", 400), ("[::2]", 400), ("[x]", 400), ("a\xe9.b.example", 400),
        ("evil.example/.b.example", 400), ("evil.example#.b.example", 400), ("x@evil.example:.b.example", 400),
    ],
)  # fmt: skip
async def test_trusted_hosts(host: str, status: int) -> None:
    """Only the hosts that are named are answered for, whatever their case and port; and nothing else goes with one."""
    app = make(TrustedHosts(["a.example", "*.b.example", "[::1]"]))
    assert (await ask(app, "/", headers=[(b"host", host.encode())])).status == status


async def test_a_request_has_one_trusted_host() -> None:
    """None, two that are ours, and one of ours beside another's in the request's target are refused."""
    app = make(TrustedHosts(["a.example"]))
    one = (b"host", b"a.example")
    for headers, raw_path, status in (
        ([one], b"/", 200),
        ([], b"/", 400),
        ([one, one], b"/", 400),
        ([one, (b"host", b"evil.example")], b"/", 400),
        ([one], b"http://a.example:80/", 200),
        ([one], b"http://evil.example/", 400),
        ([one], b"http://a.example@evil.example/", 400),
        ([(b"host", b"evil.example")], b"http://a.example/", 400),
    ):
        exchange = Exchange("GET", "/", headers, raw_path=raw_path)
        await exchange.run(app)
        assert (exchange.messages[0]["status"], raw_path) == (status, raw_path)


@pytest.mark.parametrize(
    "host",
    [
        *("http://a.example", "a.example:80", "a.example/", "", " a.example", "*.", "*.*.example", "a*.example", "*"),
        *("b\xfccher.example", "[::1]:80", "*.[::1]", "*.::1", "[::1", "a..example", ".a.example", "user@a.example"),
    ],
)
def test_a_host_that_no_request_is_for(host: str) -> None:
    """A name that no request could have is refused when the app is written, with what to write."""
    with pytest.raises(ValueError, match=r'is not the name of a host: write "example.com", or "\*.example.com"'):
        TrustedHosts(["a.example", host])


async def test_names_of_hosts_in_other_forms() -> None:
    """Case, a dot at the end and brackets make no difference in the list either."""
    app = make(TrustedHosts(["A.Example.", "*.B.example", "::1", "127.0.0.1"]))
    for host in (b"a.example", b"x.b.example", b"[::1]:80", b"127.0.0.1:8000"):
        assert (await ask(app, "/", headers=[(b"host", host)])).status == 200


def test_what_is_no_list_of_hosts_is_refused() -> None:
    """A string, an empty list and a star in the middle are mistakes that would let in everybody or nobody."""
    with pytest.raises(TypeError, match=r"write TrustedHosts\(\['a'\]\)"):
        TrustedHosts("a")
    with pytest.raises(TypeError, match="a list of str, got 5"):
        TrustedHosts([5])  # type: ignore[list-item]
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


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SecurityHeaders(hsts=3600), TypeError, "strict-transport-security is a str, or None .* got 3600"),  # type: ignore[arg-type]
        (lambda: SecurityHeaders(frame_options="DENY\r\nx: y"), ValueError, "x-frame-options"),
        (lambda: RequestID("x request"), ValueError, "RequestID: 'x request' is not the name of a header"),
        (lambda: RequestID(generate="x"), TypeError, "generate is a function that returns an id, got 'x'"),  # type: ignore[arg-type]
        (lambda: Compression(gzip_level=10), ValueError, "gzip_level is a number from 0 to 9, got 10"),
        (lambda: Compression(brotli_quality=-1), ValueError, "brotli_quality is a number from 0 to 11, got -1"),
        (lambda: Compression(zstd_level=0), ValueError, "zstd_level is a number from 1 to 19, got 0"),
        (lambda: Compression("1"), ValueError, "minimum_size must be a whole number from 0 on, got '1'"),  # type: ignore[arg-type]
        (lambda: App(timeout=True), ValueError, "timeout must be a number of seconds above zero, .* got True"),
    ],
)
def test_what_would_fail_each_response_is_refused(make: Any, error: type[Exception], message: str) -> None:
    """An option that no response could be made with is an error where it is written."""
    with pytest.raises(error, match=message):
        make()


async def test_timing() -> None:
    """The time until the response is told, with what was measured within; a response's own header is kept."""
    headers = (await ask(make(Timing("all")), "/own")).headers
    figures = headers["server-timing"].split(", ")
    assert [figure.partition(";dur=")[0] for figure in figures] == ["own", "all", "db"]
    with measure("outside"):
        pass


async def test_a_stream_that_measures_itself_does_not_grow() -> None:
    """What is measured after the head is sent is not kept: a stream may measure for days."""
    app = App()
    app.middleware(Timing())
    blocks: list[int] = []

    @app.get("/")
    async def rows() -> AsyncIterator[str]:
        for number in range(10_000):
            with measure("row"):
                yield "x"
            if number in {1000, 9000}:
                blocks.append(sys.getallocatedblocks())

    async with app.test_client() as client, client.stream("GET", "/") as response:
        async for _ in response.aiter_raw():
            pass
    assert blocks[1] - blocks[0] < 4000  # of 8000 figures


def test_what_cannot_be_the_name_of_a_metric_is_refused() -> None:
    """A name that would break the header is an error where it is written."""
    for name in ("two words", "", "a;b", "a\r\nb"):
        with pytest.raises(ValueError, match="the name of a metric is letters, digits and hyphens, got"):
            Timing(name)
        with pytest.raises(ValueError, match="the name of a metric is letters, digits and hyphens, got"), measure(name):
            pass
