"""Cookies (RFC 6265): what a client sends, and what a response sets. Quoting is the standard library's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from http.cookies import CookieError, SimpleCookie
from typing import Literal

SameSite = Literal["lax", "strict", "none"]

_ESCAPE = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")  # as the standard library writes them


def parse_cookies(headers: Iterable[str]) -> dict[str, str]:
    """The cookies in a request's ``cookie`` headers.

    Browsers send cookies that the standard library's own parser refuses, and it then drops all that follow; its
    unquoting took quadratic time until Python 3.12.6. So pairs are split here, one by one. Of a repeated name the first
    counts, since clients send the one with the longer path first (RFC 6265, section 5.4).
    """
    cookies: dict[str, str] = {}
    for header in headers:
        for pair in header.split(";"):
            name, equals, value = pair.partition("=")
            if equals and name.strip():
                cookies.setdefault(name.strip(), _unquote(value.strip()))
    return cookies


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])


def format_cookie(
    key: str,
    value: str = "",
    max_age: int | None = None,
    expires: datetime | str | int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> str:
    """The value of a ``set-cookie`` header (RFC 6265, section 4.1; ``SameSite`` and ``Partitioned`` as browsers do).

    Raises:
        ValueError: the name is not a token, an attribute has a character that would end it, ``samesite`` is unknown,
            or a time has no zone.
    """
    jar: SimpleCookie = SimpleCookie()
    try:
        jar[key] = value
    except CookieError as error:
        raise ValueError(f"{key!r} is not a cookie name: use letters, digits and hyphens") from error
    if samesite is not None and samesite.lower() not in ("lax", "strict", "none"):
        raise ValueError(f'samesite must be "lax", "strict", "none" or None, got {samesite!r}')
    morsel = jar[key]
    attributes = {
        "path": path,
        "domain": domain,
        "max-age": max_age,
        "expires": None if expires is None else _expires(expires),
        "secure": secure or None,
        "httponly": httponly or None,
        "samesite": samesite,
    }
    for name, setting in attributes.items():
        if isinstance(setting, str) and any(c in ";\r\n\0" for c in setting):
            raise ValueError(f"the {name} of cookie {key!r} has a character that ends it: {setting!r}")
        if setting is not None:
            morsel[name] = setting
    # The standard library knows the attribute from Python 3.14 on.
    return morsel.OutputString() + ("; Partitioned" if partitioned else "")


def _expires(expires: datetime | str | int) -> str | int:
    if not isinstance(expires, datetime):
        return expires
    if expires.tzinfo is None:
        raise ValueError("expires needs a time with a zone: write datetime.now(UTC) + timedelta(...)")
    return format_datetime(expires.astimezone(UTC), usegmt=True)
