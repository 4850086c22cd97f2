"""What meets outside input takes time that grows with the input and no faster.

``PARSERS`` lists every parser, with what its input is made of: a new one is a line there. Hostile inputs are made of
these fragments, one or two of them repeated behind another. Twice is compared how the work grows: in lines of Python
executed, which is exact, and in CPU time,
which also sees regular expressions and copies; what takes the square of the
input takes 256 times as long for 16 times as much, and 64 times is allowed.
"""

from __future__ import annotations

import ast
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal, NamedTuple

import msgspec
import pytest

import trioweb
from tests.asgi import Exchange
from trioweb import App
from trioweb.exchange.debug import _hidden
from trioweb.ground.errors import HTTPError
from trioweb.ground.escapes import escape, escape_controls
from trioweb.ground.faults import decode_json
from trioweb.ground.hints import add_hints
from trioweb.ground.http import cookies, ranges
from trioweb.ground.http.codings import preferred
from trioweb.ground.http.conditions import parse_date, parse_tags
from trioweb.ground.http.events import EventParser, ServerSentEvent
from trioweb.ground.http.headers import Headers, content_disposition, vary_on
from trioweb.ground.http.multiparts import MultipartReader, last_component
from trioweb.ground.http.origins import parse_origin
from trioweb.ground.http.parameters import CHARSETS, boundary_of, charset_of, parse_parameters, unquoted
from trioweb.ground.http.paths import parse_path
from trioweb.ground.http.urls import make_url, parse_query
from trioweb.ground.lines import LineSplitter
from trioweb.ground.problems import wants_page
from trioweb.ground.routes import RouteTable
from trioweb.ground.templates import CONVERTERS, parse_template
from trioweb.ground.texts import clock_time, number
from trioweb.ground.values import json_decoder
from trioweb.messages.forms import FormLimits, parse_urlencoded
from trioweb.middleware import compression, requestid
from trioweb.security import credentials
from trioweb.server.http1 import checks
from trioweb.server.http1.checks import BadRequest, check_host, decode_path, split_target
from trioweb.server.http1.chunked import ChunkDecoder
from trioweb.server.http1.parsing import RequestReader
from trioweb.server.http2.frames import StreamFault
from trioweb.server.http2.heads import read_head, read_priority
from trioweb.server.websocket.deflate import find_offer

PACKAGE: Final = Path(trioweb.__file__).parent
SMALL: Final = 2048
"""Bytes of an input."""
LARGE: Final = 32768
"""Bytes of one that is alike: 16 times as many."""
ALLOWED: Final = 4 * LARGE / SMALL
"""How many times as long the larger one may take."""
UNNOTICED: Final = 0.002
"""Seconds of CPU below which nothing is compared: a clock's steps, and what is done once."""
HOPELESS: Final = 0.5
"""Seconds of CPU for the larger input from which on it is not measured again: what is linear takes milliseconds."""
TRACED: Final = (512, 2048)
"""Bytes of the two inputs whose lines of Python are counted."""
LINES_A_BYTE: Final = 8
"""Lines of Python that a byte may take in any case: where an input is passed over, the first may have few."""
SAMPLE: Final = 24
"""Inputs that are tried of each parser, besides each fragment by itself."""
WIDE: Final = 10**9
"""A limit that is not met: what grows below it is looked for."""
REFUSALS: Final = (HTTPError, BadRequest, ValueError)

WHOLE, SINGLY = sys.maxsize, 1


class Parser(NamedTuple):
    """What meets outside input.

    Attributes:
        parse: takes all of an input. Refusing it is right, too.
        fragments: what its inputs are made of.
        patterns: the regular expressions that it uses.
    """

    parse: Callable[[bytes], object]
    fragments: tuple[bytes, ...]
    patterns: tuple[str, ...] = ()


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """A body that quotes what does not fit in its messages."""

    kind: Literal["a"] = "a"
    inner: list[Choice] = []


