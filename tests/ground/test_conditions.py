"""Conditions of requests: validators, dates, and the order in which they count."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.http.conditions import (
    Verdict,
    evaluate,
    file_tag,
    format_date,
    parse_date,
    parse_tags,
    range_holds,
    weakened,
)
from trioweb.ground.http.headers import Headers

WHEN = 784111777
BEFORE, AT, AFTER = (format_date(WHEN + seconds) for seconds in (-1, 0, 1))
GO, SAME, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.FAILED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", WHEN),
        ("Sunday, 06-Nov-94 08:49:37 GMT", WHEN),
        ("Sun Nov  6 08:49:37 1994", WHEN),
        ("Sun Nov 16 08:49:37 1994", WHEN + 10 * 86400),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 08:49:37 +0000", None),
        ("Sun, 6 Nov 1994 08:49:37 GMT", None),
        ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:60:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT\n", None),
        ("", None),
        ("0", None),
        ("784111777", None),
        ("\u0660\u0661 Nov", None),
    ],
)
def test_dates(text: str, seconds: int | None) -> None:
    """A date is one in any of the three forms of RFC 9110, section 5.6.7, to the second; anything else is none."""
    assert parse_date(text, now=1.7e9) == seconds


def test_years_of_two_digits() -> None:
    """A year of two digits that seems to be more than 50 years ahead is past."""
    now = 1_760_000_000.0  # 2025
    assert parse_date("Monday, 01-Jan-75 00:00:00 GMT", now) == 3313526400
    assert parse_date("Monday, 01-Jan-76 00:00:00 GMT", now) == 189302400
    assert parse_date("Monday, 01-Jan-24 00:00:00 GMT", now) == 1704067200
    assert parse_date("Monday, 01-Jan-24 00:00:00 GMT") == 1704067200


@given(st.integers(0, 2**36))
def test_dates_there_and_back(seconds: int) -> None:
    """What is formatted is what the standard library formats, and is read again."""
    assert format_date(seconds + 0.9) == formatdate(seconds, usegmt=True)
    assert parse_date(format_date(seconds)) == seconds


@given(st.text(max_size=60))
def test_any_text_is_a_date_or_none(text: str) -> None:
    """No text raises anything."""
    parse_date(text)
    parse_tags(text)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('"a"', ['"a"']),
        ('"a", W/"b" ,"c"', ['"a"', 'W/"b"', '"c"']),
        (',, "a,b" ,', ['"a,b"']),
        ('"",W/""', ['""', 'W/""']),
        ('"\xe4"', ['"\xe4"']),
        ("", []),
        ("a", []),
        ('"a', []),
        ('"a b"', []),
        ('w/"a"', []),
        ('"a", b', []),
        ('*, "a"', []),
    ],
)
def test_entity_tags(text: str, tags: list[str]) -> None:
    """A list of entity tags gives them all; what is malformed gives none."""
    assert parse_tags(text) == tags


def test_any_entity_tag() -> None:
    """An asterisk is any entity tag."""
    assert parse_tags(" *") is None


def test_entity_tags_take_linear_time() -> None:
    """A long list, or a long piece of nothing, takes time in proportion."""
    for text in ('"a",' * 50_000, '"' * 100_000, "," * 200_000, " " * 200_000 + "x", 'W/"' * 50_000):
        begin = time.process_time()
        parse_tags(text)
        assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("headers", "etag", "verdict"),
    [
        ({}, '"a"', GO),
        # if-match, strongly
        ({"if-match": '"a"'}, '"a"', GO),
        ({"if-match": '"b", "a"'}, '"a"', GO),
        ({"if-match": "*"}, '"a"', GO),
        ({"if-match": "*"}, None, GO),
        ({"if-match": '"b"'}, '"a"', FAILED),
        ({"if-match": 'W/"a"'}, 'W/"a"', FAILED),
        ({"if-match": '"a"'}, 'W/"a"', FAILED),
        ({"if-match": "a"}, '"a"', FAILED),
        ({"if-match": '"a"'}, None, FAILED),
        # if-unmodified-since, only without if-match
        ({"if-unmodified-since": AT}, None, GO),
        ({"if-unmodified-since": BEFORE}, None, FAILED),
        ({"if-unmodified-since": "yesterday"}, None, GO),
        ({"if-match": '"a"', "if-unmodified-since": BEFORE}, '"a"', GO),
        # if-none-match, weakly
        ({"if-none-match": '"a"'}, '"a"', SAME),
        ({"if-none-match": 'W/"a"'}, '"a"', SAME),
        ({"if-none-match": '"a"'}, 'W/"a"', SAME),
        ({"if-none-match": "*"}, '"a"', SAME),
        ({"if-none-match": '"b"'}, '"a"', GO),
        ({"if-none-match": '"a"'}, None, GO),
        # if-modified-since, only without if-none-match
        ({"if-modified-since": AT}, None, SAME),
        ({"if-modified-since": AFTER}, None, SAME),
        ({"if-modified-since": BEFORE}, None, GO),
        ({"if-modified-since": "tomorrow"}, None, GO),
        ({"if-none-match": '"b"', "if-modified-since": AFTER}, '"a"', GO),
        # in order
        ({"if-match": '"b"', "if-none-match": '"a"'}, '"a"', FAILED),
        ({"if-match": '"a"', "if-none-match": '"a"'}, '"a"', SAME),
        ({"if-unmodified-since": BEFORE, "if-none-match": '"a"'}, '"a"', FAILED),
        ({"if-unmodified-since": BEFORE, "if-modified-since": AT}, None, FAILED),
    ],
)
def test_the_order_of_conditions(headers: dict[str, str], etag: str | None, verdict: Verdict) -> None:
    """Conditions count in the order of RFC 9110, section 13.2.2, each with the comparison that is its own."""
    assert evaluate(Headers(headers), etag, WHEN) is verdict


def test_lists_over_several_lines() -> None:
    """Entity tags in several headers of a name are one list; a date that is there twice is none."""
    lines = [("if-none-match", '"b"'), ("if-none-match", '"a"')]
    assert evaluate(Headers(lines), '"a"', None) is SAME
    assert evaluate(Headers([("if-modified-since", AT), ("if-modified-since", AT)]), None, WHEN) is GO


def test_dates_need_a_date() -> None:
    """Without a time of modification conditions on it are ignored."""
    assert evaluate(Headers({"if-modified-since": AFTER}), '"a"', None) is GO
    assert evaluate(Headers({"if-unmodified-since": BEFORE}), '"a"', None) is GO


@pytest.mark.parametrize(
    ("given", "etag", "holds"),
    [
        (None, None, True),
        ('"a"', '"a"', True),
        ('"b"', '"a"', False),
        ('W/"a"', '"a"', False),
        ('W/"a"', 'W/"a"', False),
        ('"a"', 'W/"a"', False),
        ('"a"', None, False),
        ("*", '"a"', False),
        ('"a", "b"', '"a"', False),
        (AT, None, True),
        (AFTER, None, False),
        (BEFORE, None, False),
        ("nonsense", '"a"', False),
    ],
)
def test_if_range(given: str | None, etag: str | None, holds: bool) -> None:
    """Parts are given only of what is byte for byte what the client has parts of, or where it does not ask."""
    headers = Headers() if given is None else Headers({"if-range": given})
    assert range_holds(headers, etag, WHEN, WHEN + 60.0) is holds


def test_if_range_with_a_date_that_is_too_near() -> None:
    """A date says nothing of the second that has not ended; two headers say nothing at all."""
    assert not range_holds(Headers({"if-range": AT}), None, WHEN, WHEN + 0.5)
    assert range_holds(Headers({"if-range": AT}), None, WHEN, WHEN + 1.0)
    assert not range_holds(Headers([("if-range", '"a"'), ("if-range", '"a"')]), '"a"', WHEN, WHEN + 60.0)


def test_the_tag_of_a_file() -> None:
    """It is another for another size, time, inode or coding, and weak while its times are near, or ahead."""
    second = 1_000_000_000
    now = 1000.0
    tags = [
        file_tag(5, 100 * second, 100 * second, 7, now),
        file_tag(6, 100 * second, 100 * second, 7, now),
        file_tag(5, 100 * second + 1, 100 * second, 7, now),
        file_tag(5, 100 * second, 100 * second + 1, 7, now),
        file_tag(5, 100 * second, 100 * second, 8, now),
        file_tag(5, 100 * second, 100 * second, 7, now, "br"),
    ]
    assert len(set(tags)) == len(tags)
    assert all(parse_tags(tag) == [tag] and tag.startswith('"') for tag in tags)
    for near in (998, 999, 1001):
        assert file_tag(5, near * second, 100 * second, 7, now).startswith('W/"')
        assert file_tag(5, 100 * second, near * second, 7, now).startswith('W/"')
    assert file_tag(5, 997 * second, 997 * second, 7, now).startswith('"')


def test_weak_tags() -> None:
    """A weak tag stays as it is, a strong one becomes weak."""
    assert weakened('"a"') == weakened('W/"a"') == 'W/"a"'
