"""Translate msgspec's errors for clients: the location of an invalid input, and what is wrong with it.

Only this module parses msgspec's messages. Their wording is no interface: a message of unknown wording becomes a
general one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect as types_of

from trioweb.ground.annotations import KEPT, Annotation, fields_of, is_union, members_of
from trioweb.ground.errors import Fault, HTTPError, InputError
from trioweb.ground.foreign import from_plain
from trioweb.ground.models import LONGEST, MOST, Unfit
from trioweb.ground.models import faults_of as pydantic_faults_of

T = TypeVar("T")

REFUSALS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec's decoders raise for invalid data."""
LOOKED_AT: Final = 10_000
"""Parts of a value that are looked at in the search: some microseconds each."""
LONGEST_PATH: Final = 4096
"""Characters of a path to an input that are parsed: with a recursive type a client chooses its length."""

_AT: Final = "at `"
"""Separates msgspec's message, which may quote the client, from the path: the last one counts."""
_KEY: Final = "key` in `"
"""Begins the path where the key of a dict is wrong, and not its value."""
_VALUE: Final = "[...]"
"""Stands in a path for the value of a dict."""
_STEP: Final = r"\.([^.\[]+)|\[(\d+)\]"
_OF_FIELDS: Final = (
    (r"(?s)Object missing required field `(.+)`", "Missing"),
    (r"(?s)Object contains unknown field `(.+)`", "Unknown field"),
)
_KNOWN: Final = r"Expected `[^`]+`|Invalid |Unknown |(?:Integer|Number|Timestamp|Duration|Date|Time)\b.* range"
"""The messages that are passed on."""
_OTHER: Final = "Does not fit"
"""Replaces all others."""
_POSITION: Final = r"\b(?:byte|position|offset)\D{0,3}(\d+)"
_TOO_SHORT: Final = r"(?i)truncat|incomplete|\bend\b|\bEOF\b"


