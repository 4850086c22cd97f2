"""URLs in parts, and query strings."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.urls import MAX_QUERY_FIELDS, URL, parse_query


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://Example.com/a%20b?x=%31", ("http", "example.com", None, "/a%20b", "x=%31")),
        ("https://example.com:8443/", ("https", "example.com", 8443, "/", "")),
        ("http://[::1]:8000/x?y", ("http", "::1", 8000, "/x", "y")),
        ("http://h//x?a=b?c", ("http", "h", None, "//x", "a=b?c")),
        ("http:///x?y", ("http", None, None, "/x", "y")),
        ("http://h:port/x", ("http", "h", None, "/x", "")),
        ("http://h:99999/x", ("http", "h", None, "/x", "")),
        ("http://[::1/x?y=1", ("http", None, None, "/x", "y=1")),
        ("http://h\N{ACCOUNT OF}/x", ("http", None, None, "/x", "")),
    ],
)
def test_parts(text: str, parts: tuple[str, str | None, int | None, str, str]) -> None:
    """The parts stand as they do in the URL; a host that is none leaves path and query readable."""
    url = URL(text)
    assert (url.scheme, url.hostname, url.port, url.path, url.query) == parts
    assert str(url) == text


def test_equality() -> None:
    """A URL equals its text and hashes as it, so that either can be looked up by the other."""
    url = URL("http://h/x")
    assert url == URL("http://h/x") == "http://h/x"
    assert url != URL("http://h/y")
    assert url != 5
    assert {url: 1}["http://h/x"] == 1  # type: ignore[index]
    assert repr(url) == "URL('http://h/x')"


@given(st.text())
@example("http://[")
@example("http://[::1]x:1/")
@example("//")
@example("http://h:\N{SUPERSCRIPT TWO}/")
def test_no_text_breaks_it(text: str) -> None:
    """Whatever a client wrote into its Host header, every part can be asked for."""
    url = URL(f"http://{text}/x?y")
    assert isinstance(url.path, str)
    assert isinstance(url.query, str)
    assert url.hostname is None or isinstance(url.hostname, str)
    assert url.port is None or 0 <= url.port <= 65535


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", []),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        (b"a=&b", [("a", ""), ("b", "")]),
        (b"&&a=1&", [("a", "1")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a+b=c+%2B%20d", [("a b", "c + d")]),
        (b"a;b=1", [("a;b", "1")]),
        (b"q=%C3%A9", [("q", "\xe9")]),
        (b"q=%FF", [("q", "\N{REPLACEMENT CHARACTER}")]),
        (b"q=%zz%", [("q", "%zz%")]),
        (b"q=\xc3\xa9", [("q", "\xe9")]),
        (b"q=\xff", [("q", "\N{REPLACEMENT CHARACTER}")]),
    ],
)
def test_query(query: bytes, pairs: list[tuple[str, str]]) -> None:
    """A query string is read as the URL standard's form encoding, in UTF-8 whether percent-encoded or not."""
    assert parse_query(query).multi_items() == pairs


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=20))
def test_query_round_trip(pairs: list[tuple[str, str]]) -> None:
    """What a client encodes is read back as it was, repeated names included."""
    assert parse_query(urlencode(pairs, errors="replace").encode()).multi_items() == [
        (name.encode("utf-8", "replace").decode(), value.encode("utf-8", "replace").decode()) for name, value in pairs
    ]


@given(st.binary())
def test_no_bytes_break_the_query(query: bytes) -> None:
    """Any bytes are a query string."""
    for name, values in ((name, parse_query(query).getlist(name)) for name in parse_query(query)):
        assert values
        quote(name)


def test_too_many_fields() -> None:
    """A query string with more fields than the limit is the client's mistake; one at the limit is not."""
    assert len(parse_query(b"&".join([b"a=1"] * MAX_QUERY_FIELDS)).getlist("a")) == MAX_QUERY_FIELDS
    with pytest.raises(HTTPError, match="The query string has more than 1000 fields") as caught:
        parse_query(b"&".join([b"a=1"] * (MAX_QUERY_FIELDS + 1)))
    assert caught.value.status == 400
