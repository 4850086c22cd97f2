"""What does not fit a type, as a client reads it: where it is, and what is wrong there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from trioweb.ground.errors import Fault, HTTPError, InputError

LONGEST: Final = 200
"""Characters of a message about one input. It may quote what was sent, which a client could have made any length."""

_PATH: Final = re.compile(r" - at `(?:key in )?\$(.*?)`$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[(\.\.\.)\]")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`", re.DOTALL)


def fault_of(error: Exception, loc: Sequence[str | int]) -> Fault:
    """What msgspec says of a value.

    Args:
        error: what it raised.
        loc: where the value is, for instance ``("body",)``. A path within the value is put behind it.
    """
    text, steps = str(error), list(loc)
    if found := _PATH.search(text):
        text = text[: found.start()]
        for key, index, other in _STEP.findall(found[1]):
            steps.append(int(index) if index else key[:LONGEST] or other)
    if named := _MISSING.match(text):
        return missing(*steps, named[1])
    if named := _UNKNOWN.match(text):
        return {"loc": [*steps, named[1][:LONGEST]], "msg": "Unknown field"}
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
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
        try:
            data.decode()
        except UnicodeDecodeError as error:
            reason += f" (byte {error.start})"
    except RecursionError:
        reason = "it is nested too deeply"
    except msgspec.DecodeError as error:
        reason = str(error)
        if "(byte" not in reason:
            reason += f" (byte {len(data)})"
    raise HTTPError(400, f"{what} is not JSON: {reason}.")