def _read_fields(data: bytes) -> None:
    """A head in which each field in turn is the input."""
    fields = {b":method": b"GET", b":scheme": b"http", b":authority": b"x", b":path": b"/", b"a": b"b"}
    for name in (b":scheme", b":path", b"a"):
        with suppress(StreamFault, BadRequest):
            read_head([*{**fields, name: (b"/" if name == b":path" else b"a") + data}.items()], len(data) + 4096)
    with suppress(StreamFault, BadRequest):
        read_head([*fields.items(), (data, b"b")], len(data) + 4096)


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("latin-1"))


def _fed(make: Callable[[], Callable[[bytes], object]], step: int) -> Callable[[bytes], object]:
    def parse(data: bytes) -> None:
        feed = make()
        for at in range(0, len(data), step):
            feed(data[at : at + step])

    return parse


def _events() -> Callable[[bytes], object]:
    parser = EventParser(WIDE)
    return lambda data: list(parser.feed(data))


def _multipart(before: bytes) -> Callable[[], Callable[[bytes], object]]:
    def make() -> Callable[[bytes], object]:
        reader = MultipartReader("X", WIDE, WIDE, WIDE)
        list(reader.feed(before))
        return lambda data: list(reader.feed(data))

    return make


def _lines() -> Callable[[bytes], object]:
    splitter = LineSplitter(WIDE)
    return lambda data: list(splitter.feed(data))


def _requests(before: bytes) -> Callable[[], Callable[[bytes], object]]:
    def make() -> Callable[[bytes], object]:
        reader = RequestReader(65536, 256)
        reader.feed(before)

        def feed(data: bytes) -> None:
            reader.feed(data)
            while reader.pending:
                if not reader.complete:
                    reader.next_body()
                elif reader.next_head() is None:
                    break

        return feed

    return make


def _chunks() -> Callable[[bytes], object]:
    decoder = ChunkDecoder()
    return lambda data: decoder.complete or decoder.decode(data)


def _routes() -> Callable[[bytes], object]:
    table: RouteTable[str] = RouteTable()
    for source in (
        "/{a}/{b}/{c}",
        "/a/{b:int}/c/{d:float}",
        "/a/{b:uuid}",
        "/{rest:path}",
        "/x{a}/{rest:path}",
        "/{a}.{b}",
        "/{a}-{b}.{c}x",
    ):
        table.add(parse_template(source, CONVERTERS), frozenset({"GET"}), source, source)
    return _text(lambda text: (table.find("GET", "/" + text), table.allowed("/" + text)))


def _headers(data: bytes) -> object:
    headers = Headers.from_raw([(name, b"x") for name in data.split(b",")])
    vary_on(headers, "origin")
    return headers.getlist("a"), headers.multi_items(), list(headers), headers.items()


def _url(text: str) -> object:
    for url in (make_url("http", text, None, "/", ""), make_url("http", "x", None, text, text)):
        found = url.hostname, url.port, url.path, url.query
    return found


def _json(data: bytes, kind: object) -> object:
    return decode_json(json_decoder(kind), data, "The request body", ("body",))


