"""What something was written for that was given to what takes something else: error messages say where it belongs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

from trioweb.ground.errors import RouteError
from trioweb.handlers.markers import Provide
from trioweb.handlers.signatures import Function, innermost, unwrapped
from trioweb.messages.connection import Connection
from trioweb.messages.response import Response

_BY_PARAMETERS: Final[Mapping[tuple[str, ...], str]] = {
    ("request", "call_next"): "app.middleware({})",
    ("scope", "receive", "send"): 'app.mount("/path", {})',
    ("environ", "start_response"): 'app.mount("/path", trioweb.contrib.wsgi.WSGI({}))',
    ("request", "exc"): "@app.error_handler(...) above {}",
}


def written_for(given: Any) -> str:
    """What to write for something, such as ``"write app.middleware(log)"``; ``""`` if its parameters do not tell."""
    name = named(given)
    if isinstance(given, Provide):
        return f"write dependencies=[Provide({named(given.function)})]"
    parameters = _parameters_of(given)
    if isinstance(given, type):
        if issubclass(given, Response):
            return f"write `return {name}(...)` in a handler"
        if issubclass(given, Connection):
            return f"write a parameter {given.__name__.lower()}: {name}"
        if parameters == ("scope", "receive", "send") and _names(given.__init__)[:1] == ("app",):
            return f"write app.add_middleware({name}, ...)"
        name += "(...)"
        if parameters and parameters not in _BY_PARAMETERS:
            return f"write {name} for an object of it"
    if parameters in _BY_PARAMETERS:
        return "write " + _BY_PARAMETERS[parameters].format(name)
    if hasattr(given, "__aenter__") or (parameters == ("app",) and inspect.isasyncgenfunction(innermost(given))):
        return f"write app.lifespan({name})"
    if inspect.isasyncgen(given) or inspect.iscoroutine(given):
        return f"write {name} without a call"
    return ""


def check_sense(where: str, function: Function, label: str) -> None:
    """Refuse what can be called, but makes no sense as a handler or dependency.

    Raises:
        RouteError: if it is such a function.
    """
    if hasattr(function, "register") and hasattr(function, "__wrapped__"):
        raise RouteError(
            f"{where}: {label} is chosen by its first argument (functools.singledispatch), which it takes by position "
            "only: give a function that calls it"
        )
    if isinstance(function, type) and "middleware" in (instead := written_for(function)):
        raise useless(where, label, instead)


def useless(where: str, label: str, instead: str) -> RouteError:
    """The error for a function that was written for something else."""
    return RouteError(f"{where}: {label} cannot be called for a request: {instead}")


def misplaced(where: str, *, websocket: bool) -> RouteError:
    """The error for a parameter that is a WebSocket on a request's route, or the other way round."""
    asked, there, other = ("Request", "WebSocket", "get") if websocket else ("WebSocket", "Request", "websocket")
    return RouteError(f"{where} cannot be a {asked} on this route: annotate it as {there}, or write @app.{other}(...)")


def unfillable(
    where: str, label: str, parameter: inspect.Parameter, path: Iterable[str], *, websocket: bool
) -> RouteError:
    """The error for a parameter without an annotation that is not in the path."""
    name = parameter.name
    own, wrong, other = ("ws", "request", "get") if websocket else ("request", "ws", "websocket")
    if name == wrong:
        return RouteError(f"{where}: {label} takes {name!r}: write @app.{other}(...) above it, or name it {own}")
    if callable(parameter.default) and parameter.default is not parameter.empty:
        return RouteError(
            f"{where}: the parameter {name!r} of {label} has something to call as its default: write {name}: "
            "Annotated[..., Provide(...)]"
        )
    known = ", ".join(f"{{{param}}}" for param in path) or "none"
    kind, body = ("WebSocket", "") if websocket else ("Request", " or in the body (a Struct, a dataclass ...)")
    return RouteError(
        f"{where}: nothing can fill the parameter {name!r} of {label}: name a parameter of the path (there is "
        f"{known}), annotate it as {kind} or trio.Nursery, or as what it is in the query string (int, str, list[str] "
        f"...){body}; what is your own, and no client's, functools.partial binds"
    )


def named(given: object) -> str:
    """The name of a function or class as it is to be written; of an object that of its class."""
    found: Any = given.function if isinstance(given, Provide) else given
    found = unwrapped(found)
    return str(getattr(found, "__name__", None) or f"{type(found).__name__}(...)")


def _parameters_of(given: Any) -> tuple[str, ...]:
    """The names of the parameters of a call; of a class, of a call of its objects."""
    if not isinstance(given, type):
        return _names(given) if callable(given) else ()
    own = next((vars(cls)["__call__"] for cls in given.__mro__ if "__call__" in vars(cls)), None)
    return () if own is None else _names(own)


def _names(function: Any) -> tuple[str, ...]:
    try:
        names = tuple(inspect.signature(innermost(function)).parameters)
    except (TypeError, ValueError):  # of C
        return ()
    return names[1:] if names[:1] == ("self",) else names
