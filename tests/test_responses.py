"""Responses: what stands in them before they are sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from trioweb import (
    CSVResponse,
    EventStreamResponse,
    FileResponse,
    HTMLResponse,
    JSONLinesResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from trioweb.messages.response import stream_of
from trioweb.streams.stream import Stream

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
BYTES = "application/octet-stream"


class Page(Response):
    """A response class of a user's own."""

    media_type = "text/html"


async def chunks() -> AsyncGenerator[str, None]:
    """A producer that nobody starts."""
    yield "chunk"


def streamed(response: Response) -> Stream:
    """The stream that a response must have."""
    stream = stream_of(response)
    assert stream is not None
    return stream


@pytest.mark.parametrize(
    ("response", "body", "media_type"),
    [
        (Response(), b"", None),
        (Response("\xe9"), b"\xc3\xa9", TEXT),
        (Response(""), b"", TEXT),
        (Response(b"x"), b"x", BYTES),
        (Response(bytearray(b"x")), b"x", BYTES),
        (Response(memoryview(b"xyz")[::2]), b"xz", BYTES),
        (Response("x", media_type="text/css"), b"x", "text/css; charset=utf-8"),
        (Response("x", media_type="text/css; charset=utf-8"), b"x", "text/css; charset=utf-8"),
        (Response("x", media_type="text/css; Charset=UTF-8"), b"x", "text/css; Charset=UTF-8"),
        (Response(b"x", media_type="text/css"), b"x", "text/css"),
        (Response("x", media_type="image/svg+xml"), b"x", "image/svg+xml"),
        (Response("x", headers={"Content-Type": "text/x"}), b"x", "text/x"),
        (Response("x", media_type="text/y", headers={"Content-Type": "text/x"}), b"x", "text/x"),
        (Page("\xe9"), b"\xc3\xa9", HTML),
        (PlainTextResponse("x"), b"x", TEXT),
        (HTMLResponse("<p>\xe9"), b"<p>\xc3\xa9", HTML),
        (HTMLResponse(b"<p>"), b"<p>", HTML),
        (JSONResponse({"a": [1, None]}), b'{"a":[1,null]}', "application/json"),
        (JSONResponse(), b"null", "application/json"),
        (JSONResponse("x", media_type="application/hal+json"), b'"x"', "application/hal+json"),
    ],
)
def test_bodies_in_one_piece(response: Response, body: bytes, media_type: str | None) -> None:
    """A body in one piece has its length, and the media type of its class, its content or its maker."""
    assert response.body == body
    assert response.status_code == 200
    assert response.headers.getlist("content-type") == ([] if media_type is None else [media_type])
    assert response.headers.getlist("content-length") == [str(len(body))]


@pytest.mark.parametrize(
    ("response", "media_type"),
    [
        (StreamingResponse(chunks), None),
        (StreamingResponse(chunks, media_type="application/x"), "application/x"),
        (StreamingResponse(chunks, media_type="text/html"), "text/html"),
        (StreamingResponse(chunks, headers={"content-type": "text/x"}), "text/x"),
        (Response(iter(["a"])), None),
        (HTMLResponse(iter(["a"])), HTML),
        (JSONLinesResponse([]), "application/x-ndjson"),
        (JSONLinesResponse(chunks(), media_type="application/jsonl"), "application/jsonl"),
        (CSVResponse([]), "text/csv; charset=utf-8"),
        (EventStreamResponse([]), "text/event-stream"),
        (FileResponse("a.html"), HTML),
        (FileResponse("a.tar.gz"), BYTES),
        (FileResponse("a.unknown"), BYTES),
        (FileResponse("a.png", filename="b.txt"), TEXT),
        (FileResponse("a.png", media_type="image/x"), "image/x"),
    ],
)
def test_streams(response: Response, media_type: str | None) -> None:
    """A stream has no body and no length yet, and its media type unless the first chunk is to decide it."""
    assert response.body is None
    assert response.headers.getlist("content-type") == ([] if media_type is None else [media_type])
    assert "content-length" not in response.headers