LIMITS: Final = FormLimits(max_fields=WIDE, max_field_size=WIDE)
GET: Final = b"GET / HTTP/1.1\r\nHost: x\r\n"
DISPOSITION: Final = b"--X\r\nContent-Disposition: form-data"
PARAMETERS: Final = (
    b";",
    b" ",
    b"\t",
    b"a",
    b"=",
    b'"',
    b"\\",
    b'\\"',
    b"; a=",
    b'; a="',
    b"a=b",
    b"filename*=UTF-8''",
    b"'",
    b"%22",
)
FORM: Final = (
    b"\r\n",
    b"\r",
    b"\n",
    b"-",
    b"--X",
    b"\r\n--X",
    b" ",
    b"\t",
    b"a",
    b"a: b\r\n",
    b" a\r\n",
    b":",
    DISPOSITION + b"\r\n\r\n",
    DISPOSITION + b"; name=a\r\n\r\nx\r\n",
    b'; name="a"',
    b"\xff",
)
CHUNKED: Final = (
    b"\r\n",
    b"\r",
    b"1\r\na\r\n",
    b"2\r\n\r\n\r\n",
    b"1\r\n\n\r\n",
    b"1",
    b"0",
    b"0\r\n",
    b";",
    b" ",
    b"\t",
    b"a",
    b"=",
    b'"',
    b"\\",
    b"1;a=b\r\nx\r\n",
    b"1 ; a = b",
    b"01\r\nx\r\n",
    b"A: b\r\n",
    b"ffff\r\n" + b"\r\n" * 64,
)
HEADS: Final = (
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b"a",
    b":",
    b"a: b\r\n",
    b"a:\t\t\r\n",
    b"GET ",
    b"/",
    b"?",
    b"%41",
    b"http://",
    b" HTTP/1.1",
    b"Host: x\r\n",
    b"Connection: ",
    b"a,",
    b"close, ",
    b"Transfer-Encoding: ",
    b"chunked\t",
    b"Content-Length: ",
    b"1",
    GET + b"\r\n",
)
LISTS: Final = (
    b",",
    b" ",
    b"\t",
    b";",
    b"a",
    b"*",
    b'"',
    b"W/",
    b'"a"',
    b"q=",
    b"0.5",
    b"=",
    b"gzip, ",
    b"br;q=1",
    b"text/html",
    b"-",
    b"bytes=",
    b"1-2,",
    b"9",
)
NUMBERS: Final = (b"0", b" ", b"-", b".", b"e", b":", b"2026-01-31T10:30", b"+")
TEXTS: Final = (
    b"a",
    b".",
    b"..",
    b"/",
    b"\\",
    b"%",
    b"%41",
    b"%ff",
    b"\xff",
    b"\0",
    b" ",
    b"1",
    b"-",
    b"+",
    b"&",
    b"=",
    b"a=b&",
    b"?",
    b"#",
    b"@",
    b":",
    b"[",
    b"]",
)
JSON: Final = (
    b"[",
    b"{",
    b'{"a":',
    b'"',
    b"\\",
    b"\\u0041",
    b"1",
    b"-",
    b"e",
    b".",
    b",",
    b" ",
    b"null",
    b"\xff",
    b" - at `$",
    b"`",
    b".a",
    b"[0]",
    b'{"inner":[',
    b'{"kind":"',
    b'{"',
    b"key in $",
)
EVENTS: Final = (
    b"\n",
    b"\r",
    b"\r\n",
    b"data:",
    b"data: a\n",
    b"id: ",
    b"retry: ",
    b"9",
    b":",
    b"a",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
)
DATES: Final = (
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"Sun",
    b" ",
    b"0",
    b":",
    b",",
)


def _hinted(text: str) -> None:
    add_hints(TypeError(text))
    add_hints(RuntimeError(text))


