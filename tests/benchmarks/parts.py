"""Parts of trioweb without I/O, whose instructions are counted: ``python -m tests.benchmarks.parts NAME ...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from tests.benchmarks.payload import records
from trioweb.ground.chunks import CSVEncoder, encode_json_line
from trioweb.ground.http.conditions import evaluate
from trioweb.ground.http.cookies import parse_cookies
from trioweb.ground.http.events import EventParser, ServerSentEvent
from trioweb.ground.http.headers import Headers
from trioweb.ground.http.multiparts import MultipartReader
from trioweb.ground.http.ranges import parse_range
from trioweb.ground.http.urls import parse_query
from trioweb.ground.lines import LineSplitter
from trioweb.ground.routes import RouteTable
from trioweb.ground.templates import parse_template
from trioweb.server.http1.parsing import RequestReader

FEW, MANY = 50, 250
"""Units of work of two turns: what they differ by is theirs alone."""
HEAD = (
    b"GET /section7/items/7?limit=10 HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Cookie: session=0123456789abcdef; theme=dark\r\nConnection: keep-alive\r\n\r\n"
)
RAW = [(b"host", b"example.org"), (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"if-none-match", b'"an entity tag"')]
FIELD = b'--b\r\nContent-Disposition: form-data; name="field"\r\n\r\nsome fifty bytes of a value\r\n'
ROUTES = 300


def _routes() -> Callable[[], object]:
    table: RouteTable[int] = RouteTable()
    for number in range(ROUTES):
        source = f"/section{number}/items/{{item:int}}"
        table.add(parse_template(source, None), frozenset({"GET"}), number, source)
    return lambda: table.find("GET", f"/section{ROUTES - 1}/items/7")


def _head() -> Callable[[], object]:
    reader = RequestReader(max_head=65536, max_headers=100)

    def read() -> object:
        reader.feed(HEAD)
        return reader.next_head()

    return read


def _multipart() -> Callable[[], object]:
    reader = MultipartReader("b", sys.maxsize, 4096, 16)
    return lambda: list(reader.feed(FIELD))


def _lines() -> Callable[[], object]:
    splitter = LineSplitter(1 << 20)
    return lambda: list(splitter.feed(b'{"a line":"of JSON"}\n'))


def _csv() -> Callable[[], object]:
    encoder, (record,) = CSVEncoder(None), records(1)
    return lambda: encoder(record)


def _json() -> Callable[[], object]:
    (record,) = records(1)
    return lambda: encode_json_line(record)


def _event_parser() -> Callable[[], object]:
    parser = EventParser()
    return lambda: list(parser.feed(b"event: tick\nid: 7\ndata: some data\n\n"))


def _headers() -> Callable[[], object]:
    def look() -> Any:
        headers = Headers.from_raw(RAW)
        return headers.get("if-none-match"), headers.get("range")

    return look


def _condition() -> Callable[[], object]:
    headers = Headers.from_raw(RAW)
    return lambda: evaluate(headers, '"an entity tag"', 1_700_000_000)


PARTS: Mapping[str, Callable[[], Callable[[], object]]] = {
    "head of a request": _head,
    f"route among {ROUTES}": _routes,
    "headers looked up": _headers,
    "query": lambda: lambda: parse_query(b"limit=10&order=name"),
    "cookies": lambda: lambda: parse_cookies(["session=0123456789abcdef; theme=dark"]),
    "conditions": _condition,
    "ranges": lambda: lambda: parse_range("bytes=0-99,200-299", 10_000),
    "JSON line": _json,
    "CSV row": _csv,
    "event": lambda: ServerSentEvent("some data", event="tick", id="7").encode,
    "event parsed": _event_parser,
    "line of a body": _lines,
    "field of a form": _multipart,
}
"""What gives a function that does a unit of work, by name."""


def main(names: Sequence[str]) -> None:
    """Do a few units of each part's work, and many; mark where one ends and the next begins."""
    work = [PARTS[name]() for name in names]
    for unit in work:
        unit()  # what is made once
        os.getppid()
        for count in (FEW, MANY):
            for _ in repeat(None, count):
                unit()
            os.getppid()


if __name__ == "__main__":
    main(sys.argv[1:])
