"""What pydantic validates: which types those are, and how it is asked.

Only this module knows pydantic, by what its classes have; it is imported when a type of its own is decoded first. An
annotation that mentions it is given to pydantic whole, so that all of it is validated; where that cannot be, within a
Struct or a class of attrs, msgspec asks for the values of its classes one by one, by ``foreign.from_plain``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast, get_origin

import msgspec
from msgspec import inspect as types_of

from trioweb.ground.annotations import KEPT, Annotation, parts_of
from trioweb.ground.errors import Fault

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter, ValidationError

LONGEST: Final = 200
"""Characters of a message about one input."""
MOST: Final = 100
"""Faults that are told of one value."""
TOO_MANY: Final = 10_000
"""Faults that pydantic has found beyond which they are only counted: a body may have millions, each an object."""
_NOTES: Final = frozenset({"annotated_types", "pydantic"})
"""Packages whose notes in ``Annotated`` pydantic checks."""


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


def adapter_in(annotation: Annotation) -> TypeAdapter[object] | None:
    """The ``TypeAdapter`` that a user has noted for a whole type: it validates the values, whatever the type says."""
    return next(filter(_is_adapter, getattr(annotation, "__metadata__", ())), None)


def is_json_text(annotation: Annotation) -> bool:
    """Whether a type is ``pydantic.Json``: a text that has JSON in it."""
    notes = getattr(annotation, "__metadata__", ())
    return any(type(note).__name__ == "Json" and is_checked(note) for note in notes)


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


def fields_of_model(cls: type[BaseModel]) -> Iterable[tuple[str, types_of.Type]]:
    """The fields of a model of pydantic's, by the names that clients send."""
    for name, field in cls.model_fields.items():
        alias = field.validation_alias or field.alias
        names = [each for each in getattr(alias, "choices", [alias]) if isinstance(each, str)]
        if not names or cls.model_config.get("populate_by_name") or cls.model_config.get("validate_by_name"):
            names.append(name)
        try:
            info = types_of.type_info(field.annotation)
        except TypeError:
            info = types_of.AnyType()
        yield from ((sent, info) for sent in names)


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
            self.adapter: TypeAdapter[object] = given or TypeAdapter(annotation)
        except Exception as error:
            raise TypeError(f"pydantic cannot validate it: {error}") from error

    def __call__(self, data: bytes) -> object:
        """Decode JSON.

        Raises:
            DecodeError: msgspec's, if it is no JSON.
            Unfit: if the value does not fit.
        """
        if data.find(b"NaN") >= 0 or data.find(b"Infinity") >= 0:  # which pydantic takes for JSON
            msgspec.json.decode(data)
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


def faults_of(given: object) -> list[tuple[str, Fault]]:
    """The kind of each fault that pydantic has found, and the fault; none if it is another error."""
    if not hasattr(given, "errors"):
        return []
    error = cast("ValidationError", given)
    count = error.error_count()
    if count > TOO_MANY:
        return [("", {"loc": [], "msg": f"Does not fit, in {count} places"})]
    found = error.errors(include_url=False, include_context=False, include_input=False)
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
