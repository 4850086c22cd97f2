"""Conditional requests (RFC 9110, section 13): validators, and the evaluation of a request's conditions."""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Sequence
from typing import Final

from trioweb.ground.http.headers import Headers

RESOLUTION: Final = 2.0
"""Seconds within which two changes of a file may have the same time: the coarsest clock of a file system."""
STRONG_AFTER: Final = 1
"""Seconds after which a ``last-modified`` is a strong validator (RFC 9110, section 8.8.2.2)."""

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_WEEKDAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_DATES: Final = (
    rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
    rf"{_WEEKDAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<short>[0-9]{{2}}) {_TIME} GMT",
    rf"{_DAY} {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
)


class Verdict(enum.Enum):
    """The result of a request's conditions."""

    PROCEED = "answer as without conditions"
    NOT_MODIFIED = "304: the client has the current representation"
    FAILED = "412: the representation is another than the client requires"


def evaluate(request: Headers, etag: str | None, modified: int | None) -> Verdict:
    """Evaluate the conditions of a GET or HEAD, in the order of section 13.2.2, except ``if-range``.

    A date that is malformed, or has nothing to be compared with, is ignored; such an entity tag matches nothing.

    Args:
        request: the request's headers.
        etag: the entity tag of the representation.
        modified: when the representation was last modified, in seconds since the epoch.
    """
    if _is_same(request, "if-match", "if-unmodified-since", etag, modified) is False:
        return Verdict.FAILED
    if _is_same(request, "if-none-match", "if-modified-since", etag, modified):
        return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def _is_same(request: Headers, tags: str, date: str, etag: str | None, modified: int | None) -> bool | None:
    """Whether the representation is one that the client names by tags, else by a date; ``None`` if it names none."""
    if named := request.getlist(tags):
        return _any_matches(named, etag, strong=tags == "if-match")
    dates = request.getlist(date)
    since = parse_date(dates[0]) if len(dates) == 1 else None
    return None if modified is None or since is None else modified <= since


def range_holds(request: Headers, etag: str | None, modified: int | None, now: float) -> bool:
    """Whether a ``range`` applies: there is no ``if-range``, or it matches by the strong comparison (section 13.1.5).

    Parts of representations that are only equivalent cannot be combined.
    """
    given = request.getlist("if-range")
    if not given:
        return True
    if len(given) > 1:
        return False
    if _TAG.fullmatch(given[0]):
        return etag is not None and given[0] == etag and not etag.startswith("W/")
    date = parse_date(given[0], now)
    return date is not None and date == modified and now - date >= STRONG_AFTER


def _any_matches(values: Sequence[str], etag: str | None, *, strong: bool) -> bool:
    tags = parse_tags(", ".join(values))
    if tags is None:
        return True
    if etag is None or (strong and etag.startswith("W/")):
        return False
    return etag in tags if strong else etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags}


def parse_tags(value: str) -> list[str] | None:
    """The entity tags in a list, none if it is malformed; ``None`` for ``*``, which matches any."""
    if value.strip(" \t") == "*":
        return None
    return [] if _TAG.sub("", value).strip(", \t") else _TAG.findall(value)


def parse_date(text: str, now: float | None = None) -> int | None:
    """The seconds since the epoch of an HTTP date in any of its three formats (section 5.6.7); ``None`` if invalid.

    Args:
        text: the date.
        now: the time by which a year of two digits is completed; the present unless given.
    """
    for pattern in _DATES:
        if found := re.fullmatch(pattern, text):
            break
    else:
        return None
    parts = found.groupdict()
    year = int(parts["year"]) if "year" in parts else _full_year(int(parts["short"]), now)
    month, day = _MONTHS.index(parts["month"]) + 1, int(parts["day"])
    hour, minute, second = int(parts["hour"]), int(parts["minute"]), int(parts["second"])
    try:
        date = dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=dt.UTC)
    except ValueError:
        return None
    return None if second > 60 else int(date.timestamp()) + second // 60


def _full_year(short: int, now: float | None) -> int:
    # A year that appears to be more than 50 years in the future is in the past (RFC 9110, section 5.6.7).
    date = dt.datetime.now(dt.UTC) if now is None else dt.datetime.fromtimestamp(now, dt.UTC)
    year = date.year - date.year % 100 + short
    return year - 100 if year > date.year + 50 else year


def format_date(seconds: float) -> str:
    """An HTTP date."""
    from email.utils import formatdate  # noqa: PLC0415 - few responses have one

    return formatdate(int(seconds), usegmt=True)


def weakened(etag: str) -> str:
    """An entity tag as a weak one: for content that is equivalent, but not byte by byte."""
    return etag if etag.startswith("W/") else f"W/{etag}"


def file_tag(size: int, modified_ns: int, changed_ns: int, inode: int, now: float, variant: str = "") -> str:
    """The entity tag of a file.

    It is weak as long as another change could leave the same times. It includes the time of the last status change,
    which programs cannot set as they can the time of modification.

    Args:
        size: the size in bytes.
        modified_ns: when the content was modified, in nanoseconds.
        changed_ns: when the status was changed, in nanoseconds.
        inode: the inode number.
        now: seconds since the epoch.
        variant: tells apart the forms of the same content: the coding.
    """
    tag = f'"{modified_ns:x}-{changed_ns:x}-{size:x}-{inode:x}{variant and "-" + variant}"'
    return tag if now - max(modified_ns, changed_ns) / 1e9 > RESOLUTION else f"W/{tag}"
