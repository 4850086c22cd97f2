"""A handler's signature, worked out once when its route is registered; and what it returns, as a response."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, TypedDict

import msgspec
import trio

from trioweb.files import FileResponse
from trioweb.ground.chunks import BYTES_LIKE, JSON_TYPE, encode_json
from trioweb.ground.errors import HTTPError, RouteError
from trioweb.ground.templates import Converter
from trioweb.limits import check_seconds
from trioweb.request import Request
from trioweb.responses import Response, text_response
from trioweb.signatures import Kind, call_in_thread, is_a, kind_of, name_of, parameters_of, unwrapped
from trioweb.streaming import StreamingResponse
from trioweb.wire.sources import is_iterable, is_iterator

_EMPTY: Final = inspect.Parameter.empty
_JSON_VALUES: Final = (dict, list, int, float, bool, msgspec.Struct)


class RouteOptions(TypedDict, total=False):
    """What every route decorator takes as keywords.

    Attributes:
        name: what ``url_for`` knows it by; the handler's own name unless given.
        streaming: the route always streams: an iterable that the handler returns, a ``list`` too, is sent chunk by
            chunk.
        cancel_on_disconnect: whether a client that leaves before the response starts cancels the handler; only for
            GET, HEAD and OPTIONS unless given.
        timeout: seconds from the handler's start to the end of its response; ``App(timeout=...)`` unless given,
            ``None`` for no limit. A handler that has not answered by then is cancelled, and its client gets a 503; a
            plain ``def`` cannot be cancelled, so its 503 waits for it to return. A stream on its way is broken off.
    """

    name: str | None
    streaming: bool
    cancel_on_disconnect: bool | None
    timeout: float | None


@dataclasses.dataclass(slots=True)
class Endpoint:
    """A handler with all that its route says of it.

    Attributes:
        handler: the user's function.
        label: the function's name with its module, for messages.
        where: the route, for messages.
        kind: how to call it.
        request_names: the parameters that take the request.
        nursery_names: the parameters that take the request's nursery.
        passes_all: the path's parameters, as they are, are all of its arguments.
        converts: path parameters that are converted by their annotation.
        drops: path parameters that the handler does not take.
        streaming: an iterable that it returns is streamed.
        cancel_on_disconnect: a client that leaves before the response cancels it; ``None`` for the method's default.
        timeout: seconds for the handler and its response; ``None`` for no limit.
        light: nobody could tell whether it has a nursery: it takes neither that nor the request, and has no timeout.
    """

    handler: Callable[..., Any]
    label: str
    where: str
    kind: Kind
    request_names: tuple[str, ...] = ()
    nursery_names: tuple[str, ...] = ()
    converts: dict[str, Any] = dataclasses.field(default_factory=dict)
    drops: frozenset[str] = frozenset()
    streaming: bool = False
    cancel_on_disconnect: bool | None = None
    timeout: float | None = None
    light: bool = False
    passes_all: bool = False

    def bind(self, params: Mapping[str, Any], request: Request | None) -> Mapping[str, Any]:
        """The keyword arguments for one request.

        Raises:
            HTTPError: 422 for a path parameter that does not fit its annotation.
        """
        if self.passes_all:
            return params
        arguments = dict(params)
        for name in self.drops:
            del arguments[name]
        for name, annotation in self.converts.items():
            try:
                arguments[name] = msgspec.convert(arguments[name], annotation, strict=False)
            except msgspec.ValidationError as error:
                raise HTTPError(422, f"The path parameter {name!r} does not fit: {error}.") from error
        for name in self.request_names:
            arguments[name] = request
        for name in self.nursery_names:
            arguments[name] = request and request.nursery
        return arguments

    def call(self, params: Mapping[str, Any], request: Request | None) -> Coroutine[Any, Any, Any]:
        """Call the handler. Its value is what the coroutine returns; an ``async def`` has run no code yet."""
        arguments = self.bind(params, request)
        if self.kind is Kind.COROUTINE:
            return self.handler(**arguments)  # type: ignore[no-any-return]
        if self.kind is Kind.GENERATOR:
            return _value(self.handler(**arguments))
        return call_in_thread(partial(self.handler, **arguments))


async def _value(value: Any) -> Any:
    return value


def plan(  # noqa: C901 - a case for each way in which a parameter is filled
    handler: Callable[..., Any],
    where: str,
    path_params: Mapping[str, Converter],
    options: RouteOptions,
) -> Endpoint:
    """Work out how to call a handler.

    Raises:
        RouteError: it is not callable, or has a parameter that nothing can fill.
        ValueError: its timeout is no number of seconds.
    """
    if not callable(handler):
        raise RouteError(f"{where}: a handler must be a function, got {type(handler).__qualname__}")
    label = f"{getattr(unwrapped(handler), '__module__', '?')}.{name_of(handler, qualified=True)}"
    endpoint = Endpoint(
        handler,
        label,
        where,
        kind_of(handler),
        streaming=options.get("streaming", False),
        cancel_on_disconnect=options.get("cancel_on_disconnect"),
        timeout=options.get("timeout"),
    )
    check_seconds(f"{where}: timeout", endpoint.timeout)
    taken: set[str] = set()
    takes_rest = False
    for name, parameter in parameters_of(handler).items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_rest = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            raise RouteError(f'{where}: {label} takes {name!r} by position only: remove the "/" from its parameters')
        elif is_a(parameter, Request, "Request"):
            endpoint.request_names += (name,)
        elif is_a(parameter, trio.Nursery, "Nursery"):
            endpoint.nursery_names += (name,)
        elif name == "request" and name not in path_params:
            endpoint.request_names += (name,)
        elif name in path_params:
            taken.add(name)
            # A parameter that names its converter has it done; of the plain ones the annotation says what they are.
            if path_params[name].name == "str" and _is_type(parameter.annotation):
                endpoint.converts[name] = parameter.annotation
        elif parameter.default is _EMPTY:
            raise _unfillable(endpoint, name, path_params)
    if not takes_rest:
        endpoint.drops = frozenset(path_params) - taken
    plain = not endpoint.request_names and not endpoint.nursery_names
    endpoint.passes_all = plain and not endpoint.drops and not endpoint.converts
    endpoint.light = plain and endpoint.kind is not Kind.GENERATOR and endpoint.timeout is None
    return endpoint


def _unfillable(endpoint: Endpoint, name: str, path_params: Mapping[str, Converter]) -> RouteError:
    known = ", ".join(f"{{{param}}}" for param in path_params) or "none"
    return RouteError(
        f"{endpoint.where}: nothing can fill the parameter {name!r} of {endpoint.label}: name a parameter of the path "
        f"(there is {known}), annotate it as Request or trio.Nursery, or give it a default"
    )


def _is_type(annotation: Any) -> bool:
    return annotation not in (_EMPTY, str, Any) and not isinstance(annotation, str)


async def respond(value: Any, label: str, streaming: bool) -> Response:
    """The response for what a handler returned, measured where it is a file.

    Raises:
        TypeError: the value is none that a handler may return; the message names handler and type.
    """
    response = to_response(value, label, streaming)
    if isinstance(response, FileResponse):
        await response.prepare()
    return response


def to_response(value: Any, label: str, streaming: bool) -> Response:  # noqa: C901 - one table
    """As ``respond``, without waiting: a file is not measured."""
    if isinstance(value, Response):
        return value
    if value.__class__ is str and not streaming:
        return text_response(value)
    if streaming:
        if is_iterable(value):
            return StreamingResponse(value)
        raise TypeError(
            f"{label} is registered with streaming=True, but returned {_name(value)}: return something to iterate, "
            "or yield"
        )
    if isinstance(value, (str, *BYTES_LIKE)):
        return Response(value)
    if value is None:
        return Response(status_code=204)
    if isinstance(value, _JSON_VALUES) or _is_dataclass(value):
        return _json(value, label)
    if is_iterator(value):
        return StreamingResponse(value)
    hint = "return a Response, str, bytes, dict, list, number, dataclass, msgspec.Struct, None, or something to stream"
    if inspect.isawaitable(value):
        hint = "it was not awaited: return await ..."
    elif is_iterable(value):
        hint += f"; to stream a {type(value).__qualname__}, register the route with streaming=True"
    raise TypeError(f"{label} returned {_name(value)}: {hint}")


def _json(value: Any, label: str) -> Response:
    try:
        body = encode_json(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{label} returned {_name(value)} that has no JSON form: {error}") from error
    return Response(body, media_type=JSON_TYPE)


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _name(value: Any) -> str:
    return type(value).__qualname__
