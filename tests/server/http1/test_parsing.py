"""Requests from bytes: what is refused, where a message ends, and that no bytes whatever do harm."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.chunked import CHUNK_OVERHEAD
from trioweb.server.http1.head import Head
from trioweb.server.http1.parsing import RequestReader

MAX_HEAD, MAX_HEADERS = 4096, 32

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

Parsed = list[tuple[str, bytes, str, list[tuple[bytes, bytes]], bytes]]


def make_reader() -> RequestReader:
    """A reader with small limits."""
    return RequestReader(MAX_HEAD, MAX_HEADERS)


def read(data: bytes, cuts: tuple[int, ...] = ()) -> tuple[Parsed, int, bool]:
    """Every request in some bytes that come in pieces; the status of a refusal, or 0; and whether nothing is left."""
    reader = make_reader()
    found: Parsed = []
    head: Head | None = None
    body = b""
    edges = [0, *sorted(cuts), len(data)]
    try:
        for begin, end in pairwise(edges):
            reader.feed(data[begin:end])
            while True:
                if head is None:
                    head = reader.next_head()
                    if head is None:
                        break
                if not reader.complete:
                    body += reader.next_body()
                    if not reader.complete:
                        break
                found.append((head.method, head.path + b"?" + head.query, head.version, head.headers, body))
                head, body = None, b""
    except BadRequest as error:
        return found, error.status, False
    return found, 0, head is None and not reader.pending


REFUSED = {
    "both lengths": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "both lengths, the other way": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
    "the same length twice": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "a length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "a length of two words": (POST + b"Content-Length: 3 3\r\n\r\nabc", 400),
    "a length with an underscore": (POST + b"Content-Length: 1_0\r\n\r\nabc", 400),
    "a length in hexadecimal": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\nabc", 400),
    "a length beyond all numbers": (POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    "a length of 19 digits": (POST + b"Content-Length: " + b"1" * 19 + b"\r\n\r\n", 400),
    "a length behind a vertical tab": (POST + b"Content-Length: \x0b3\r\n\r\nabc", 400),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
    "two chunked fields": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "another coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "no chunked": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "nearly chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    "chunked behind a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    "chunked with a parameter": (POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n", 400),
    "an empty coding": (POST + b"Transfer-Encoding:\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a space before the colon": (GET + b"A : b\r\n\r\n", 400),
    "a tab before the colon": (GET + b"A\t: b\r\n\r\n", 400),
    "a folded line": (GET + b"A: b\r\n c\r\n\r\n", 400),
    "a line folded with a tab": (GET + b"A: b\r\n\tc\r\n\r\n", 400),
    "a folded first line": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare LFs": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "a bare LF in a line": (GET + b"A: b\nC: d\r\n\r\n", 400),
    "a bare LF at the end": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
    "a bare CR in a line": (GET + b"A: b\rC: d\r\n\r\n", 400),
    "a bare CR at a line's end": (GET + b"A: b\r\r\n\r\n", 400),
    "a NUL": (GET + b"A: b\0c\r\n\r\n", 400),
    "a control character": (GET + b"A: b\x01c\r\n\r\n", 400),
    "an empty name": (GET + b": b\r\n\r\n", 400),
    "no colon": (GET + b"abc\r\n\r\n", 400),
    "a name with a bracket": (GET + b"A(b: c\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a tab": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a space at the end": (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "http in small letters": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    "RTSP": (b"OPTIONS * RTSP/1.0\r\nHost: x\r\n\r\n", 400),
    "a target with a fragment": (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a target with another alphabet": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a relative target": (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL of another scheme": (b"GET ftp://x/a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL with a user": (b"GET http://u@x/a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL without a host": (b"GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "* with GET": (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "CONNECT with a path": (b"CONNECT /x HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (GET + b"Host: x\r\n\r\n", 400),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "a Host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "a Host with a user": (b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400),
    "a list of Hosts": (b"GET / HTTP/1.1\r\nHost: x, y z\r\n\r\n", 400),
    "a Host with a word for a port": (b"GET / HTTP/1.1\r\nHost: x:http\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01", 400),
    "a method that is none": (b"(GET) / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a long method": (b"G" * 33 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "a first line that is empty, with LF": (b"\n" + GET + b"\r\n", 400),
    "a first line that is empty, with CR": (b"\r" + GET + b"\r\n", 400),
    "many empty lines": (b"\r\n" * 5 + GET + b"\r\n", 400),
    "a long target": (b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a long target without an end": (b"GET /" + b"a" * MAX_HEAD, 414),
    "a long field": (GET + b"A: " + b"a" * MAX_HEAD + b"\r\n\r\n", 431),
    "a long field without an end": (GET + b"A: " + b"a" * MAX_HEAD, 431),
    "many fields": (GET + b"A: b\r\n" * MAX_HEADERS + b"\r\n", 431),
    "a chunk size with a space": (CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "a space before a chunk size": (CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size with 0x": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size with a sign": (CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "a negative chunk size": (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size with an underscore": (CHUNKED + b"1_0\r\nabc", 400),
    "no chunk size": (CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size beyond all numbers": (CHUNKED + b"f" * 17 + b"\r\nabc", 400),
    "a chunk size with a bare LF": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "a chunk size with a bare CR": (CHUNKED + b"3\rabc\r\n0\r\n\r\n", 400),
    "a chunk that ends with a bare LF": (CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    "a chunk without an end": (CHUNKED + b"3\r\nabc0\r\n\r\n", 400),
    "an extension with a bare LF": (CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
    "an extension with a NUL": (CHUNKED + b"3;a=\0\r\nabc\r\n0\r\n\r\n", 400),
    "a length among the trailers": (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    "a folded trailer": (CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n", 400),
    "a trailer with a space before its colon": (CHUNKED + b"0\r\nA : b\r\n\r\n", 400),
    "trailers that end with a bare LF": (CHUNKED + b"0\r\nA: b\n\r\n", 400),
    "an extension without a name": (CHUNKED + b"3;=b\r\nabc\r\n0\r\n\r\n", 400),
    "an extension without a value": (CHUNKED + b"3;a=\r\nabc\r\n0\r\n\r\n", 400),
    "an extension of two semicolons": (CHUNKED + b"3;;a\r\nabc\r\n0\r\n\r\n", 400),
    "an extension with a space at its end": (CHUNKED + b"3;a \r\nabc\r\n0\r\n\r\n", 400),
    "an extension with two words": (CHUNKED + b"3;a b\r\nabc\r\n0\r\n\r\n", 400),
    "an extension with a bare CR": (CHUNKED + b'3;a="\r"\r\nabc\r\n0\r\n\r\n', 400),
    "a space before the size of the last chunk": (CHUNKED + b"3\r\nabc\r\n 0\r\n\r\n", 400),
    "chunked and a tab within": (POST + b"Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n", 400),
    "chunked, a tab and another word": (POST + b"Transfer-Encoding: chunked\tx\r\n\r\n0\r\n\r\n", 400),
    "both lengths with tabs": (POST + b"Content-Length: 3\t\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n", 400),
    "a field of a tab that is folded": (GET + b"A:\t\r\n\t\r\n\r\n", 400),
    "a line of a tab": (GET + b"A: b\r\n\t\r\n\r\n", 400),
    "a tab behind the version": (b"GET / HTTP/1.1\t\r\nHost: x\r\n\r\n", 400),
    "endless extensions": (CHUNKED + b"1;" + b"a" * CHUNK_OVERHEAD, 400),
    "endless trailers": (CHUNKED + b"0\r\n" + b"A: b\r\n" * CHUNK_OVERHEAD, 400),
}


@pytest.mark.parametrize("shape", REFUSED)
def test_what_two_servers_could_read_in_two_ways_is_refused(shape: str) -> None:
    """Each shape that smuggles a request past somebody is refused, with its status."""
    data, status = REFUSED[shape]
    assert read(data)[1] == status


@pytest.mark.parametrize("shape", [name for name, (data, _) in REFUSED.items() if len(data) < 200])
def test_a_refusal_does_not_depend_on_how_the_bytes_come(shape: str) -> None:
    """Whatever is refused in one piece is refused byte by byte too, with the same status, and nothing gets through."""
    data, status = REFUSED[shape]
    assert read(data, tuple(range(1, len(data)))) == ([], status, False)


ACCEPTED = {
    "a GET": (GET + b"\r\n", ("GET", b"/?", "1.1", b"")),
    "empty lines first": (b"\r\n\r\n" + GET + b"\r\n", ("GET", b"/?", "1.1", b"")),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\nConnection: a, Keep-Alive\r\n\r\n", ("GET", b"/?", "1.0", b"")),
    "HTTP/1.2": (b"GET /HTTP/1.2 HTTP/1.2\r\nHost: x\r\n\r\n", ("GET", b"/HTTP/1.2?", "1.1", b"")),
    "a query": (b"GET /a?b=%20?c HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", b"/a?b=%20?c", "1.1", b"")),
    "an empty Host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", ("GET", b"/?", "1.1", b"")),
    "an IPv6 Host": (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", ("GET", b"/?", "1.1", b"")),
    "a URL": (b"GET http://y:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", b"/a?b", "1.1", b"")),
    "a URL without a path": (b"GET http://y?b HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", b"/?b", "1.1", b"")),
    "OPTIONS of a URL without a path": (
        b"OPTIONS http://y HTTP/1.1\r\nHost: x\r\n\r\n", ("OPTIONS", b"*?", "1.1", b""),
    ),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", ("OPTIONS", b"*?", "1.1", b"")),
    "a length": (POST + b"Content-Length: \t3 \r\n\r\nabc", ("POST", b"/?", "1.1", b"abc")),
    "a length of 0": (POST + b"Content-Length: 0\r\n\r\n", ("POST", b"/?", "1.1", b"")),
    "chunks": (CHUNKED + b'3\r\nabc\r\nA;x="y"\r\n0123456789\r\n0\r\n\r\n', ("POST", b"/?", "1.1", b"abc0123456789")),
    "chunks with empty lines": (CHUNKED + b"8\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", ("POST", b"/?", "1.1", b"\r\n" * 4)),
    "chunked and a tab": (
        POST + b"Transfer-Encoding: chunked\t\r\n\r\n1\r\na\r\n0\r\n\r\n", ("POST", b"/?", "1.1", b"a"),
    ),
    "chunks of one byte": (CHUNKED + b"1\r\n1\r\n1\r\n\r\r\n1\r\n\n\r\n1\r\n0\r\n2\r\n\r\n\r\n1\r\nb\r\n0\r\n\r\n",
                           ("POST", b"/?", "1.1", b"1\r\n0\r\nb")),
    "chunked between tabs and spaces": (
        POST + b"Transfer-Encoding: \t chunked\t \r\nA:\t\r\n\r\n1\r\na\r\n0\r\n\r\n", ("POST", b"/?", "1.1", b"a"),
    ),
    "no chunks": (CHUNKED + b"0\r\n\r\n", ("POST", b"/?", "1.1", b"")),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n", ("POST", b"/?", "1.1", b"a")),
    "a method of somebody's own": (b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", ("BREW", b"/pot?", "1.1", b"")),
    "its body": (b"BREW / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", ("BREW", b"/?", "1.1", b"a")),
    "small letters": (b"get / HTTP/1.1\r\nhOST: x\r\n\r\n", ("GET", b"/?", "1.1", b"")),
    "a declined upgrade": (
        POST + b"Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 3\r\n\r\nabc", ("POST", b"/?", "1.1", b"abc"),
    ),
    "a declined upgrade with chunks": (
        POST + b"Connection: upgrade\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        ("POST", b"/?", "1.1", b"a"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", ACCEPTED)
def test_a_message_ends_where_it_ends_however_it_is_cut(shape: str) -> None:
    """A request, and another one behind it, read the same however the bytes come in two pieces, or one by one."""
    data, (method, target, version, body) = ACCEPTED[shape]
    data += b"PUT /next HTTP/1.1\r\nHost: next\r\nContent-Length: 2\r\n\r\nok"
    for cuts in [*((cut,) for cut in range(len(data))), tuple(range(1, len(data)))]:
        found, status, all_read = read(data, cuts)
        assert (status, all_read) == (0, True), cuts
        assert [(*one[:3], one[4]) for one in found] == [
            (method, target, version, body),
            ("PUT", b"/next?", "1.1", b"ok"),
        ], cuts


def test_the_host_of_a_url_replaces_the_field() -> None:
    """A target that is a URL says which host is meant, whatever the Host field says (RFC 9112, section 3.2.2)."""
    found, _, _ = read(b"GET http://y:80/ HTTP/1.1\r\nA: b\r\nHost: x\r\n\r\n")
    assert found[0][3] == [(b"a", b"b"), (b"host", b"y:80")]


def test_nothing_behind_a_message_is_decoded() -> None:
    """Bytes behind the end of a body stay as they came until the next head is asked for."""
    reader = make_reader()
    reader.feed(CHUNKED + b"1\r\na\r\n0\r\n\r\n" + b"nonsense\r\n\r\n")
    assert reader.next_head() is not None
    assert reader.next_body() == b"a"
    assert reader.complete
    assert reader.pending == b"nonsense\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        (b"", "keep_alive", True),
        (b"Connection: a, Close\r\n", "keep_alive", False),
        (b"Connection: close\r\nConnection: keep-alive\r\n", "keep_alive", False),
        (b"Expect: 100-Continue\r\n", "expects_continue", True),
        (b"TE: gzip, Trailers\r\n", "takes_trailers", True),
        (b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n", "upgrade", b"websocket"),
        (b"Upgrade: websocket\r\n", "upgrade", b""),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_what_a_client_offers(fields: bytes, name: str, expected: object, version: str) -> None:
    """What a client offers is read from its fields; HTTP/1.0 has nothing of it but an end."""
    reader = make_reader()
    reader.feed(f"GET / HTTP/{version}\r\nHost: x\r\n".encode() + fields + b"\r\n")
    head = reader.next_head()
    assert head is not None
    if version == "1.0":
        expected = type(expected)()
    assert getattr(head, name) == expected


def test_http_1_0_may_be_kept_alive() -> None:
    """An HTTP/1.0 client that asks for it keeps its connection."""
    reader = make_reader()
    reader.feed(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    head = reader.next_head()
    assert head is not None
    assert head.keep_alive


def test_the_preface_of_http_2_is_found() -> None:
    """HTTP/2 without an upgrade begins with what looks like a head, which is neither read nor refused."""
    reader = make_reader()
    reader.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    head = reader.next_head()
    assert head is not None
    assert head.upgrade == b"h2"
    assert reader.raw_head + reader.pending == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


PIECES = st.sampled_from(
    [b"GET ", b"POST ", b"/", b" HTTP/1.1", b"\r\n", b"\r", b"\n", b"Host: x\r\n", b"Content-Length: ", b"3", b":",
     b" ", b"\t", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"abc", b"\r\n\r\n", b"\0", b"\xff", b";",
     b"Connection:", b"upgrade\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"PRI * HTTP/2.0\r\n\r\n", b"http://x/"]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=30).map(b"".join)), st.randoms(use_true_random=False)
)
def test_no_bytes_do_harm_however_they_come(data: bytes, chance: random.Random) -> None:
    """Any bytes are requests, the beginning of one, or refused as a 4xx or 5xx; in pieces as in one."""
    found, status, _ = read(data)
    assert status in {0, 400, 414, 431, 501, 505}
    cuts = tuple(chance.sample(range(len(data) + 1), min(5, len(data))))
    assert read(data, cuts)[:2] == (found, status)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=30), st.sampled_from([b"", b";a", b";a=b", b';a="b c"'])), max_size=6),
    st.randoms(use_true_random=False),
)
def test_chunked_bodies_come_back_as_they_were(chunks: list[tuple[bytes, bytes]], chance: random.Random) -> None:
    """A body reads the same however it was cut into chunks, and those into packets."""
    coded = b"".join(b"%x%b\r\n%b\r\n" % (len(data), extension, data) for data, extension in chunks if data)
    data = CHUNKED + coded + b"0\r\nA: b\r\n\r\n" + GET + b"\r\n"
    cuts = tuple(chance.sample(range(len(data)), 8))
    found, status, all_read = read(data, cuts)
    assert (status, all_read) == (0, True)
    assert [one[4] for one in found] == [b"".join(data for data, _ in chunks), b""]


@pytest.mark.parametrize("unit", [b"\r\n\r\n" * 16, b"1\r\nx\r\n"], ids=["empty lines", "chunks of one byte"])
def test_time_is_linear(unit: bytes) -> None:
    """Eight times as much of the worst body takes about eight times as long: far less than the square of that."""

    def seconds(count: int) -> float:
        best = 9.0
        for _ in range(3):
            reader = make_reader()
            reader.feed(CHUNKED)
            reader.next_head()
            coded = b"%x\r\n%b\r\n" % (len(unit * count), unit * count) if unit.startswith(b"\r") else unit * count
            begin = time.perf_counter()
            reader.feed(coded)
            reader.next_body()
            best = min(best, time.perf_counter() - begin)
        return best

    assert seconds(8000) < 30 * seconds(1000)


# What is read differently by h11, each with its reason

STRICTER = {
    "bare LFs": "RFC 9112, section 2.2: a recipient MAY recognize a single LF; MAY, and it smuggles",
    "a folded line": "RFC 9112, section 5.2: a server MUST either reject it with a 400 or replace it",
    "the same length twice": "RFC 9110, section 8.6: a recipient MUST reject it or replace it with one",
    "a list of lengths": "RFC 9110, section 8.6: the same",
    "chunked in HTTP/1.0": "RFC 9112, section 6.1: a server MUST treat it as if the framing is faulty",
    "a target with a fragment": "RFC 9112, section 3.2: no form of a target has one",
    "* with GET": "RFC 9112, section 3.2.4: it is only for OPTIONS",
}


def h11_accepts(data: bytes) -> bool:
    """Whether h11, Hypercorn's parser, takes a whole request from some bytes."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.EndOfMessage):
                return True
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return False
    except h11.RemoteProtocolError:
        return False


@pytest.mark.parametrize("shape", STRICTER)
def test_where_this_is_stricter_than_h11(shape: str) -> None:
    """What is refused here and not by Hypercorn's own parser is a list, with an RFC's sentence for each."""
    data, _ = REFUSED[shape]
    assert h11_accepts(data), STRICTER[shape]


@pytest.mark.parametrize("shape", ACCEPTED)
def test_h11_takes_what_is_taken_here(shape: str) -> None:
    """Nothing is taken here that Hypercorn's own parser refuses, apart from the empty lines that an RFC allows."""
    assert h11_accepts(ACCEPTED[shape][0].lstrip(b"\r\n"))
