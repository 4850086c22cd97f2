"""One parameter of a handler: how its value is found in what the client has sent, and made what it is annotated as.

It is worked out once, when the route is registered. Text becomes what the annotation says by msgspec's rules, with two
additions: ``on`` and ``off`` are booleans too, as of a form's checkbox, and ``yes`` and ``no``, as people write them;
and an empty value of what cannot be empty text counts as none, as of a form's field that was left blank.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, Union, get_args, get_origin

import msgspec
from msgspec import inspect as types_of

from trioweb.ground.errors import Fault, InputError
from trioweb.ground.faults import fault_of, missing
from trioweb.ground.values import complete, leaves_out
from trioweb.markers import MARKERS, Marker
from trioweb.uploads import UploadFile

ABSENT: Final[Any] = object()
"""Nothing was sent, and the handler has a default."""

_OBJECTS: Final = (
    types_of.StructType,
    types_of.DataclassType,
    types_of.TypedDictType,
    types_of.NamedTupleType,
    types_of.DictType,
    types_of.RawType,
)
_SEQUENCES: Final = (types_of.ListType, types_of.SetType, types_of.FrozenSetType, types_of.VarTupleType)
_TEXT: Final = (types_of.StrType, types_of.AnyType, types_of.BytesType, types_of.ByteArrayType)
_SWITCH: Final = {"on": True, "off": False, "yes": True, "no": False}


class Values(Protocol):
    """What inputs are found in: a query, headers, a form, the parameters of a path."""

    def get(self, name: str, /) -> Any:
        """The last value, or ``None``."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What an annotation asks for.

    Attributes:
        annotation: for msgspec, without our own marks.
        nullable: ``None`` is one of its types.
        many: it takes all values of a name.
        is_object: it has fields, or is a list of what has.
        is_file: it is an uploaded file, or a list of such.
        keeps_blank: an empty text is a value of it.
        switches: it may be a boolean.
        fields: of an object: the shapes by their names on the wire.
        incomplete: msgspec leaves something out of a value of it.
    """

    annotation: Any
    nullable: bool = False
    many: bool = False
    is_object: bool = False
    is_file: bool = False
    keeps_blank: bool = True
    switches: bool = False
    fields: dict[str, Shape] | None = None
    incomplete: bool = False

    def pick(self, values: Any, name: str) -> Any:
        """The raw value of ``name``, or ``ABSENT``."""
        if self.many:
            found = [self._plain(value) for value in values.getlist(name) if not self._is_blank(value)]
            return found or ABSENT
        value = values.get(name)
        return ABSENT if value is None or self._is_blank(value) else self._plain(value)

    def _is_blank(self, value: Any) -> bool:
        if value.__class__ is UploadFile:
            return not value.filename and not value.size
        return value == "" and not self.keeps_blank

    def _plain(self, value: Any) -> Any:
        return _SWITCH.get(value.lower(), value) if self.switches and isinstance(value, str) else value

    def pick_all(self, values: Any) -> dict[str, Any]:
        """The fields of an object that takes all of a query or a form."""
        known = self.fields or {}
        found = {name: value for name, value in values.items() if name not in known}
        for name, shape in known.items():
            if (value := shape.pick(values, name)) is not ABSENT:
                found[name] = value
        return found


@dataclass(frozen=True, slots=True)
class Input:
    """A parameter that is found by its name.

    Attributes:
        name: the parameter.
        where: ``path``, ``query``, ``header``, ``cookie`` or ``form``.
        key: its name on the wire; ``""`` for an object that takes all that is there.
        shape: what it must be.
        fallback: where nothing was sent: ``None``, or ``ABSENT`` to leave it to the handler's default.
        required: there is no fallback.
    """

    name: str
    where: str
    key: str
    shape: Shape
    fallback: Any = ABSENT
    required: bool = True

    def read(self, values: Any, arguments: dict[str, Any], faults: list[Fault]) -> None:
        """Find it in ``values`` and put it into ``arguments``; what is wrong with it is added to ``faults``."""
        if self.key:
            value = self.shape.pick(values, self.key)
            if value is ABSENT:
                self.leave_out(arguments, faults)
                return
        else:
            value = self.shape.pick_all(values)
        annotation = self.shape.annotation
        if annotation is str and value.__class__ is str:
            arguments[self.name] = value
            return
        loc = (self.where, self.key) if self.key else (self.where,)
        if self.where == "form" and self.key and (wrong := self._wrong_kind(value)):
            faults.append({"loc": list(loc), "msg": wrong})
            return
        try:
            converted = msgspec.convert(value, annotation, strict=False)
            arguments[self.name] = complete(converted) if self.shape.incomplete else converted
        except (msgspec.ValidationError, RecursionError) as error:
            faults.append(fault_of(error, loc))

    def _wrong_kind(self, value: Any) -> str:
        first = value[0] if isinstance(value, list) else value
        if self.shape.is_file == isinstance(first, UploadFile):
            return ""
        return "Expected a file, got a field" if self.shape.is_file else "Expected a field, got a file"

    def leave_out(self, arguments: dict[str, Any], faults: list[Fault]) -> None:
        """Nothing was sent."""
        if self.required:
            faults.append(missing(self.where, self.key) if self.key else missing(self.where))
        elif self.fallback is not ABSENT:
            arguments[self.name] = self.fallback


def raise_faults(faults: list[Fault]) -> None:
    """Refuse a request of which something does not fit.

    Raises:
        InputError: there are faults.
    """
    if faults:
        raise InputError(faults)


def marker_of(annotation: Any) -> tuple[Any, Marker | None]:
    """An annotation without our marker, and that.

    Raises:
        ValueError: there are several.
    """
    if get_origin(annotation) is Annotated:
        base, *notes = get_args(annotation)
        base, inner = marker_of(base)
        found = [_made(note) for note in notes if isinstance(note, MARKERS) or note in MARKERS]
        found += [inner] if inner is not None else []
        if len(found) > 1:
            raise ValueError("one of Query, Header, Cookie, Body, Form, File and Provide is enough")
        for meta in (note for note in notes if isinstance(note, msgspec.Meta)):
            base = Annotated[base, meta]
        return base, found[0] if found else None
    if get_origin(annotation) in (Union, types.UnionType):
        members, markers = zip(*(marker_of(member) for member in get_args(annotation)), strict=True)
        found = [marker for marker in markers if marker is not None]
        if len(found) > 1:
            raise ValueError("one marker is enough: put it around the whole union")
        if found:
            return Union[members], found[0]  # noqa: UP007 - made of a tuple
    return annotation, None


def _made(note: Any) -> Marker:
    made: Marker = note() if isinstance(note, type) else note
    return made


def shape_of(annotation: Any) -> Shape:
    """What an annotation asks for.

    Raises:
        TypeError: nothing that a client sends can be made into it.
    """
    return _shape(annotation, types_of.type_info(annotation))


def _shape(annotation: Any, info: types_of.Type, depth: int = 0) -> Shape:
    members = list(_members(info))
    nullable = any(isinstance(member, types_of.NoneType) for member in members)
    members = [member for member in members if not isinstance(member, types_of.NoneType)]
    lists = [member for member in members if isinstance(member, (*_SEQUENCES, types_of.TupleType))]
    items = [item for member in lists for item in _items(member)]
    flat = [item for item in (*members, *items) if item not in lists]
    files = [item for item in flat if _is_file(item)]
    for item in flat:
        if isinstance(item, types_of.CustomType) and not _is_file(item):
            raise TypeError(f"nothing that a client sends can be made into {item.cls.__qualname__}")
    objects = [member for member in members if isinstance(member, _OBJECTS)]
    fields = None
    if len(objects) == 1 and not depth and (described := getattr(objects[0], "fields", None)) is not None:
        fields = {field.encode_name: _field_shape(field.type) for field in described}
    return Shape(
        annotation,
        nullable,
        many=bool(lists),
        is_object=any(isinstance(item, _OBJECTS) for item in flat),
        is_file=bool(files),
        keeps_blank=any(isinstance(item, _TEXT) or _has_blank(item) for item in flat),
        switches=any(isinstance(item, types_of.BoolType) for item in flat),
        fields=fields,
        incomplete=not depth and leaves_out(info),
    )


def _field_shape(info: types_of.Type) -> Shape:
    try:
        return _shape(None, info, depth=1)
    except TypeError:  # a class of the user's own, which a subclass of Struct may know how to make
        return Shape(None)


def _members(info: types_of.Type) -> Iterable[types_of.Type]:
    if isinstance(info, types_of.Metadata):
        yield from _members(info.type)
    elif isinstance(info, types_of.UnionType):
        for member in info.types:
            yield from _members(member)
    else:
        yield info


def _items(info: Any) -> Iterable[types_of.Type]:
    for item in info.item_types if isinstance(info, types_of.TupleType) else (info.item_type,):
        yield from _members(item)


def _is_file(info: types_of.Type) -> bool:
    return isinstance(info, types_of.CustomType) and info.cls is UploadFile


def _has_blank(info: types_of.Type) -> bool:
    if isinstance(info, types_of.LiteralType):
        return "" in info.values
    return isinstance(info, types_of.EnumType) and any(member.value == "" for member in info.cls)
