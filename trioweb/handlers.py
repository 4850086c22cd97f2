"""A handler's signature, worked out once when its route is registered; and what it returns, as a response."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Annotated, Any, Final, TypedDict, Union, get_args, get_origin

import msgspec
import trio

from trioweb.ground.asgi import Scope
from trioweb.ground.chunks import BYTES_LIKE, JSON_TYPE, encode_json
from trioweb.ground.errors import HTTPError, RouteError
from trioweb.ground.headers import Headers
from trioweb.ground.templates import Converter
from trioweb.limits import check_seconds
from trioweb.ranges import RangeResponse
from trioweb.request import Request
from trioweb.responses import Response, text_response
from trioweb.streaming import StreamingResponse
from trioweb.wire.sources import is_iterable, is_iterator
from trioweb.wire.threads import run_in_thread

_EMPTY: Final = inspect.Parameter.empty
_JSON_VALUES: Final = (dict, list, int, float, bool, msgspec.Struct)


class Kind(enum.Enum):
    """How a handler is called."""

    COROUTINE = "async def"
    GENERATOR = "a generator function, sync or async: its call only makes the generator"
    THREAD = "def: runs in a worker thread"


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

    @property
    def takes_nothing(self) -> bool:
        """Whether it takes neither the request nor its nursery."""
        return not self.request_names and not self.nursery_names

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


async def call_in_thread(call: Callable[[], Any]) -> Any:
    """Call a plain function in a worker thread; a cancellation waits until it has returned."""
    # In a list, since trio refuses a coroutine as the result: a decorator may have hidden an `async def` in it.
    [value] = await run_in_thread(lambda: [call()])
    return await value if inspect.iscoroutine(value) else value


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
        _kind(handler),
        streaming=options.get("streaming", False),
        cancel_on_disconnect=options.get("cancel_on_disconnect"),
        timeout=options.get("timeout"),
    )
    check_seconds(f"{where}: timeout", endpoint.timeout)
    taken: set[str] = set()
    takes_rest = False
    for name, parameter in _parameters(handler).items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_rest = True
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            raise RouteError(f'{where}: {label} takes {name!r} by position only: remove the "/" from its parameters')
        elif _is(parameter, Request, "Request"):
            endpoint.request_names += (name,)
        elif _is(parameter, trio.Nursery, "Nursery"):
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
    plain = endpoint.takes_nothing
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


def _parameters(handler: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(handler).parameters
    except (TypeError, ValueError) as error:
        raise RouteError(f"{name_of(handler)} has no signature to look at: write a function around it") from error
    names = getattr(inspect.unwrap(unwrapped(handler)), "__globals__", {})
    return {name: _evaluated(parameter, names) for name, parameter in parameters.items()}


def _evaluated(parameter: inspect.Parameter, names: dict[str, Any]) -> inspect.Parameter:
    # One by one: an annotation may name what only a type checker imports, and then stays text, alone.
    if not isinstance(parameter.annotation, str):
        return parameter
    try:
        return parameter.replace(annotation=eval(parameter.annotation, names))  # noqa: S307 - the user's own code
    except Exception:
        return parameter


def _is(parameter: inspect.Parameter, cls: type, name: str) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2] == name
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return any(isinstance(part, type) and issubclass(part, cls) for part in get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, cls)


def unwrapped(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a ``functools.partial``."""
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def name_of(handler: Callable[..., Any], *, qualified: bool = False) -> str:
    """A handler's name: a function's own, else its class's."""
    function = unwrapped(handler)
    attribute = "__qualname__" if qualified else "__name__"
    return str(getattr(function, attribute, getattr(type(function), attribute)))


def _kind(handler: Callable[..., Any]) -> Kind:
    function: Any = unwrapped(handler)
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        function = getattr(function, "__call__", function)  # noqa: B004 - an object of a class that defines it
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return Kind.GENERATOR
    return Kind.COROUTINE if inspect.iscoroutinefunction(function) else Kind.THREAD


async def respond(value: Any, label: str, streaming: bool, scope: Scope, opened: list[RangeResponse]) -> Response:
    """The response for what a handler returned, prepared for its request where that may ask for parts of it.

    Args:
        value: what the handler returned.
        label: the handler, for messages.
        streaming: an iterable is streamed.
        scope: the request's.
        opened: gets what is to be closed when the request ends.

    Raises:
        TypeError: the value is none that a handler may return; the message names handler and type.
        HTTPError: the request's conditions do not hold, or it asks for what is not there.
        OSError: a file cannot be opened.
    """
    response = to_response(value, label, streaming)
    if isinstance(response, RangeResponse):
        response = await response.prepare(scope["method"], Headers.from_raw(scope["headers"]))
        opened.append(response)
    return response


def to_response(value: Any, label: str, streaming: bool) -> Response:  # noqa: C901 - one table
    """As ``respond``, without waiting: nothing is opened."""
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
