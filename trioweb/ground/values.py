"""What msgspec leaves out of a value that it has made: the defaults of a dataclass.

It leaves a default that was not sent to the class, where attributes find it. Its encoder looks only at the instance, as
``vars`` does: an answer that hands back what a client has sent would lack what the client has not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias, get_origin

import msgspec
from msgspec import inspect as types_of

Decode: TypeAlias = Callable[[bytes], Any]

KEPT: Final = 256
"""Types whose decoders are kept: to look into a type takes longer than to decode a small body."""


def json_decoder(annotation: Any) -> Decode:
    """What makes JSON into an annotation; into plain values for ``None``.

    Raises:
        TypeError: it is no type, or none that JSON can be made into.
    """
    if annotation is None:
        return _decode_any
    try:
        return _kept_decoder(annotation)
    except TypeError:  # it cannot be hashed, or is none; the latter is said again
        return _decoder(annotation)


def _decoder(annotation: Any) -> Decode:
    decode = msgspec.json.Decoder(annotation).decode
    if not leaves_out(types_of.type_info(annotation)):
        return decode
    return lambda data: complete(decode(data))


def leaves_out(info: types_of.Type) -> bool:
    """Whether something may be missing from a value of a type."""
    seen: set[int] = set()
    ahead = [info]
    while ahead:
        found = ahead.pop()
        if id(found) in seen:  # a type may hold itself
            continue
        if isinstance(found, types_of.DataclassType) and _has_defaults(found):
            return True
        seen.add(id(found))
        ahead += _within(found)
    return False


def _has_defaults(info: types_of.DataclassType) -> bool:
    cls: Any = get_origin(info.cls) or info.cls
    return cls.__dictoffset__ != 0 and any(field.default is not msgspec.NODEFAULT for field in info.fields)


def _within(info: Any) -> Iterable[types_of.Type]:
    for name in ("type", "item_type", "value_type"):
        if isinstance(inner := getattr(info, name, None), types_of.Type):
            return (inner,)
    for name in ("types", "item_types"):  # of a union, and of a tuple
        if hasattr(info, name):
            return tuple(getattr(info, name))
    return [field.type for field in getattr(info, "fields", ())]


def complete(value: Any) -> Any:
    """Put the defaults of its dataclasses into a value that msgspec has made, and hand it back."""
    ahead = [value]
    while ahead:
        found = ahead.pop()
        if isinstance(found, dict):
            ahead += found.values()
        elif isinstance(found, (list, tuple, set, frozenset)):
            ahead += found
        elif isinstance(found, msgspec.Struct):
            ahead += [getattr(found, name) for name in found.__struct_fields__]
        elif dataclasses.is_dataclass(found):
            own = getattr(found, "__dict__", {})
            for field in dataclasses.fields(found):
                if field.init and field.default is not dataclasses.MISSING:
                    own.setdefault(field.name, field.default)
                ahead.append(getattr(found, field.name, None))
    return value


_decode_any = msgspec.json.Decoder().decode
_kept_decoder = lru_cache(KEPT)(_decoder)
