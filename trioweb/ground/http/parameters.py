"""The parameters behind a field's value, as in ``text/html; charset=utf-8`` (RFC 9110, section 5.6.6).

Clients quote where they need not and do not where they should: what is not quoted ends at the next semicolon, whatever
is in it. Rule that this module alone enforces: text is read once from left to right, and what is no parameter is an
error and not passed over.
"""

from __future__ import annotations

import re
from typing import Final

_PARAMETER: Final = re.compile(
    r';[ \t]*+(?:([^\s;="]++)[ \t]*+(?:=[ \t]*+("(?:[^"\\]|\\.)*+"[ \t]*+|[^";][^;]*+|))?)?(?=;|\Z)', re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def parse_parameters(value: str) -> dict[str, str]:
    """The parameters of a value by their names in lower case, each with its quotes where it has some.

    Raises:
        ValueError: something there is no parameter, or a name stands twice; the message says which.
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
    """A parameter's value without its quotes (RFC 9110, section 5.6.4)."""
    return _ESCAPE.sub(r"\1", text[1:-1]) if text[:1] == '"' else text