PARSERS: Final[dict[str, Parser]] = {
    "form": Parser(_fed(_multipart(b""), WHOLE), FORM),
    "form, byte by byte": Parser(_fed(_multipart(b""), SINGLY), FORM),
    "white space behind a boundary": Parser(_fed(_multipart(b""), WHOLE), (*FORM, b"\r\n--X ", b" \t", b"\r"),
        ("ground.http.multiparts.__init__",)),
    "a part's head": Parser(_fed(_multipart(DISPOSITION), WHOLE), (*PARAMETERS, b"\r\n ", b"\r\n\r\n"),
        ("ground.http.multiparts._PLAIN", "ground.http.parameters._PARAMETER")),
    "a part's content": Parser(_fed(_multipart(DISPOSITION + b"; name=a\r\n\r\n"), 1000), FORM),
    "a part's content, byte by byte": Parser(_fed(_multipart(DISPOSITION + b"; name=a\r\n\r\n"), SINGLY), FORM),
    "name of a file": Parser(_text(last_component), TEXTS, ("ground.http.multiparts._CONTROL",)),
    "boundary": Parser(_text(lambda text: boundary_of("multipart/form-data;" + text)), (*PARAMETERS, b"boundary="),
        ("ground.http.parameters._BOUNDARY",)),
    "charset": Parser(_text(lambda text: re.fullmatch(CHARSETS, charset_of(";" + text) or text)), (*PARAMETERS,
        b"charset=", b"iso-8859-", b"utf-"), ("ground.http.parameters.CHARSETS",)),
    "parameters": Parser(_text(lambda text: parse_parameters(";" + text)), PARAMETERS,
        ("ground.http.parameters._PARAMETER",)),
    "quoted text": Parser(_text(lambda text: unquoted('"' + text + '"')), PARAMETERS,
        ("ground.http.parameters._ESCAPE",)),
    "form of fields": Parser(lambda data: parse_urlencoded(data, LIMITS), TEXTS),
    "query": Parser(parse_query, TEXTS),
    "cookies": Parser(_text(lambda text: cookies.parse_cookies([text, "a=" + text, 'a="' + text + '"'])),
        (*PARAMETERS, b"\\101", b"\\0", b"a=b; ", "é".encode(), b"\xff"), ("ground.http.cookies._ESCAPE",)),
    "ranges": Parser(_text(lambda text: ranges.parse_range("bytes=" + text, 10**6, WIDE)), LISTS),
    "entity tags": Parser(_text(parse_tags), LISTS, ("ground.http.conditions._TAG",)),
    "dates": Parser(_text(parse_date), DATES, ("ground.http.conditions.parse_date",)),
    "codings": Parser(_text(lambda text: preferred([text], ["gzip", "br"])), LISTS, ("ground.http.codings._WEIGHT",)),
    "what a browser accepts": Parser(_text(wants_page), LISTS),
    "headers": Parser(_headers, LISTS),
    "name of a download": Parser(_text(lambda text: content_disposition("attachment", text)), TEXTS,
        ("ground.http.headers.content_disposition",)),
    "value of a header": Parser(_text(lambda text: Headers([("a", text)])), TEXTS, ("ground.http.headers._CONTROL",)),
    "name of a header": Parser(_text(lambda text: Headers([(text, "a")])), TEXTS, ("ground.http.headers._TOKEN",)),
    "path of a file": Parser(_text(lambda text: parse_path("/" + text, text.encode())), TEXTS),
    "path of a route": Parser(_routes(), TEXTS),
    "URL": Parser(_text(_url), (*TEXTS, b"http://"), ("ground.http.urls._AUTHORITY",)),
    "origin": Parser(_text(lambda text: parse_origin("https://" + text)), (*TEXTS, b"http://"),
        ("ground.http.origins._ORIGIN", "ground.http.urls._AUTHORITY")),
    "bearer token": Parser(_text(credentials._TOKEN.fullmatch), (b"a", b"=", b"-", b" "),
        ("security.credentials._TOKEN",)),
    "user and password": Parser(_text(credentials._CONTROL.search), TEXTS, ("security.credentials._CONTROL",)),
    "JSON": Parser(lambda data: _json(data, None), JSON),
    "JSON of a type": Parser(lambda data: _json(data, Choice), JSON, ("ground.faults._STEP",
        "ground.faults.fault_of", "ground.faults._KNOWN", "ground.faults._POSITION", "ground.faults._TOO_SHORT")),
    "number": Parser(_text(number), NUMBERS, ("ground.texts._NUMBER",)),
    "time": Parser(_text(clock_time), NUMBERS, ("ground.texts._TIME",)),
    "message of an error": Parser(_text(_hinted),
        (*TEXTS, b"'coroutine' object", b"object of type 'coroutine'", b"no running event loop", b"a", b"_",
         b"trio.run received unrecognized yield message <", b"Future", b"Task "),
        ("ground.hints._FORGOTTEN", "ground.hints._NO_LOOP", "ground.hints._WAITED")),
    "name of a secret": Parser(_text(lambda text: _hidden(text, text)), (*TEXTS, b"authorizatio", b"passwor", b"tokn"),
        ("exchange.debug._IDENTIFYING",)),
    "field of a log": Parser(_text(lambda text: (escape(text), escape_controls(text))), TEXTS,
        ("ground.escapes._UNSAFE", "ground.escapes._CONTROLS")),
    "cookie that is set": Parser(_text(lambda text: (cookies.format_cookie("a", text), cookies.format_cookie("a",
        domain=text))), TEXTS,
        ("ground.http.cookies._OCTETS", "ground.http.cookies._SPECIAL", "ground.http.cookies._DOMAIN")),
    "JSON of a choice": Parser(lambda data: _json(b'"' + data + b'"', Literal["a"]), JSON),
    "lines": Parser(_fed(_lines, WHOLE), EVENTS),
    "lines, byte by byte": Parser(_fed(_lines, SINGLY), EVENTS),
    "event stream": Parser(_fed(_events, WHOLE), EVENTS, ("ground.http.events._BYTE_LINE_END",)),
    "event stream, byte by byte": Parser(_fed(_events, SINGLY), EVENTS),
    "event": Parser(_text(lambda text: ServerSentEvent(text, comment=text).encode()), EVENTS,
        ("ground.http.events._LINE_END",)),
    "requests": Parser(_fed(_requests(b""), WHOLE), HEADS, ("server.http1.checks.TOKEN",
        "server.http1.parsing._LATER", "server.http1.parsing._PADDED", "server.http1.head._PATH",
        "server.http1.head._LENGTH")),
    "requests, byte by byte": Parser(_fed(_requests(b""), SINGLY), HEADS),
    "fields of a request": Parser(_fed(_requests(GET), WHOLE), HEADS),
    "fields of a request like the last": Parser(_fed(_requests(GET + b"\r\n" + GET), WHOLE), HEADS),
    "target of a request": Parser(lambda data: split_target(data, "GET"), TEXTS, ("server.http1.checks._ABSOLUTE",)),
    "host": Parser(check_host, TEXTS, ("server.http1.checks._HOST",)),
    "heads of HTTP/2": Parser(_read_fields, TEXTS, ("server.http2.heads._NAME", "server.http2.heads._VALUE",
        "server.http2.heads._PATH", "server.http2.heads._SCHEME")),
    "priority": Parser(lambda data: read_priority([data]), (*TEXTS, b"u=1", b"i=?0", b"i", b", ", b"u="),
        ("server.http2.heads._URGENCY", "server.http2.heads._INCREMENTAL")),
    "extensions of a WebSocket": Parser(lambda data: find_offer([data]), (*TEXTS, b"permessage-deflate", b"; ",
        b"client_max_window_bits=1"), ("server.websocket.deflate._BITS",)),
    "path of a request": Parser(lambda data: decode_path(bytes(byte & 127 for byte in data)), TEXTS),
    "chunks": Parser(_fed(_chunks, WHOLE), CHUNKED, ("server.http1.chunked._SIZE", "server.http1.chunked._TRAILER",
        "server.http1.chunked._ONES")),
    "chunks, byte by byte": Parser(_fed(_chunks, SINGLY), CHUNKED, ("server.http1.chunked._DIGIT",
        "server.http1.chunked._WORD_OR_END")),
    "chunks of a request": Parser(_fed(_requests(GET + b"Transfer-Encoding: chunked\r\n\r\n"), 1000), CHUNKED),
    "id of a request": Parser(_text(requestid._GIVEN.fullmatch), TEXTS, ("middleware.requestid._GIVEN",)),
    "cache-control": Parser(_text(compression._NO_TRANSFORM.search), (*LISTS, b"no-transform"),
        ("middleware.compression._NO_TRANSFORM",)),
    "content type": Parser(_text(compression._COMPRESSIBLE.fullmatch), (*LISTS, b"application/", b"+", b"json"),
        ("middleware.compression._COMPRESSIBLE",)),
}  # fmt: skip

