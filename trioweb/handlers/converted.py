"""Which annotations the values of path parameters fit, as the converters have made them."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, ParamSpecArgs, ParamSpecKwargs, get_args, get_origin
from uuid import UUID

from trioweb.ground.annotations import Annotation, is_union
from trioweb.ground.templates import Converter

_EMPTY: Final = inspect.Parameter.empty
MADE: Final[Mapping[str, type]] = {"int": int, "float": float, "uuid": UUID, "str": str, "path": str}
"""The types of the values of the built-in converters."""


def says_nothing(annotation: Annotation, path: Mapping[str, Converter]) -> bool:
    """Whether the annotation of ``*args`` or ``**kwargs`` includes all values, or those of the path parameters."""
    if annotation in (_EMPTY, Any, object) or isinstance(annotation, (ParamSpecArgs, ParamSpecKwargs)):
        return True
    return bool(path) and all(MADE.get(converter.name) is annotation for converter in path.values())


def fits(made: type, annotation: Annotation) -> bool:
    """Whether an annotation includes values of a class."""
    origin: Annotation = get_origin(annotation)
    if origin is Annotated:
        return fits(made, annotation.__origin__)
    if is_union(annotation):
        return any(fits(made, member) for member in get_args(annotation))
    if origin is Literal:
        return any(isinstance(value, made) for value in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return any(isinstance(member.value, made) for member in annotation)
    return annotation is made or (annotation is float and made is int)
