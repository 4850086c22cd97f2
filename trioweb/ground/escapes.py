r"""Escape a client's text for the log, so that it cannot start a line, end a field or control a terminal.

Printable ASCII stays, except ``"`` and the backslash. Everything else becomes a Python escape (``\n``, ``\x1b``,
``\u202e``), so the original can be read back.
"""

from __future__ import annotations

import re
from typing import Final

MAX_FIELD: Final = 1024
"""Characters of a field that are logged; with escapes of 10 characters each, a field is at most 10 KiB of a line."""
CUT: Final = "\\..."
"""Ends a field that was cut. It is no valid escape, so a client cannot imitate it."""

_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")
_CONTROLS: Final = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
"""Characters that change how others are displayed: controls but line feed and tab, and Unicode's direction marks."""


def escape(text: str) -> str:
    """Escape a field of a log line and limit its length."""
    if len(text) > MAX_FIELD:
        return _UNSAFE.sub(_escaped, text[:MAX_FIELD]) + CUT
    return _UNSAFE.sub(_escaped, text)


def clip(text: str) -> str:
    """Limit the length of a field, for a format with escapes of its own, such as JSON."""
    return text if len(text) <= MAX_FIELD else text[:MAX_FIELD] + CUT


def escape_controls(text: str) -> str:
    """Escape the control characters in text of several lines, such as a traceback."""
    return re.sub(_CONTROLS, _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character == '"':
        return '\\"'
    return character.encode("unicode_escape").decode("ascii")
