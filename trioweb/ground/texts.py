"""Text as browsers and people send it, in the form that RFC 3339 and JSON have: which is what msgspec reads.

Each function hands back what it does not know, for msgspec to refuse.
"""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r" *([+-]?)([0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)? *")
_TIME: Final = re.compile(r"((?:[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ])?[0-9]{2}:[0-9]{2})(|[Zz]|[+-][0-9]{2}:?[0-9]{2})")
_SWITCH: Final = {"on": True, "off": False, "yes": True, "no": False}


def switch(text: str) -> str | bool:
    """A checkbox's ``on``, and ``yes`` and ``no`` as people write them, as booleans."""
    return _SWITCH.get(text.lower(), text)


def number(text: str) -> str:
    """A number without a plus, without zeros in front and with a digit before its point: ``007``, ``.5`` and ``+3``."""
    if text.isdecimal() and text[0] != "0":  # most are
        return text
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    sign, whole, fraction, exponent = found.groups("")
    if not whole and len(fraction) < 2:
        return text
    return sign.strip("+") + (whole.lstrip("0") or "0") + ("" if fraction == "." else fraction) + exponent


def clock_time(text: str) -> str:
    """A time with its seconds: HTML's ``datetime-local`` and ``time`` inputs send none where they are zero."""
    found = _TIME.fullmatch(text)
    return text if found is None else f"{found[1]}:00{found[2]}"
