"""What does not fit, as a client reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.errors import HTTPError, InputError
from trioweb.ground.faults import decode_json, missing
from trioweb.ground.models import LONGEST


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """Something within something."""

    count: Annotated[int, msgspec.Meta(ge=1)]


class Outer(msgspec.Struct):
    """Something with parts."""

    items: list[Inner] = []
    names: dict[str, int] = {}
    kind: Literal["a", "b"] = "a"


class Sold(msgspec.Struct, tag=True):
    """One of a union."""

    n: int
    by: str


class Gone(msgspec.Struct, tag=True):
    """Another one."""

    why: str


def decode(data: bytes, kind: Any = Any) -> Any:
    """Decode a body."""
    return decode_json(msgspec.json.Decoder(kind).decode, data, "The request body", ("body",))


@pytest.mark.parametrize(
    ("data", "loc", "msg"),
    [
        (b"[]", ["body"], "Expected `object`, got `array`"),
        (b'{"items": [{"count": 1}, {"count": 0}]}', ["body", "items", 1, "count"], "Expected `int` >= 1"),
        (b'{"kind": "x - at `$.names`"}', ["body", "kind"], "Invalid enum value 'x - at `$.names`'"),
        (b'{"items": [{"count": 1, "x - at `$.y": 1}]}', ["body", "items", 0, "x - at `$.y"], "Unknown field"),
        (b'{"items": [{}]}', ["body", "items", 0, "count"], "Missing"),
        (b'{"items": [{"count": 1, "x": 1}]}', ["body", "items", 0, "x"], "Unknown field"),
        (b'{"names": {"a b": "x"}}', ["body", "names", "a b"], "Expected `int`, got `str`"),
        (b'{"kind": "c"}', ["body", "kind"], "Invalid enum value 'c'"),
    ],
)
def test_what_does_not_fit(data: bytes, loc: list[str | int], msg: str) -> None:
    """A 422 says where in the body something does not fit, step by step, and what is wrong there."""
    with pytest.raises(InputError) as caught:
        decode(data, Outer)
    assert caught.value.status == 422
    assert caught.value.errors == [{"loc": loc, "msg": msg}]


@pytest.mark.parametrize(
    ("kind", "data", "within"),
    [
        (dict[str, int], b'{"x": "no", "y": 1, "z": null}', [["x"], ["z"]]),
        (dict[int, int], b'{"x": 1}', [[]]),
        (Mapping[str, list[int]], b'{"x": [1, "y"], "z": [null, null]}', [["x", 1], ["z", 0], ["z", 1]]),
        (dict[str, Inner], b'{"x": {"count": 0}, "y": {}}', [["x", "count"], ["y", "count"]]),
        (dict[str, Inner], b'{"x": {"count": 1, "y": 1}}', [["x", "y"]]),
        (dict[str, Outer], b'{"x": {"items": [{}]}, "y": {"names": {"z": ""}}}', [
            ["x", "items", 0, "count"], ["y", "names", "z"],
        ]),
        (tuple[int, str], b'["a", 1]', [[0], [1]]),
        (tuple[Inner, ...], b'[{"count": 1}, {}, {"count": 0}]', [[1, "count"], [2, "count"]]),
        (tuple[int, str], b"[1]", [[]]),
        (list[Sold | Gone], b'[{"type": "Sold", "n": "a", "by": 1}, {"type": "Gone"}, {"type": "x"}]', [
            [0, "n"], [0, "by"], [1, "why"], [2, "type"],
        ]),
    ],
)  # fmt: skip
def test_what_does_not_fit_in_parts(kind: Any, data: bytes, within: list[list[str | int]]) -> None:
    """All that is wrong with the values of a dict or a tuple, and with objects that say what they are, is located."""
    with pytest.raises(InputError) as caught:
        decode(data, kind)
    assert [error["loc"] for error in caught.value.errors] == [["body", *path] for path in within]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it ends too early (byte 0)"),
        (b'{"a":', "it ends too early (byte 5)"),
        (b'{"secret": x}', "it is malformed (byte 11)"),
        (b'{"secret": 1} 2', "it is malformed (byte 15)"),
        (b"nul", "it ends too early (byte 3)"),
        (b"[1,]", "it is malformed (byte 3)"),
        (b'{"\xff": 1}', "it is not UTF-8 (byte 2)"),
        (b'"secret\xff"', "it is not UTF-8 (byte 7)"),
        (b'{"secret": "\xc3"}', "it is not UTF-8 (byte 12)"),
        ('{"secret": 1}'.encode("utf-16"), "it is not UTF-8 (byte 0)"),
        ('{"secret": 1}'.encode("utf-16-le"), "it is malformed (byte 1)"),
        (b"\xef\xbb\xbf{}", "it is malformed (byte 0)"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"secret":' * 100_000, "it is nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_is_no_json(data: bytes, reason: str) -> None:
    """A 400 says where it is no JSON and why, and never quotes it."""
    with pytest.raises(HTTPError) as caught:
        decode(data)
    assert (caught.value.status, caught.value.detail) == (400, f"The request body is not JSON: {reason}.")


def says(error: Exception) -> Any:
    """A decoder that fails in these words."""

    def decode(data: bytes) -> Any:
        raise error

    return decode


@pytest.mark.parametrize(
    ("error", "data", "reason"),
    [
        (msgspec.DecodeError("Invalid UTF-8 encoded string"), b'"\xff"', "it is not UTF-8 (byte 1)"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "quite wrong"), b'"\xff"', "it is not UTF-8 (byte 1)"),
        (msgspec.DecodeError("bad string at byte 1"), b'"\xff"', "it is not UTF-8 (byte 1)"),
        (msgspec.DecodeError("Unexpected secret at position 7"), b'{"a":  x}', "it is malformed (byte 7)"),
        (msgspec.DecodeError("Unexpected end of input"), b"[", "it ends too early (byte 1)"),
        (msgspec.DecodeError("The secret is no JSON"), b"secret", "it is malformed"),
    ],
)
def test_other_words_for_what_is_no_json(error: Exception, data: bytes, reason: str) -> None:
    """What is told of what is no JSON does not depend on the words of the decoder, and never quotes these."""
    with pytest.raises(HTTPError) as caught:
        decode_json(says(error), data, "The request body", ("body",))
    assert (caught.value.status, caught.value.detail) == (400, f"The request body is not JSON: {reason}.")


@pytest.mark.parametrize(
    ("text", "loc", "msg"),
    [
        ("Wanted an int, found a str - at `$.items[0].count`", ["body", "items", 0, "count"], "Does not fit"),
        ("Wanted an int, found a str at `$.a`", ["body", "a"], "Does not fit"),
        ("Wanted an int", ["body"], "Does not fit"),
        ("Expected `int` in other words - at `$.a`", ["body", "a"], "Expected `int` in other words"),
        ("Timestamp is out of range", ["body"], "Timestamp is out of range"),
        ("", ["body"], "Does not fit"),
    ],
)
def test_other_words_for_what_does_not_fit(text: str, loc: list[str | int], msg: str) -> None:
    """Where the decoder has other words than those that are known, the 422 still says where, and nothing wrong."""
    with pytest.raises(InputError) as caught:
        decode_json(says(msgspec.ValidationError(text)), b"{}", "The request body", ("body",))
    assert caught.value.errors == [{"loc": loc, "msg": msg}]


@pytest.mark.parametrize("data", [b"1" * 5000, b"-" + b"9" * 100_000, b"1e999999", b"1" * 400 + b".5"])
def test_numbers_that_are_none_here(data: bytes) -> None:
    """A number that no number here can hold is a 4xx, and quickly."""
    for kind in (Any, int, float):
        with pytest.raises(HTTPError):
            decode(data, kind)


def test_a_message_is_bounded() -> None:
    """What a client sent may be quoted, but not at any length."""
    with pytest.raises(InputError) as caught:
        decode(b'{"kind": "' + b"c" * 100_000 + b'"}', Outer)
    assert len(caught.value.errors[0]["msg"]) <= LONGEST + 3
    with pytest.raises(InputError) as caught:
        decode(b'{"items": [{"count": 1, "' + b"c" * 100_000 + b'": 1}]}', Outer)
    assert len(str(caught.value)) < 1000


def test_many_faults_make_one_sentence() -> None:
    """The sentence of an error names ten inputs, its list all of them."""
    error = InputError([missing("query", f"q{number}") for number in range(25)])
    assert "query.q9: Missing; and 15 more" in str(error)
    assert len(error.errors) == 25


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    """Whatever comes is a value or a 400, and never another error."""
    try:
        decode(data)
    except HTTPError as error:
        assert error.status in {400, 422}  # noqa: PT017 - a number out of range is JSON that does not fit


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    """Any JSON value comes back as it was written."""
    assert decode(msgspec.json.encode(value)) == value
