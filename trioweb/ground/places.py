"""Whose code a line is: the user's, or that of the standard library, an installed package or trioweb."""

from __future__ import annotations

import re
import traceback
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

PACKAGE: Final = str(Path(__file__).parents[1])
_INSTALLED: Final = re.compile(r"[/\\](site|dist)-packages[/\\]")


class Place(NamedTuple):
    """A line of running code."""

    filename: str
    line: int
    function: str
    code: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}, in {self.function}" + (f": {self.code}" if self.code else "")


def is_users(filename: str) -> bool:
    """Whether code is the user's, and not that of the standard library, an installed package or trioweb."""
    if filename.startswith(("<", PACKAGE + "/")) or _INSTALLED.search(filename):
        return False
    return not any(filename.startswith(f"{path}/") for path in _library())


@cache
def _library() -> set[str]:
    import sysconfig  # noqa: PLC0415 - slow to import, and only errors need it

    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def place_of(frame: FrameType) -> Place:
    """The innermost line of the user's code in a running thread; the innermost of any code if there is none."""
    lines = traceback.extract_stack(frame)
    lines.reverse()
    found = next((line for line in lines if is_users(line.filename)), lines[0])
    return Place(found.filename, found.lineno or 0, found.name, found.line or "")
