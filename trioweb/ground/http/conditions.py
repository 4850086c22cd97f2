"""Conditional requests (RFC 9110, section 13): validators, and what the conditions of a request make of them."""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Sequence
from typing import Final

from trioweb.ground.http.headers import Headers

RESOLUTION: Final = 2.0
"""Seconds within which two changes of a file may leave the same time on it: the coarsest clock of a file system."""
STRONG_AFTER: Final = 1
"""Seconds that a ``last-modified`` is in the past before it tells two representations apart (RFC 9110, 8.8.2.2)."""

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
    """What the conditions of a request come to."""

    PROCEED = "as without them"
    NOT_MODIFIED = "304: the client has it"
    FAILED = "412: it is not what the client takes it for"


def evaluate(request: Headers, etag: str | None, modified: int | None) -> Verdict:
    """Weigh the conditions of a GET or HEAD, in the order of section 13.2.2, all but ``if-range``.

    A field that is malformed, or asks for a validator that there is not, counts as the RFC says: a date is ignored, an
    entity tag matches nothing.

    Args:
        request: the request's headers.
        etag: the entity tag of what would be sent.
        modified: when that was last modified, in seconds since the epoch.
    """
    wanted = request.getlist("if-match")
    if wanted:
        if not _any_matches(wanted, etag, strong=True):
            return Verdict.FAILED
    elif modified is not None:
        since = _date_of(request, "if-unmodified-since")
        if since is not None and modified > since:
            return Verdict.FAILED
    known = request.getlist("if-none-match")
    if known:
        if _any_matches(known, etag, strong=False):
            return Verdict.NOT_MODIFIED
    elif modified is not None:
        since = _date_of(request, "if-modified-since")
        if since is not None and modified <= since:
            return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def range_holds(request: Headers, etag: str | None, modified: int | None, now: float) -> bool:
    """Whether a ``range`` is to be looked at: ``if-range`` is not there, or what the client has parts of is this.

    That needs the strong comparison: parts of what only looks alike do not fit together (section 13.1.5).
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
    """The entity tags in a list; ``None`` for ``*``, which is any. What is malformed has none."""
    if value.strip(" \t") == "*":
        return None
    tags: list[str] = []
    at = 0
    while True:
        while at < len(value) and value[at] in ", \t":
            at += 1
        if at == len(value):
            return tags
        found = _TAG.match(value, at)
        if found is None:
            return []
        tags.append(found[0])
        at = found.end()


def _date_of(request: Headers, name: str) -> int | None:
    values = request.getlist(name)
    return parse_date(values[0]) if len(values) == 1 else None


def parse_date(text: str, now: float | None = None) -> int | None:
    """Seconds since the epoch of an HTTP date, in any of its three forms (section 5.6.7); ``None`` for what is none.

    Args:
        text: the date.
        now: what a year of two digits is near to; the present unless given.
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
    # A year that seems to be more than 50 years ahead is the last one that ends like it (RFC 9110, section 5.6.7).
    date = dt.datetime.now(dt.UTC) if now is None else dt.datetime.fromtimestamp(now, dt.UTC)
    year = date.year - date.year % 100 + short
    return year - 100 if year > date.year + 50 else year


def format_date(seconds: float) -> str:
    """An HTTP date."""
    from email.utils import formatdate  # noqa: PLC0415 - few responses have one

    return formatdate(int(seconds), usegmt=True)


def weakened(etag: str) -> str:
    """The same entity tag for what is equivalent, though not byte by byte."""
    return etag if etag.startswith("W/") else f"W/{etag}"


def file_tag(size: int, modified_ns: int, changed_ns: int, inode: int, now: float, variant: str = "") -> str:
    """The entity tag of a file.

    It is weak while its last change is so near that another one could leave the same times. Where a program has set
    the time of modification back, the time of the last change of any kind, which none can set, tells the two apart.

    Args:
        size: its bytes.
        modified_ns: when its content was modified, in nanoseconds.
        changed_ns: when anything of it was changed, in nanoseconds.
        inode: its number in the file system.
        now: seconds since the epoch.
        variant: what tells it from other forms of the same content: its coding.
    """
    tag = f'"{modified_ns:x}-{changed_ns:x}-{size:x}-{inode:x}{variant and "-" + variant}"'
    return tag if now - max(modified_ns, changed_ns) / 1e9 > RESOLUTION else f"W/{tag}"
