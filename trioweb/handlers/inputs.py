"""One parameter of a handler: how its value is found in what the client has sent, and made what it is annotated as.

It is worked out once, when the route is registered. Text becomes what the annotation says by msgspec's rules, with two
additions: numbers, times and booleans may be written as browsers and people write them (``ground.texts``), where no
text would fit; and an empty value of what cannot be empty text counts as none, as of a form's field that was left
blank.
"""

from __future__ import annotations

import copy
import copyreg
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec
from msgspec import inspect as types_of

from trioweb.ground.errors import Fault, InputError
from trioweb.ground.faults import fault_of, missing
from trioweb.ground.texts import clock_time, number, switch
from trioweb.ground.values import complete, leaves_out, type_of
from trioweb.messages.uploads import UploadFile

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
_NUMBERS: Final = (types_of.IntType, types_of.FloatType, types_of.DecimalType)
_TIMES: Final = (types_of.DateTimeType, types_of.TimeType)
_CHOICES: Final = (types_of.LiteralType, types_of.EnumType)

_FACTORY: Final = type(msgspec.defstruct("_Sample", [("it", list, [])]).__struct_defaults__[0])
"""Of what stands in the signature of a Struct for a default that is made anew."""


class Values(Protocol):
    """What inputs are found in: a query, headers, a form, the parameters of a path."""

    def get(self, name: str, /) -> Any:
        """The last value, or ``None``."""
        ...


class Shape(msgspec.Struct, frozen=True):
    """What an annotation asks for.

    Attributes:
        annotation: for msgspec, without our own marks.
        nullable: ``None`` is one of its types.
        many: it takes all values of a name.
        is_object: it has fields, or is a list of what has.
        is_file: it is an uploaded file, or a list of such.
        keeps_blank: an empty text is a value of it.
        rewrites: what text is put through first.
        choices: texts that are values of it, and not put through anything.
        fields: of an object: the shapes by their names on the wire.
        rest: of a ``dict``: the shape of all its values.
        incomplete: msgspec leaves something out of a value of it.
    """

    annotation: Any
    nullable: bool = False
    many: bool = False
    is_object: bool = False
    is_file: bool = False
    keeps_blank: bool = True
    rewrites: tuple[Callable[[str], Any], ...] = ()
    choices: frozenset[str] = frozenset()
    fields: dict[str, Shape] | None = None
    rest: Shape | None = None
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
        if value.__class__ is str and value not in self.choices:
            for rewrite in self.rewrites:
                if (written := rewrite(value)) != value:
                    return written
        return value

    @property
    def takes_form(self) -> bool:
        """Whether it can be made of the fields of a form, or of a query."""
        return self.fields is not None or self.rest is not None

    def pick_all(self, values: Any) -> dict[str, Any]:
        """The fields of an object that takes all of a query or a form."""
        known = self.fields or {}
        rest = self.rest or _AS_IT_IS
        found = {name: rest.pick(values, name) for name in dict.fromkeys(values) if name not in known}
        found.update({name: shape.pick(values, name) for name, shape in known.items()})
        return {name: value for name, value in found.items() if value is not ABSENT}


_AS_IT_IS: Final = Shape(Any)


class Input(msgspec.Struct, frozen=True):
    """A parameter that is found by its name.

    Attributes:
        name: the parameter.
        where: ``path``, ``query``, ``header``, ``cookie`` or ``form``.
        key: its name on the wire; ``""`` for an object that takes all that is there.
        shape: what it must be.
        fallback: where nothing was sent: ``None``, a default that is copied for each request, or ``ABSENT`` to leave
            it to the handler's own.
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
            arguments[self.name] = copy.deepcopy(self.fallback)


def fallback_of(default: Any) -> Any:
    """What a default is where nothing was sent: itself, to be copied for each request; or ``ABSENT``, to leave it to
    the function.

    Left to that is what cannot be changed; what has no state, and so is told from others by its identity, such as
    ``MISSING = object()`` and what a dataclass has for a factory in its signature; and what a Struct has there.

    Raises:
        Exception: whatever copying it raised.
    """
    if isinstance(default, _FACTORY) or copy.deepcopy(default) is default:
        return ABSENT
    reduced = default.__reduce_ex__(4)
    return ABSENT if reduced[:2] == (copyreg.__newobj__, (type(default),)) and not any(reduced[2:]) else default  # type: ignore[attr-defined]


def raise_faults(faults: list[Fault]) -> None:
    """Refuse a request of which something does not fit.

    Raises:
        InputError: there are faults.
    """
    if faults:
        raise InputError(faults)


def shape_of(annotation: Any) -> Shape:
    """What an annotation asks for.

    Raises:
        TypeError: if nothing that a client sends can be made into it.
    """
    return _shape(annotation, type_of(annotation, UploadFile))


def _shape(annotation: Any, info: types_of.Type, depth: int = 0) -> Shape:
    members = list(_members(info))
    nullable = any(isinstance(member, types_of.NoneType) for member in members)
    members = [member for member in members if not isinstance(member, types_of.NoneType)]
    lists = [member for member in members if isinstance(member, (*_SEQUENCES, types_of.TupleType))]
    items = [item for member in lists for item in _items(member)]
    flat = [item for item in (*members, *items) if item not in lists]
    objects = [member for member in members if isinstance(member, _OBJECTS)]
    fields = rest = None
    if len(objects) == 1 and not depth:
        if isinstance(objects[0], types_of.DictType):
            rest = _shape(None, objects[0].value_type, depth=1)
        elif (described := getattr(objects[0], "fields", None)) is not None:
            fields = {field.encode_name: _shape(None, field.type, depth=1) for field in described}
    return Shape(
        annotation,
        nullable,
        many=bool(lists),
        is_object=any(isinstance(item, _OBJECTS) for item in flat),
        is_file=any(_is_file(item) for item in flat),
        keeps_blank=any(isinstance(item, _TEXT) or "" in _choices(item) for item in flat),
        rewrites=_rewrites(flat),
        choices=frozenset().union(*(_choices(item) for item in flat)),
        fields=fields,
        rest=rest,
        incomplete=not depth and leaves_out(info),
    )


def _rewrites(flat: list[types_of.Type]) -> tuple[Callable[[str], Any], ...]:
    """What text is put through that is to be one of these: nothing where text as it is may be meant."""
    if not all(
        isinstance(item, (*_NUMBERS, *_TIMES, *_CHOICES, types_of.BoolType, types_of.NoneType)) for item in flat
    ):
        return ()
    numbers = any(isinstance(item, _NUMBERS) or _has_numbers(item) for item in flat)
    return (
        *([switch] if any(isinstance(item, types_of.BoolType) for item in flat) else ()),
        *([number] if numbers else ()),
        *([clock_time] if any(isinstance(item, _TIMES) for item in flat) else ()),
    )


def _values(info: types_of.Type) -> Iterable[Any]:
    if isinstance(info, types_of.LiteralType):
        return info.values
    return [member.value for member in info.cls] if isinstance(info, types_of.EnumType) else ()


def _choices(info: types_of.Type) -> frozenset[str]:
    return frozenset(value for value in _values(info) if isinstance(value, str))


def _has_numbers(info: types_of.Type) -> bool:
    return any(isinstance(value, int) for value in _values(info))


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
