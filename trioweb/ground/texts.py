"""Rewrite text of browsers and people in the syntax of JSON and RFC 3339, which msgspec reads.

Each function returns text that it does not know unchanged: msgspec then refuses it.
"""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r" *([+-]?)([0-9]*)(\.[0-9]*)?([eE][+-]?[0-9]+)? *")
_TIME: Final = re.compile(r"((?:[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ])?[0-9]{2}:[0-9]{2})(|[Zz]|[+-][0-9]{2}:?[0-9]{2})")
_SWITCH: Final = {"on": True, "off": False, "yes": True, "no": False}


def switch(text: str) -> str | bool:
    """The boolean for a checkbox's ``on``, and for ``off``, ``yes`` and ``no``."""
    return _SWITCH.get(text.lower(), text)


def number(text: str) -> str:
    """A number without plus sign and leading zeros, with a digit before its point: ``007``, ``.5`` and ``+3``."""
    if text.isdecimal() and text[0] != "0":  # most numbers
        return text
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    sign, whole, fraction, exponent = found.groups("")
    if not whole and len(fraction) < 2:
        return text
    return sign.strip("+") + (whole.lstrip("0") or "0") + ("" if fraction == "." else fraction) + exponent


def clock_time(text: str) -> str:
    """A time with seconds: HTML's ``datetime-local`` and ``time`` inputs leave them out if they are zero."""
    found = _TIME.fullmatch(text)
    return text if found is None else f"{found[1]}:00{found[2]}"
