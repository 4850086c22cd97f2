"""The arguments of a function that is called for a request: a handler's, or a dependency's.

Where each comes from was worked out when the route was registered (``trioweb.planner``). What needs no waiting is found
first, and all that is wrong with it is told together; then dependencies are entered; then the body is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast
from urllib.parse import unquote_to_bytes

from trioweb.connection import Connection
from trioweb.forms import URLENCODED_TYPE, FormData
from trioweb.ground.errors import Fault, HTTPError, InputError
from trioweb.ground.faults import decode_json
from trioweb.ground.multiparts import FORM_TYPE
from trioweb.ground.values import Decode
from trioweb.inputs import ABSENT, Input, raise_faults
from trioweb.request import Request, media_type_of, wrong_type
from trioweb.signatures import call_in_thread, label_of
from trioweb.uploads import UploadFile

_JSON: Final = "application/json"


@dataclass(slots=True)
class BodyInput:
    """A parameter that takes the whole body.

    Attributes:
        found: what it is called and must be; its fields are those of a form.
        decode: JSON to it; ``None`` for the bytes as they are.
    """

    found: Input
    decode: Decode | None

    async def read(self, request: Request, arguments: dict[str, Any]) -> None:
        """Read it into ``arguments``.

        Raises:
            HTTPError: 415 for another content type; else what reading and converting raise.
        """
        faults: list[Fault] = []
        kind = media_type_of(request)
        if self.decode is None:
            arguments[self.found.name] = await request.body()
        elif kind == _JSON or (kind.startswith("application/") and kind.endswith("+json")):
            body = await request.body()
            arguments[self.found.name] = decode_json(self.decode, body, "The request body", ("body",))
        elif kind in {FORM_TYPE, URLENCODED_TYPE} and self.found.shape.fields is not None:
            self.found.read(await request.form(), arguments, faults)
        elif kind or await request.body():
            # A body without a type is none of ours: a page of another site may send one, cookies and all.
            raise wrong_type(kind, _JSON)
        else:
            self.found.leave_out(arguments, faults)
        raise_faults(faults)


@dataclass(slots=True)
class Arguments:
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
    """

    request_names: tuple[str, ...] = ()
    nursery_names: tuple[str, ...] = ()
    passes_all: bool = False
    drops: frozenset[str] = frozenset()
    path: list[Input] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    form: list[Input] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    body: BodyInput | None = None
    provided: dict[str, Dependency] = field(default_factory=dict)

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
            InputError: some do not fit.
            HTTPError: 400 for a query string that cannot be read.
        """
        if self.passes_all:
            return params
        arguments = dict(params)
        for name in self.drops:
            del arguments[name]
        faults: list[Fault] = []
        for found in self.path:
            found.read(params, arguments, faults)
        if self.inputs and connection is not None:
            sources = {"query": _query, "header": _headers, "cookie": _cookies}
            for found in self.inputs:
                found.read(sources[found.where](connection), arguments, faults)
        if faults:
            raise InputError(faults)
        for name in self.request_names:
            arguments[name] = connection
        for name in self.nursery_names:
            arguments[name] = connection and connection.nursery
        return arguments

    async def fill(self, params: Mapping[str, Any], connection: Connection) -> Mapping[str, Any]:
        """All arguments. Those of a body are a request's alone.

        Raises:
            InputError: some do not fit.
            HTTPError: 400, 408, 413 or 415 for a body that cannot be taken.
            ClientDisconnected: the client left before the body was whole.
            Exception: what a dependency raised.
        """
        arguments = dict(self.bind(params, connection))
        for name, dependency in self.provided.items():
            arguments[name] = await dependency.value(params, connection)
        request = cast("Request", connection)
        if self.form:
            nothing = not media_type_of(request) and not await request.body()
            values: FormData = FormData() if nothing else await request.form()
            faults: list[Fault] = []
            for found in self.form:
                found.read(values, arguments, faults)
            raise_faults(faults)
            for name in self.files:
                arguments[name] = await _contents(arguments.get(name, ABSENT))
        if self.body is not None:
            await self.body.read(request, arguments)
        return {name: value for name, value in arguments.items() if value is not ABSENT}


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


async def _contents(file: Any) -> Any:
    if isinstance(file, list):
        return [await each.read() for each in file]
    return await file.read() if isinstance(file, UploadFile) else file


@dataclass(slots=True)
class Dependency:
    """A function that provides a value for a request, and its own arguments."""

    function: Callable[..., Any]
    arguments: Arguments
    opens: Callable[..., Any] | None = None
    """Makes the context manager whose value it is, where it is one."""
    is_async: bool = False

    async def value(self, params: Mapping[str, Any], connection: Connection) -> Any:
        """Its value for this request, provided by the first that asks.

        Raises:
            Exception: what it raised.
        """
        resources = connection._resources
        if resources is None:
            raise RuntimeError(f"{label_of(self.function)} provides for requests that an app answers")
        if self.function not in resources.values:
            arguments = await self.arguments.fill(params, connection)
            if self.opens is not None:
                value = await resources.enter(self.opens(**arguments))
            elif self.is_async:
                value = await self.function(**arguments)
            else:
                value = await call_in_thread(partial(self.function, **arguments))
            resources.values[self.function] = value
        return resources.values[self.function]
