"""JSON out, and the numbers that it has not."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.encoding import NotFiniteError, encode_json, nan_as_null

NAN = math.nan


class Row(msgspec.Struct, rename="camel", omit_defaults=True):
    """A Struct whose JSON looks different."""

    mean_value: float = 1.0
    rest: Any = None


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: float = 0.0
    y: Any = None


class Celsius(float):
    """A number of a class of its own."""


class Level(enum.Enum):
    """A number that has a name."""

    NONE = NAN


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (NAN, "$ is nan"),
        ({"a": [1, None, -math.inf], "b": NAN}, "$.a[2] is -inf"),
        ([None, (Row(NAN),)], "$[1][0].meanValue is nan"),
        (Row(rest={1: Point(y={"z": math.inf})}), "$.rest.1.y.z is inf"),
        ({"t": Celsius("inf")}, "$.t is inf"),
        ([Level.NONE], "$[0] is nan"),
        ({"large": 2**80, "s": {NAN}}, "$.s[0] is nan"),
        (["null", "\u02ff\x7f", nan_as_null(NAN), NAN], "$[3] is nan"),
    ],
)
def test_a_number_that_json_has_not(value: Any, place: str) -> None:
    """It is an error that says where it is, as JSON has it, and what to write instead."""
    with pytest.raises(NotFiniteError) as caught:
        encode_json(value)
    assert str(caught.value).startswith(f"{place}, which is no number in JSON: write None in its place, or nan_as_null")


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": None, "b": [None, 1.5]},
        "null",
        [Row(rest=None), Point()],
        {NAN: None},
        {"large": 2**80, "none": None},
        [Decimal("NaN"), None],
        # Bytes that are like a number that is not finite: in text, in an integer, and in base64 that has "null" in it.
        ["\u02ff\x7f\xf8", 0xCB7FF8, b"\xcb\x7f\xf8", "a" * 0xCB + "\x7f\U00010000", None],
        [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), None],
    ],
)
def test_a_null_that_is_meant(value: Any) -> None:
    """``None``, and text with "null" in it, are no such numbers."""
    assert encode_json(value) == msgspec.json.encode(value)


def test_null_if_asked() -> None:
    """``nan_as_null`` sends ``null``, of a value or of a part of it."""
    assert encode_json(nan_as_null({"a": NAN, "b": [math.inf, 1]})) == b'{"a":null,"b":[null,1]}'
    assert encode_json([1.5, nan_as_null(Row(NAN))]) == b'[1.5,{"meanValue":null}]'


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["null", "\u02ff\x7f"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_VALUES)
def test_all_values(value: Any) -> None:
    """What is sent is the value; a number is refused exactly if Python's strict encoder refuses it."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        with pytest.raises(NotFiniteError):
            encode_json(value)
    else:
        assert json.loads(encode_json(value)) == value
