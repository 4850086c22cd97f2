r"""Text that came from outside, for a line of a log: nothing in it can begin a line, end a field, or move a cursor.

What is left is printable ASCII without ``"``. All else is an escape of Python's (``\n``, ``\x1b``, ``\u202e``), a
backslash too, so what came can be read back.
"""

from __future__ import annotations

import re
from typing import Final

MAX_FIELD: Final = 1024
"""Characters of a field that are logged; with escapes of 10 characters each, a field is at most 10 KiB of a line."""
CUT: Final = "\\..."
"""What stands behind a field that was longer: no escape, so that nothing else can look like it."""

_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
"""What is not printed, but moves what is: all controls but line feed and tab, and Unicode's marks of direction."""


def escape(text: str) -> str:
    """A field of a log's line, escaped and of bounded length."""
    if len(text) > MAX_FIELD:
        return _UNSAFE.sub(_escaped, text[:MAX_FIELD]) + CUT
    return _UNSAFE.sub(_escaped, text)


def clip(text: str) -> str:
    """A field of bounded length, for a format that escapes by itself, as JSON does."""
    return text if len(text) <= MAX_FIELD else text[:MAX_FIELD] + CUT


def escape_controls(text: str) -> str:
    """Text of several lines, such as a traceback, that changes nothing but what it prints."""
    return _CONTROLS.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character == '"':
        return '\\"'
    return character.encode("unicode_escape").decode("ascii")
