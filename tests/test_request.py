"""The request as a handler sees it: what came over the wire, decoded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tests.asgi import ask, running
from trioweb import App, HTTPError
from trioweb.ground.errors import ClientDisconnected
from trioweb.io.inbox import Inbox
from trioweb.messages.request import Request

END: Mapping[str, Any] = {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool = True) -> Mapping[str, Any]:
    """An ASGI message with a piece of the body."""
    return {"type": "http.request", "body": body, "more_body": more}


def make(
    *messages: Mapping[str, Any] | float, headers: Mapping[str, str] | None = None, limit: int = 100, **scope: Any
) -> Request:
    """A request whose messages arrive one by one, a number being seconds between them; then nothing does."""
    waiting = list(messages)

    async def receive() -> Mapping[str, Any]:
        while waiting:
            message = waiting[0]
            if isinstance(message, float):
                await trio.sleep(message)
                waiting.pop(0)
            else:
                await trio.lowlevel.checkpoint()
                waiting.pop(0)
                return message
        await trio.sleep_forever()
        raise AssertionError

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    complete = {
        "type": "http",
        "method": "POST",
        "path": "/a b",
        "http_version": "1.1",
        "headers": raw,
        "query_string": b"",
        "scheme": "http",
        **scope,
    }
    return Request(complete, App(), {"id": 5}, SimpleNamespace(inbox=Inbox(receive)), limit)


def test_what_the_scope_says() -> None:
    """Method, path, version, client and the rest are those of the scope."""
    request = make(client=["127.0.0.1", 5000], state={"pool": 1}, query_string=b"a=1&b=2&a=3")
    assert (request.method, request.path, request.http_version) == ("POST", "/a b", "1.1")
    assert request.client == ("127.0.0.1", 5000)
    assert request.path_params == {"id": 5}
    assert request.query.multi_items() == [("a", "1"), ("b", "2"), ("a", "3")]
    assert request.scope["type"] == "http"
    assert isinstance(request.app, App)
    assert repr(request) == "<Request POST /a b>"
    assert (make().client, make(client=None).client) == (None, None)
    assert not request.is_disconnected


def test_state() -> None:
    """State has what middleware and lifespan left there, takes attributes of the user's own, and is the request's."""
    scope_state = {"pool": 1}
    request = make(state=scope_state)
    request.state.user = "ada"
    assert (request.state.pool, request.state.user) == (1, "ada")
    with pytest.raises(AttributeError):
        request.state.other  # noqa: B018
    assert not hasattr(make(state=scope_state).state, "user")


def test_headers_and_cookies() -> None:
    """Header names have no case, and cookies are read from all cookie headers."""
    request = make(headers={"X-A": "caf\xe9", "Cookie": 'a=1; b="x y"'})
    assert (request.headers["x-a"], request.headers.get("x-b")) == ("caf\xe9", None)
    assert request.cookies == {"a": "1", "b": "x y"}
    assert make(headers={}).cookies == {}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, None), ({"Last-Event-ID": "7"}, "7"), ({"Last-Event-ID": ""}, ""), ({"Last-Event-ID": "\xc3\xa9"}, "\xe9")],
)
def test_last_event_id(headers: dict[str, str], expected: str | None) -> None:
    """The id that a reconnecting client sends is read as UTF-8; ``None`` where it sends none."""
    assert make(headers=headers).last_event_id == expected


@pytest.mark.parametrize(
    ("headers", "scope", "url"),
    [
        ({"Host": "Example.com"}, {}, "http://Example.com/a%20b"),
        ({"Host": "h:81"}, {"query_string": b"x=%31"}, "http://h:81/a%20b?x=%31"),
        ({"Host": "h"}, {"raw_path": b"/a%2Fb", "scheme": "https"}, "https://h/a%2Fb"),
        ({"Host": "h"}, {"path": "//x"}, "http://h//x"),
        ({}, {"server": ("h", 8000)}, "http://h:8000/a%20b"),
        ({}, {"server": ("::1", 8000)}, "http://[::1]:8000/a%20b"),
        ({}, {"server": None}, "http:///a%20b"),
        ({"Host": "h"}, {"path": "http://h/x", "raw_path": b"http://h/x"}, "http://h/x"),
        ({"Host": "h"}, {"raw_path": b"HTTPS://g:1/x", "query_string": b"y"}, "https://g:1/x?y"),
        ({"Host": "h"}, {"raw_path": b"http://g"}, "http://g/"),
        ({"Host": "h"}, {"raw_path": b"javascript://g/%0aalert(1)"}, "http://g/%0aalert(1)"),
        ({"Host": "h"}, {"raw_path": b"http://h@g/x", "server": ("s", 1)}, "http://s:1/x"),
        ({"Host": "h"}, {"raw_path": b"*"}, "http://h"),
        ({"Host": "h:x@g"}, {"raw_path": b"/", "server": ("s", 1)}, "http://s:1/"),
        ({"Host": 'h"><b>'}, {"raw_path": b"/", "server": ("s", 1)}, "http://s:1/"),
        ({"Host": "h:99999"}, {"raw_path": b"/", "server": ("s", 1)}, "http://s:1/"),
        ({"Host": "[::1]:81"}, {"raw_path": b"/"}, "http://[::1]:81/"),
    ],
)
def test_url(headers: dict[str, str], scope: dict[str, Any], url: str) -> None:
    """The URL is what the client asked for, its host as the client named it, else the server's own."""
    assert str(make(headers=headers, **scope).url) == url


