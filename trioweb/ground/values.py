"""Decode values with msgspec: refuse classes that it would construct wrongly, and fill in defaults that it leaves out.

msgspec sets the fields of an object without calling its constructor, so whatever else a constructor does would not
happen. It also does not set a dataclass's field that was not sent: the attribute is then found on the class, but not by
``vars``, so that msgspec's encoder would leave the field out of a response.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect as types_of

from trioweb.ground.annotations import (
    KEPT,
    Annotation,
    defaults_of,
    is_foreign,
    is_typed_dict,
    is_union,
    means_nothing,
    parts_of,
    resolved,
)
from trioweb.ground.foreign import from_plain, is_decodable
from trioweb.ground.models import adapter_in, adapter_of, by_pydantic, is_checked, is_json_text, is_pydantic

T = TypeVar("T")
Decode: TypeAlias = Callable[[bytes], object]
"""Decodes JSON into a value of the user's type."""


def json_decoder(annotation: Annotation) -> Decode:
    """A decoder from JSON to a type; to plain values for ``None``.

    Raises:
        TypeError: if the annotation is not a type that JSON can be decoded into.
    """
    if annotation is None:
        annotation = Any
    try:
        return _kept_decoder(annotation)
    except TypeError:  # it cannot be hashed, or is no type: then this raises again
        return _checked_decoder(annotation)


def _checked_decoder(annotation: Annotation) -> Decode:
    annotation = resolved(annotation, {})
    type_of(annotation)
    return decoder_of(annotation)


class _Completing:
    """A decoder of values that msgspec leaves incomplete.

    Attributes:
        type: the type of the values.
    """

    __slots__ = ("_decode", "type")

    def __init__(self, annotation: Annotation, decode: Decode) -> None:
        self.type, self._decode = annotation, decode

    def __call__(self, data: bytes) -> object:
        return complete(self._decode(data))


def decoder_of(annotation: Annotation) -> Decode:
    """A decoder from JSON to a type that ``type_of`` has accepted."""
    if by_pydantic(annotation):
        return adapter_of(annotation)
    decode: Decode = msgspec.json.Decoder(annotation, dec_hook=from_plain).decode
    return _Completing(annotation, decode) if leaves_out(annotation) else decode


def type_of(annotation: Annotation, *made_elsewhere: type) -> types_of.Type:
    """Check that msgspec can convert a client's data to a type, and describe the type.

    Args:
        annotation: the type, as ``annotations.resolved`` returns it.
        made_elsewhere: classes whose objects are in the data already.

    Raises:
        TypeError: if msgspec cannot make such values, or would construct one of the classes wrongly.
    """
    pydantic_checks, given = by_pydantic(annotation), adapter_in(annotation)
    for part in parts_of(annotation):
        for note in getattr(part, "__metadata__", ()):
            if is_foreign(note) and note is not given and not (pydantic_checks and is_checked(note)):
                raise TypeError(means_nothing(note))
            if pydantic_checks and isinstance(note, msgspec.Meta):
                raise TypeError(f"pydantic validates it, and does not know {note!r}: write pydantic.Field(...)")
        cls = _class_of(part)
        if isinstance(cls, type) and cls not in made_elsewhere and not (pydantic_checks and is_pydantic(cls)):
            if reason := _refusal(cls):
                raise TypeError(reason)
            custom = not pydantic_checks and isinstance(types_of.type_info(cls), types_of.CustomType)
            anything = cls is msgspec.UnsetType or (cls is object and annotation is not object)
            if custom and not anything and not is_decodable(cls):
                raise TypeError(f"nothing that a client sends can be made into {cls.__qualname__}")
    if pydantic_checks:
        adapter_of(annotation)
        return _info_of(annotation)
    msgspec.json.Decoder(annotation)  # raises for some more types, such as unions that cannot be told apart
    return types_of.type_info(annotation)


