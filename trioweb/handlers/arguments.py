"""Make the arguments of a handler or dependency for a request, as ``trioweb.handlers.planner`` has planned them.

The order: first the inputs that need no waiting (path, query, headers, cookies), of the handler and all its
dependencies, so that one 422 names all that are invalid; then the dependencies; then the body.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec

from trioweb.ground.chunks import JSON_TYPE
from trioweb.ground.errors import Fault, HTTPError, InputError, RouteError
from trioweb.ground.faults import decode_json
from trioweb.ground.http.asgi import PathParams
from trioweb.ground.http.multidict import MultiDict
from trioweb.ground.values import Decode
from trioweb.handlers.inputs import Input
from trioweb.handlers.managers import manager_of
from trioweb.handlers.shapes import Values
from trioweb.handlers.signatures import Function, call_in_thread, label_of
from trioweb.messages.connection import FORM_TYPE, URLENCODED_TYPE, Connection, media_type_of, wrong_type
from trioweb.messages.request import Request
from trioweb.messages.uploads import UploadFile

Source: TypeAlias = Callable[[Any], Values]
"""Gives the values of a connection: those of its query, for instance."""
_FORMS: Final = frozenset({FORM_TYPE, URLENCODED_TYPE})
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


class BodyInput(msgspec.Struct):
    """A parameter that takes the whole body.

    Attributes:
        found: the name and type of the parameter.
        media_type: the only accepted content type; ``""`` accepts JSON and, for a type with fields, forms.
        decode: decodes JSON; ``None`` for ``bytes``, and for ``str`` with a text media type.
    """

    found: Input
    media_type: str
    decode: Decode | None

    @classmethod
    def plan(cls, found: Input, media_type: str | None, decode: Decode, where: str) -> BodyInput:
        """Decide how to read the body; a ``RouteError`` if the type cannot be decoded from the media type."""
        kind = (media_type or "").lower()
        annotation = found.shape.annotation
        if media_type is not None and not _MEDIA_TYPE.fullmatch(kind):
            raise RouteError(
                f'{where}: Body takes a media type without parameters, got {media_type!r}: write "application/json"'
            )
        if annotation is bytes or (annotation is str and kind.startswith("text/")):
            return cls(found, kind, None)
        if kind and not (_is_json(kind) or (kind in _FORMS and found.shape.takes_form)):
            raise RouteError(
                f'{where} cannot be made of {kind!r}: write Body("application/json"), or take bytes and read them'
            )
        return cls(found, kind, decode)

    async def read(self, request: Request, arguments: dict[str, object], faults: list[Fault]) -> None:
        """Read the body into ``arguments``; append what is invalid to ``faults``.

        Raises:
            HTTPError: 400 if the body is not JSON or not a form, 415 for another content type; and as ``request.body``.
        """
        kind = media_type_of(request)
        is_form = kind in _FORMS and self.found.shape.takes_form and self.media_type in ("", kind)
        content: Any = await (request.form() if is_form and self.decode is not None else request.body())
        if not content and not self.found.required:
            self.found.leave_out(arguments, faults)  # of any content type: some clients send one with each POST
        elif self.media_type and kind != self.media_type:
            raise wrong_type(kind, self.media_type)
        elif self.decode is None:
            arguments[self.found.name] = await request.text() if self.found.shape.annotation is str else content
        elif is_form:
            self.found.read(content, arguments, faults)
        elif kind == JSON_TYPE or _is_json(kind):
            try:
                arguments[self.found.name] = decode_json(self.decode, content, "The request body", ("body",))
            except InputError as error:
                faults += error.errors
        elif kind or content:
            # Not JSON by default: another site's page can send a body without a type, with the user's cookies.
            raise wrong_type(kind, JSON_TYPE)
        else:
            self.found.leave_out(arguments, faults)


def _is_json(kind: str) -> bool:
    return kind == JSON_TYPE or (kind.startswith("application/") and kind.endswith("+json"))


class Arguments(msgspec.Struct):
    """The sources of the arguments of one function.

    Attributes:
        request_names: the parameters that take the request.
        nursery_names: the parameters that take the request's nursery.
        passes_all: its arguments are exactly the path parameters, unchanged.
        drops: path parameters that it does not take.
        path: path parameters that are converted to their annotation.
        inputs: inputs from query, headers and cookies.
        sources: the same, each group with the function that gives its values, so that they are parsed once.
        form: inputs from fields of a form.
        files: of these, parameters that take the bytes of a file.
        body: the input that takes the whole body.
        provided: dependencies in the order of their calls, each with the name of its parameter; ``""`` for one that is
            called for what it does.
        everything: itself, and the arguments of all its dependencies, each once.
    """

    request_names: tuple[str, ...] = ()
    nursery_names: tuple[str, ...] = ()
    passes_all: bool = False
    drops: frozenset[str] = frozenset()
    path: list[Input] = msgspec.field(default_factory=list)
    inputs: list[Input] = msgspec.field(default_factory=list)
    sources: list[tuple[Source, list[Input]]] = msgspec.field(default_factory=list)
    form: list[Input] = msgspec.field(default_factory=list)
    files: set[str] = msgspec.field(default_factory=set)
    body: BodyInput | None = None
    provided: list[tuple[str, Dependency]] = msgspec.field(default_factory=list)
    everything: tuple[Arguments, ...] = ()

    @property
    def waits(self) -> bool:
        """They need the body or dependencies: call ``pass_to`` and not ``bind``."""
        return bool(self.form or self.body or self.provided)

    @property
    def takes_request(self) -> bool:
        """They need the request or its nursery, or something that is closed after the response."""
        return bool(self.form or self.provided or self.request_names or self.nursery_names)

    def bind(
        self, params: PathParams, connection: Connection | None, faults: list[Fault] | None = None
    ) -> dict[str, object]:
        """The arguments that need no waiting.

        Args:
            params: the path parameters.
            connection: the request; may be ``None`` if only path parameters are taken.
            faults: takes what is missing or invalid, which is raised unless this is given.

        Raises:
            InputError: if inputs are missing or invalid.
            HTTPError: 400 if the query string cannot be decoded.
        """
        wrong: list[Fault] = [] if faults is None else faults
        arguments: dict[str, object] = dict(params)
        for name in self.drops:
            del arguments[name]
        for found in self.path:
            found.read(params, arguments, wrong)
        for source, inputs in self.sources:
            values = source(connection)
            for found in inputs:
                found.read(values, arguments, wrong)
        for name in self.request_names:
            arguments[name] = connection
        for name in self.nursery_names:
            arguments[name] = connection and connection.nursery
        if wrong and faults is None:
            raise InputError(wrong)
        return arguments

    async def pass_to(
        self, function: Callable[..., Awaitable[object]], params: PathParams, connection: Connection
    ) -> object:
        """Call a function with all arguments; waits for dependencies and the body.

        If an input that needs no waiting is invalid, no dependency is called; the body is read nevertheless, so that
        the response names what is invalid in it too.

        Raises:
            InputError: if inputs are missing or invalid.
            Exception: whatever ``BodyInput.read`` or a dependency raised.
        """
        faults: list[Fault] = []
        if not self.provided:  # nothing is called before the body is read
            arguments = self.bind(params, connection, faults)
            await self._read_body(arguments, connection, faults)
            if faults:
                raise InputError(faults)
            calling = function(**arguments)
            del arguments  # else what the function drops would not be freed
            return await calling
        bound = {id(each): each.bind(params, connection, faults) for each in self.everything}
        if faults:
            for each in self.everything:
                await each._read_body(bound[id(each)], connection, faults)
            raise InputError(faults)
        calling = function(**await self.complete(bound, connection))
        del bound
        return await calling

    async def complete(self, bound: Mapping[int, dict[str, object]], connection: Connection) -> Mapping[str, object]:
        """Add the arguments that need waiting.

        Args:
            bound: the other arguments of this function and its dependencies, by the ``id`` of their ``Arguments``.
            connection: the request.
        """
        arguments = bound[id(self)]
        for name, dependency in self.provided:
            value = await dependency.value(bound, connection)
            if name:
                arguments[name] = value
        if self.form or self.body is not None:
            faults: list[Fault] = []
            await self._read_body(arguments, connection, faults)
            if faults:
                raise InputError(faults)
        return arguments

    def _read_body(
        self, arguments: dict[str, object], connection: Connection, faults: list[Fault]
    ) -> Coroutine[object, object, None]:
        request: Request = connection  # type: ignore[assignment]  # the planner refuses a body for a WebSocket
        if self.body is not None:  # then the planner refuses fields of a form
            return self.body.read(request, arguments, faults)
        return self._read_form(arguments, request, faults)

    async def _read_form(self, arguments: dict[str, object], request: Request, faults: list[Fault]) -> None:
        if self.form:
            nothing = media_type_of(request) not in _FORMS and not await request.body()
            values: Values = MultiDict[str]() if nothing else await request.form()
            for found in self.form:
                found.read(values, arguments, faults)
            for name in self.files & arguments.keys():
                arguments[name] = await _contents(arguments[name])


def _query(connection: Connection) -> Values:
    raw = connection.scope.get("query_string", b"")
    if raw.find(b"%") >= 0 or not raw.isascii():
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise HTTPError(400, "The query string is not UTF-8.") from None
    return connection.query


def sources_of(inputs: list[Input]) -> list[tuple[Source, list[Input]]]:
    """Inputs with the functions that give their values, in their order."""
    return [(_SOURCES[where], list(found)) for where, found in groupby(inputs, attrgetter("where"))]


_SOURCES: Final[Mapping[str, Source]] = {
    "query": _query, "header": attrgetter("headers"), "cookie": attrgetter("cookies"),
}  # fmt: skip


async def _contents(file: object) -> object:
    if isinstance(file, list):
        return [await each.read() for each in file]
    return await file.read() if isinstance(file, UploadFile) else file


class Dependency(msgspec.Struct):
    """A function whose value is an argument of another: see ``Provide``.

    Attributes:
        function: the user's function.
        key: equal for the same function.
        arguments: the sources of its arguments.
        opens: the function yields the value, or a decorator has it return a context manager of the value; otherwise it
            returns the value.
        is_async: the call is awaited; otherwise it runs in a worker thread.
    """

    function: Function
    key: object
    arguments: Arguments
    opens: bool = False
    is_async: bool = False

    async def value(self, bound: Mapping[int, dict[str, object]], connection: Connection) -> object:
        """The value for this request; the function is called only once."""
        resources = connection._resources
        if self.key not in resources.values:
            arguments = await self.arguments.complete(bound, connection)
            if self.opens:
                value = await resources.enter(await self._opened(arguments))
            elif self.is_async:
                value = await self.function(**arguments)
            else:
                value = await call_in_thread(partial(self.function, **arguments))
            resources.values[self.key] = value
        return resources.values[self.key]

    async def _opened(self, arguments: Mapping[str, object]) -> AbstractAsyncContextManager[object]:
        """The context manager, of a generator function that may be decorated."""
        made = self.function(**arguments)
        if inspect.isawaitable(made):
            made = await made
        manager = manager_of(made)
        if manager is None:
            raise TypeError(
                f"{label_of(self.function)} provides {type(made).__qualname__}: a decorator of a function that yields "
                "must return what the function returns, or a context manager"
            )
        return manager
