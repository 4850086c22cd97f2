"""Headers: names without case, many values to a name, and nothing that would split a message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioweb.ground.http.headers import Headers, content_disposition

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
FILENAME = re.compile(r'attachment; filename="((?:[^"\\]|\\.)*)"(?:; filename\*=UTF-8\'\'([A-Za-z0-9._~%-]*))?')


@pytest.mark.parametrize(
    ("source", "raw"),
    [
        (None, []),
        ({}, []),
        ({"Content-Type": "text/plain"}, [(b"content-type", b"text/plain")]),
        ([("A", "1"), ("b", "2"), ("a", "3")], [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]),
        ({"x": " \tpadded\t "}, [(b"x", b"padded")]),
        ({"x": "a\tb"}, [(b"x", b"a\tb")]),
        ({"x": "caf\xe9"}, [(b"x", b"caf\xe9")]),
        ({"x": ""}, [(b"x", b"")]),
        (Headers([("A", "1"), ("a", "2")]), [(b"a", b"1"), (b"a", b"2")]),
    ],
)
def test_what_goes_on_the_wire(
    source: Mapping[str, str] | Iterable[tuple[str, str]] | None, raw: list[tuple[bytes, bytes]]
) -> None:
    """Names leave in lower case, values in Latin-1 without the space around them, in the order given."""
    assert Headers(source).raw == raw


def test_a_copy_is_a_copy() -> None:
    """Headers made from others do not change with them."""
    first = Headers({"a": "1"})
    second = Headers(first)
    second["a"] = "2"
    second.append("b", "3")
    assert first.raw == [(b"a", b"1")]


def test_reading() -> None:
    """A name is found in any case: its first value, all its values, or neither."""
    headers = Headers([("Accept", "text/html"), ("X-A", "1"), ("accept", "*/*")])
    assert headers["ACCEPT"] == "text/html"
    assert headers.getlist("aCCept") == ["text/html", "*/*"]
    names: list[object] = ["accept", "ACCEPT", "x-b", 5]
    assert [name in headers for name in names] == [True, True, False, False]
    assert (headers.get("x-b"), headers.get("x-b", "no"), headers.getlist("x-b")) == (None, "no", [])
    with pytest.raises(KeyError, match="x-b"):
        headers["x-b"]


def test_iteration() -> None:
    """Each name is iterated and counted once; ``multi_items`` has every header."""
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])
    assert (list(headers), len(headers)) == (["a", "b"], 2)
    assert headers.multi_items() == [("a", "1"), ("b", "2"), ("a", "3")]
    assert list(headers.items()) == [("a", "1"), ("b", "2")]
    assert repr(headers) == "Headers([('a', '1'), ('b', '2'), ('a', '3')])"


def test_assignment_replaces() -> None:
    """Setting a name leaves one header of it, whatever the case it was written in."""
    headers = Headers([("a", "1"), ("b", "2"), ("A", "3")])
    headers["A"] = "4"
    assert sorted(headers.multi_items()) == [("a", "4"), ("b", "2")]


def test_append_adds() -> None:
    """Appending keeps what is there, as ``set-cookie`` needs."""
    headers = Headers({"set-cookie": "a=1"})
    headers.append("Set-Cookie", "b=2")
    assert headers.getlist("set-cookie") == ["a=1", "b=2"]


def test_deletion() -> None:
    """Deleting a name takes away all of its headers; one that is not there is a KeyError."""
    headers = Headers([("a", "1"), ("b", "2"), ("A", "3")])
    del headers["A"]
    assert headers.multi_items() == [("b", "2")]
    with pytest.raises(KeyError, match="a"):
        del headers["a"]
    assert headers.pop("b") == "2"
    assert len(headers) == 0


def test_update_from_replaces_what_is_named() -> None:
    """What is taken over replaces a header of the same name; a name repeated in it stays repeated."""
    headers = Headers([("a", "0"), ("a", "1"), ("b", "2")])
    headers.update_from([("A", "3"), ("c", "4"), ("a", "5")])
    assert headers.multi_items() == [("b", "2"), ("a", "3"), ("c", "4"), ("a", "5")]


def test_a_refused_update_changes_nothing() -> None:
    """An update that holds a bad header leaves the headers as they were."""
    headers = Headers({"a": "1"})
    with pytest.raises(ValueError, match="control character"):
        headers.update_from([("a", "2"), ("b", "x\r\ny: z")])
    assert headers.multi_items() == [("a", "1")]


def test_equality_knows_repeated_names() -> None:
    """Headers are equal when every value of every name is."""
    two = Headers([("a", "1"), ("a", "2")])
    assert two == Headers([("A", "1"), ("A", "2")])
    assert two != Headers([("a", "1")])
    assert two != Headers([("a", "1"), ("a", "3")])


def test_from_raw() -> None:
    """What a server hands over is taken as it is, but for the case of the names."""
    headers = Headers.from_raw([(b"X-A", b"\xe9\x01"), (b"x-a", b"2")])
    assert headers.raw == [(b"x-a", b"\xe9\x01"), (b"x-a", b"2")]
    assert headers.getlist("X-A") == ["\xe9\x01", "2"]


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\n", "a\n", "\0", "é", "(a)", "coo\N{KELVIN SIGN}ie", b"a"])
def test_names_that_are_no_tokens(name: str) -> None:
    """A name that is not a token is a ValueError that names it, and nothing gets in."""
    headers = Headers()
    for put in (headers.append, headers.__setitem__):
        with pytest.raises(ValueError, match="is not a header name: use letters, digits and hyphens"):
            put(name, "x")
    assert headers.raw == []


@pytest.mark.parametrize("value", ["\r", "\n", "\0", "a\r\nset-cookie: b=c", "a\n", "\x7f", "\x1b[0m", "\x0b"])
def test_values_with_control_characters(value: str) -> None:
    """A CR, LF, NUL or other control character in a value is a ValueError, also at its ends."""
    headers = Headers()
    for put in (headers.append, headers.__setitem__):
        with pytest.raises(ValueError, match="the value of header 'x' has a control character"):
            put("x", value)
    assert headers.raw == []


def test_values_outside_latin_1() -> None:
    """A value that the wire has no bytes for is a ValueError that says what to do."""
    with pytest.raises(ValueError, match=r"outside Latin-1: percent-encode it"):
        Headers({"x": "\N{EURO SIGN}"})


@pytest.mark.parametrize("value", [5, None, b"x", 1.5])
def test_values_that_are_no_text(value: object) -> None:
    """A value that is not a str is a TypeError that names the header and the type."""
    with pytest.raises(TypeError, match=rf"header 'x' must be a str, got {type(value).__name__}: write str"):
        Headers({"x": value})  # type: ignore[arg-type]


@given(st.text(), st.text())
@example("x", "a\r\nb: c")
@example("x\r\nb", "c")
def test_whatever_gets_in_is_one_header(name: str, value: str) -> None:
    """Whatever text is put in, it is refused, or it is one token and one value without control characters."""
    headers = Headers()
    try:
        headers.append(name, value)
    except ValueError:
        assert headers.raw == []
        return
    ((raw_name, raw_value),) = headers.raw
    assert TOKEN.fullmatch(raw_name)
    assert not CONTROL.search(raw_value)
    assert headers[name] == value.strip(" \t")


@pytest.mark.parametrize(
    ("filename", "value"),
    [
        (None, "attachment"),
        ("a.csv", 'attachment; filename="a.csv"'),
        ("my file.csv", 'attachment; filename="my file.csv"'),
        ('a"b.csv', 'attachment; filename="a\\"b.csv"'),
        ("../etc/passwd", 'attachment; filename=".._etc_passwd"'),
        ("a\\b", 'attachment; filename="a_b"'),
        ("a\r\nx: y", 'attachment; filename="a__x: y"'),
        ("100%.csv", "attachment; filename=\"100%.csv\"; filename*=UTF-8''100%25.csv"),
        ("é.csv", "attachment; filename=\"_.csv\"; filename*=UTF-8''%C3%A9.csv"),
        ("\N{EURO SIGN} 1'.csv", "attachment; filename=\"_ 1'.csv\"; filename*=UTF-8''%E2%82%AC%201%27.csv"),
    ],
)
def test_content_disposition(filename: str | None, value: str) -> None:
    """A file name in ASCII is quoted; any other is given twice, for old clients and as RFC 8187 has it."""
    assert content_disposition("attachment", filename) == value


@given(st.text())
@example("\ud800.csv")
@example("\x85")
def test_any_file_name_can_be_sent(filename: str) -> None:
    """Whatever a file is called, the value is one legal header from which a client reads the name back."""
    value = content_disposition("attachment", filename)
    assert Headers({"content-disposition": value})["content-disposition"] == value
    found = FILENAME.fullmatch(value)
    assert found is not None
    shown = unquote(found[2]) if found[2] is not None else re.sub(r"\\(.)", r"\1", found[1])
    assert shown == re.sub(r"[\x00-\x1f\x7f/\\]", "_", filename).encode("utf-8", "replace").decode()
