"""What does not fit a type, as a client reads it: where it is, and what is wrong there.

The one place that reads what msgspec says. Its words are no interface, and change: where they are not those that are
known here, less is said, and nothing wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from trioweb.ground.errors import Fault, HTTPError, InputError

LONGEST: Final = 200
"""Characters of a message about one input. It may quote what was sent, which a client could have made any length."""
REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder of msgspec's raises for what it does not take. In older versions the first is no ``ValueError``."""

LONGEST_PATH: Final = 4096
"""Characters of a path to an input that are read: a recursive type lets a client choose its length."""

_AT: Final = "at `"
"""What msgspec puts between its message, which may quote what was sent, and the path; so the last one counts."""
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[(\.\.\.)\]")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`", re.DOTALL)
_KNOWN: Final = re.compile(
    r"Expected `[^`]+`|Invalid |Unknown |(?:Integer|Number|Timestamp|Duration|Date|Time)\b.* range"
)
"""How the messages begin that are passed on, as far as msgspec has these words."""
_OTHER: Final = "Does not fit"
"""What is said where it has other ones."""
_POSITION: Final = re.compile(r"\b(?:byte|position|offset)\D{0,3}(\d+)")
_TOO_SHORT: Final = re.compile(r"truncat|incomplete|\bend\b|\bEOF\b", re.IGNORECASE)


def fault_of(error: Exception, loc: Sequence[str | int]) -> Fault:
    """What msgspec says of a value, in words that do not depend on its version as far as that can be.

    Args:
        error: what it raised.
        loc: where the value is, for instance ``("body",)``. A path within the value is put behind it.
    """
    text, steps = str(error), list(loc)
    before, at, path = text.rpartition(_AT)
    path = path.removeprefix("key in ")
    if at and path[:1] == "$" and path[-1:] == "`":
        text = before.removesuffix(" - ")
        for key, index, other in _STEP.findall(path[1 : min(len(path) - 1, LONGEST_PATH)]):
            steps.append(int(index) if index else key[:LONGEST] or other)
    if named := _MISSING.match(text):
        return missing(*steps, named[1])
    if named := _UNKNOWN.match(text):
        return {"loc": [*steps, named[1][:LONGEST]], "msg": "Unknown field"}
    if not _KNOWN.match(text):
        text = _OTHER
    return {"loc": steps, "msg": text if len(text) <= LONGEST else text[:LONGEST] + "..."}


def missing(*loc: str | int) -> Fault:
    """Nothing is there."""
    return {"loc": list(loc), "msg": "Missing"}


def decode_json(decode: Callable[[bytes], Any], data: bytes, what: str, loc: Sequence[str | int]) -> Any:
    """Decode JSON that a client has sent.

    Args:
        decode: a msgspec decoder's.
        data: what was sent.
        what: its name at the start of a sentence.
        loc: where it stands.

    Raises:
        HTTPError: 400 where it is not JSON; the message says where and never quotes it. RFC 8259, section 8.1: UTF-8.
        InputError: it does not fit.
    """
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        raise InputError([fault_of(error, loc)]) from None
    except RecursionError:
        reason = "it is nested too deeply"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = _why_not_json(str(error), data)
    raise HTTPError(400, f"{what} is not JSON: {reason}.")


def _why_not_json(said: str, data: bytes) -> str:
    """What is wrong with bytes that msgspec could not decode; of what it ``said`` only the position is taken."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    if found := _POSITION.search(said):
        return f"it is malformed (byte {found[1]})"
    if _TOO_SHORT.search(said):
        return f"it ends too early (byte {len(data)})"
    return "it is malformed"
