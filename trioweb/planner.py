"""Where the arguments of a handler and of its dependencies come from, worked out once when the route is registered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, get_args

import trio

from trioweb.arguments import Arguments, BodyInput, Dependency
from trioweb.connection import Connection
from trioweb.ground.errors import RouteError
from trioweb.ground.templates import Converter
from trioweb.ground.values import json_decoder
from trioweb.inputs import ABSENT, Input, marker_of, shape_of
from trioweb.markers import MARKERS, Body, Cookie, File, Form, Header, Marker, Provide, Query
from trioweb.request import Request
from trioweb.signatures import is_a, label_of, parameters_of, unwrapped
from trioweb.uploads import UploadFile
from trioweb.websocket import WebSocket

_EMPTY: Final = inspect.Parameter.empty


class Planner:
    """Works out the arguments of a handler and of all its dependencies.

    Args:
        where: the route, for messages.
        path_params: the parameters of its path.
        websocket: it is that of a WebSocket, which has no body.
    """

    def __init__(self, where: str, path_params: Mapping[str, Converter], *, websocket: bool = False) -> None:
        self._websocket = websocket
        self._where = where
        self._path = path_params
        self._asking: list[Callable[..., Any]] = []
        self._body = ""  # the function whose body, or form, it is
        self._form = ""

    def plan(self, function: Callable[..., Any]) -> Arguments:
        """Work out the arguments of a function.

        Raises:
            RouteError: it has a parameter that nothing can fill.
        """
        label = label_of(function)
        if function in self._asking:
            raise RouteError(f"{self._where}: {label} is provided by way of itself: break the circle")
        self._asking.append(function)
        plan = Arguments()
        taken: set[str] = set()
        takes_rest = False
        for name, parameter in parameters_of(function).items():
            if parameter.kind is parameter.VAR_KEYWORD:
                takes_rest = True
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                raise RouteError(
                    f'{self._where}: {label} takes {name!r} by position only: remove the "/" from its parameters'
                )
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                self._add(plan, label, parameter)
                taken.add(name)
        if not takes_rest or len(self._asking) > 1:
            plan.drops = frozenset(self._path) - taken
        plan.passes_all = not (plan.takes_request or plan.waits or plan.drops or plan.path or plan.inputs)
        self._asking.pop()
        return plan

    def _add(self, plan: Arguments, label: str, parameter: inspect.Parameter) -> None:
        name = parameter.name
        where = f"{self._where}: the parameter {name!r} of {label}"
        given = parameter.default
        if isinstance(given, MARKERS) or (isinstance(given, type) and issubclass(given, MARKERS)):
            marker = given.__name__ if isinstance(given, type) else type(given).__name__
            raise RouteError(
                f"{where} has {marker} as its default: write {name}: Annotated[..., {marker}(...)], and behind it the "
                "default, if any"
            )
        if is_a(parameter, WebSocket if self._websocket else Request, "WebSocket" if self._websocket else "Request"):
            plan.request_names += (name,)
        elif is_a(parameter, Connection, "Connection"):
            self._add_connection(plan, parameter, where)
        elif is_a(parameter, trio.Nursery, "Nursery"):
            plan.nursery_names += (name,)
        elif name in self._path:
            # A parameter that names its converter has it done; of the plain ones the annotation says what they are.
            if self._path[name].name == "str" and _is_type(parameter.annotation):
                plan.path.append(_input(parameter, "path", name, parameter.annotation, where))
        elif name == ("ws" if self._websocket else "request"):
            plan.request_names += (name,)
        elif _is_type(parameter.annotation, text=True):
            self._add_input(plan, parameter, where)
        elif parameter.default is _EMPTY:
            raise self._unfillable(label, parameter)

    def _add_connection(self, plan: Arguments, parameter: inspect.Parameter, where: str) -> None:
        """What a request and a WebSocket have in common may be asked for by either; one for the other may not."""
        if parameter.annotation is not Connection:
            asked, there = ("Request", "WebSocket") if self._websocket else ("WebSocket", "Request")
            raise RouteError(f"{where} cannot be a {asked} on this route: annotate it as {there}")
        plan.request_names += (parameter.name,)

    def _add_input(self, plan: Arguments, parameter: inspect.Parameter, where: str) -> None:
        try:
            annotation, marker = marker_of(parameter.annotation)
        except ValueError as error:
            raise RouteError(f"{where}: {error}") from None
        if isinstance(marker, Provide):
            plan.provided[parameter.name] = self._dependency(marker.function, where)
            return
        if isinstance(marker, File) and (as_file := _file_for(annotation)) is not None:
            annotation = as_file
            plan.files.append(parameter.name)
        try:
            shape = shape_of(annotation)
        except TypeError as error:
            if marker is None and parameter.default is not _EMPTY:
                return  # a default of the user's own, which no client can change
            raise RouteError(
                f"{where} cannot be an input: {error}; take a Struct, a dataclass or plain types, or write "
                "Annotated[..., Provide(function)]"
            ) from error
        if marker is None:
            marker = File() if shape.is_file and not shape.is_object else Body() if shape.is_object else Query()
        self._place(plan, parameter, marker, annotation, where)

    def _place(
        self, plan: Arguments, parameter: inspect.Parameter, marker: Marker, annotation: Any, where: str
    ) -> None:
        name = parameter.name
        alias = getattr(marker, "alias", None)
        if self._websocket and isinstance(marker, (Body, Form, File)):
            raise RouteError(
                f"{where} comes from a body, and a WebSocket has none: take it from the path or the query string, or "
                "from a message by ws.receive_json(...)"
            )
        if isinstance(marker, Body):
            if self._body:
                raise RouteError(f"{where} takes the body, and {self._body} does so too: make one type of both")
            self._body = where
            found = _input(parameter, "body", "", annotation, where)
            plan.body = BodyInput(found, None if annotation is bytes else json_decoder(annotation))
        elif isinstance(marker, (Form, File)):
            self._form = where
            plan.form.append(_input(parameter, "form", alias or name, annotation, where))
        elif isinstance(marker, Header):
            plan.inputs.append(_input(parameter, "header", alias or name.replace("_", "-"), annotation, where))
        elif isinstance(marker, Cookie):
            plan.inputs.append(_input(parameter, "cookie", alias or name, annotation, where))
        elif isinstance(marker, Query):
            plan.inputs.append(_input(parameter, "query", alias or name, annotation, where))
        if self._body and self._form:
            raise RouteError(
                f"{self._form} takes a field of a form, and {self._body} the whole body: write Annotated[..., Form] "
                "for what is to be made of all the form's fields"
            )

    def _dependency(self, function: Callable[..., Any], where: str) -> Dependency:
        if not callable(function):
            raise RouteError(f"{where}: Provide takes a function, got {type(function).__qualname__}")
        plain = unwrapped(function)
        if inspect.isgeneratorfunction(plain):
            raise RouteError(f"{where}: {label_of(function)} yields: make it an async def")
        opens = None
        if inspect.isasyncgenfunction(plain):
            opens = asynccontextmanager(function)
        elif inspect.isasyncgenfunction(inspect.unwrap(plain)):
            opens = function  # an @asynccontextmanager already
        is_async = inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None))  # noqa: B004
        return Dependency(function, self.plan(function), opens, is_async)

    def _unfillable(self, label: str, parameter: inspect.Parameter) -> RouteError:
        known = ", ".join(f"{{{param}}}" for param in self._path) or "none"
        why = ""
        if isinstance(parameter.annotation, str):
            why = f" (its annotation {parameter.annotation!r} is not known at the top of its module)"
        own, body = "Request", " or in the body (a Struct, a dataclass ...)"
        if self._websocket:
            own, body = "WebSocket", ""
        return RouteError(
            f"{self._where}: nothing can fill the parameter {parameter.name!r} of {label}{why}: name a parameter of "
            f"the path (there is {known}), annotate it as {own} or trio.Nursery, as what it is in the query string "
            f"(int, str, list[str] ...){body}, or give it a default"
        )


def _is_type(annotation: Any, *, text: bool = False) -> bool:
    return annotation not in ((_EMPTY,) if text else (_EMPTY, str, Any)) and not isinstance(annotation, str)


def _input(parameter: inspect.Parameter, where: str, key: str, annotation: Any, label: str) -> Input:
    try:
        shape = shape_of(annotation)
    except TypeError as error:
        raise RouteError(f"{label} cannot be an input: {error}") from error
    if shape.is_object and where != "body":
        if shape.fields is None or where in {"path", "cookie", "header"}:
            raise RouteError(f"{label} has fields: they come from a body, a query string or a form, not from a {where}")
        key = ""
    if shape.many and where in {"path", "cookie"}:
        raise RouteError(f"{label} is a list, and of a {where} there is one value")
    has_default = parameter.default is not _EMPTY
    fallback = None if shape.nullable and not has_default else ABSENT
    return Input(parameter.name, where, key, shape, fallback, required=not (has_default or shape.nullable))


def _file_for(annotation: Any) -> Any:
    """The annotation with ``UploadFile`` for ``bytes``, where that is all that it says."""
    if annotation is bytes:
        return UploadFile
    if annotation == list[bytes]:
        return list[UploadFile]
    if set(get_args(annotation)) == {bytes, type(None)}:
        return UploadFile | None
    return None
