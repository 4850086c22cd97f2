"""Byte ranges: what a client asks for, and how several are framed."""

from __future__ import annotations

import email
import email.policy
import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.http.ranges import MAX_RANGES, Span, content_range, frame_parts, parse_range


@pytest.mark.parametrize(
    ("value", "size", "spans"),
    [
        ("bytes=0-4", 10, [(0, 5)]),
        ("bytes=5-", 10, [(5, 10)]),
        ("bytes=-3", 10, [(7, 10)]),
        ("bytes=-30", 10, [(0, 10)]),
        ("bytes=5-500", 10, [(5, 10)]),
        ("BYTES=9-9", 10, [(9, 10)]),
        ("bytes=0-0,-1", 10, [(0, 1), (9, 10)]),
        ("bytes= 0-1 ,\t4-5", 10, [(0, 2), (4, 6)]),
        ("bytes=,,0-1,,", 10, [(0, 2)]),
        ("bytes=7-8,1-2", 10, [(7, 9), (1, 3)]),
        ("bytes=00000000000000000000000000001-2", 10, [(1, 3)]),
    ],
)
def test_what_is_asked_for(value: str, size: int, spans: list[tuple[int, int]]) -> None:
    """First and last position, a suffix, and several of both, in the order in which they were asked for."""
    assert parse_range(value, size) == spans


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("bytes=0-5,3-8", [(0, 9)]),
        ("bytes=0-4,5-9", [(0, 10)]),
        ("bytes=8-9,0-1,1-4", [(8, 10), (0, 5)]),
        ("bytes=0-,0-,0-,-10", [(0, 10)]),
        ("bytes=6-7,0-1,2-6", [(0, 8)]),
    ],
)
def test_what_overlaps_is_one(value: str, spans: list[tuple[int, int]]) -> None:
    """Ranges that overlap or touch are one, in the place of the first of them."""
    assert parse_range(value, 10) == spans


@pytest.mark.parametrize(
    "value",
    [
        "", "bytes", "bytes=", "bytes=,", "bytes= ,\t,", "bytes=-", "bytes=a-b", "bytes=1", "bytes=5-4", "bytes=1-2-3",
        "bytes=--1", "bytes=+1-2", "bytes=1_0-20", "bytes=0x1-2", "bytes=\xb2-3", "bytes=0-1,x", "bytes=1 - 2",
        "items=0-4", "bytes =0-4", "bytes:0-4", "0-4", "bytes=0-1;2-3",
    ],
)  # fmt: skip
def test_what_is_ignored(value: str) -> None:
    """An unknown unit, or what is no range at all, counts as no header (RFC 9110, section 14.2)."""
    assert parse_range(value, 10) is None


@pytest.mark.parametrize(
    "value", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,-0,99-99", f"bytes={'9' * 9999}-"]
)
def test_what_cannot_be_satisfied(value: str) -> None:
    """Where no range has a byte of it there are none, which is a 416; a number of any length is just large."""
    assert parse_range(value, 10) == []


def test_one_that_can_be_satisfied_is_enough() -> None:
    """Ranges beyond the end are left out where another is within it."""
    assert parse_range(f"bytes=10-20,0-0,-0,{'9' * 5000}-", 10) == [(0, 1)]


def test_of_nothing_there_is_no_range() -> None:
    """What is empty is answered whole: a 206 has no way to say that it has nothing."""
    assert parse_range("bytes=0-", 0) is None
    assert parse_range("bytes=-1", 0) is None


