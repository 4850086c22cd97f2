"""Multi-mappings: every value of a repeated name is kept, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.http.multidict import MultiDict

PAIRS = [("a", "1"), ("b", "2"), ("a", "3")]


def test_a_name_has_its_last_value() -> None:
    """Of a repeated name the last value counts, as in a form where a later field overrides an earlier one."""
    fields = MultiDict(PAIRS)
    assert (fields["a"], fields["b"]) == ("3", "2")
    assert (fields.get("a"), fields.get("c"), fields.get("c", "no")) == ("3", None, "no")
    with pytest.raises(KeyError, match="c"):
        fields["c"]


def test_getlist() -> None:
    """``getlist`` has every value of a name in order, none for a name that is not there, and is the caller's own."""
    fields = MultiDict(PAIRS)
    assert (fields.getlist("a"), fields.getlist("b"), fields.getlist("c")) == (["1", "3"], ["2"], [])
    fields.getlist("a").append("4")
    assert fields.getlist("a") == ["1", "3"]
    assert "c" not in fields


def test_items() -> None:
    """``items`` has each name once, ``multi_items`` every pair as it came."""
    fields = MultiDict(PAIRS)
    assert list(fields.items()) == [("a", "3"), ("b", "2")]
    assert fields.multi_items() == PAIRS
    fields.multi_items().clear()
    assert (list(fields), len(fields), fields.multi_items()) == (["a", "b"], 2, PAIRS)


def test_names_have_case() -> None:
    """Names of fields are compared as they are: they are not header names."""
    fields = MultiDict([("A", "1")])
    assert ("A" in fields, "a" in fields) == (True, False)


def test_it_shows_what_it_holds() -> None:
    """It prints with every pair that it holds."""
    assert repr(MultiDict(PAIRS)) == "MultiDict([('a', '1'), ('b', '2'), ('a', '3')])"
    assert repr(MultiDict[str]()) == "MultiDict([])"


def test_equality_knows_repeated_names() -> None:
    """Two are equal when every value of every name is."""
    assert MultiDict(PAIRS) == MultiDict(PAIRS)
    assert MultiDict(PAIRS) != MultiDict([("a", "3"), ("b", "2")])


def test_a_generator_is_read_once() -> None:
    """Pairs may come from anything that is iterated once."""
    assert MultiDict(pair for pair in PAIRS).multi_items() == PAIRS


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_nothing_is_lost(pairs: list[tuple[str, int]]) -> None:
    """Every pair that was put in is found under its name, in order."""
    fields = MultiDict(pairs)
    assert fields.multi_items() == pairs
    assert sum(len(fields.getlist(name)) for name in fields) == len(pairs)
    for name in fields:
        assert fields.getlist(name) == [value for known, value in pairs if known == name]
        assert fields[name] == fields.getlist(name)[-1]
