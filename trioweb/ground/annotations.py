"""An annotation as Python means it: text evaluated, aliases and new types replaced, wherever they stand in it.

This is the one place that reads annotations. Whoever looks for a marker, or asks msgspec about a type, looks at what
``resolved`` returns: so every spelling of an annotation means the same.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

_FOREIGN: Final = frozenset({"annotated_types", "fastapi", "pydantic"})
"""Packages whose notes in ``Annotated``, or defaults, say what a value must be to who knows of them."""


def resolved(annotation: Any, names: Mapping[str, Any]) -> Any:
    """What an annotation means.

    Args:
        annotation: as it was written: an object, a text, or an object with texts in it.
        names: what its texts may name: the globals of the function or class that it belongs to.

    Returns:
        The annotation without text, type aliases (PEP 695) and new types.

    Raises:
        Exception: whatever evaluating a text raises: a ``NameError`` where it names what is not defined.
        TypeError: if a type alias refers to itself.
    """
    return _expanded(_evaluated(annotation, names), ())


def _evaluated(annotation: Any, names: Mapping[str, Any]) -> Any:
    """The annotation without text. ``typing`` evaluates what a function is annotated with, so a function it is."""

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(holder, dict(names), {}, include_extras=True)["it"]


def _expanded(annotation: Any, within: tuple[Any, ...]) -> Any:
    origin = get_origin(annotation)
    if _is_alias(annotation) or _is_alias(origin):
        return _aliased(annotation, origin, within)
    if isinstance(annotation, typing.NewType):
        names = _names_of_module(annotation.__module__)
        return _expanded(_evaluated(annotation.__supertype__, names), within)
    if origin is Annotated:
        base = _expanded(annotation.__origin__, within)
        return Annotated[(base, *annotation.__metadata__)]
    if origin in (None, Literal, Callable):  # what stands in the brackets of the others are types
        return annotation
    arguments = get_args(annotation)
    expanded = tuple(_expanded(argument, within) for argument in arguments)
    if all(new is old for new, old in zip(expanded, arguments, strict=True)):
        return annotation
    return Union[expanded] if is_union(annotation) else origin[expanded]  # noqa: UP007 - made of a tuple


def _aliased(annotation: Any, origin: Any, within: tuple[Any, ...]) -> Any:
    alias = annotation if _is_alias(annotation) else origin
    if any(alias is outer for outer in within):
        raise TypeError(f"the type alias {alias.__name__} refers to itself: name a class in its place")
    value = _evaluated(alias.__value__, _names_of_module(alias.__module__))
    if alias is not annotation:
        given = dict(zip(alias.__type_params__, get_args(annotation), strict=True))
        wanted = getattr(value, "__parameters__", ())
        if value in given:
            value = given[value]
        elif wanted:
            value = value[tuple(given[parameter] for parameter in wanted)]
    return _expanded(value, (*within, alias))


def _is_alias(annotation: Any) -> bool:
    """Whether it was made by a ``type`` statement, or by a ``TypeAliasType`` of ``typing`` or ``typing_extensions``."""
    return type(annotation).__name__ == "TypeAliasType"


def is_union(annotation: Any) -> bool:
    """Whether it is ``A | B``, ``Union[A, B]`` or ``Optional[A]``."""
    origin = get_origin(annotation)
    return origin is Union or getattr(origin, "__name__", "") == "UnionType"


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; of anything else, itself."""
    return get_args(annotation) if is_union(annotation) else (annotation,)


def parts_of(annotation: Any) -> Iterator[Any]:
    """Everything that stands within a resolved annotation, itself first, the fields of classes too: each class once.

    Raises:
        Exception: whatever evaluating a field's annotation raises.
    """
    ahead, seen = [annotation], set()
    while ahead:
        found = ahead.pop()
        yield found
        origin = get_origin(found)
        if origin is Annotated:
            ahead.append(found.__origin__)
        elif origin is not Literal:
            ahead += get_args(found)
            cls = origin or found
            if isinstance(cls, type) and cls not in seen:
                seen.add(cls)
                ahead += fields_of(cls).values()


def is_foreign(note: object) -> bool:
    """Whether it says what a value must be, or where it comes from, to a package that nobody asks here."""
    return type(note).__module__.partition(".")[0] in _FOREIGN


def means_nothing(note: object) -> str:
    """What to say of a note that nobody looks at."""
    return (
        f"{note!r} means nothing here: write msgspec.Meta(...) for a constraint, Provide(...) for a dependency, or "
        "leave it out"
    )


def fields_of(cls: type) -> dict[str, Any]:
    """The resolved annotations of a class's fields; none of a class that has no fields.

    Raises:
        Exception: whatever evaluating one of them raises.
    """
    names = field_names(cls)
    if not names:
        return {}
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: _expanded(hint, ()) for name, hint in hints.items() if name in names}


def field_names(cls: type) -> frozenset[str]:
    """The fields of a Struct, dataclass, attrs class, ``NamedTuple`` or ``TypedDict``."""
    if issubclass(cls, msgspec.Struct):
        return frozenset(cls.__struct_fields__)
    if dataclasses.is_dataclass(cls):
        return frozenset(field.name for field in dataclasses.fields(cls))
    if (attributes := getattr(cls, "__attrs_attrs__", None)) is not None:
        return frozenset(attribute.name for attribute in attributes)
    if issubclass(cls, tuple):
        return frozenset(getattr(cls, "_fields", ()))
    return frozenset(getattr(cls, "__annotations__", ())) if typing.is_typeddict(cls) else frozenset()


def _names_of_module(name: str | None) -> Mapping[str, Any]:
    return vars(sys.modules[name]) if name in sys.modules else {}