@pytest.mark.parametrize("status", [204, 205, 304])
def test_statuses_without_a_body(status: int) -> None:
    """A response whose status allows no body announces no length, also where a body is set."""
    response = Response(status_code=status)
    assert (response.body, "content-length" in response.headers) == (b"", False)
    response.body = b""
    assert "content-length" not in response.headers


@pytest.mark.parametrize("status", [0, 100, 199, 1000, -1])
def test_statuses_that_are_none(status: int) -> None:
    """A status that no final response can have is a ValueError."""
    for make in (Response, JSONResponse, lambda **options: StreamingResponse(chunks, **options)):
        with pytest.raises(ValueError, match=f"a status code from 200 to 999, got {status}"):
            make(status_code=status)


def test_what_the_user_gives_replaces_defaults() -> None:
    """There is one content type and one cache-control, the user's; a name that the user repeats stays repeated."""
    headers = [("Content-Type", "text/x"), ("Cache-Control", "no-cache"), ("link", "a"), ("Link", "b")]
    makers: list[Callable[..., Response]] = [
        Response,
        JSONLinesResponse,
        EventStreamResponse,
        CSVResponse,
        StreamingResponse,
    ]
    for make in makers:
        got = make([], headers=headers).headers
        assert (got.getlist("content-type"), got.getlist("cache-control")) == (["text/x"], ["no-cache"])
        assert got.getlist("link") == ["a", "b"]


def test_event_streams_are_not_stored() -> None:
    """An event stream asks caches and proxies to pass it on at once, unless the user says otherwise."""
    assert EventStreamResponse([]).headers.multi_items() == [
        ("content-type", "text/event-stream"),
        ("incremental", "?1"),
        ("x-accel-buffering", "no"),
        ("cache-control", "no-store"),
    ]
    assert EventStreamResponse([], headers={"X-Accel-Buffering": "yes"}).headers["x-accel-buffering"] == "yes"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Response("x", headers={"a": "b\r\nc: d"}),
        lambda: Response("x", headers={"a\r\nb": "c"}),
        lambda: Response("x", media_type="text/x\r\na: b"),
        lambda: FileResponse("x", filename="a", content_disposition_type="inline\r\na: b"),
        lambda: Response("x").headers.append("a", "\0"),
        lambda: Response("x").set_cookie("a\r\nb", "c"),
        lambda: Response("x").set_cookie("a", "b", domain="x\r\na: b"),
    ],
)
def test_no_header_splits_a_response(make: Callable[[], Any]) -> None:
    """A CR, LF or NUL in anything that becomes a header is a ValueError."""
    with pytest.raises(ValueError, match=r"control character|not a header name|not a cookie name|that ends it"):
        make()


@pytest.mark.parametrize("content", [{"a": 1}, 5, 0.5, True, object()])
def test_content_that_is_none(content: Any) -> None:
    """Content that is neither text nor bytes nor a stream is a TypeError that says what to write."""
    with pytest.raises(
        TypeError, match=f"^Response cannot have {type(content).__qualname__} as its content: .*JSONResponse"
    ):
        Response(content)


def test_content_that_was_not_awaited() -> None:
    """A coroutine as content is told of `await`."""

    async def render() -> str:
        return "x"

    content: Any = render()
    with pytest.raises(TypeError, match=r"^HTMLResponse cannot have coroutine as its content: it was not awaited"):
        HTMLResponse(content)
    content.close()


@pytest.mark.parametrize("make", [StreamingResponse, JSONLinesResponse, CSVResponse, EventStreamResponse])
@pytest.mark.parametrize("content", [None, "text", b"bytes", {"a": 1}, 5])
def test_content_that_is_no_stream(make: Callable[[Any], Response], content: Any) -> None:
    """What cannot be iterated chunk by chunk is a TypeError that names the class and the type."""
    with pytest.raises(TypeError, match=f"cannot stream {type(content).__qualname__}: give a generator or another"):
        make(content)


def test_json_that_is_none() -> None:
    """What has no JSON form is a TypeError where the response is made."""
    with pytest.raises(TypeError):
        JSONResponse({"a": object()})


