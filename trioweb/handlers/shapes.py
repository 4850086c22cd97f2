"""How to find and convert the values of an annotation: decided once, when a route is registered.

Text is converted by msgspec's rules, with two additions: if the type does not include text, numbers, times and booleans
may be written as browsers and people write them (``ground.texts``); and empty text counts as not sent, as the blank
field of a form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import inspect as types_of
from msgspec import structs

from trioweb.ground.annotations import Annotation
from trioweb.ground.errors import Fault
from trioweb.ground.models import Adapter, adapter_of, by_pydantic, fields_of_model
from trioweb.ground.texts import clock_time, number, switch
from trioweb.ground.values import leaves_out, type_of
from trioweb.messages.uploads import UploadFile

Values: TypeAlias = Any
"""Where inputs are found: path parameters and cookies are mappings; a query, headers and a form are multi-mappings."""

_OBJECTS: Final = (
    types_of.StructType,
    types_of.DataclassType,
    types_of.TypedDictType,
    types_of.NamedTupleType,
    types_of.DictType,
    types_of.RawType,
)
_TEXT: Final = (types_of.StrType, types_of.AnyType, types_of.BytesType, types_of.ByteArrayType)
_NUMBERS: Final = (types_of.IntType, types_of.FloatType, types_of.DecimalType)
_TIMES: Final = (types_of.DateTimeType, types_of.TimeType)
_CHOICES: Final = (types_of.LiteralType, types_of.EnumType)
_ENDLESS: Final = frozenset({"nan", "inf", "infinity"})
"""What float() takes besides numbers, in lower case and without a sign."""


class Shape(msgspec.Struct, frozen=True):
    """How to find and convert the values of a type.

    Attributes:
        annotation: the type, for msgspec.
        nullable: it includes ``None``.
        many: it is a collection, and takes all values of a name.
        is_object: it has fields, or is a collection of such objects.
        is_file: it is an uploaded file, or a collection of files.
        keeps_blank: it includes empty text.
        rewrites: functions that text goes through first: the first that changes it counts.
        choices: texts that are values of the type, and are not rewritten.
        fields: of an object: the shapes of the fields by their encoded names.
        rest: of a ``dict``: the shape of its values.
        is_float: it includes floats, and no text: NaN and infinity, which are none in JSON, are refused in texts, too.
        incomplete: msgspec leaves fields of a value unset: see ``ground.values``.
        adapter: pydantic's validation, of a type that is pydantic's.
        box: a Struct whose only field, ``value``, is of the type: msgspec looks at a type again each time, but at a
            Struct once.
    """

    annotation: Annotation
    nullable: bool = False
    many: bool = False
    is_object: bool = False
    is_file: bool = False
    keeps_blank: bool = True
    rewrites: tuple[Callable[[str], object], ...] = ()
    choices: frozenset[str] = frozenset()
    fields: dict[str, Shape] | None = None
    rest: Shape | None = None
    is_float: bool = False
    incomplete: bool = False
    adapter: Adapter | None = None
    box: object = None

    def pick(self, values: Values, name: str) -> object:
        """The raw value of ``name``; ``None`` if there is none."""
        if self.many:
            return [value for value in values.getlist(name) if not self._is_blank(value)] or None
        value = values.get(name)
        return None if (value == "" or value.__class__ is UploadFile) and self._is_blank(value) else value

    def _is_blank(self, value: object) -> bool:
        if isinstance(value, UploadFile):
            return not value.filename and not value.size
        return value == "" and not self.keeps_blank

    def rewritten(self, value: object) -> object:
        """A raw value in the syntax of msgspec, which has refused it as it is."""
        if isinstance(value, dict):
            known, rest = self.fields or {}, self.rest or _AS_IT_IS
            return {name: known.get(name, rest).rewritten(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.rewritten(each) for each in value]
        if isinstance(value, str) and value not in self.choices:
            for rewrite in self.rewrites:
                if (written := rewrite(value)) != value:
                    return written
        return value

    def not_finite(self, value: object, loc: tuple[str, ...]) -> Iterator[Fault]:
        """What is wrong with raw values that msgspec would take for NaN or infinity."""
        if isinstance(value, dict):
            known, rest = self.fields or {}, self.rest or _AS_IT_IS
            for name, each in value.items():
                yield from known.get(name, rest).not_finite(each, (*loc, name))
        elif self.is_float:
            for each in value if isinstance(value, list) else (value,):
                if isinstance(each, str) and each.strip().lstrip("+-").lower() in _ENDLESS:
                    yield {"loc": [*loc], "msg": "Expected a finite number"}

    @property
    def takes_form(self) -> bool:
        """Whether a form, or a query string, can be converted to it."""
        return self.fields is not None or self.rest is not None

    def pick_all(self, values: Values) -> dict[str, object]:
        """The raw values of all fields of an object."""
        known, rest = self.fields or {}, self.rest or _AS_IT_IS
        found = {name: rest.pick(values, name) for name in values if name not in known}
        found |= {name: shape.pick(values, name) for name, shape in known.items()}
        return {name: value for name, value in found.items() if value is not None}


_AS_IT_IS: Final = Shape(object)


def shape_of(annotation: Annotation) -> Shape:
    """How to find and convert the values of a resolved annotation.

    Raises:
        TypeError: if a client's data cannot be converted to it.
    """
    shape = _shape(annotation, type_of(annotation, UploadFile))
    if by_pydantic(annotation):
        return structs.replace(shape, adapter=adapter_of(annotation), incomplete=False)
    return shape


def _shape(annotation: Annotation, info: types_of.Type, depth: int = 0) -> Shape:
    members = list(_members(info))
    nullable = any(isinstance(member, types_of.NoneType) for member in members)
    members = [member for member in members if not isinstance(member, types_of.NoneType)]
    lists = [member for member in members if isinstance(member, (types_of.CollectionType, types_of.TupleType))]
    items = [item for member in lists for item in _items(member)]
    flat = [item for item in (*members, *items) if item not in lists]
    objects = [member for member in members if _is_object(member)]
    fields = rest = None
    # Only an object on the top level, and the only one of a union, takes fields: those of another would be ambiguous.
    if len(objects) == 1 and not depth:
        if isinstance(objects[0], types_of.DictType):
            rest = _shape(None, objects[0].value_type, depth=1)
        elif isinstance(objects[0], types_of.CustomType):
            fields = {name: _shape(None, info, depth=1) for name, info in fields_of_model(objects[0].cls)}
        elif (described := getattr(objects[0], "fields", None)) is not None:
            fields = {field.encode_name: _shape(None, field.type, depth=1) for field in described}
    return Shape(
        annotation,
        nullable,
        many=bool(lists),
        is_object=any(_is_object(item) for item in flat),
        is_file=any(isinstance(item, types_of.CustomType) and item.cls is UploadFile for item in flat),
        keeps_blank=any(isinstance(item, _TEXT) or "" in _choices(item) for item in flat),
        rewrites=_rewrites(flat),
        is_float=any(isinstance(item, types_of.FloatType) for item in flat)
        and not any(isinstance(item, _TEXT) for item in flat),
        choices=frozenset().union(*(_choices(item) for item in flat)),
        fields=fields,
        rest=rest,
        incomplete=not depth and leaves_out(annotation),
        box=None if depth else msgspec.defstruct("Box", [("value", annotation)]),
    )


def _is_object(info: types_of.Type) -> bool:
    return isinstance(info, _OBJECTS) or (isinstance(info, types_of.CustomType) and hasattr(info.cls, "model_fields"))


def _rewrites(flat: list[types_of.Type]) -> tuple[Callable[[str], object], ...]:
    """The rewrites for a union of these types; none if it includes text or another type that is written as text."""
    if not all(
        isinstance(item, (*_NUMBERS, *_TIMES, *_CHOICES, types_of.BoolType, types_of.NoneType)) for item in flat
    ):
        return ()
    numbers = any(isinstance(item, _NUMBERS) or any(isinstance(v, int) for v in _values(item)) for item in flat)
    return (
        *([switch] if any(isinstance(item, types_of.BoolType) for item in flat) else ()),
        *([number] if numbers else ()),
        *([clock_time] if any(isinstance(item, _TIMES) for item in flat) else ()),
    )


def _values(info: types_of.Type) -> Iterable[object]:
    if isinstance(info, types_of.LiteralType):
        return info.values
    return [member.value for member in info.cls] if isinstance(info, types_of.EnumType) else ()


def _choices(info: types_of.Type) -> frozenset[str]:
    return frozenset(value for value in _values(info) if isinstance(value, str))


def _members(info: types_of.Type) -> Iterable[types_of.Type]:
    if isinstance(info, types_of.Metadata):
        yield from _members(info.type)
    elif isinstance(info, types_of.UnionType):
        for member in info.types:
            yield from _members(member)
    else:
        yield info


def _items(info: types_of.CollectionType | types_of.TupleType) -> Iterable[types_of.Type]:
    for item in info.item_types if isinstance(info, types_of.TupleType) else (info.item_type,):
        yield from _members(item)
