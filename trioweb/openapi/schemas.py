"""JSON Schemas of types, made by those who validate them: msgspec, and pydantic for its own.

All types of a document are collected first and described at once: only so each has one name, and two of the same name
are told apart.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

import msgspec

from trioweb.ground.annotations import Annotation, is_union, members_of, parts_of
from trioweb.ground.encoding import encode_json
from trioweb.ground.foreign import taught_of
from trioweb.ground.models import adapter_of, by_pydantic, is_pydantic
from trioweb.messages.uploads import UploadFile

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema, or another object of a document: JSON, of any depth."""

Mode: TypeAlias = Literal["validation", "serialization"]
FILE: Final[Schema] = {"type": "string", "contentMediaType": "application/octet-stream"}
REFERENCE: Final = "#/components/schemas/"

_OURS: Final = "#/components/schemas/ "
"""Where references to types that msgspec has described lead, until those have names that no other has."""


class _Wanted(NamedTuple):
    """A type, and the dicts that become its schema."""

    annotation: Annotation
    mode: Mode
    holders: list[Schema]


class Schemas:
    """Collects the types of a document.

    Attributes:
        components: the schemas that have a name, once ``finish`` has been called.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._wanted: dict[object, _Wanted] = {}
        self._models: dict[type, Schema] = {}  # of pydantic's classes within types that it does not know
        self._later: list[Callable[[], None]] = []

    def of(self, annotation: Annotation, mode: Mode = "validation") -> Schema:
        """A dict that becomes the schema of a type when all are known.

        Args:
            annotation: the type.
            mode: whether clients send it, or get it: pydantic's models may differ in that.
        """
        schema: Schema = {}
        key = (_key_of(annotation), mode if _pydantic_is_there() else "")
        self._wanted.setdefault(key, _Wanted(annotation, mode, [])).holders.append(schema)
        return schema

    def then(self, work: Callable[[], None]) -> None:
        """Do this when all types are known: what it needs to see is in the schemas by then."""
        self._later.append(work)

    def finish(self) -> None:
        """Describe all types, and fill the dicts that ``of`` has returned."""
        wanted, models = list(self._wanted.values()), list[_Wanted]()
        if _pydantic_is_there():
            models = [each for each in wanted if by_pydantic(each.annotation)]
            wanted = [each for each in wanted if each not in models]
            classes: dict[type, None] = dict.fromkeys(
                part for each in wanted for part in parts_of(each.annotation) if is_pydantic(part)
            )
            self._models = {cls: {} for cls in classes}
            self._add_models([*models, *(_Wanted(cls, "validation", [model]) for cls, model in self._models.items())])
        for each, schema in zip(wanted, self._described([each.annotation for each in wanted]), strict=True):
            for holder in each.holders:
                holder.update(schema)
        for work in self._later:
            work()

    def _add_models(self, models: list[_Wanted]) -> None:
        """Describe types of pydantic's: it gives their classes names, one a class and mode."""
        if not models:
            return
        from pydantic import TypeAdapter  # noqa: PLC0415 - it is no dependency, and is imported by now

        inputs: list[tuple[int, Mode, TypeAdapter[object]]] = [
            (number, each.mode, adapter_of(each.annotation).adapter) for number, each in enumerate(models)
        ]
        schemas, defined = TypeAdapter.json_schemas(inputs, ref_template=REFERENCE + "{model}")
        self.components.update(defined.get("$defs", {}))
        for number, each in enumerate(models):
            for holder in each.holders:
                holder.update(schemas[number, each.mode])

    def _described(self, annotations: list[Annotation]) -> list[Schema]:
        try:
            return self._by_msgspec(annotations)
        except Exception:  # one of them: a default without a JSON form, or a class that is not for JSON at all
            fit = [each for each in annotations if self._can_describe(each)]
            found = iter(self._by_msgspec(fit))
            return [next(found) if any(each is one for one in fit) else {} for each in annotations]

    def _by_msgspec(self, annotations: list[Annotation]) -> list[Schema]:
        schemas, components = self._told_apart(annotations, REFERENCE)
        if components.keys() & self.components.keys():  # a class of pydantic's has the same name, and was first
            schemas, components = self._told_apart(annotations, _OURS)
            names = {name: name + "_" if name in self.components else name for name in components}
            schemas, components = _renamed(schemas, names), _renamed(components, names)
            components = {names[name]: schema for name, schema in components.items()}
        self.components.update(components)
        return list(schemas)

    def _told_apart(self, annotations: list[Annotation], place: str) -> tuple[tuple[Schema, ...], dict[str, Schema]]:
        return msgspec.json.schema_components(annotations, schema_hook=self._of_custom, ref_template=place + "{name}")

    def _can_describe(self, annotation: Annotation) -> bool:
        try:
            msgspec.json.schema_components([annotation], schema_hook=self._of_custom)
        except Exception:
            return False
        return True

    def _of_custom(self, cls: type) -> Schema:
        if cls is UploadFile:
            return dict(FILE)
        if cls in self._models:
            return self._models[cls]
        taught = taught_of(cls)
        return dict(taught.schema if taught else {}) or {"title": cls.__name__}  # msgspec refuses an empty one

    def resolve(self, schema: Schema) -> Schema:
        """A schema that is not a reference."""
        while (reference := schema.get("$ref", "")).startswith(REFERENCE):
            schema = self.components[reference.removeprefix(REFERENCE)]
        return schema


def _pydantic_is_there() -> bool:
    return "pydantic" in sys.modules  # else no class can be one of its own


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A part of a document whose references to types that msgspec has described follow new names."""
    if isinstance(value, dict):
        return {key: _renamed(each, names) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_renamed(each, names) for each in value]
    if isinstance(value, str) and value.startswith(_OURS):
        return REFERENCE + names[value.removeprefix(_OURS)]
    return value


def _key_of(annotation: Annotation) -> object:
    try:
        hash(annotation)
    except TypeError:
        return id(annotation)
    return annotation


def union_of(members: Iterable[Annotation]) -> Annotation:
    """A type that includes all of these."""
    return Union[tuple(members)]  # noqa: UP007 - made of a tuple


def without_none(annotation: Annotation) -> Annotation:
    """A type without ``None``, which text cannot be."""
    origin: Annotation = get_origin(annotation)
    if origin is Annotated:
        return Annotated[(without_none(annotation.__origin__), *annotation.__metadata__)]
    if not is_union(annotation):
        return annotation
    return union_of(member for member in get_args(annotation) if member is not type(None)) or annotation


def plain(value: object) -> object:
    """A value as JSON has it.

    Raises:
        TypeError: if it has no JSON form.
    """
    return msgspec.json.decode(encode_json(value))


def parts(annotation: Annotation) -> tuple[Annotation, ...]:
    """The members of a union, without what is noted about it."""
    origin: Annotation = get_origin(annotation)
    return parts(annotation.__origin__) if origin is Annotated else members_of(annotation)