def test_stream_options() -> None:
    """Each stream has the limits that it was given, and the defaults of the others."""

    def on_error(error: Exception) -> str:
        return "failed"

    makers: list[Callable[..., Response]] = [
        Response,
        JSONLinesResponse,
        EventStreamResponse,
        CSVResponse,
        HTMLResponse,
    ]
    for make in [*makers, StreamingResponse, lambda _, **options: FileResponse("x", **options)]:
        stream = streamed(make([]))
        assert (stream.buffer_size, stream.write_timeout) == (65536, 60)
        assert (stream.idle_timeout, stream.max_duration, stream.on_error) == (None, None, None)
        stream = streamed(
            make([], buffer_size=64, idle_timeout=1, write_timeout=None, max_duration=3.5, on_error=on_error)
        )
        assert (stream.buffer_size, stream.write_timeout) == (64, None)
        assert (stream.idle_timeout, stream.max_duration, stream.on_error) == (1, 3.5, on_error)


async def _waits(error: Exception) -> str:
    return str(error)


@pytest.mark.parametrize(("value", "kind"), [(_waits, "an async def"), ("failed", "str")])
def test_an_on_error_that_cannot_be_called(value: Any, kind: str) -> None:
    """An `on_error` that is no plain function is refused when it is given, not when the stream has failed."""
    with pytest.raises(TypeError, match=f"on_error is a plain def .*, got {kind}"):
        StreamingResponse([], on_error=value)
    StreamingResponse([], on_error=None)


@pytest.mark.parametrize(
    "make",
    [lambda **options: StreamingResponse([], **options), lambda **options: Response("x", **options), HTMLResponse],
)
@pytest.mark.parametrize("name", ["status", "mimetype", "content_type", "buffersize", "source", "maps"])
def test_options_that_are_none(make: Callable[..., Response], name: str) -> None:
    """An option that does not exist is a TypeError, for a body in one piece as for a stream."""
    with pytest.raises(TypeError, match=name):
        make(**{name: 404})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("buffer_size", 63),
        ("buffer_size", 0),
        ("buffer_size", -1),
        ("idle_timeout", -1),
        ("write_timeout", -0.5),
        ("max_duration", -1),
        ("ping", 0),
        ("ping", -1),
        ("retry", -1),
    ],
)
def test_limits_that_are_none(option: str, value: float) -> None:
    """A limit that no stream could keep is a ValueError that names it, where the response is made."""
    options: dict[str, Any] = {option: value}
    with pytest.raises(ValueError, match=option):
        EventStreamResponse([], **options)


def test_event_stream_settings() -> None:
    """An event stream sends its head at once and its ``retry`` first, and a ping every 15 s unless told otherwise."""
    stream = streamed(EventStreamResponse([]))
    assert (stream.head_first, stream.ping, stream.prelude) == (True, 15, b"")
    stream = streamed(EventStreamResponse([], None, 250))
    assert (stream.head_first, stream.ping, stream.prelude) == (True, None, b"retry: 250\n\n")
    assert not streamed(StreamingResponse([])).head_first


def test_setting_the_body() -> None:
    """A body that is set is the whole body, with its length; a stream is one no more."""
    response = StreamingResponse(chunks, media_type="text/x")
    response.body = b"12345"
    assert (response.body, response.headers.getlist("content-length")) == (b"12345", ["5"])
    assert stream_of(response) is None
    response.body = b""
    assert response.headers.getlist("content-length") == ["0"]
    assert repr(response) == "<StreamingResponse 200 text/x, 0 bytes>"


