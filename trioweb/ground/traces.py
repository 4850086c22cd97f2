"""Tracebacks for people: from the user's own code on, and a group of exceptions as the exceptions in it.

What is left out is the way there, which is the same for every request. The whole of it is in the log of an app that is
not in debug mode.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

_PACKAGE: Final = str(Path(__file__).parents[1])
_INSTALLED: Final = re.compile(r"[/\\](site|dist)-packages[/\\]")
_DELIBERATE: Final = ("TypeError", "ValueError", "RuntimeError")
"""What this package raises for a mistake in the user's code, besides exceptions of its own."""
_OF_SYNTAX: Final = ("SyntaxError", "IndentationError", "TabError")
"""What tells its place itself."""
_MACHINERY: Final = ("/site-packages/trio/", "/site-packages/outcome/")
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"
_FORGOTTEN: Final = "('coroutine' object|object of type 'coroutine'|object coroutine can't)"
"""What Python says of a coroutine that is taken for what it would give."""
_AWAIT: Final = "Hint: an async function was called and not awaited: write `await` before the call.\n"


class Place(NamedTuple):
    """A line of code that is being run."""

    filename: str
    line: int
    function: str
    code: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}, in {self.function}" + (f": {self.code}" if self.code else "")


def is_users(filename: str) -> bool:
    """Whether code is the user's own, and not the standard library's, an installed package's or this one's."""
    if filename.startswith(("<", _PACKAGE + "/")) or _INSTALLED.search(filename):
        return False
    return not any(filename.startswith(f"{path}/") for path in _library())


@cache
def _library() -> set[str]:
    import sysconfig  # noqa: PLC0415 - it reads how Python was built, which only an error needs

    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def place_of(frame: FrameType) -> Place:
    """Where the user's code is in what a thread runs right now: the innermost line of theirs, else of anybody's."""
    lines = traceback.extract_stack(frame)
    lines.reverse()
    found = next((line for line in lines if is_users(line.filename)), lines[0])
    return Place(found.filename, found.lineno or 0, found.name, found.line or "")


def format_trace(error: BaseException) -> str:
    """The traceback of an error as text, from the user's code on.

    A group with one exception in it is that exception. Of several each is told by itself, with the line of the nursery
    that has put them together.
    """
    told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    return "".join(_lines(told))


class _Leaf(NamedTuple):
    """An exception that is no group, and the lines that its groups have passed, outermost first."""

    error: traceback.TracebackException
    around: Sequence[traceback.FrameSummary]


def _lines(error: traceback.TracebackException) -> Iterator[str]:
    leaves = list(_leaves(error, ()))
    if len(leaves) == 1:
        yield from _one(leaves[0])
        return
    yield f"{len(leaves)} errors, each in a task of its own\n"
    for number, leaf in enumerate(leaves, 1):
        where = f" (a nursery at {_where(leaf.around[-1])})" if leaf.around else ""
        yield f"\n{number} of {len(leaves)}{where}\n"
        yield from _one(leaf)


def _leaves(error: traceback.TracebackException, around: Sequence[traceback.FrameSummary]) -> Iterator[_Leaf]:
    if not error.exceptions:
        yield _Leaf(error, around)
        return
    inner = (*around, *(line for line in error.stack if is_users(line.filename)))
    for each in error.exceptions:
        yield from _leaves(each, inner)


def _one(leaf: _Leaf) -> Iterator[str]:
    error = leaf.error
    for other, text in ((error.__cause__, _CAUSED), (error.__context__, _DURING)):
        if other is not None and not (other is error.__context__ and error.__suppress_context__):
            if not _is_inner(other):
                yield from _lines(other)
                yield text
            break
    ending = list(error.format_exception_only())
    lines = _shortened(error.stack, ending[-1].partition(":")[0].strip())
    if not lines:
        lines = list(leaf.around[-1:])
    if lines:
        yield "Traceback (most recent call last):\n"
        yield from traceback.StackSummary.from_list(lines).format()
    yield from ending
    if re.search(_FORGOTTEN, ending[-1]):
        yield _AWAIT


def _is_inner(error: traceback.TracebackException) -> bool:
    """Whether a cause is only how this package has found out what it then says itself."""
    return bool(error.stack) and all(_is_own(line) for line in error.stack)


def _shortened(stack: Sequence[traceback.FrameSummary], kind: str) -> list[traceback.FrameSummary]:
    """The lines from the user's first on, without those of this package and of trio's between lines of theirs.

    Behind the user's last line come those of what it has called; none where this package has only refused something.
    Where there is no line of the user's the last one is left.
    """
    runs = [(users, list(lines)) for users, lines in groupby(stack, lambda line: is_users(line.filename))]
    while runs and not runs[0][0]:
        del runs[0]
    if not runs:
        return [] if kind in _OF_SYNTAX else list(stack[-1:])
    behind = [] if runs[-1][0] else runs.pop()[1]
    kept = [line for users, lines in runs for line in lines if users or not any(map(_is_machinery, lines))]
    if not behind or kind == "trio.Cancelled":
        return kept
    if _is_own(behind[-1]) and (kind in _DELIBERATE or kind.startswith("trioweb.")):
        return kept
    return [*kept, *(line for line in behind[:-1] if not _is_machinery(line)), behind[-1]]


def _is_own(line: traceback.FrameSummary) -> bool:
    return line.filename.startswith(_PACKAGE + "/")


def _is_machinery(line: traceback.FrameSummary) -> bool:
    """Whether a line is only the way from one piece of code to the next: this package's, or trio's."""
    return _is_own(line) or any(name in line.filename for name in _MACHINERY)


def _where(line: traceback.FrameSummary) -> str:
    return f"{line.filename}:{line.lineno}, in {line.name}"