def _info_of(annotation: Annotation) -> types_of.Type:
    """Describe a type that pydantic validates; of what msgspec refuses, as a union of models, only the outline."""
    if is_json_text(annotation):
        return types_of.StrType()
    try:
        return types_of.type_info(annotation)
    except TypeError:
        kind: object = get_origin(annotation) or annotation
        members = get_args(annotation)
    if kind is Annotated:
        return _info_of(members[0])
    if is_union(annotation):
        return types_of.UnionType(tuple(_info_of(member) for member in members))
    if not isinstance(kind, type):
        return types_of.AnyType()
    if is_typed_dict(kind) or issubclass(kind, Mapping) or dataclasses.is_dataclass(kind):
        return types_of.DictType(types_of.AnyType(), types_of.AnyType())
    if issubclass(kind, Collection) and members:
        return types_of.ListType(_info_of(members[0]))
    return types_of.CustomType(kind)


def _refusal(cls: Annotation) -> str:
    """Why msgspec would construct a class wrongly, or ``""``."""
    name = cls.__qualname__
    if hasattr(cls, "__pydantic_validator__") and dataclasses.is_dataclass(cls):
        return (
            f"{name} is a dataclass of pydantic's within a class that pydantic does not know, and its constraints "
            "would not be checked: write a BaseModel"
        )
    own, constructor, fixed, line = False, "__init__", [], cls.__mro__
    if shared := [field for field, default in defaults_of(cls).items() if not _has_hash(default)]:
        return (
            f"the default of {name}.{shared[0]} would be one for all requests: write default_factory=... (factory=... "
            "for attrs), or None"
        )
    if skipped := _skipped(cls):
        own, constructor = True, skipped
    elif dataclasses.is_dataclass(cls):
        made = next(each for each in line if "__dataclass_params__" in vars(each))
        called = next(each for each in line if "__init__" in vars(each))  # another class: a constructor of its own
        own = called is not made or not vars(made)["__dataclass_params__"].init
        fixed = [field.name for field in dataclasses.fields(cls) if not field.init]
    elif (attributes := getattr(cls, "__attrs_attrs__", None)) is not None:
        code = getattr(cls.__init__, "__code__", None)
        own = code is None or not code.co_filename.startswith("<attrs")
        fixed = [attribute.name for attribute in attributes if not attribute.init]
        if converted := [attribute.name for attribute in attributes if attribute.converter is not None]:
            return (
                f"the converter of {name}.{converted[0]} would not be called: leave it out, or write a msgspec.Struct"
            )
    elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
        own, constructor = "_fields" not in vars(next(each for each in line if "__new__" in vars(each))), "__new__"
    if own:
        return f"the {constructor} of {name} would not be called: write a dataclass without, or with __post_init__"
    if fixed:
        return (
            f"the field {name}.{fixed[0]} is not for its caller to set (init=False), but a client could: write another "
            "class, with what clients may send"
        )
    return ""


def _skipped(cls: Annotation) -> str:
    """What of a class's own would make, or check, the fields of a dataclass or an attrs class; ``""`` for nothing."""
    line = cls.__mro__
    if not (dataclasses.is_dataclass(cls) or hasattr(cls, "__attrs_attrs__")):
        return ""
    if cls.__new__ is not object.__new__:
        return "__new__"
    sets = next(each for each in line if "__setattr__" in vars(each))
    frozen = "__dataclass_params__" in vars(sets) and vars(sets)["__dataclass_params__"].frozen
    of_attrs = getattr(cls.__setattr__, "__globals__", {}).get("__name__") == "attr._make"
    return "" if sets is object or frozen or of_attrs else "__setattr__"


def _has_hash(value: object) -> bool:
    """Whether it has one, as what can be changed has not: so ``dataclasses`` tells, too."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def leaves_out(annotation: Annotation) -> bool:
    """Whether msgspec may leave fields of a value of a type unset: see the top of this module."""
    return any(
        isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__dictoffset__ != 0
        and any(default is not dataclasses.MISSING for default in defaults_of(cls).values())
        for cls in map(_class_of, parts_of(annotation))
    )  # fmt: skip


def _class_of(annotation: Annotation) -> Annotation:
    origin: Annotation = get_origin(annotation)  # of a union, or of Annotated, it may be a class of typing's own
    return annotation if is_union(annotation) or origin in (None, Annotated) else origin


def complete(value: T) -> T:
    """Set the fields of dataclasses that msgspec left unset, anywhere in a value, and return it."""
    ahead: list[object] = [value]
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


_kept_decoder = lru_cache(KEPT)(_checked_decoder)