def test_map_stream() -> None:
    """A mapped body is a stream without a known length, keeps its media type, and notes its maps in order."""

    async def first(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for data in body:
            yield data

    async def second(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for data in body:
            yield data

    response = Response("\xe9")
    response.map_stream(first)
    response.map_stream(second)
    assert response.body is None
    assert response.headers.multi_items() == [("content-type", TEXT)]
    stream = streamed(response)
    assert (stream.source, stream.maps) == ([b"\xc3\xa9"], (first, second))
    other = StreamingResponse(chunks, headers={"content-length": "5"})
    other.map_stream(first)
    assert (streamed(other).source, streamed(other).maps) == (chunks, (first,))
    assert "content-length" not in other.headers


def test_cookies() -> None:
    """Each cookie that is set or deleted is a header of its own."""
    response = Response("x", headers={"set-cookie": "z=0"})
    response.set_cookie("a", "1", 60, None, "/x", "example.com", True, True, "strict", True)
    response.delete_cookie("b", path="/y", httponly=True)
    first, second, third = response.headers.getlist("set-cookie")
    assert first == "z=0"
    assert set(second.split("; ")) == {
        *("a=1", "Max-Age=60", "Path=/x", "Domain=example.com"),
        *("Secure", "HttpOnly", "SameSite=strict", "Partitioned"),
    }
    assert third.startswith('b=""; ')
    assert {"Max-Age=0", "Path=/y", "HttpOnly", "SameSite=lax"} < set(third.split("; "))
    assert "expires=" in third.lower()


@pytest.mark.parametrize(
    ("key", "options", "needed"),
    [
        ("__Host-a", {}, {"Secure"}),
        ("__secure-a", {"path": "/x", "domain": "a.example"}, {"Secure"}),
        ("__Http-a", {}, {"Secure", "HttpOnly"}),
        ("a", {"samesite": "none"}, {"Secure"}),
        ("a", {"partitioned": True}, {"Secure", "Partitioned"}),
        ("a", {}, set()),
    ],
)
def test_a_deletion_that_browsers_obey(key: str, options: dict[str, Any], needed: set[str]) -> None:
    """A deletion says by itself what browsers insist on for a cookie of its name and attributes."""
    response = Response("x")
    response.delete_cookie(key, **options)
    parts = response.headers["set-cookie"].split("; ")
    assert {"Max-Age=0", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"} <= set(parts)
    assert {part for part in parts if part in {"Secure", "HttpOnly", "Partitioned"}} == needed


def test_a_deletion_that_no_browser_obeys() -> None:
    """One that could not be of a cookie of that name is an error."""
    with pytest.raises(ValueError, match='write path="/", domain=None'):
        Response("x").delete_cookie("__Host-a", path="/x", domain="a.example")


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/a?b=c&d=%20#e", "/a?b=c&d=%20#e"),
        ("https://user@h:81/[x];y='z'!*(),+$~", "https://user@h:81/[x];y='z'!*(),+$~"),
        ("/\xe9 \N{EURO SIGN}", "/%C3%A9%20%E2%82%AC"),
        ('/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("/x\r\nset-cookie: a=b\0", "/x%0D%0Aset-cookie:%20a=b%00"),
    ],
)
def test_redirects(url: str, location: str) -> None:
    """A redirect's target is percent-encoded where it must be, and left alone where it is a URL already."""
    response = RedirectResponse(url)
    assert (response.status_code, response.body) == (307, b"")
    assert response.headers.multi_items() == [("content-length", "0"), ("location", location)]
    assert RedirectResponse(url, 303, {"a": "b"}).status_code == 303


@pytest.mark.parametrize(
    ("response", "disposition"),
    [
        (CSVResponse([]), None),
        (CSVResponse([], filename="a b.csv"), 'attachment; filename="a b.csv"'),
        (CSVResponse([], filename="\xe9.csv"), "attachment; filename=\"_.csv\"; filename*=UTF-8''%C3%A9.csv"),
        (CSVResponse([], filename="a", headers={"Content-Disposition": "inline"}), "inline"),
        (FileResponse("x.txt"), None),
        (FileResponse(Path("x"), "y.txt"), 'attachment; filename="y.txt"'),
        (FileResponse("x", "\N{EURO SIGN}", None, "inline"), "inline; filename=\"_\"; filename*=UTF-8''%E2%82%AC"),
    ],
)
def test_names_of_files(response: Response, disposition: str | None) -> None:
    """A file name becomes one content-disposition (RFC 6266), also outside ASCII (RFC 8187)."""
    assert response.headers.getlist("content-disposition") == ([] if disposition is None else [disposition])
