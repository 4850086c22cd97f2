"""Format short tracebacks: they begin at the user's code, and show the exceptions of a group one by one.

The frames of trioweb and trio that lead to the user's code are left out: they are the same for every request. The log
has them, unless the app is in debug mode.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from trioweb.ground.hints import add_hints
from trioweb.ground.places import PACKAGE, is_users

_DELIBERATE: Final = ("TypeError", "ValueError", "RuntimeError")
"""What trioweb raises for a mistake in the user's code, besides its own exceptions."""
_OF_SYNTAX: Final = ("SyntaxError", "IndentationError", "TabError")
"""Errors whose message names the file and line."""
MOST: Final = 20
"""Errors of a group, and causes in a row, that are shown."""
LONGEST: Final = 10_000
"""Characters of an error's message that are shown."""
_MACHINERY: Final = ("/site-packages/trio/", "/site-packages/outcome/")
_CALLS: Final = "Traceback (most recent call last):\n"
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"


def format_trace(error: BaseException) -> str:
    """The traceback of an error as text, from the user's code on.

    The exceptions of a group follow each other, each with the line of its nursery. A group of one exception is shown
    as that exception.
    """
    parts = trace_parts(error)
    return "".join(part if isinstance(part, str) else _CALLS + "".join(part.format()) for part in parts)


def trace_parts(error: BaseException) -> Iterator[str | traceback.StackSummary]:
    """The same in parts: the frames of each exception, and the text before and after them."""
    add_hints(error)
    return _lines(traceback.TracebackException(type(error), error, error.__traceback__, compact=True))


class _Leaf(NamedTuple):
    """An exception, and the user's innermost frame of the groups that it is in, if there is one."""

    error: traceback.TracebackException
    around: traceback.FrameSummary | None


def _lines(error: traceback.TracebackException, causes: int = MOST) -> Iterator[str | traceback.StackSummary]:
    leaves = list(_leaves(error))
    if len(leaves) == 1:
        yield from _one(leaves[0], causes)
        return
    yield f"{len(leaves)} errors, each in a task of its own\n"
    for number, leaf in enumerate(leaves[:MOST], 1):
        around = leaf.around
        where = f" (a nursery at {around.filename}:{around.lineno}, in {around.name})" if around else ""
        yield f"\n{number} of {len(leaves)}{where}\n"
        yield from _one(leaf, causes)
    if len(leaves) > MOST:
        yield f"\n{len(leaves) - MOST} more\n"


def _leaves(error: traceback.TracebackException) -> Iterator[_Leaf]:
    waiting = [_Leaf(error, None)]  # not by recursion: groups may be nested deeper than Python has frames
    while waiting:
        each, around = waiting.pop()
        if not each.exceptions:
            yield _Leaf(each, around)
            continue
        inner = next((line for line in reversed(each.stack) if is_users(line.filename)), around)
        waiting += [_Leaf(inside, inner) for inside in reversed(each.exceptions)]


def _one(leaf: _Leaf, causes: int) -> Iterator[str | traceback.StackSummary]:
    error = leaf.error
    for other, text in ((error.__cause__, _CAUSED), (error.__context__, _DURING)):
        if other is not None and not (other is error.__context__ and error.__suppress_context__):
            # A cause that only passed frames of trioweb is how trioweb detected the error that it then raised.
            if not other.stack or not all(map(_is_own, other.stack)):
                yield from _lines(other, causes - 1) if causes else ["What has caused it is not shown.\n"]
                yield text
            break
    ending = list(error.format_exception_only())
    kind = next(line for line in ending if not line.startswith(" ")).partition(":")[0].strip()  # notes follow it
    lines = _shortened(error.stack, kind)
    if not lines and leaf.around is not None:
        lines = [leaf.around]
    if lines:
        yield traceback.StackSummary.from_list(lines)
    text = "".join(ending)
    yield text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)\n"


def _shortened(stack: Sequence[traceback.FrameSummary], kind: str) -> list[traceback.FrameSummary]:
    """The frames from the user's first on, without those of trioweb and trio in between.

    The frames of what the user's last one called follow it, unless trioweb deliberately raised the error there. Without
    frames of the user, only the last one is left.
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
    return line.filename.startswith(PACKAGE + "/")


def _is_machinery(line: traceback.FrameSummary) -> bool:
    """Whether a line is of trioweb or trio."""
    return _is_own(line) or any(name in line.filename for name in _MACHINERY)