NEVER: Final[dict[str, str]] = {
    "ground.encoding._NOT_FINITE": "matches 3 bytes",
    "ground.templates._PARAMETER": "reads templates of routes, which the program has",
    "ground.templates._pattern": "is made of a template; texts are bounded by MATCH_STEPS, see test_templates",
    "ground.places._INSTALLED": "reads names of source files",
    "ground.hints._NONE_AS_LOOP": "reads messages of errors that asyncio's own code raises",
    "middleware.compression.__init__": "is the program's own, for content types of its responses",
    "handlers.arguments._MEDIA_TYPE": "reads what routes say of their bodies",
    "middleware.cors._compiled": "is the program's own, for origins; docs/middleware.md says what it meets",
    "openapi.document._PARAMETER": "reads templates of routes, which the program has",
    "openapi.document._slug": "makes a name of one",
    "openapi.operations._SECTIONS": "reads docstrings of the program",
    "openapi.operations._status": "reads what routes say of their responses",
    "security.credentials._REALM": "reads what the program says of its passwords",
    "security.sessions._ID": "matches 43 characters",
    "server.project._NAME": "reads what a developer has typed",
    "server.project._plain": "reads names of packages and what a developer has typed",
    "server.project._OURS": "reads what this package says of itself",
    "server.project._named": "reads what the installed packages say of themselves",
    "server.http1.checks._BASE64URL": "is one class of characters, repeated",
    "server.websocket.opening._KEY": "matches 24 bytes at most",
    "server.logs.setup._RECORD_BEGINS": "reads records whose quoted parts are escaped and cut",
    "server.loading._MADE": "reads source files of the program",
    "app.watchdog._FORGOTTEN": "reads Python's own warnings, in debug mode",
    "app.watchdog._ORIGIN": "reads Python's own warnings, in debug mode",
}
"""Regular expressions that meet no outside input, each with what it reads instead."""


