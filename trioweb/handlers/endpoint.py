"""A route, and the plan of its handler: how it is called, and with which options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, get_origin

import msgspec

from trioweb.ground.annotations import members_of
from trioweb.ground.errors import RouteError
from trioweb.ground.http.asgi import PathParams
from trioweb.ground.pace import AUTO, MinRate, check_rate
from trioweb.ground.templates import Converter, Template
from trioweb.handlers.arguments import Arguments
from trioweb.handlers.layers import Middleware
from trioweb.handlers.planner import Planner
from trioweb.handlers.route import Route
from trioweb.handlers.signatures import (
    Function,
    Kind,
    Unresolved,
    call_in_thread,
    innermost,
    kind_of,
    label_of,
    returns_of,
)
from trioweb.messages.connection import Connection
from trioweb.messages.limits import check_seconds, check_size
from trioweb.messages.response import BODILESS, Response

Calling: TypeAlias = Coroutine[object, object, Any]
"""A call of a handler; it returns a value of the user's."""


async def _make(function: Function, /, **arguments: object) -> object:
    return function(**arguments)


def _call_in_thread(function: Function, /, **arguments: object) -> Calling:
    return call_in_thread(partial(function, **arguments))


class Endpoint(msgspec.Struct):
    """A handler with the options of its route: see ``RouteOptions`` for those that are not described here.

    Attributes:
        handler: the user's function.
        label: the function's name with its module, for messages.
        where: the route, for messages.
        kind: how to call it.
        arguments: the sources of its arguments.
        light: it needs no nursery: it takes neither that nor the request, no form and no dependency, and has no
            timeout.
        reads: it has inputs besides path parameters.
        passes_all: as in ``Arguments``.
        waits: as in ``Arguments``.
        takes_nursery: it, or one of its dependencies, has a parameter for the request's nursery.
        route: the route; ``None`` where there is none, as for a 404.
    """

    handler: Function
    label: str
    where: str
    kind: Kind
    arguments: Arguments = msgspec.field(default_factory=Arguments)
    streaming: bool = False
    status_code: int = 200
    cancel_on_disconnect: bool | None = None
    timeout: float | None = None
    max_body_size: int | None = None
    min_rate: MinRate = AUTO
    light: bool = False
    reads: bool = False
    passes_all: bool = False
    waits: bool = False
    takes_nursery: bool = False
    middleware: tuple[Middleware, ...] = ()
    route: Route | None = None
    _invoke: Callable[..., Calling] = _call_in_thread  # calls the handler with its arguments

    def __post_init__(self) -> None:
        if self.kind is Kind.COROUTINE:  # most handlers: without a call in between
            self._invoke = self.handler
        else:
            self._invoke = partial(_make if self.kind is Kind.GENERATOR else _call_in_thread, self.handler)

    def cut_short(self) -> Exception:
        """The error of a request whose nursery the user's code has cancelled."""
        return RuntimeError(
            f"{self.where}: the request's nursery was cancelled before {self.label} returned: "
            "cancel a scope around what should stop instead"
        )

    def call(self, params: PathParams, connection: Connection | None) -> Calling:
        """A coroutine that returns the handler's value; an ``async def`` has run no code yet.

        Raises:
            InputError: if inputs are missing or invalid.
        """
        if self.waits:
            return self.arguments.pass_to(self._invoke, params, connection)  # type: ignore[arg-type]
        arguments = params if self.passes_all else self.arguments.bind(params, connection)
        return self._invoke(**arguments)


class Planned(NamedTuple):
    """A route of an app, and what was made of it when it was registered.

    Attributes:
        route: the route, with all prefixes and options.
        template: its parsed path.
        endpoint: the plan of its handler.
    """

    route: Route
    template: Template
    endpoint: Endpoint


def plan(
    route: Route,
    path_params: Mapping[str, Converter],
    *,
    timeout: float | None = None,
    overrides: Mapping[Function, Function] = MappingProxyType({}),
) -> Endpoint:
    """Plan the calls of a route's handler.

    Args:
        route: the route.
        path_params: the parameters of its path.
        timeout: the timeout, unless the route has its own.
        overrides: what is called in the place of a dependency.

    Raises:
        RouteError: if the handler is not callable, or for a WebSocket no ``async def``; or has a parameter without a
            source.
        ValueError: if an option is not a valid limit.
    """
    handler, where, options, websocket = route.handler, route.where, route.options, route.is_websocket
    if websocket:
        _check_websocket(handler, where)
    elif not callable(handler):
        raise RouteError(f"{where}: a handler must be a function, got {type(handler).__qualname__}")
    arguments = Planner(where, path_params, websocket=websocket, overrides=overrides).plan(
        handler, options.get("dependencies", ())
    )
    timeout, max_body_size = options.get("timeout", timeout), options.get("max_body_size")
    min_rate: MinRate = options.get("min_rate", AUTO)
    check_seconds(f"{where}: timeout", timeout)
    check_rate(f"{where}: min_rate", min_rate)
    if max_body_size is not None:
        check_size(f"{where}: max_body_size", max_body_size)
    return Endpoint(
        handler,
        label_of(handler),
        where,
        Kind.COROUTINE if websocket else kind_of(handler),
        arguments,
        options.get("streaming", False),
        _status_of(route),
        options.get("cancel_on_disconnect"),
        timeout,
        max_body_size,
        min_rate,
        light=not arguments.takes_request and timeout is None,
        reads=arguments.waits or bool(arguments.inputs),
        passes_all=arguments.passes_all,
        waits=arguments.waits,
        takes_nursery=any(each.nursery_names for each in arguments.everything),
        middleware=tuple(options.get("middleware", ())),
        route=route,
    )


def _status_of(route: Route) -> int:
    """The status of what the handler returns.

    Raises:
        RouteError: if it is none, or could have no effect or only a wrong one.
    """
    if "status_code" not in route.options:
        return 200
    status = route.options["status_code"]
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise RouteError(f"{route.where}: status_code is a status from 200 to 599, got {status!r}")
    returned = returns_of(route.handler)
    kinds = {get_origin(each) or each for each in members_of(returned)}
    if all(isinstance(kind, type) and issubclass(kind, Response) for kind in kinds):
        name = getattr(returned, "__name__", returned)
        raise RouteError(
            f"{route.where}: status_code={status} is of what is no Response, and {label_of(route.handler)} returns "
            f"{name}: write {name}(..., status_code={status})"
        )
    streams = route.options.get("streaming") or kind_of(route.handler) is Kind.GENERATOR
    if status in BODILESS and (streams or not kinds & {inspect.Parameter.empty, Any, object, type(None), Unresolved}):
        raise RouteError(
            f"{route.where}: a response with status_code={status} has no body, and {label_of(route.handler)} "
            f"{'streams' if streams else f'returns {returned!r}'}: return None, or leave status_code out"
        )
    return int(status)


def _check_websocket(handler: object, where: str) -> None:
    name = type(handler).__qualname__
    if callable(handler):
        if kind_of(handler) is not Kind.GENERATOR and inspect.iscoroutinefunction(innermost(handler)):
            return
        name = label_of(handler)
    raise RouteError(f"{where}: the handler of a WebSocket must be an async def, and without a yield: {name} is not")


def no_route(outcome: Response | Exception) -> Endpoint:
    """The endpoint of a request without a route: it returns a response, such as a redirect, or raises an error."""

    async def answer() -> Response:
        if isinstance(outcome, Response):
            return outcome
        raise outcome

    return Endpoint(answer, "the app", "no route", Kind.COROUTINE, light=True)
