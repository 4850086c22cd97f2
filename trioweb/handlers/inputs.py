"""One input of a handler: find its value in the request, and convert it to the annotation of the parameter.

How to do that is decided once, when the route is registered. Text is converted by msgspec's rules, with two additions:
if the type does not include text, numbers, times and booleans may be written as browsers and people write them
(``ground.texts``); and empty text counts as not sent, as the blank field of a form.
"""

from __future__ import annotations

import copy
import copyreg
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import inspect as types_of
from msgspec import structs

from trioweb.ground.annotations import Annotation
from trioweb.ground.errors import Fault, RouteError
from trioweb.ground.faults import all_faults, faults_of, missing
from trioweb.ground.foreign import Adapter, adapter_of, by_pydantic, from_plain
from trioweb.ground.texts import clock_time, number, switch
from trioweb.ground.values import complete, leaves_out, type_of
from trioweb.messages.uploads import UploadFile

Values: TypeAlias = Any
"""Where inputs are found: path parameters and cookies are mappings; a query, headers and a form are multi-mappings."""
ABSENT: Final = object()
"""Instead of a value: nothing was sent, or the function's own default is used."""

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

_FACTORY: Final = type(msgspec.defstruct("_Sample", [("it", list, [])]).__struct_defaults__[0])
"""The class of a default in the signature of a Struct that stands for a new object."""


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


class Input(msgspec.Struct, frozen=True):
    """A parameter whose value is found by a name.

    Attributes:
        name: the parameter.
        where: ``path``, ``query``, ``header``, ``cookie``, ``form`` or ``body``.
        key: the name in the request; ``""`` for an object that takes all fields.
        shape: how to find and convert it.
        fallback: the value if nothing was sent: ``None``, a default that is copied for each request, or ``ABSENT`` to
            leave the argument out, so that the function's default is used.
        required: there is no fallback.
        default: the parameter's default, for a description of the route; ``ABSENT`` if it has none.
    """

    name: str
    where: str
    key: str
    shape: Shape
    fallback: object = ABSENT
    required: bool = True
    default: object = ABSENT

    def read(self, values: Values, arguments: dict[str, object], faults: list[Fault]) -> None:
        """Convert the value in ``values`` and put it into ``arguments``, or append to ``faults``."""
        shape = self.shape
        value = None if shape.many else values.get(self.key)
        if not (value and self.key and value.__class__ is str):  # most are: then there is nothing to pick
            value = shape.pick(values, self.key) if self.key else shape.pick_all(values)
        if value is None:
            self.leave_out(arguments, faults)
        elif shape.annotation is str and value.__class__ is str:  # the most frequent type: without msgspec
            arguments[self.name] = value
        elif self.where == "form" and self.key and (wrong := self._wrong_kind(value)):
            faults.append({"loc": [self.where, self.key], "msg": wrong})
        elif shape.adapter is not None:
            try:
                arguments[self.name] = shape.adapter.convert(value)
            except msgspec.ValidationError as error:
                faults += faults_of(error, (self.where, self.key) if self.key else (self.where,))
        else:
            try:
                try:
                    boxed = msgspec.convert({"value": value}, shape.box, strict=False, dec_hook=from_plain)
                    converted: object = boxed.value
                except msgspec.ValidationError:
                    value = shape.rewritten(value)
                    converted = msgspec.convert(value, shape.annotation, strict=False, dec_hook=from_plain)
                arguments[self.name] = complete(converted) if shape.incomplete else converted
            except (msgspec.ValidationError, RecursionError) as error:
                loc = (self.where, self.key) if self.key else (self.where,)
                faults += all_faults(value, shape.annotation, loc, strict=False) or faults_of(error, loc)

    def _wrong_kind(self, value: object) -> str:
        first = value[0] if isinstance(value, list) else value
        if self.shape.is_file == isinstance(first, UploadFile):
            return ""
        return "Expected a file, got a field" if self.shape.is_file else "Expected a field, got a file"

    def leave_out(self, arguments: dict[str, object], faults: list[Fault]) -> None:
        """Use the fallback, or append to ``faults``: nothing was sent."""
        if self.required:
            faults.append(missing(self.where, self.key) if self.key else missing(self.where))
        elif self.fallback is not ABSENT:
            arguments[self.name] = copy.deepcopy(self.fallback)


def input_of(parameter: inspect.Parameter, where: str, key: str, shape: Shape, label: str) -> Input:
    """The input for a parameter.

    Raises:
        RouteError: if that place has no such values, or the default cannot be copied.
    """
    if shape.is_object and where != "body":
        if not shape.takes_form or where in {"path", "cookie", "header"}:
            raise RouteError(f"{label} has fields: they come from a body, a query string or a form, not from a {where}")
        key = ""
    if shape.many and where in {"path", "cookie"}:
        raise RouteError(f"{label} is a list, and of a {where} there is one value")
    if parameter.default is inspect.Parameter.empty:
        return Input(parameter.name, where, key, shape, None if shape.nullable else ABSENT, required=not shape.nullable)
    try:
        fallback = fallback_of(parameter.default)
    except Exception as error:
        raise RouteError(
            f"{label} has a default that cannot be copied for each request ({type(error).__name__}: {error}): write "
            "None, and make it in the handler"
        ) from error
    return Input(parameter.name, where, key, shape, fallback, False, parameter.default)


def fallback_of(default: object) -> object:
    """The default, to be copied for each request; or ``ABSENT`` if the function's own default needs no copy.

    No copy is needed of immutable values; of objects without state, which are compared by identity, such as ``MISSING =
    object()`` and the placeholder for a ``default_factory`` in the signature of a dataclass; and of a Struct's factory.

    Raises:
        Exception: whatever copying the default raised.
    """
    if isinstance(default, _FACTORY) or copy.deepcopy(default) is default:
        return ABSENT
    reduced = default.__reduce_ex__(4)
    return ABSENT if reduced[:2] == (copyreg.__newobj__, (type(default),)) and not any(reduced[2:]) else default  # type: ignore[attr-defined]


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
            fields = {name: _shape(None, info, depth=1) for name, info in _fields_of_model(objects[0].cls)}
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
        choices=frozenset().union(*(_choices(item) for item in flat)),
        fields=fields,
        rest=rest,
        incomplete=not depth and leaves_out(annotation),
        box=None if depth else msgspec.defstruct("Box", [("value", annotation)]),
    )


def _is_object(info: types_of.Type) -> bool:
    return isinstance(info, _OBJECTS) or (isinstance(info, types_of.CustomType) and hasattr(info.cls, "model_fields"))


def _fields_of_model(cls: Any) -> Iterable[tuple[str, types_of.Type]]:
    """The fields of a model of pydantic's, by the names that clients send."""
    for name, field in cls.model_fields.items():
        sent = field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name
        try:
            yield sent, types_of.type_info(field.annotation)
        except TypeError:
            yield sent, types_of.AnyType()


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
