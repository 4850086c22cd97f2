"""Parse the parameters after a field's value, as in ``text/html; charset=utf-8`` (RFC 9110, section 5.6.6).

Clients often leave out quotes: an unquoted value ends at the next semicolon, whatever it contains. Rule that this
module alone enforces: text is parsed once from left to right, and anything that is not a parameter is an error.
"""

from __future__ import annotations

import re
from typing import Final

_PARAMETER: Final = re.compile(
    r';[ \t]*+(?:([^\s;="]++)[ \t]*+(?:=[ \t]*+("(?:[^"\\]|\\.)*+"[ \t]*+|[^";][^;]*+|))?)?(?=;|\Z)', re.DOTALL
)
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