def fault_of(error: Exception, loc: Sequence[str | int]) -> Fault:
    """Translate an error of msgspec's.

    msgspec does not tell the keys of a dict: an input within a value of one is located at the dict, and the message
    names the rest of the path. ``all_faults`` finds the key.

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
        steps += [int(index) if index else key[:LONGEST] for key, index in re.findall(_STEP, known)]
    for pattern, msg in _OF_FIELDS:
        if named := re.match(pattern, text):
            text = msg
            if in_value:
                rest += f".{named[1]}"
            else:
                steps.append(named[1][:LONGEST])
            break
    else:
        if not re.match(_KNOWN, text):
            text = _OTHER
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return {"loc": steps, "msg": f"{text} (`{rest[:LONGEST].removeprefix('.')}` of a value)" if rest else text}


def faults_of(error: Exception, loc: Sequence[str | int]) -> list[Fault]:
    """``fault_of``, or all that pydantic has found in one of its own within the value.

    Args:
        error: an error of msgspec's, or of pydantic's about the whole value.
        loc: the location of the value.
    """
    if isinstance(error, Unfit):
        return _within(error.faults, loc)
    fault = fault_of(error, loc)
    found = [fault for _, fault in pydantic_faults_of(error.__cause__)]
    return _within(found, fault["loc"]) or [fault]


def _within(faults: Sequence[Fault], loc: Sequence[str | int]) -> list[Fault]:
    """The same faults, where the value that they are about is at ``loc``."""
    return [{"loc": [*loc, *fault["loc"]], "msg": fault["msg"]} for fault in faults]


def all_faults(value: object, annotation: Annotation, loc: Sequence[str | int], *, strict: bool) -> list[Fault]:
    """All that is wrong with a value, where msgspec stops at the first: it is asked again for each part.

    This is slow, and done only for a value that it has refused.

    Args:
        value: plain values, as of JSON or a form.
        annotation: what it should be.
        loc: its location.
        strict: text is no number.
    """
    search = _Search(strict)
    with suppress(RecursionError):
        search.look(value, annotation, tuple(loc))
    return search.faults


class _Search:
    """A search for all that is wrong with a value. It is bounded: in faults, and in the parts that are looked at."""

    __slots__ = ("_left", "_strict", "faults")

    def __init__(self, strict: bool) -> None:
        self.faults: list[Fault] = []
        self._strict, self._left = strict, LOOKED_AT

    def look(self, value: object, annotation: Annotation, loc: tuple[str | int, ...]) -> None:
        try:
            msgspec.convert(value, annotation, strict=self._strict, str_keys=self._strict, dec_hook=from_plain)
        except (msgspec.ValidationError, RecursionError, TypeError) as error:
            own = faults_of(error, loc)
        else:
            return
        before = len(self.faults)
        for step, part, kind in _parts(value, annotation):
            self._left -= 1
            if self._left < 0 or len(self.faults) >= MOST:
                break
            if part is _ABSENT:
                self.faults.append(missing(*loc, step))
            elif part is _UNKNOWN:
                self.faults.append({"loc": [*loc, step], "msg": "Unknown field"})
            else:
                self.look(part, kind, (*loc, step))
        # What is wrong with it as a whole is told where nothing is wrong with its parts.
        if len(self.faults) == before:
            self.faults += own


def _parts(value: object, annotation: Annotation) -> Iterator[tuple[str | int, object, Annotation]]:
    """The parts of a value with a place and a type of their own: fields of an object, items of a list or a mapping."""
    origin: Annotation = get_origin(annotation)
    if origin is Annotated:
        annotation = annotation.__origin__
        origin = get_origin(annotation)
    if is_union(annotation):
        members = [member for member in members_of(annotation) if member is not type(None)]
        members = members if len(members) == 1 else [member for member in members if _has_tag(value, member)]
        if members:
            yield from _parts(value, members[0])
    elif origin is not None:
        yield from _items(value, origin, get_args(annotation))
    elif isinstance(value, dict) and isinstance(annotation, type):
        fields, known = _fields_of(annotation)
        for name, required, kind in fields:
            if name in value:
                yield name, value[name], kind
            elif required:
                yield name, _ABSENT, kind
        if known is not None:
            yield from ((name[:LONGEST], _UNKNOWN, None) for name in value if name not in known)


def _items(value: object, origin: type, kinds: Sequence[Annotation]) -> Iterator[tuple[str | int, object, Annotation]]:
    """The items of a list, a tuple or a mapping."""
    if isinstance(value, dict) and origin in _DICTS:
        yield from ((key[:LONGEST], item, kinds[1]) for key, item in value.items())
    elif isinstance(value, list) and (origin in _LISTS or kinds[1:] == (...,)):
        yield from ((index, item, kinds[0]) for index, item in enumerate(value))
    elif isinstance(value, list) and origin is tuple:
        yield from ((index, item, kind) for index, (item, kind) in enumerate(zip(value, kinds, strict=False)))


def _has_tag(value: object, cls: Annotation) -> bool:
    """Whether an object says that it is of a Struct, of those of a union."""
    config = getattr(cls, "__struct_config__", None)
    return isinstance(value, dict) and config is not None and value.get(config.tag_field, ...) == config.tag


@lru_cache(KEPT)
def _fields_of(cls: type) -> tuple[list[tuple[str, bool, Annotation]], frozenset[str] | None]:
    """The fields of a class, as they are sent: name, whether it must be there, type; and all names if others are wrong.

    They are kept: to look at a class takes longer than to look at an object, and leaves cycles to the collector.
    """
    info: Any = types_of.type_info(cls)
    described = {field.name: field for field in getattr(info, "fields", ())}
    kinds = fields_of(cls) if described else {}
    fields = [(described[name].encode_name, described[name].required, kinds[name]) for name in kinds]
    strict = getattr(info, "forbid_unknown_fields", False)
    return fields, frozenset(name for name, *_ in fields) | {info.tag_field} if strict else None


_LISTS: Final = (list, set, frozenset, Sequence, MutableSequence, AbstractSet, MutableSet)
_DICTS: Final = (dict, Mapping, MutableMapping)
_ABSENT: Final = object()
_UNKNOWN: Final = object()


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
    faults: list[Fault] = []
    reason = ""
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        faults = faults_of(error, loc)
        kind = None if isinstance(error, Unfit) else getattr(getattr(decode, "__self__", decode), "type", None)
        with suppress(*REFUSALS):  # what is malformed behind the first fault has not been looked at
            faults = (all_faults(msgspec.json.decode(data), kind, loc, strict=True) if kind else []) or faults
    except RecursionError:
        reason = "it is nested too deeply"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = _why_not_json(str(error), data)
    if faults:
        raise InputError(faults)
    raise HTTPError(400, f"{what} is not JSON: {reason}.")


def _why_not_json(said: str, data: bytes) -> str:
    # Of msgspec's message only the position is used: the rest may quote the client.
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    if found := re.search(_POSITION, said):
        return f"it is malformed (byte {found[1]})"
    if re.search(_TOO_SHORT, said):
        return f"it ends too early (byte {len(data)})"
    return "it is malformed"
