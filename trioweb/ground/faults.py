"""Translate msgspec's errors for clients: the location of an invalid input, and what is wrong with it.

Only this module parses msgspec's messages. Their wording is no interface: a message of unknown wording becomes a
general one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from trioweb.ground.errors import Fault, HTTPError, InputError

T = TypeVar("T")

LONGEST: Final = 200
"""Characters of a message about one input. It may quote what the client sent, of any length."""
REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec's decoders raise for invalid data."""
LONGEST_PATH: Final = 4096
"""Characters of a path to an input that are parsed: with a recursive type a client chooses its length."""

_AT: Final = "at `"
"""Separates msgspec's message, which may quote the client, from the path: the last one counts."""
_KEY: Final = "key` in `"
"""Begins the path where the key of a dict is wrong, and not its value."""
_VALUE: Final = "[...]"
"""Stands in a path for the value of a dict."""
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_OF_FIELDS: Final = (
    (re.compile(r"Object missing required field `(.+)`", re.DOTALL), "Missing"),
    (re.compile(r"Object contains unknown field `(.+)`", re.DOTALL), "Unknown field"),
)
_KNOWN: Final = re.compile(
    r"Expected `[^`]+`|Invalid |Unknown |(?:Integer|Number|Timestamp|Duration|Date|Time)\b.* range"
)
"""The messages that are passed on."""
_OTHER: Final = "Does not fit"
"""Replaces all others."""
_POSITION: Final = re.compile(r"\b(?:byte|position|offset)\D{0,3}(\d+)")
_TOO_SHORT: Final = re.compile(r"truncat|incomplete|\bend\b|\bEOF\b", re.IGNORECASE)


def fault_of(error: Exception, loc: Sequence[str | int]) -> Fault:
    """Translate an error of msgspec's.

    msgspec does not tell the keys of a dict: an input within a value of one is located at the dict, and the message
    names the rest of the path.

    Args:
        error: the error.
        loc: the location of the converted value, for instance ``("body",)``; the path within it is appended.
    """
    text, steps, in_value, rest = str(error), list(loc), "", ""
    before, at, path = text.rpartition(_AT)
    path = path.removeprefix(_KEY)
    if at and path[:1] == "$" and path[-1:] == "`":
        text = before.removesuffix(" - ")
        known, in_value, rest = path[1 : min(len(path) - 1, LONGEST_PATH)].partition(_VALUE)
        steps += [int(index) if index else key[:LONGEST] for key, index in _STEP.findall(known)]
    for pattern, msg in _OF_FIELDS:
        if named := pattern.match(text):
            text = msg
            if in_value:
                rest += f".{named[1]}"
            else:
                steps.append(named[1][:LONGEST])
            break
    else:
        if not _KNOWN.match(text):
            text = _OTHER
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return {"loc": steps, "msg": f"{text} (`{rest[:LONGEST].removeprefix('.')}` of a value)" if rest else text}


def missing(*loc: str | int) -> Fault:
    """The fault of an input that was not sent."""
    return {"loc": list(loc), "msg": "Missing"}


def decode_json(decode: Callable[[bytes], T], data: bytes, what: str, loc: Sequence[str | int]) -> T:
    """Decode JSON that a client has sent.

    Args:
        decode: a msgspec decoder's method.
        data: the JSON.
        what: the name of the data, at the start of a sentence.
        loc: the location of the data.

    Raises:
        HTTPError: 400 if the data is not JSON in UTF-8 (RFC 8259, section 8.1); the message says where the error is,
            and quotes nothing.
        InputError: if the value is not of the decoder's type.
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
    # Of msgspec's message only the position is used: the rest may quote the client.
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    if found := _POSITION.search(said):
        return f"it is malformed (byte {found[1]})"
    if _TOO_SHORT.search(said):
        return f"it ends too early (byte {len(data)})"
    return "it is malformed"
