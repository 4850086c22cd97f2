"""Parse the parameters after a field's value, as in ``text/html; charset=utf-8`` (RFC 9110, section 5.6.6), and read
charsets and boundaries out of them.

Clients often leave out quotes: an unquoted value ends at the next semicolon, whatever it contains. Rule that this
module alone enforces: text is parsed once from left to right, and anything that is not a parameter is an error.
"""

from __future__ import annotations

import re
from typing import Final

from trioweb.ground.errors import HTTPError

CHARSETS: Final = (
    r"(?i)utf-?8|utf-?16(le|be)?|us-ascii|ascii|latin-?1|iso-8859-([1-9]|1[03-6])|windows-125[0-8]|cp125[0-8]|koi8-[ru]"
    r"|shift[_-]jis|euc-(jp|kr)|iso-2022-jp|gb2312|gbk|gb18030|big5"
)
"""Matches the charsets of the web. Python has more codecs, which are no charsets or slow, and caches unknown names."""
_PARAMETER: Final = re.compile(
    r';[ \t]*+(?:([^\s;="]++)[ \t]*+(?:=[ \t]*+("(?:[^"\\]|\\.)*+"[ \t]*+|[^";][^;]*+|))?)?(?=;|\Z)', re.DOTALL
)
MAX_BOUNDARY: Final = 255
"""Characters of a boundary. RFC 2046, section 5.1.1 allows 70, of fewer kinds than programs send."""
_BOUNDARY: Final = rf"[\x20-\x7e]{{0,{MAX_BOUNDARY - 1}}}[\x21-\x7e]"
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def parse_parameters(value: str) -> dict[str, str]:
    """The parameters by name, in lower case. Values keep their quotes: see ``unquoted``.

    Raises:
        ValueError: if a parameter is malformed or repeated; the message says which.
    """
    found: dict[str, str] = {}
    position = value.find(";")
    while 0 <= position < len(value):
        matched = _PARAMETER.match(value, position)
        if matched is None:
            raise ValueError(f"its parameter {len(found) + 1} is malformed")
        name, text = matched.groups()
        if text is not None:
            name = name.lower()
            if name in found:
                raise ValueError(f"its parameter {len(found) + 1} stands twice")
            found[name] = text.rstrip(" \t")
        position = matched.end()
    return found


def unquoted(text: str) -> str:
    """A parameter's value without quotes and escapes (RFC 9110, section 5.6.4)."""
    return _ESCAPE.sub(r"\1", text[1:-1]) if text[:1] == '"' else text


def charset_of(content_type: str) -> str | None:
    """The charset that a content type names, or ``None``."""
    if ";" not in content_type:
        return None
    try:
        return unquoted(parse_parameters(content_type).get("charset", "")).strip("'") or None
    except ValueError:
        return None


def boundary_of(content_type: str) -> str:
    """The boundary in a content type: printable ASCII that does not end with a space.

    Raises:
        HTTPError: 400 if there is none, or it is invalid.
    """
    try:
        boundary = unquoted(parse_parameters(content_type).get("boundary", ""))
    except ValueError as error:
        raise HTTPError(400, f"The content type multipart/form-data has no clear boundary: {error}.") from None
    if not re.fullmatch(_BOUNDARY, boundary):
        raise HTTPError(400, "The content type multipart/form-data names no boundary, or one that cannot be.")
    return boundary
