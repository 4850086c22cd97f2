"""The arguments of a function that is called for a request: a handler's, or a dependency's.

Where each comes from was worked out when the route was registered (``trioweb.handlers.planner``). What needs no waiting
is found first, and all that is wrong with it is told together; then dependencies are entered; then the body is read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

import msgspec

from trioweb.ground.errors import Fault, HTTPError, InputError, RouteError
from trioweb.ground.faults import decode_json
from trioweb.ground.http.multiparts import FORM_TYPE
from trioweb.ground.values import Decode
from trioweb.handlers.inputs import Input, raise_faults
from trioweb.handlers.signatures import call_in_thread, label_of
from trioweb.messages.connection import Connection
from trioweb.messages.forms import URLENCODED_TYPE, FormData
from trioweb.messages.request import Request, media_type_of, wrong_type
from trioweb.messages.uploads import UploadFile

_JSON: Final = "application/json"
_FORMS: Final = frozenset({FORM_TYPE, URLENCODED_TYPE})
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


class BodyInput(msgspec.Struct):
    """A parameter that takes the whole body.

    Attributes:
        found: what it is called and must be; its fields are those of a form.
        media_type: the only content type that is taken; ``""`` for JSON's and, for what has fields, a form's.
        decode: JSON to it; ``None`` for bytes, or text, as they are.
    """

    found: Input
    media_type: str
    decode: Decode | None

    @classmethod
    def plan(cls, found: Input, media_type: str | None, decode: Decode, where: str) -> BodyInput:
        """Work out how to read it.

        Raises:
            RouteError: if nothing can be made into it from that media type.
        """
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

    async def read(self, request: Request, arguments: dict[str, Any], faults: list[Fault]) -> None:
        """Read it into ``arguments``; what is wrong with it is added to ``faults``.

        Raises:
            HTTPError: 400 for what is not JSON, or no form, 415 for another content type, 413 and 408 as reading does.
            ClientDisconnected: if the client left before the body was whole.
        """
        kind = media_type_of(request)
        is_form = kind in _FORMS and self.found.shape.takes_form and self.media_type in ("", kind)
        content: Any = await (request.form() if is_form and self.decode is not None else request.body())
        if not content and not self.found.required:
            self.found.leave_out(arguments, faults)  # whatever its content type: some clients send that with each POST
        elif self.media_type and kind != self.media_type:
            raise wrong_type(kind, self.media_type)
        elif self.decode is None:
            arguments[self.found.name] = await request.text() if self.found.shape.annotation is str else content
        elif is_form:
            self.found.read(content, arguments, faults)
        elif _is_json(kind):
            try:
                arguments[self.found.name] = decode_json(self.decode, content, "The request body", ("body",))
            except InputError as error:
                faults += error.errors
        elif kind or content:
            # A body without a type is none of ours: a page of another site may send one, cookies and all.
            raise wrong_type(kind, _JSON)
        else:
            self.found.leave_out(arguments, faults)


def _is_json(kind: str) -> bool:
    return kind == _JSON or (kind.startswith("application/") and kind.endswith("+json"))


class Arguments(msgspec.Struct):
    """Where the arguments of one function come from.

    Attributes:
        request_names: the parameters that take the request.
        nursery_names: the parameters that take the request's nursery.
        passes_all: the path's parameters, as they are, are all of them.
        drops: path parameters that it does not take.
        path: path parameters that are converted by their annotation.
        inputs: what is found in query, headers and cookies.
        form: what is found in a form.
        files: parameters that take the bytes of an uploaded file.
        body: what takes the whole body.
        provided: what other functions provide.
        everything: itself, and the arguments of all that is provided, each once.
    """

    request_names: tuple[str, ...] = ()
    nursery_names: tuple[str, ...] = ()
    passes_all: bool = False
    drops: frozenset[str] = frozenset()
    path: list[Input] = msgspec.field(default_factory=list)
    inputs: list[Input] = msgspec.field(default_factory=list)
    form: list[Input] = msgspec.field(default_factory=list)
    files: set[str] = msgspec.field(default_factory=set)
    body: BodyInput | None = None
    provided: dict[str, Dependency] = msgspec.field(default_factory=dict)
    everything: tuple[Arguments, ...] = ()

    @property
    def waits(self) -> bool:
        """They need the body, or other functions: ``fill`` is needed, not just ``bind``."""
        return bool(self.form or self.body or self.provided)

    @property
    def takes_request(self) -> bool:
        """They need a request in a nursery of its own: for itself, or for what is closed after the response."""
        return bool(self.form or self.provided or self.request_names or self.nursery_names)

    def bind(self, params: Mapping[str, Any], connection: Connection | None) -> Mapping[str, Any]:
        """The arguments that need no waiting.

        Args:
            params: the path's parameters.
            connection: the request; may be ``None`` where nothing is taken but the path's parameters.

        Raises:
            InputError: if some do not fit.
            HTTPError: 400 for a query string that cannot be read.
        """
        if self.passes_all:
            return params
        faults: list[Fault] = []
        arguments = self._bind(params, connection, faults)
        raise_faults(faults)
        return arguments

    def _bind(self, params: Mapping[str, Any], connection: Connection | None, faults: list[Fault]) -> dict[str, Any]:
        arguments = dict(params)
        for name in self.drops:
            del arguments[name]
        for found in self.path:
            found.read(params, arguments, faults)
        if self.inputs and connection is not None:
            sources: dict[str, Any] = {}  # each is read once, and not for each input
            for found in self.inputs:
                where = found.where
                if where not in sources:
                    sources[where] = _SOURCES[where](connection)
                found.read(sources[where], arguments, faults)
        for name in self.request_names:
            arguments[name] = connection
        for name in self.nursery_names:
            arguments[name] = connection and connection.nursery
        return arguments

    async def fill(self, params: Mapping[str, Any], connection: Connection) -> Mapping[str, Any]:
        """All arguments. Those of a body are a request's alone.

        Where something that needs no waiting does not fit, nothing is provided; the body is read all the same, so that
        one answer can tell of both.

        Raises:
            InputError: if some do not fit.
            HTTPError: 400, 408, 413 or 415 for a body that cannot be taken.
            ClientDisconnected: if the client left before the body was whole.
            Exception: whatever a dependency raised.
        """
        faults: list[Fault] = []
        bound = {id(each): each._bind(params, connection, faults) for each in self.everything}
        if faults:
            for each in self.everything:
                await each._read_body(bound[id(each)], connection, faults)
            raise InputError(faults)
        return await self.complete(bound, connection)

    async def complete(self, bound: Mapping[int, dict[str, Any]], connection: Connection) -> Mapping[str, Any]:
        """The arguments when those that need no waiting are there: ``bound`` has them, by the ``id`` of whose they are.

        Raises:
            Exception: as ``fill``.
        """
        arguments = bound[id(self)]
        for name, dependency in self.provided.items():
            arguments[name] = await dependency.value(bound, connection)
        if self.form or self.body is not None:
            faults: list[Fault] = []
            await self._read_body(arguments, connection, faults)
            raise_faults(faults)
        return arguments

    async def _read_body(self, arguments: dict[str, Any], connection: Connection, faults: list[Fault]) -> None:
        request = cast("Request", connection)
        if self.form:
            nothing = media_type_of(request) not in _FORMS and not await request.body()
            values: FormData = FormData() if nothing else await request.form()
            for found in self.form:
                found.read(values, arguments, faults)
            for name in self.files & arguments.keys():
                arguments[name] = await _contents(arguments[name])
        if self.body is not None:
            await self.body.read(request, arguments, faults)


def _query(connection: Connection) -> Any:
    raw = connection.scope.get("query_string", b"")
    if b"%" in raw or not raw.isascii():
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise HTTPError(400, "The query string is not UTF-8.") from None
    return connection.query


def _headers(connection: Connection) -> Any:
    return connection.headers


def _cookies(connection: Connection) -> Any:
    return connection.cookies


_SOURCES: Final = {"query": _query, "header": _headers, "cookie": _cookies}


async def _contents(file: Any) -> Any:
    if isinstance(file, list):
        return [await each.read() for each in file]
    return await file.read() if isinstance(file, UploadFile) else file


class Dependency(msgspec.Struct):
    """A function that provides a value for a request, and its own arguments.

    Attributes:
        function: the user's.
        key: what tells it from others.
        arguments: where its arguments come from.
        opens: makes the context manager whose value it is, where it is one; or, decorated, an async generator.
        is_async: whether its call is awaited, and runs in no thread.
    """

    function: Callable[..., Any]
    key: object
    arguments: Arguments
    opens: Callable[..., Any] | None = None
    is_async: bool = False

    async def value(self, bound: Mapping[int, dict[str, Any]], connection: Connection) -> Any:
        """Its value for this request, provided by the first that asks.

        Raises:
            Exception: whatever it raised.
        """
        resources = connection._resources
        if self.key not in resources.values:
            arguments = await self.arguments.complete(bound, connection)
            if self.opens is not None:
                value = await resources.enter(await self._opened(arguments))
            elif self.is_async:
                value = await self.function(**arguments)
            else:
                value = await call_in_thread(partial(self.function, **arguments))
            resources.values[self.key] = value
        return resources.values[self.key]

    async def _opened(self, arguments: Mapping[str, Any]) -> Any:
        """The context manager, whatever a decorator has made of the generator function."""
        assert self.opens is not None  # noqa: S101 - by `value`
        made = self.opens(**arguments)
        if inspect.isawaitable(made):
            made = await made
        if inspect.isasyncgen(made):
            return asynccontextmanager(lambda: made)()
        if not hasattr(made, "__aenter__"):
            raise TypeError(
                f"{label_of(self.function)} provides {type(made).__qualname__}: a decorator of a function that yields "
                "must return what the function returns, or an async context manager"
            )
        return made
