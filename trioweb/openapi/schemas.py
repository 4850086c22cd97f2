"""JSON Schemas of types, made by those who validate them: msgspec, and pydantic for its own.

All types of a document are collected first and described at once: only so each has one name, and two of the same name
are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin

import msgspec

from trioweb.ground.annotations import Annotation, is_union, members_of
from trioweb.messages.uploads import UploadFile

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema, or another object of a document: JSON, of any depth."""

FILE: Final[Schema] = {"type": "string", "contentMediaType": "application/octet-stream"}
REFERENCE: Final = "#/components/schemas/"


class Schemas:
    """Collects the types of a document.

    Attributes:
        components: the schemas that have a name, once ``finish`` has been called.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._wanted: dict[object, tuple[Annotation, list[Schema]]] = {}
        self._later: list[Callable[[], None]] = []

    def of(self, annotation: Annotation) -> Schema:
        """A dict that becomes the schema of a type when all are known."""
        schema: Schema = {}
        self._wanted.setdefault(_key_of(annotation), (annotation, []))[1].append(schema)
        return schema

    def then(self, work: Callable[[], None]) -> None:
        """Do this when all types are known: what it needs to see is in the schemas by then."""
        self._later.append(work)

    def finish(self) -> None:
        """Describe all types, and fill the dicts that ``of`` has returned."""
        wanted = list(self._wanted.values())
        for (_, holders), schema in zip(wanted, self._described([each for each, _ in wanted]), strict=True):
            for holder in holders:
                holder.update(schema)
        for work in self._later:
            work()

    def _described(self, annotations: list[Annotation]) -> list[Schema]:
        try:
            return self._by_msgspec(annotations)
        except Exception:  # one of them: a default without a JSON form, or a class that is not for JSON at all
            fit = [each for each in annotations if _can_describe(each)]
            found = iter(self._by_msgspec(fit))
            return [next(found) if any(each is one for one in fit) else {} for each in annotations]

    def _by_msgspec(self, annotations: list[Annotation]) -> list[Schema]:
        schemas, components = msgspec.json.schema_components(
            annotations, schema_hook=_schema_of_custom, ref_template=REFERENCE + "{name}"
        )
        self.components.update(components)
        return list(schemas)

    def resolve(self, schema: Schema) -> Schema:
        """A schema that is not a reference."""
        while (reference := schema.get("$ref", "")).startswith(REFERENCE):
            schema = self.components[reference.removeprefix(REFERENCE)]
        return schema


def _schema_of_custom(cls: type) -> Schema:
    return dict(FILE) if cls is UploadFile else {}


def _can_describe(annotation: Annotation) -> bool:
    try:
        msgspec.json.schema_components([annotation], schema_hook=_schema_of_custom)
    except Exception:
        return False
    return True


def _key_of(annotation: Annotation) -> object:
    try:
        hash(annotation)
    except TypeError:
        return id(annotation)
    return annotation, str(annotation)  # Literal[1] and Literal[True] are equal


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
    return msgspec.json.decode(msgspec.json.encode(value))


def parts(annotation: Annotation) -> tuple[Annotation, ...]:
    """The members of a union, without what is noted about it."""
    origin: Annotation = get_origin(annotation)
    return parts(annotation.__origin__) if origin is Annotated else members_of(annotation)