def test_too_many_are_ignored() -> None:
    """More ranges than there may be are answered with the whole."""
    most = ",".join(f"{2 * index}-{2 * index}" for index in range(MAX_RANGES))
    assert len(parse_range(f"bytes={most}", 1000) or []) == MAX_RANGES
    assert parse_range(f"bytes={most},999-999", 1000) is None
    assert parse_range("bytes=0-1,2-3,4-5", 1000, most=2) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda count: ",".join(f"{2 * index}-{2 * index}" for index in range(count)),
        lambda count: ",".join(f"{2 * index}-{2 * index}" for index in reversed(range(count))),
        lambda count: ",".join("0-" for _ in range(count)),
        lambda count: ",".join(f"-{index}" for index in range(count)),
        lambda count: "1" * 5 * count + "-",
        lambda count: " " * 5 * count + "0-1" + "\t" * 5 * count,
        lambda count: "-" * 5 * count,
        lambda count: "0-1" + "," * 5 * count,
    ],
)
def test_linear_time(make: Callable[[int], str]) -> None:
    """100,000 ranges of any kind, or bytes of nothing, take ten times the steps that 10,000 take, and not a hundred."""
    lines = []
    for count in (1_000, 10_000, 100_000):
        value = f"bytes={make(count)}"
        lines.append(lines_run(partial(parse_range, value, 10**9, most=10**6)))
    assert lines[1] < 12 * lines[0] + 100
    assert lines[2] < 12 * lines[1] + 100


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of Python a call runs: unlike its time, the same on each machine."""
    count = 0

    def trace(frame: object, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


numbers = st.integers(0, 60)
texts = st.one_of(
    st.builds("{}-{}".format, numbers, numbers), st.builds("{}-".format, numbers), st.builds("-{}".format, numbers)
)


@given(st.lists(texts, min_size=1, max_size=12), st.integers(1, 50))
def test_against_a_plain_reading(items: list[str], size: int) -> None:
    """The spans are disjoint, apart, and have exactly the bytes that the ranges name one by one."""
    wanted: set[int] = set()
    for item in items:
        first, _, last = item.partition("-")
        if first and last and int(last) < int(first):
            assert parse_range("bytes=" + ",".join(items), size) is None
            return
        if first:
            wanted |= {at for at in range(size) if int(first) <= at and (not last or at <= int(last))}
        elif int(last):
            wanted |= set(range(max(0, size - int(last)), size))
    spans = parse_range("bytes=" + ",".join(items), size)
    assert spans is not None
    assert {at for span in spans for at in range(*span)} == wanted
    ordered = sorted(spans)
    assert all(span.start < span.stop for span in spans)
    assert all(one.stop < other.start for one, other in itertools.pairwise(ordered))


@given(st.text(st.sampled_from("bytes=0123456789-, \t,;x"), max_size=40) | st.text(max_size=40), st.integers(0, 100))
def test_anything_at_all(text: str, size: int) -> None:
    """No text raises anything, and what it leads to is within the representation."""
    for value in (text, "bytes=" + text):
        spans = parse_range(value, size)
        assert spans is None or all(0 <= span.start < span.stop <= size for span in spans)


def test_the_header_of_a_part() -> None:
    """A content-range names the first and the last byte, and how many there are."""
    assert content_range(Span(0, 5), 10) == "bytes 0-4/10"
    assert Span(3, 5).length == 2


@given(
    st.binary(min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(1, 60)), min_size=2, max_size=5),
)
def test_parts_can_be_read_again(data: bytes, pairs: list[tuple[int, int]]) -> None:
    """A MIME parser finds each part with its type, its range and its bytes, and the length is that of the body."""
    spans = [Span(start, max(stop, start + 1)) for start, stop in pairs]
    parts = frame_parts(spans, len(data), "text/x", "B0UNDARY")
    body = b"".join(head + data[slice(*span)] for head, span in zip(parts.heads, spans, strict=True)) + parts.tail
    cut = sum(span.length - len(data[slice(*span)]) for span in spans)
    assert parts.length == len(body) + cut
    message = email.message_from_bytes(
        f"content-type: {parts.media_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    found = list(message.iter_parts())
    assert [part["content-range"] for part in found] == [content_range(span, len(data)) for span in spans]
    assert {part.get_content_type() for part in found} == {"text/x"}


def test_a_part_without_a_type() -> None:
    """What has no content type has parts without one."""
    assert frame_parts([Span(0, 1)], 9, None, "b").heads == [b"--b\r\ncontent-range: bytes 0-0/9\r\n\r\n"]
