"""Types that msgspec does not know: those of pydantic, which validates its own, and those that a user has taught.

Only this module knows pydantic, by what its classes have; it is imported when a type of its own is decoded first. An
annotation that mentions it is given to pydantic whole, so that all of it is validated; where that cannot be, within a
Struct or a class of attrs, msgspec asks for the values of its classes one by one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_origin

import msgspec
from msgspec import inspect as types_of

from trioweb.ground.annotations import Annotation, parts_of
from trioweb.ground.errors import Fault

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Convert: TypeAlias = Callable[[Any], object]
"""Converts a value of a class that it knows."""
KEPT: Final = 256
"""Types whose adapters, and classes whose encoders, are cached."""
LONGEST: Final = 200
"""Characters of a message about one input."""
MOST: Final = 100
"""Faults that are told of one value."""
TOO_MANY: Final = 10_000
"""Faults that pydantic has found beyond which they are only counted: a body may have millions, each an object."""
_NOTES: Final = frozenset({"annotated_types", "pydantic"})
"""Packages whose notes in ``Annotated`` pydantic checks."""


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


def is_pydantic(cls: object) -> bool:
    """Whether pydantic validates the objects of a class."""
    return isinstance(cls, type) and (
        hasattr(cls, "__pydantic_validator__") or hasattr(cls, "__get_pydantic_core_schema__")
    )


def is_checked(note: object) -> bool:
    """Whether pydantic checks a note in ``Annotated``."""
    return type(note).__module__.partition(".")[0] in _NOTES and not _is_adapter(note)


def _is_adapter(note: object) -> bool:
    return type(note).__name__ == "TypeAdapter" and type(note).__module__.startswith("pydantic.")


def adapter_in(annotation: Annotation) -> TypeAdapter[Any] | None:
    """The ``TypeAdapter`` that a user has noted for a whole type: it validates the values, whatever the type says."""
    return next(filter(_is_adapter, getattr(annotation, "__metadata__", ())), None)


def by_pydantic(annotation: Annotation) -> bool:
    """Whether pydantic validates the values of a type: it mentions one of its classes, or a note that it checks.

    It does not know Structs, and attrs' classes: these ask for the objects of its classes within them one by one.

    Raises:
        Exception: whatever evaluating the annotation of a field raises.
    """
    found = False
    if adapter_in(annotation) is not None:
        return True
    for part in parts_of(annotation):
        cls: object = get_origin(part) or part
        if isinstance(cls, type) and (issubclass(cls, msgspec.Struct) or hasattr(cls, "__attrs_attrs__")):
            return False
        notes = getattr(part, "__metadata__", ())
        found = found or is_pydantic(cls) or any(map(is_checked, notes))
    return found


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


class Unfit(msgspec.ValidationError):
    """A value that pydantic has refused.

    Attributes:
        faults: all that is wrong with it, within the value.
    """

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("Does not fit")
        self.faults = faults


class Adapter:
    """Validates a type with pydantic.

    Attributes:
        type: the annotation.
        adapter: pydantic's.

    Raises:
        TypeError: if pydantic is not installed, or cannot validate the type.
    """

    __slots__ = ("adapter", "type")

    def __init__(self, annotation: Annotation) -> None:
        try:
            from pydantic import TypeAdapter  # noqa: PLC0415 - it is no dependency
        except ModuleNotFoundError:
            raise TypeError(f"{annotation} has a condition that only pydantic checks, which is not installed") from None
        self.type = annotation
        given = adapter_in(annotation)
        if given is not None and (others := [note for note in annotation.__metadata__ if note is not given]):
            raise TypeError(f"a TypeAdapter validates alone, and {others[0]!r} would not be checked: write it in there")
        try:
            self.adapter: TypeAdapter[Any] = given or TypeAdapter(annotation)
        except Exception as error:
            raise TypeError(f"pydantic cannot validate it: {error}") from error

    def __call__(self, data: bytes) -> object:
        """Decode JSON.

        Raises:
            DecodeError: msgspec's, if it is no JSON.
            Unfit: if the value does not fit.
        """
        try:
            return self.adapter.validate_json(data)
        except ValueError as error:
            faults = faults_of(error)
        if any(kind == "json_invalid" for kind, _ in faults):
            raise msgspec.DecodeError("malformed")
        raise Unfit([fault for _, fault in faults])

    def convert(self, value: object) -> object:
        """Validate text that was sent, or an object of texts.

        Raises:
            Unfit: if it does not fit.
        """
        try:
            return self.adapter.validate_python(value)
        except ValueError as error:
            faults = faults_of(error)
        raise Unfit([fault for _, fault in faults])


def faults_of(error: Any) -> list[tuple[str, Fault]]:
    """The kind of each fault that pydantic has found, and the fault; none if it is another error."""
    if not hasattr(error, "errors"):
        return []
    count: int = error.error_count()
    if count > TOO_MANY:
        return [("", {"loc": [], "msg": f"Does not fit, in {count} places"})]
    found: list[dict[str, Any]] = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        (each["type"], {"loc": [_step(step) for step in each["loc"]], "msg": each["msg"][:LONGEST]})
        for each in found[:MOST]
    ]


def _step(step: str | int) -> str | int:
    return step[:LONGEST] if isinstance(step, str) else step


def adapter_of(annotation: Annotation) -> Adapter:
    """Pydantic's validation of a type.

    Raises:
        TypeError: as ``Adapter``.
    """
    try:
        return _kept_adapter(annotation)
    except TypeError:  # it cannot be hashed, or validated: then this raises again
        return Adapter(annotation)


_kept_adapter = lru_cache(KEPT)(Adapter)
