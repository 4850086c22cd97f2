"""Cookies (RFC 6265bis): parse a request's, format a response's. Values are quoted as the standard library does.

Rule that this module alone enforces: a cookie that browsers reject is an error, as is an attribute that they ignore.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

from trioweb.ground.http.headers import is_token

SameSite = Literal["lax", "strict", "none"]

MAX_COOKIE: Final = 4096
"""Bytes of a cookie's name and value together that browsers keep (RFC 6265bis, section 5.7). A cookie."""
MAX_ATTRIBUTE: Final = 1024
"""Bytes of an attribute that browsers read (the same, section 5.6). An attribute."""
FIRST_YEAR: Final = 1601
"""The first year whose dates browsers read (the same, section 5.1.1)."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a deleted cookie expired."""

_PREFIXES: Final = ("__host-http-", "__host-", "__http-", "__secure-")
"""Prefixes of names for which browsers require attributes (the same, section 4.1.3): ``Secure`` for all of them."""
_OF_ONE_HOST: Final = frozenset({"__host-http-", "__host-"})
_HTTP_ONLY: Final = frozenset({"__host-http-", "__http-"})

_OCTETS: Final = r"[!#-+\--:<-\[\]-~]+"
"""A value that needs no quotes (RFC 6265bis, section 4.1.1)."""
_SPECIAL: Final = r"[^ !#-+\--:<-\[\]-~]"
"""The characters that are escaped in a quoted value."""
_DOMAIN: Final = r"\.?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"

_ESCAPE = r"\\(?:([0-3][0-7][0-7])|(.))"  # as the standard library writes them
_SPACE = " \t"
"""The white space around a pair: other white space, as in Latin-1, may be a byte of a UTF-8 character."""


def parse_cookies(headers: Iterable[str]) -> dict[str, str]:
    """Parse a request's ``cookie`` headers.

    The standard library's parser is not used: it refuses cookies that browsers send, drops all that follow one, and
    unquoted in quadratic time until Python 3.12.6. Of a repeated name the first cookie counts, since clients send that
    of the longest path first (RFC 6265, section 5.4). A cookie without a name is left out: browsers send ``=a=b`` as
    ``a=b``, so that it could replace another.

    Text is read as UTF-8, which ``document.cookie`` sends; if it is not UTF-8, as Latin-1.
    """
    cookies: dict[str, str] = {}
    for header in headers:
        plain = header.isascii()
        for pair in header.split(";"):
            name, equals, value = pair.partition("=")
            name, value = name.strip(_SPACE), value.strip(_SPACE)
            if equals and name:
                if not plain:
                    name, value = _from_utf8(name), _from_utf8(value)
                cookies.setdefault(name, _unquote(value))
    return cookies


def _from_utf8(text: str) -> str:
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return re.sub(_ESCAPE, lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])


def needs_secure(key: str, samesite: SameSite | None = None, partitioned: bool = False) -> bool:
    """Whether browsers reject the cookie unless it is ``Secure``: for its name or its other attributes."""
    return _prefix_of(key) is not None or _in_lower_case(samesite) == "none" or partitioned


def needs_httponly(key: str) -> bool:
    """Whether browsers reject a cookie of this name unless it is ``HttpOnly``."""
    return _prefix_of(key) in _HTTP_ONLY


