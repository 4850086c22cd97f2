"""What a user's function says of itself: its parameters, its name, and how it is to be called."""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Union, get_args, get_origin

from trioweb.ground.errors import RouteError
from trioweb.wire.threads import run_in_thread


class Kind(enum.Enum):
    """How a handler is called."""

    COROUTINE = "async def"
    GENERATOR = "a generator function, sync or async: its call only makes the generator"
    THREAD = "def: runs in a worker thread"


async def call_in_thread(call: Callable[[], Any]) -> Any:
    """Call a plain function in a worker thread; a cancellation waits until it has returned."""
    # In a list, since trio refuses a coroutine as the result: a decorator may have hidden an `async def` in it.
    [value] = await run_in_thread(lambda: [call()])
    return await value if inspect.iscoroutine(value) else value


def parameters_of(handler: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """A function's parameters, their annotations evaluated as far as they can be.

    Raises:
        RouteError: it has no signature.
    """
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


def is_a(parameter: inspect.Parameter, cls: type, name: str) -> bool:
    """Whether a parameter is annotated as a class, or a subclass of it, or by its ``name`` in a text."""
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


def label_of(function: Callable[..., Any]) -> str:
    """A function's name with its module, for messages."""
    return f"{getattr(unwrapped(function), '__module__', '?')}.{name_of(function, qualified=True)}"


def kind_of(handler: Callable[..., Any]) -> Kind:
    """How a function is to be called."""
    function: Any = unwrapped(handler)
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        function = getattr(function, "__call__", function)  # noqa: B004 - an object of a class that defines it
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        return Kind.GENERATOR
    return Kind.COROUTINE if inspect.iscoroutinefunction(function) else Kind.THREAD
