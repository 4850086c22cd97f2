"""One input of a handler: find its value in the request, and convert it to the annotation of the parameter."""

from __future__ import annotations

import copy
import copyreg
import inspect
from typing import Final

import msgspec

from trioweb.ground.errors import Fault, RouteError
from trioweb.ground.faults import all_faults, faults_of, missing
from trioweb.ground.foreign import from_plain
from trioweb.ground.values import complete
from trioweb.handlers.shapes import Shape, Values
from trioweb.messages.uploads import UploadFile

ABSENT: Final = object()
"""Instead of a value: nothing was sent, or the function's own default is used."""

_FACTORY: Final = type(msgspec.defstruct("_Sample", [("it", list, [])]).__struct_defaults__[0])
"""The class of a default in the signature of a Struct that stands for a new object."""


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
        elif (shape.is_float or not self.key) and (
            wrong_ones := [*shape.not_finite(value, (self.where, self.key) if self.key else (self.where,))]
        ):
            faults += wrong_ones
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
            if where in {"query", "form"}:
                raise RouteError(f"{label} is a list or a union of objects, which only JSON can say: write Body there")
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
