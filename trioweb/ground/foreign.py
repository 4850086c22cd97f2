"""Types that msgspec does not know: those of pydantic, which validates its own, and those that a user has taught.

msgspec asks for what it has to encode, and for the objects of classes within a type that it decodes. A type that
``models.by_pydantic`` is about is not decoded here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import inspect as types_of

from trioweb.ground.annotations import KEPT, Annotation
from trioweb.ground.models import is_pydantic

Convert: TypeAlias = Callable[[Any], object]
"""Converts a value of a class that it knows."""


class Taught(msgspec.Struct, frozen=True):
    """What a user has said of a class.

    Attributes:
        encode: makes a value that has a JSON form; ``None`` if objects are not sent.
        decode: makes an object of what JSON, or text, was sent; ``None`` if clients send none.
        schema: the JSON Schema of that.
        of_class: the class itself makes an object.
    """

    encode: Convert | None = None
    decode: Convert | None = None
    schema: Mapping[str, object] = {}
    of_class: bool = False


_taught: dict[type, Taught] = {PurePath: Taught(str, None, {"type": "string", "format": "path"}, of_class=True)}
_taught.update({
    cls: Taught(str, None, {"type": "string", "format": form}, of_class=True)
    for cls, form in (
        (ipaddress.IPv4Address, "ipv4"), (ipaddress.IPv6Address, "ipv6"), (ipaddress.IPv4Network, "ipv4network"),
        (ipaddress.IPv6Network, "ipv6network"), (ipaddress.IPv4Interface, "ipv4interface"),
        (ipaddress.IPv6Interface, "ipv6interface"),
    )
})  # fmt: skip


def teach(cls: type, taught: Taught) -> None:
    """Remember what a user has said of a class and its subclasses; what was said last counts.

    Raises:
        TypeError: if msgspec or pydantic knows the class by itself, so that nobody would ask.
    """
    if is_pydantic(cls) or not isinstance(types_of.type_info(cls), types_of.CustomType):
        raise TypeError(f"{cls.__qualname__} is a type that is known without being taught: leave add_type out")
    _taught[cls] = taught
    encoder_of.cache_clear()


def taught_of(cls: Annotation) -> Taught | None:
    """What is known of a class, or of the nearest class that it is derived from."""
    found = (_taught[each] for each in getattr(cls, "__mro__", ()) if each in _taught)
    return next(found, None)


# Out


def as_plain(value: object) -> object:
    """A value that msgspec can encode, for one that it cannot.

    Raises:
        TypeError: if nothing is known of its class.
    """
    cls: type = type(value)
    return encoder_of(cls)(value)


def as_built(value: object) -> object:
    """As ``as_plain``, but with the numbers of a model as they are, where its JSON has ``null``; ``None`` for JSON."""
    if isinstance(value, msgspec.Raw):
        return None
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    return as_plain(value) if serializer is None else serializer.to_python(value, mode="json", by_alias=True)


@lru_cache(KEPT)
def encoder_of(cls: type) -> Convert:
    """How the objects of a class are encoded."""
    if serializer := getattr(cls, "__pydantic_serializer__", None):
        if "'ser_json_inf_nan': 'constants'" in repr(getattr(cls, "__pydantic_core_schema__", "")):  # anywhere in it
            return _refuse_constants
        return lambda value: msgspec.Raw(serializer.to_json(value, by_alias=True))
    taught = taught_of(cls)
    if taught is not None and taught.encode is not None:
        return taught.encode
    plain: tuple[Any, ...] = (str, int, float, dict, list)  # whose subclasses msgspec refuses
    for each in plain:
        if issubclass(cls, each):
            return _refuse if cls is each else each  # the key of a dict
    if cls.__module__.startswith("sqlalchemy.") and hasattr(cls, "_mapping"):
        return lambda row: dict(row._mapping)
    if issubclass(cls, Mapping):
        return dict
    if issubclass(cls, Sequence):
        return list
    return _refuse


def _refuse_constants(value: object) -> object:
    raise TypeError(
        f"{type(value).__qualname__} is configured to send NaN, which is not JSON: write ser_json_inf_nan='strings', "
        "or leave it out"
    )


def is_json_value(value: object) -> bool:
    """Whether a value is one JSON value by itself, and no series of them: an object, or what is written as text."""
    cls: type = type(value)
    known = isinstance(value, (msgspec.Struct, msgspec.Raw, Enum, Mapping)) or hasattr(cls, "__attrs_attrs__")
    return known or is_dataclass(cls) or encoder_of(cls) not in {_refuse, list}


def _refuse(value: object) -> object:
    raise TypeError(f"Encoding objects of type {type(value).__qualname__} is unsupported")


# In


def is_decodable(cls: type) -> bool:
    """Whether ``from_plain`` makes objects of a class."""
    taught = taught_of(cls)
    return hasattr(cls, "__pydantic_validator__") or (taught is not None and bool(taught.decode or taught.of_class))


def from_plain(cls: Any, value: object) -> object:
    """An object of a class that msgspec does not know, of what a client has sent.

    Raises:
        ValueError: if it cannot be made of that: pydantic's own error, or one in msgspec's words.
    """
    if isinstance(cls, type) and isinstance(value, cls):
        return value
    if validator := getattr(cls, "__pydantic_validator__", None):
        return validator.validate_python(value)
    taught = taught_of(cls)
    if taught is not None and (decode := taught.decode or (cls if taught.of_class else None)) is not None:
        try:
            return decode(value)
        except (TypeError, ValueError, LookupError, AttributeError):
            pass  # which may quote the client
    raise ValueError(f"Expected `{cls.__name__}`, got `{_JSON_NAMES.get(type(value), 'object')}`")


_JSON_NAMES: Final = {str: "str", int: "int", float: "float", bool: "bool", list: "array", type(None): "null"}