def format_cookie(
    key: str,
    value: str = "",
    max_age: int | timedelta | None = None,
    expires: datetime | str | int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> str:
    """The value of a ``set-cookie`` header (RFC 6265bis, section 4.1): see ``Response.set_cookie``."""
    text = f"{_checked_name(key)}={_quote(key, value)}"
    _check_prefix(key, path, domain, secure, httponly)
    if len(text) - 1 > MAX_COOKIE:
        raise ValueError(
            f"the cookie {key!r} has {len(text) - 1} bytes, name and value, and browsers keep {MAX_COOKIE}: "
            "keep an id in it and the rest in a database"
        )
    if samesite is not None and _in_lower_case(samesite) not in get_args(SameSite):
        raise ValueError(f'samesite must be "lax", "strict", "none" or None, got {samesite!r}')
    if not secure and needs_secure(key, samesite, partitioned):
        reason = "partitioned=True" if partitioned else 'samesite="none"'
        raise ValueError(f"browsers throw the cookie {key!r} away: with {reason} write secure=True, too")
    attributes = {
        "Path": _checked_path(key, path),
        "Domain": _checked_domain(key, domain),
        "Max-Age": None if max_age is None else str(_seconds(key, max_age)),
        "Expires": None if expires is None else _date(key, expires),
        "SameSite": samesite,
    }
    flags = {"Secure": secure, "HttpOnly": httponly, "Partitioned": partitioned}
    parts = [text, *(f"{name}={given}" for name, given in attributes.items() if given is not None)]
    return "; ".join(parts + [name for name, given in flags.items() if given])


def _prefix_of(key: str) -> str | None:
    lower = key.lower()  # browsers compare without case
    return next((prefix for prefix in _PREFIXES if lower.startswith(prefix)), None)


def _in_lower_case(samesite: object) -> str | None:
    return samesite.lower() if isinstance(samesite, str) else None


def _check_prefix(key: str, path: str | None, domain: str | None, secure: bool, httponly: bool) -> None:
    prefix = _prefix_of(key)
    if prefix is None:
        return
    of_host = prefix in _OF_ONE_HOST
    wanted = {
        "secure=True": not secure,
        "httponly=True": prefix in _HTTP_ONLY and not httponly,
        'path="/"': of_host and path != "/",
        "domain=None": of_host and domain is not None,
    }
    if any(wanted.values()):
        raise ValueError(
            f"browsers throw the cookie {key!r} away as it is: with {key[: len(prefix)]!r} before its name write "
            + ", ".join(text for text, missing in wanted.items() if missing)
        )


def _checked_name(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the name of a cookie is a str, got {key!r}")
    if not is_token(key):
        raise ValueError(f"{key!r} is not a cookie name: use letters, digits and hyphens")
    return key


def _quote(key: str, value: str) -> str:
    """The value, in quotes if it has characters that end it or are removed."""
    if not isinstance(value, str):
        raise TypeError(f"the value of cookie {key!r} is a str, got {type(value).__name__}: write str(...)")
    if re.fullmatch(_OCTETS, value):
        return value
    if any(c > "\xff" for c in value):
        raise ValueError(
            f"the value of cookie {key!r} has a character outside Latin-1: write urllib.parse.quote(value), and "
            "unquote what comes back"
        )
    return '"' + re.sub(_SPECIAL, _escaped, value) + '"'


def _escaped(found: re.Match[str]) -> str:
    return "\\" + (found[0] if found[0] in '"\\' else f"{ord(found[0]):03o}")


def _checked_attribute(key: str, name: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"the {name} of cookie {key!r} is a str or None, got {text!r}")
    if any(c in ";\x7f" or c < " " for c in text):
        raise ValueError(f"the {name} of cookie {key!r} has a character that ends it: {text!r}")
    if len(text) > MAX_ATTRIBUTE:
        raise ValueError(
            f"the {name} of cookie {key!r} has {len(text)} bytes, and browsers skip one over {MAX_ATTRIBUTE}"
        )
    return text


def _checked_path(key: str, path: str | None) -> str | None:
    if path is None:
        return None
    if not _checked_attribute(key, "path", path).startswith("/") or not path.isascii():
        raise ValueError(
            f'the path of cookie {key!r} begins with "/" and is percent-encoded, got {path!r}: browsers skip others'
        )
    return path


def _checked_domain(key: str, domain: str | None) -> str | None:
    if domain is None:
        return None
    if not re.fullmatch(_DOMAIN, _checked_attribute(key, "domain", domain)):
        raise ValueError(
            f"the domain of cookie {key!r} is a host's name without scheme and port, got {domain!r}: browsers throw "
            "the cookie away"
        )
    return domain


def _seconds(key: str, max_age: int | timedelta) -> int:
    if isinstance(max_age, timedelta):
        return math.ceil(max_age.total_seconds())  # not down: 0 would delete it
    if isinstance(max_age, bool) or not isinstance(max_age, int):
        raise TypeError(f"the max_age of cookie {key!r} is whole seconds or a timedelta, got {max_age!r}")
    return max_age


def _date(key: str, expires: datetime | str | int) -> str:
    """``expires`` in the one format that all browsers parse."""
    from email.utils import format_datetime, parsedate_to_datetime  # noqa: PLC0415 - few cookies have a date

    hint = f"the expires of cookie {key!r} is a datetime, seconds from now, or the text of a date, got {expires!r}"
    if isinstance(expires, bool) or not isinstance(expires, (datetime, str, int)):
        raise TypeError(hint)
    if isinstance(expires, datetime) and expires.tzinfo is None:
        raise ValueError("expires needs a time with a zone: write datetime.now(UTC) + timedelta(...)")
    if isinstance(expires, str):
        _checked_attribute(key, "expires", expires)
    try:
        if isinstance(expires, str):
            expires = parsedate_to_datetime(expires)
        elif isinstance(expires, int):
            expires = datetime.now(UTC) + timedelta(seconds=expires)
        when = expires.replace(tzinfo=expires.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"{hint}: browsers would skip it") from None
    if when.year < FIRST_YEAR:
        raise ValueError(f"{hint}: browsers skip years before {FIRST_YEAR}")
    return format_datetime(when, usegmt=True)