@pytest.mark.parametrize("host", ["h/x?", "h#", "h?a=b", "[::1", "", "h\\x", "a@b/c"])
def test_a_host_cannot_change_the_path(host: str) -> None:
    """Whatever a client calls the host, path and query are those that were asked for."""
    url = make(headers={"Host": host}, query_string=b"y=1").url
    assert (url.path, url.query) == ("/a%20b", "y=1")


async def test_the_nursery_is_not_open_any_more() -> None:
    """After the response there is no nursery, and the error says what to use."""
    app, kept = App(), []

    @app.get("/")
    async def root(request: Request) -> str:
        kept.append(request)
        return "x"

    async with running(app):
        assert (await ask(app, "/")).body == b"x"
    with pytest.raises(RuntimeError, match=r"nursery is not open: use app\.nursery"):
        kept[0].nursery  # noqa: B018


async def test_body() -> None:
    """The whole body is there, any number of times, and as a stream after that."""
    request = make(piece(b"ab"), piece(b""), piece(b"cd", more=False))
    assert [await request.body(), await request.body(), await request.text()] == [b"abcd", b"abcd", "abcd"]
    assert [chunk async for chunk in request.stream()] == [b"abcd"]
    assert [chunk async for chunk in make(piece(b"", more=False)).stream()] == []


async def test_a_body_that_was_read_ahead() -> None:
    """A body that came while nobody read it is whole, in however many pieces."""
    request = make(piece(b"ab"), piece(b"cd"), piece(b"ef", more=False))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request._origin.inbox.departed)
        await trio.testing.wait_all_tasks_blocked()
        assert request._origin.inbox.complete
        assert await request.body() == b"abcdef"
        nursery.cancel_scope.cancel()


async def test_stream() -> None:
    """The body comes as it arrives, once; what asks again is told what to write."""
    request = make(piece(b"ab"), piece(b"cd", more=False))
    assert [chunk async for chunk in request.stream()] == [b"ab", b"cd"]
    with pytest.raises(
        RuntimeError,
        match=r"by request\.stream\(\) already.*: keep what you need of it, or use await request\.body\(\)",
    ):
        request.stream()
    with pytest.raises(RuntimeError, match=r"by request\.stream\(\) already: keep what that gives"):
        await request.body()


async def test_a_client_that_leaves() -> None:
    """A body that did not arrive whole is never taken for one."""
    for read in (Request.body, Request.text, Request.json):
        request = make(piece(b"{}"), END)
        with pytest.raises(ClientDisconnected):
            await read(request)
        assert request.is_disconnected
    chunks = make(piece(b"ab"), END).stream()
    assert await anext(chunks) == b"ab"
    with pytest.raises(ClientDisconnected):
        await anext(chunks)


async def test_a_read_that_is_cancelled_loses_nothing(autojump_clock: MockClock) -> None:
    """A stream whose reader gave up waiting goes on where it was, and does not look like its end."""
    request = make(piece(b"ab"), 10.0, piece(b"cd", more=False))
    chunks = request.stream()
    assert await anext(chunks) == b"ab"
    with trio.move_on_after(5) as scope:
        await anext(chunks)
    assert scope.cancelled_caught
    assert [chunk async for chunk in chunks] == [b"cd"]


async def test_a_body_that_is_cancelled_can_be_asked_for_again(autojump_clock: MockClock) -> None:
    """Where ``body`` was cancelled, what had arrived is not lost for the next call."""
    request = make(piece(b"ab"), 10.0, piece(b"cd", more=False))
    with trio.move_on_after(5):
        await request.body()
    assert await request.body() == b"abcd"


