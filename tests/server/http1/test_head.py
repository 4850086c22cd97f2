"""What the fields of a head decide, whatever a parser has let through."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.http1.corpus import CORPUS
from tests.server.http1.test_parsing import make_reader, read
from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.head import Head, read_fields
from trioweb.server.http1.parsing import RequestReader

HOST = (b"host", b"x")


def make_head(*fields: tuple[bytes, bytes], version: str = "1.1") -> Head:
    """A head with these fields."""
    return Head("POST", b"/", b"", version, [HOST, *fields], version == "1.1")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"0")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"1,1")],
        [(b"transfer-encoding", b"chunked, chunked")],
        [HOST],
    ],
)
def test_a_request_has_one_end_and_one_host(fields: list[tuple[bytes, bytes]]) -> None:
    """Two lengths, or two hosts, are refused here too: another version of the parser may see nothing in them."""
    with pytest.raises(BadRequest):
        read_fields(make_head(*fields), None, upgrades=False)


def test_an_upgrade_is_offered_by_name() -> None:
    """The protocol is that of the Upgrade, and only where the Connection says so."""
    for upgrades, expected in ((True, b"h2c"), (False, b"")):
        head = make_head((b"upgrade", b"H2C"))
        read_fields(head, None, upgrades=upgrades)
        assert head.upgrade == expected


# A head that comes again


def leaves_the_connection(data: bytes) -> bool:
    """Whether another request may come behind this one."""
    reader = make_reader()
    reader.feed(data)
    if read(data)[1:] != (0, True):
        return False
    head = reader.next_head()
    return head is not None and head.keep_alive


def test_what_came_before_on_a_connection_changes_nothing() -> None:
    """Behind any request that is taken, any other one is taken or refused as it would be by itself."""
    taken = [data for data in CORPUS.values() if leaves_the_connection(data)]
    assert len(taken) > 50
    for first in taken:
        before, _, _ = read(first)
        for data in CORPUS.values():
            found, *outcome = read(data)
            if data[:2] != b"\r\n":  # of empty lines there may be some behind a request
                assert read(first + data) == (before + found, *outcome), (first, data)


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(st.binary(max_size=20), st.text(st.characters(min_codepoint=33, max_codepoint=126)).map(str.encode)),
    st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"BREW", b"POST"]),
    st.sampled_from([b" HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n", b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"]),
)
def test_a_head_that_comes_again_is_read_as_at_first(target: bytes, method: bytes, rest: bytes) -> None:
    """Whatever is asked for by a client that has said the same of itself before."""
    first = method + b" /first" + rest
    before, _, _ = read(first)
    for asked in (target, b"/" + target):
        data = method + b" " + asked + rest
        found, *outcome = read(data)
        assert read(first + data) == (before + found, *outcome)


@pytest.mark.parametrize("name", [b"Content-Length:", b"content-length: \t", b"X: 1\r\nCONTENT-LENGTH: "])
@pytest.mark.parametrize(
    "length",
    [b"0", b"1", b"007", b"12", b"", b" ", b"+3", b"-3", b"3 ", b"3,3", b"0x3", b"3\r\nContent-Length: 3", b"9" * 18,
     b"9" * 19, "\u0663".encode(), b"3\r\nX: y", b"3\n", b"\r\n 3"],
)  # fmt: skip
def test_the_length_of_a_head_that_comes_again_is_read_each_time(name: bytes, length: bytes) -> None:
    """A client that sends bodies of other sizes on a connection is understood, or refused, as on a new one."""
    head = b"POST /upload HTTP/1.1\r\nHost: x\r\n" + name
    first, again = head + b"3\r\n\r\nabc", head + length + b"\r\n\r\n" + b"abcdefghijkl"
    before, _, _ = read(first)
    found, *outcome = read(again)
    assert read(first + again) == (before + found, *outcome)


def test_each_request_has_headers_of_its_own() -> None:
    """What an app does to a request's headers is not seen by the next one, which says the same."""
    raw = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    reader = make_reader()
    for _ in range(3):
        reader.feed(raw)
        head = reader.next_head()
        assert head is not None
        assert head.headers == [(b"host", b"x")]
        head.headers.append((b"x-forwarded-for", b"me"))


def test_nothing_of_a_head_that_came_before_is_left() -> None:
    """A head that comes again has no body, whatever came in between."""
    raw = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    reader = make_reader()
    reader.feed(raw + b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + raw)
    reader.next_head()
    reader.next_head()
    assert reader.next_body() == b"a"
    assert reader.next_head() is not None
    assert (reader.complete, reader.remaining) == (True, 0)


def holds(what: object, depth: int = 5) -> int:
    """How many times some bytes are held."""
    if isinstance(what, bytes):
        return b"remember me" in what
    return sum(holds(part, depth - 1) for part in gc.get_referents(what) if not callable(part)) if depth else 0


@pytest.mark.parametrize(("size", "times"), [(100, 4), (4000, 4), (10_000, 1)])
def test_a_large_head_is_held_once(size: int, times: int) -> None:
    """What is remembered of a head that may come again is bounded."""
    reader = RequestReader(65536, 100)
    reader.feed(b"GET / HTTP/1.1\r\nHost: x\r\nA: remember me%b\r\n\r\n" % bytes(size).replace(b"\0", b"."))
    assert reader.next_head() is not None
    assert holds(reader) <= times


def test_a_connection_at_rest_holds_no_head() -> None:
    """While a response takes its time nothing is held of what can be read again."""
    reader = make_reader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: x\r\nA: remember me\r\n\r\n")
    head = reader.next_head()
    assert holds(reader)
    assert head is not None
    reader.rest()
    assert not holds(reader)


def test_an_absolute_target_is_read_each_time() -> None:
    """The host of a URL is that of its own request."""
    reader = make_reader()
    for host in (b"a", b"b", b"b"):
        reader.feed(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % host)
        head = reader.next_head()
        assert head is not None
        assert head.headers == [(b"host", host)]