def inputs(parser: Parser, name: str) -> Iterator[Callable[[int], bytes]]:
    """What makes hostile inputs of a size: each fragment repeated, and a sample of two repeated behind a third."""
    chance = random.Random(name)  # the same inputs each time
    fragments = parser.fragments
    made = [(b"", fragment) for fragment in fragments]
    for _ in range(SAMPLE):
        before, first, second = (chance.choice(fragments) for _ in range(3))
        made.append((before, first + second))
    for before, unit in made:
        yield lambda size, before=before, unit=unit: before + unit * (size // len(unit))  # type: ignore[misc]


def seconds(parse: Callable[[bytes], object], data: bytes, times: int = 1) -> float:
    """CPU time of the fastest of some attempts."""
    best = 1e9
    for _ in range(times):
        begin = time.thread_time()
        with suppress(*REFUSALS):
            parse(data)
        best = min(best, time.thread_time() - begin)
    return best


def grows_too_fast(parse: Callable[[bytes], object], make: Callable[[int], bytes]) -> bool:
    """Whether the CPU time grows clearly faster than the input. What seems so is measured again, several times."""
    for times in (1, 3, 9):
        large = seconds(parse, make(LARGE), times)
        if large < UNNOTICED or large <= ALLOWED * seconds(parse, make(SMALL), times):
            return False
        if large > HOPELESS:
            return True
    return True


def executed(parse: Callable[[bytes], object], data: bytes) -> int:
    """Lines of the package that are executed."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(str(PACKAGE)):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(*REFUSALS):
            parse(data)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", PARSERS)
def test_time_grows_with_the_input(name: str) -> None:
    """No input makes a parser take clearly more than 16 times as long for 16 times as much."""
    parser = PARSERS[name]
    for make in inputs(parser, name):
        assert not grows_too_fast(parser.parse, make), make(60)


@pytest.mark.parametrize("name", PARSERS)
def test_steps_grow_with_the_input(name: str) -> None:
    """Four times as much input takes at most some four times as many steps."""
    parser = PARSERS[name]
    small, large = TRACED
    for make in inputs(parser, name):
        checks._known_hosts.clear()
        steps = executed(parser.parse, make(small)), executed(parser.parse, make(large))
        assert steps[1] <= max(2 * large / small * steps[0], LINES_A_BYTE * large), make(60)


async def test_a_source_of_inputs_is_read_once() -> None:
    """The work for a query grows with the query, and not with the inputs that are found in it besides."""

    async def one(a: str = "") -> str:
        return a

    async def many(a: str = "", b: str = "", c: str = "", d: str = "", e: str = "", f: str = "") -> str:
        return a

    async def calls(handler: Callable[..., Any]) -> int:
        count = 0

        def profile(frame: FrameType, event: str, _: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        app = App()
        app.get("/")(handler)
        exchange = Exchange("GET", "/", query_string=b"a=" + b"%" * LARGE)
        sys.setprofile(profile)
        try:
            await exchange.run(app)
        finally:
            sys.setprofile(None)
        assert exchange.status == 200
        return count

    assert await calls(many) < 1.5 * await calls(one)


@pytest.mark.parametrize(
    "parse",
    [
        re.compile(rb'"(?:\\.|[^"\\])*"').findall,
        lambda data: [data[at:].count(b"a") for at in range(len(data))],
        _fed(lambda: Buffer().feed, SINGLY),
    ],
    ids=["a regular expression", "a loop", "a buffer"],
)
def test_what_grows_too_fast_is_found(parse: Callable[[bytes], object]) -> None:
    """A parser that takes the square of its input is found."""
    assert grows_too_fast(parse, lambda size: b'\\"' * (size // 2))


class Buffer:
    """Looks through all that it has each time that more comes."""

    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes) -> int:
        """Take in some bytes."""
        self.data += data
        return self.data.count(b"\n") + self.data.count(b"\r")


def test_every_regular_expression_is_accounted_for() -> None:
    """Each regular expression of the package is tried by a parser, or is known to meet no outside input."""
    tried = {pattern for parser in PARSERS.values() for pattern in parser.patterns}
    found = {name for path in PACKAGE.rglob("*.py") for name in expressions(path)}
    assert sorted(found - tried - NEVER.keys()) == [], "add it to a parser in PARSERS, or to NEVER with a reason"
    assert sorted((tried | NEVER.keys()) - found) == [], "is no longer there"
    assert tried & NEVER.keys() == set()


def expressions(path: Path) -> set[str]:
    """Where regular expressions stand in a module: the names of constants, or of the functions around them."""
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    found: set[str] = set()

    def look(node: ast.AST, name: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not name:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = target.id if isinstance(target, ast.Name) else name
        elif isinstance(node, ast.Call) and is_expression(node):
            text = node.args[0]
            constant = text.id if isinstance(text, ast.Name) and name not in places else ""
            found.add(places.get(constant, f"{module}.{name}"))
        for child in ast.iter_child_nodes(node):
            look(child, name)

    tree = ast.parse(path.read_text())
    places = dict(constants(tree, module))
    look(tree, "")
    return found


def constants(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    """The constants of a module, and those that it imports, each with the place where it stands."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                yield target.id, f"{module}.{target.id}"
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield alias.name, f"{node.module.removeprefix('trioweb.')}.{alias.name}"


def is_expression(call: ast.Call) -> bool:
    """Whether a call makes a regular expression, by ``re.compile`` or one of the functions that take its text."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re"):
        return False
    return function.attr not in ("escape", "purge")
