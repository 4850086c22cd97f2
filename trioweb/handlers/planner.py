"""Plan where the arguments of a handler and its dependencies come from, once, when the route is registered.

Every parameter is an input, a dependency, the request or its nursery; anything else is an error, also if the parameter
has a default: a login that is declared wrongly must not be skipped.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

import trio

from trioweb.ground.annotations import Annotation
from trioweb.ground.errors import RouteError
from trioweb.ground.templates import Converter
from trioweb.ground.values import decoder_of
from trioweb.handlers.arguments import Arguments, BodyInput, Dependency, sources_of
from trioweb.handlers.converted import MADE, fits, says_nothing
from trioweb.handlers.inputs import input_of
from trioweb.handlers.markers import (
    Body,
    Cookie,
    File,
    Form,
    Header,
    Marker,
    Provide,
    Query,
    check_notes,
    marker_of,
    misplaced_default,
)
from trioweb.handlers.mistakes import check_sense, misplaced, unfillable, useless, written_for
from trioweb.handlers.shapes import Shape, shape_of
from trioweb.handlers.signatures import (
    Function,
    Kind,
    Unresolved,
    bound_names,
    innermost,
    is_a,
    kind_of,
    label_of,
    parameters_of,
)
from trioweb.messages.connection import Connection
from trioweb.messages.request import Request
from trioweb.messages.response import Response
from trioweb.messages.uploads import UploadFile
from trioweb.messages.websocket import WebSocket

_EMPTY: Final = inspect.Parameter.empty


class Planner:
    """Plans the arguments of a handler and of all its dependencies.

    Args:
        where: the route, for messages.
        path_params: the parameters of its path.
        websocket: it is the route of a WebSocket, which has no body.
        overrides: what is called in the place of a dependency.
    """

    def __init__(
        self,
        where: str,
        path_params: Mapping[str, Converter],
        *,
        websocket: bool = False,
        overrides: Mapping[Function, Function] = MappingProxyType({}),
    ) -> None:
        self._overrides = overrides
        self._websocket = websocket
        self._own: type[Connection] = WebSocket if websocket else Request
        self._where = where
        self._path = path_params
        self._left = set(path_params)  # path parameters that no function takes so far
        self._stack: list[object] = []  # the keys of the functions that are being planned: to find cycles
        self._provided: dict[object, Dependency] = {}
        self._body = ""  # the parameter that takes the body, for messages: there can be only one
        self._form = ""  # a parameter that takes a field of a form: then none takes the body

    def plan(self, handler: Function, dependencies: Iterable[Provide] = ()) -> Arguments:
        """Plan the arguments of a handler.

        Args:
            handler: the handler.
            dependencies: are called before it, and before those that it takes.

        Raises:
            RouteError: if a parameter has no source, or no function takes a parameter of the path.
        """
        plan = self._plan(handler, _key_of(handler), dependencies)
        if self._left:
            name = min(self._left)
            raise RouteError(
                f"{self._where}: nothing takes {{{name}}} of the path: {label_of(handler)} has "
                f"{', '.join(parameters_of(handler)) or 'no parameters'}: name one of them {name}, or take request: "
                "Request and read request.path_params"
            )
        return plan

    def _plan(self, function: Function, key: object, dependencies: Iterable[Provide] = ()) -> Arguments:
        label = label_of(function)
        if key in self._stack:
            raise RouteError(f"{self._where}: {label} is provided by way of itself: break the circle")
        check_sense(self._where, function, label)
        self._stack.append(key)
        plan = Arguments()
        for each in dependencies:
            plan.provided.append(("", self._dependency(each.function, f"{self._where}: dependencies")))
        taken: set[str] = set()
        takes_rest = False
        for name, parameter in parameters_of(function).items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                # **kwargs of the handler itself gets the path parameters that it has no other parameter for.
                gets_path = parameter.kind is parameter.VAR_KEYWORD and len(self._stack) == 1
                takes_rest |= gets_path
                if not says_nothing(parameter.annotation, self._path if gets_path else {}):
                    raise RouteError(f"{self._where}: {label} takes {parameter}, which is no input: name each one")
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                raise RouteError(
                    f'{self._where}: {label} takes {name!r} by position only: remove the "/" from its parameters'
                )
            else:
                self._take(plan, function, label, parameter)
                taken.add(name)
        # Of the rest all are taken but those that a partial has bound: a client would change these.
        plan.drops = frozenset(self._path) & bound_names(function) if takes_rest else frozenset(self._path) - taken
        if takes_rest or plan.request_names:
            self._left &= set() if plan.request_names else plan.drops
        plan.passes_all = not (plan.waits or plan.takes_request or plan.drops or plan.path or plan.inputs)
        plan.sources = sources_of(plan.inputs)
        within = {id(each): each for _, found in plan.provided for each in found.arguments.everything}
        plan.everything = (plan, *within.values())
        self._stack.pop()
        return plan

    def _take(self, plan: Arguments, function: Function, label: str, parameter: inspect.Parameter) -> None:
        try:
            self._add(plan, label, parameter)
        except RouteError as error:
            if not (instead := written_for(function)):
                raise
            raise useless(self._where, label, instead) from error

    def _add(self, plan: Arguments, label: str, parameter: inspect.Parameter) -> None:
        """Add a parameter: by its marker, else by its type, its name in the path, and at last as an unmarked input."""
        name, annotation, given = parameter.name, parameter.annotation, parameter.default
        where = f"{self._where}: the parameter {name!r} of {label}"
        if wanted := misplaced_default(given):
            named = given.__name__ if isinstance(given, type) else type(given).__name__
            raise RouteError(
                f"{where} has {named} as its default: write {name}: Annotated[..., {wanted}], and behind it the "
                "default, if any"
            )
        try:
            annotation, marker = (annotation, None) if annotation is _EMPTY else marker_of(annotation)
        except ValueError as error:
            raise RouteError(f"{where}: {error}") from None
        if isinstance(marker, Provide):
            plan.provided.append((name, self._dependency(marker.function, where)))
        elif marker is not None:
            if name in self._path:
                raise RouteError(f"{where} is in the path, and comes from nowhere else: leave {marker!r} out")
            self._add_input(plan, parameter, annotation, marker, where)
        elif not self._add_known(plan, name, annotation, where):
            if isinstance(annotation, Unresolved):
                raise RouteError(
                    f"{where} has an annotation that cannot be evaluated: {annotation.text!r}: {annotation.reason}. "
                    "Define or import what it names at the top of the module, above the handler, not only under "
                    "TYPE_CHECKING"
                )
            if name in self._path:
                self._add_path(plan, parameter, annotation, where)
            elif annotation is _EMPTY:
                raise unfillable(self._where, label, parameter, self._path, websocket=self._websocket)
            else:
                self._add_input(plan, parameter, annotation, marker, where)

    def _add_known(self, plan: Arguments, name: str, annotation: Annotation, where: str) -> bool:
        """Add the request, the WebSocket or the nursery, by its annotation or its name; ``False`` for anything else."""
        own_name = "ws" if self._websocket else "request"
        by_name = name == own_name and name not in self._path and annotation in (_EMPTY, Any)
        if is_a(annotation, trio.Nursery):
            plan.nursery_names += (name,)
        elif by_name or is_a(annotation, self._own):
            plan.request_names += (name,)
        elif is_a(annotation, Request) or is_a(annotation, WebSocket):
            raise misplaced(where, websocket=self._websocket)
        elif is_a(annotation, Response):
            raise RouteError(f"{where} is no input: write `return Response(...)`, with its headers, cookies and status")
        elif is_a(annotation, Connection):
            plan.request_names += (name,)
        else:
            return False
        return True

    def _add_path(self, plan: Arguments, parameter: inspect.Parameter, annotation: Annotation, where: str) -> None:
        """Add a path parameter: text is converted to the annotation, the value of a converter must be of its type."""
        name = parameter.name
        self._left.discard(name)
        converter = self._path[name].name
        made = MADE.get(converter)
        if made is None or annotation in (_EMPTY, Any, made):  # a user's own converter makes any value: not checked
            return
        if made is not str and not fits(made, annotation):
            raise RouteError(
                f"{where} is made {made.__name__} by {{{name}:{converter}}}: annotate it as {made.__name__}, or write "
                f"{{{name}}} in the path"
            )
        try:
            check_notes(annotation)
            shape = shape_of(annotation)
        except ValueError as error:
            raise RouteError(f"{where}: {error}") from None
        except TypeError as error:
            raise RouteError(f"{where} cannot be an input: {error}") from error
        plan.path.append(input_of(parameter, "path", name, shape, where))

    def _add_input(
        self, plan: Arguments, parameter: inspect.Parameter, annotation: Annotation, marker: Marker | None, where: str
    ) -> None:
        if isinstance(marker, File) and (as_file := _file_for(annotation)) is not None:
            annotation = as_file
            plan.files.add(parameter.name)
        try:
            shape = shape_of(annotation)
            check_notes(annotation)
        except Exception as error:  # a field's annotation may raise anything when it is evaluated
            raise RouteError(
                f"{where} cannot be an input: {error}; take a Struct, a dataclass or plain types, write "
                "Annotated[..., Provide(function)], or say with app.add_type(...) how to make one"
            ) from error
        if marker is None:
            marker = File() if shape.is_file and not shape.is_object else Body() if shape.is_object else Query()
        self._place(plan, parameter, marker, shape, where)

    def _place(self, plan: Arguments, parameter: inspect.Parameter, marker: Marker, shape: Shape, where: str) -> None:
        name = parameter.name
        key = getattr(marker, "alias", None) or name
        if self._websocket and isinstance(marker, (Body, Form, File)):
            raise RouteError(
                f"{where} comes from a body, and a WebSocket has none: take it from the path or the query string, or "
                "from a message by ws.receive_json(...)"
            )
        if isinstance(marker, Body):
            if self._body:
                raise RouteError(f"{where} takes the body, and {self._body} does so too: make one type of both")
            self._body = where
            found = input_of(parameter, "body", "", shape, where)
            plan.body = BodyInput.plan(found, marker.media_type, decoder_of(shape.annotation), where)
        elif isinstance(marker, (Form, File)):
            self._form = where
            plan.form.append(input_of(parameter, "form", key, shape, where))
        elif isinstance(marker, Header):
            plan.inputs.append(input_of(parameter, "header", marker.alias or name.replace("_", "-"), shape, where))
        elif isinstance(marker, (Cookie, Query)):
            source = "cookie" if isinstance(marker, Cookie) else "query"
            plan.inputs.append(input_of(parameter, source, key, shape, where))
        if self._body and self._form:
            raise RouteError(
                f"{self._form} takes a field of a form, and {self._body} the whole body: write Annotated[..., Form] "
                "for what is to be made of all the form's fields"
            )

    def _dependency(self, function: Function, where: str) -> Dependency:
        function = next((fake for real, fake in self._overrides.items() if real == function), function)
        if not callable(function):
            got = f"{where}: Provide takes a function, got {type(function).__qualname__}"
            raise RouteError(f"{got}: {written_for(function) or 'write a function that returns it'}")
        key = _key_of(function)
        if key in self._provided:
            return self._provided[key]
        kind, written = kind_of(function), innermost(function)
        # Of a decorated one, by @asynccontextmanager or another, what it returns is seen when it is called.
        opens = kind is Kind.GENERATOR or inspect.isasyncgenfunction(written) or inspect.isgeneratorfunction(written)
        found = Dependency(function, key, self._plan(function, key), opens, kind is Kind.COROUTINE)
        self._provided[key] = found
        return found


def _key_of(function: Function) -> object:
    """The key of a dependency. Not its ``id``: a method is a new object at each access, and equal to the others."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function


def _file_for(annotation: Annotation) -> Annotation:
    """The annotation with ``UploadFile`` for ``bytes``; ``None`` if it is not one of ``bytes``."""
    if annotation is bytes:
        return UploadFile
    if annotation == list[bytes]:
        return list[UploadFile]
    if set(get_args(annotation)) == {bytes, type(None)}:
        return UploadFile | None
    return None
