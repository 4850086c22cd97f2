"""Resolve annotations: evaluate strings, and replace type aliases and new types, at any depth.

Only this module reads annotations as they were written. All other code takes what ``resolved`` returns, so that every
spelling of an annotation means the same.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import msgspec

Annotation: TypeAlias = Any
"""What a user wrote as an annotation, or a part of it: a class, a generic alias, a union, a string, a metadata object.

``typing`` has no common type for them.
"""
KEPT: Final = 256
"""Types of which something is cached: to inspect one takes longer than to decode a small body."""
Names: TypeAlias = Mapping[str, object]
"""The global names that a string annotation may use."""

_FOREIGN: Final = frozenset({"annotated_types", "fastapi", "pydantic"})
"""Packages whose metadata in ``Annotated``, or whose defaults, state constraints that trioweb does not check."""


def resolved(annotation: Annotation, names: Names) -> Annotation:
    """An annotation without strings, type aliases (PEP 695) and new types.

    Args:
        annotation: as it was written: an object, a string, or an object that contains strings.
        names: the globals of the function or class that it belongs to.

    Raises:
        Exception: whatever evaluating a string raises: a ``NameError`` if it uses an undefined name.
        TypeError: if a type alias refers to itself.
    """
    return _expanded(_evaluated(annotation, names), ())


def _evaluated(annotation: Annotation, names: Names) -> Annotation:
    # typing.get_type_hints reads the annotations of an object: give it a function that has this one.
    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(holder, dict(names), {}, include_extras=True)["it"]


def _expanded(annotation: Annotation, within: tuple[Annotation, ...]) -> Annotation:
    """Replace aliases and new types; ``within`` holds the aliases that are being replaced."""
    origin: Annotation = get_origin(annotation)
    if _is_alias(annotation) or _is_alias(origin):
        return _aliased(annotation, origin, within)
    if isinstance(annotation, typing.NewType):
        return _expanded(_evaluated(annotation.__supertype__, _names_of_module(annotation.__module__)), within)
    if isinstance(annotation, typing.TypeVar):
        return _stand_in(annotation, within)
    if origin is Annotated:
        base = _expanded(annotation.__origin__, within)
        return Annotated[(base, *annotation.__metadata__)]
    if origin in (None, Literal, Callable):  # the arguments of all other generic types are types
        return annotation
    arguments = get_args(annotation)
    expanded = tuple(_expanded(argument, within) for argument in arguments)
    if all(new is old for new, old in zip(expanded, arguments, strict=True)):
        return annotation
    return Union[expanded] if is_union(annotation) else origin[expanded]  # noqa: UP007 - made of a tuple


def _aliased(annotation: Annotation, origin: Annotation, within: tuple[Annotation, ...]) -> Annotation:
    alias = annotation if _is_alias(annotation) else origin
    if any(alias is outer for outer in within):
        raise TypeError(f"the type alias {alias.__name__} refers to itself: name a class in its place")
    value = _evaluated(alias.__value__, _names_of_module(alias.__module__))
    if alias is not annotation:  # Alias[int]: put the arguments in the place of the alias's parameters
        parameters, arguments = alias.__type_params__, get_args(annotation)
        if len(arguments) > len(parameters):
            raise TypeError(f"the type alias {alias.__name__} takes {len(parameters)} types, got {len(arguments)}")
        given = dict(zip(parameters, arguments, strict=False))  # the others may have defaults
        wanted = getattr(value, "__parameters__", ())
        if value in given:
            value = given[value]
        elif wanted:
            value = value[tuple(given.get(parameter, parameter) for parameter in wanted)]
    return _expanded(value, (*within, alias))


def _stand_in(variable: typing.TypeVar, within: tuple[object, ...]) -> Annotation:
    """What a type variable that nobody has given a type for stands for: its default (PEP 696), or its bound."""
    if any(variable is outer for outer in within):
        raise TypeError(f"the type variable {variable.__name__} refers to itself: name a class in its place")
    if getattr(variable, "has_default", lambda: False)():
        meant: Annotation = variable.__default__  # type: ignore[attr-defined]
    elif variable.__constraints__:
        meant = Union[variable.__constraints__]  # noqa: UP007 - made of a tuple
    else:
        meant = variable.__bound__
    if meant is None:
        return variable  # anything
    return _expanded(_evaluated(meant, _names_of_module(variable.__module__)), (*within, variable))


def _is_alias(annotation: object) -> bool:
    # By its name: a `type` statement, typing and typing_extensions each have a class of their own.
    return type(annotation).__name__ == "TypeAliasType"


def is_typed_dict(cls: object) -> bool:
    """Whether a class is a ``TypedDict``: typing and typing_extensions each have one of their own."""
    return hasattr(cls, "__required_keys__")


def is_union(annotation: object) -> bool:
    """Whether an annotation is ``A | B``, ``Union[A, B]`` or ``Optional[A]``."""
    origin = get_origin(annotation)
    return origin is Union or getattr(origin, "__name__", "") == "UnionType"


def members_of(annotation: Annotation) -> tuple[Annotation, ...]:
    """The members of a union, or the annotation itself."""
    return get_args(annotation) if is_union(annotation) else (annotation,)


def parts_of(annotation: Annotation) -> Iterator[Annotation]:
    """A resolved annotation, its arguments, and the annotations of the fields of its classes, each class once.

    Raises:
        Exception: whatever evaluating a field's annotation raises.
    """
    ahead, seen = [annotation], set[type]()
    while ahead:
        found = ahead.pop()
        yield found
        origin: Annotation = get_origin(found)
        if origin is Annotated:
            ahead.append(found.__origin__)
        elif origin is not Literal:
            ahead += get_args(found)
            cls = origin or found
            if isinstance(cls, type) and cls not in seen:
                seen.add(cls)
                ahead += fields_of(cls).values()


def is_foreign(note: object) -> bool:
    """Whether metadata, or a default, is an instruction to a package that trioweb does not use."""
    return type(note).__module__.partition(".")[0] in _FOREIGN


def means_nothing(note: object) -> str:
    """The error message for metadata that has no effect."""
    return (
        f"{note!r} means nothing here: write msgspec.Meta(...) for a constraint, Provide(...) for a dependency, or "
        "leave it out"
    )


def fields_of(cls: type) -> dict[str, Annotation]:
    """The resolved annotations of the fields of a class; empty for a class without fields.

    Raises:
        Exception: whatever evaluating one of them raises.
    """
    names = defaults_of(cls)
    if not names:
        return {}
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: _expanded(hint, ()) for name, hint in hints.items() if name in names}


def defaults_of(cls: Annotation) -> Mapping[str, object]:
    """The fields of a Struct, dataclass, attrs class, ``NamedTuple`` or ``TypedDict``, and their defaults.

    A field without a default has ``dataclasses.MISSING``, or whatever its class has for that.
    """
    if issubclass(cls, msgspec.Struct):
        names, defaults = cls.__struct_fields__, cls.__struct_defaults__
        return dict.fromkeys(names, MISSING) | dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    if is_dataclass(cls):
        return {field.name: field.default for field in fields(cls)}
    if (attributes := getattr(cls, "__attrs_attrs__", None)) is not None:
        return {attribute.name: attribute.default for attribute in attributes}
    if issubclass(cls, tuple):
        return dict.fromkeys(getattr(cls, "_fields", ()), MISSING) | getattr(cls, "_field_defaults", {})
    return dict.fromkeys(getattr(cls, "__annotations__", ()), MISSING) if is_typed_dict(cls) else {}


def _names_of_module(name: str | None) -> Names:
    return vars(sys.modules[name]) if name in sys.modules else {}