@pytest.mark.parametrize("read", [Request.body, Request.text, Request.json])
async def test_a_body_over_the_limit(read: Any) -> None:
    """A body over the limit is a 413, unread where its length was announced, and each time it is asked for."""
    announced = make(headers={"content-length": "101"})
    arriving = make(piece(b"1" * 60), piece(b"1" * 60))
    at_once = make(piece(b"1" * 101, more=False))
    for request in (announced, arriving, arriving, at_once, at_once):
        with pytest.raises(HTTPError, match="The request body is larger than 100 bytes") as caught:
            await read(request)
        assert caught.value.status == 413
    assert await make(piece(b"1" * 100, more=False), headers={"content-length": "100"}).body() == b"1" * 100


@pytest.mark.parametrize("length", ["\xb2", "nonsense", "", "-5", "9" * 5000])
async def test_an_odd_content_length(length: str) -> None:
    """A content length that is no number, or a huge one, is the client's mistake and never an error of ours."""
    request = make(piece(b"ab", more=False), headers={"content-length": length})
    try:
        assert await request.body() == b"ab"
    except HTTPError as error:
        assert error.status in {400, 413}  # noqa: PT017


async def test_a_type_that_was_set() -> None:
    """Who corrects a request's content type, before its body is read, is heard."""
    request = make(piece(b"a=1", more=False), headers={"content-type": "text/plain"})
    request.headers["content-type"] = "application/x-www-form-urlencoded"
    assert (await request.form())["a"] == "1"


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", b"\xc3\xa9", "\xe9"),
        ("text/plain; charset=latin-1", b"\xe9", "\xe9"),
        ('text/plain; a=b; Charset="ISO-8859-1"', b"\xe9", "\xe9"),
        ("text/plain; charset=", b"\xc3\xa9", "\xe9"),
        ("text/plain; charset=utf-16", b"\xff\xfea\x00", "a"),
    ],
)
async def test_text(content_type: str, body: bytes, text: str) -> None:
    """Text is read in the charset that the content type names, else in UTF-8."""
    assert await make(piece(body, more=False), headers={"content-type": content_type}).text() == text


@pytest.mark.parametrize(
    ("charset", "status"),
    [
        ("utf-8", 400),
        ("ascii", 400),
        ("klingon", 415),
        ("hex", 415),
        ("undefined", 415),
        ("punycode", 415),
        ("idna", 415),
        ("unicode_escape", 415),
        ("\xe9", 415),
        ("x" * 5000, 415),
    ],
)
async def test_text_that_is_none(charset: str, status: int) -> None:
    """Bytes that are not text in their charset are a 400; a charset that the web does not know is a 415."""
    request = make(piece(b"-\xff-\\", more=False), headers={"content-type": f"text/plain; charset={charset}"})
    with pytest.raises(HTTPError) as caught:
        await request.text()
    assert caught.value.status == status


class Item(msgspec.Struct):
    """A body to be made of JSON."""

    name: str
    price: float = 0


async def test_json() -> None:
    """JSON is read whatever the content type says, into plain values or into a type."""
    request = make(piece(b'{"name": '), piece(b'"x"}', more=False), headers={"content-type": "text/plain"})
    assert await request.json() == {"name": "x"}
    assert await request.json(None) == {"name": "x"}  # which is as if no type were given
    assert await request.json(Item) == Item("x", 0)


@pytest.mark.parametrize(
    ("body", "kind", "status", "detail"),
    [
        (b"", Any, 400, "The request body is not JSON: it ends too early (byte 0)."),
        (b"{", Any, 400, "The request body is not JSON: it ends too early (byte 1)."),
        (b"nope", Any, 400, "The request body is not JSON: "),
        (b'"\xff"', Any, 400, "The request body is not JSON: it is not UTF-8 (byte 1)."),
        (b"[" * 50, Any, 400, "The request body is not JSON: "),
        (b'{"price": 1}', Item, 422, "The request does not fit. body.name: Missing"),
        (b'{"name": 1}', Item, 422, "The request does not fit. body.name: Expected `str`, got `int`"),
    ],
)
async def test_json_that_is_none(body: bytes, kind: Any, status: int, detail: str) -> None:
    """What is not JSON is a 400, what does not fit the type a 422 that names the field."""
    with pytest.raises(HTTPError) as caught:
        await make(piece(body, more=False)).json(kind)
    assert caught.value.status == status
    assert (caught.value.detail or "").startswith(detail)


async def test_json_that_is_too_deep() -> None:
    """JSON that is nested too deeply is a 400."""
    with pytest.raises(HTTPError, match="The request body is not JSON") as caught:
        await make(piece(b"[" * 50_000 + b"]" * 50_000, more=False), limit=10**6).json()
    assert caught.value.status == 400
