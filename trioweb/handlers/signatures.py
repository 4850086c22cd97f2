"""What a user's function says of itself: its parameters, its name, and how it is to be called.

This is the one place that decides how a callable is called. Handlers, dependencies, WebSockets, middlewares and error
handlers all go through it: functions, methods, ``functools.partial``, what decorators return, objects with a
``__call__``, and classes.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, get_origin

import msgspec

from trioweb.ground.annotations import members_of, resolved
from trioweb.ground.errors import RouteError
from trioweb.io.threads import in_thread


class Kind(enum.Enum):
    """How a function is called."""

    COROUTINE = "async def"
    GENERATOR = "a generator function, sync or async: its call only makes the generator"
    THREAD = "def: runs in a worker thread"


class Unresolved(msgspec.Struct, frozen=True):
    """An annotation that cannot be evaluated.

    Attributes:
        text: the annotation.
        reason: what evaluating it raised.
    """

    text: str
    reason: str


async def call_in_thread(call: Callable[[], Any]) -> Any:
    """Call a plain function in a worker thread; a cancellation waits until it has returned."""
    value = await in_thread(call)  # which may be a coroutine: a decorator may have hidden an `async def` in it
    return await value if inspect.iscoroutine(value) else value


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters that a caller may give, their annotations resolved, or ``Unresolved``.

    What a ``functools.partial`` has bound is left out, by its name too: the call has a value for it.

    Raises:
        RouteError: if the function has no signature.
    """
    try:
        parameters = _signature(function).parameters
    except (TypeError, ValueError) as error:
        raise RouteError(f"{name_of(function)} has no signature to look at: write a function around it") from error
    layers = list(layers_of(function))
    bound = {name for layer in layers if isinstance(layer, partial) for name in layer.keywords}
    return {
        name: parameter.replace(annotation=_resolved(parameter, layers[-1]))
        for name, parameter in parameters.items()
        if name not in bound
    }


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    called: Any = function
    says_itself = hasattr(called, "__wrapped__") or "__signature__" in getattr(called, "__dict__", ())
    if not (says_itself or isinstance(called, (type, partial)) or inspect.isroutine(called)):
        called = called.__call__  # bound: before Python 3.12 a static one would lose its first parameter
    if sys.version_info >= (3, 14):
        from annotationlib import Format  # noqa: PLC0415 - Python 3.14 evaluates annotations when it is asked for them

        return inspect.signature(called, annotation_format=Format.FORWARDREF)
    return inspect.signature(called)


def _resolved(parameter: inspect.Parameter, function: Any) -> Any:
    # One by one: an annotation that names what only a type checker imports spoils no other.
    if parameter.annotation is parameter.empty:
        return parameter.empty
    try:
        return resolved(parameter.annotation, _names_for(parameter, function))
    except Exception as error:
        written = parameter.annotation
        text = getattr(written, "__forward_arg__", None) or (written if isinstance(written, str) else repr(written))
        return Unresolved(text.strip("'\""), f"{type(error).__name__}: {error}")


def _names_for(parameter: inspect.Parameter, function: Any) -> Mapping[str, Any]:
    """What a parameter's annotation may name: the names of the module that it was written in."""
    if not isinstance(function, type):
        names: dict[str, Any] = getattr(function, "__globals__", {})
        return {**names, **{each.__name__: each for each in getattr(function, "__type_params__", ())}}
    # The constructor of a dataclass and the like is made of the fields of several classes, each in its own module.
    for cls in function.__mro__:
        if _written_in(cls).get(parameter.name) == parameter.annotation:
            return vars(sys.modules[cls.__module__])
    for name in ("__init__", "__new__"):
        constructor = getattr(function, name)
        if hasattr(constructor, "__globals__"):
            return constructor.__globals__  # type: ignore[no-any-return]
    return vars(sys.modules[function.__module__])


def _written_in(cls: type) -> Mapping[str, Any]:
    try:
        return inspect.get_annotations(cls)
    except NameError:  # from Python 3.14 on it evaluates them
        return {}


def is_a(annotation: Any, cls: type) -> bool:
    """Whether a parameter is annotated as a class, or as that or ``None``; its name in a text is enough.

    The class may be imported for type checkers only, as tools advise for what is only named in annotations.
    """
    if isinstance(annotation, Unresolved):
        return annotation.text.rpartition(".")[2] == cls.__name__
    annotation = annotation.__origin__ if get_origin(annotation) is Annotated else annotation
    members = set(members_of(annotation)) - {type(None)}
    return bool(members) and all(isinstance(member, type) and issubclass(member, cls) for member in members)


def layers_of(function: Callable[..., Any]) -> Iterator[Any]:
    """What a call goes through, from the outside to the function, or class, that the user wrote, which comes last."""
    layer: Any = function
    while True:
        yield layer
        if isinstance(layer, type):  # a call makes an object: what that can do has nothing to do with it
            return
        if isinstance(layer, partial):
            layer = layer.func
        elif hasattr(layer, "__wrapped__"):
            layer = layer.__wrapped__
        elif inspect.ismethod(layer):
            layer = layer.__func__
        elif inspect.isroutine(layer):
            return
        else:
            layer = type(layer).__call__


def _entered(function: Callable[..., Any]) -> Any:
    """The function, or class, whose code a call runs first."""
    function = unwrapped(function)
    if isinstance(function, type) or inspect.isroutine(function):
        return function
    return _entered(type(function).__call__)


def kind_of(function: Callable[..., Any]) -> Kind:
    """How a function is to be called."""
    entered = _entered(function)
    if inspect.isasyncgenfunction(entered) or inspect.isgeneratorfunction(entered):
        return Kind.GENERATOR
    marked = inspect.iscoroutinefunction(entered) or inspect.iscoroutinefunction(function)
    return Kind.COROUTINE if marked else Kind.THREAD


def innermost(function: Callable[..., Any]) -> Any:
    """The function, or class, that the user wrote, without what decorators and partials put around it."""
    *_, last = layers_of(function)
    return last


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a ``functools.partial``."""
    while isinstance(function, partial):
        function = function.func
    return function


def name_of(function: Callable[..., Any], *, qualified: bool = False) -> str:
    """A function's name: its own, else its class's."""
    named = unwrapped(function)
    attribute = "__qualname__" if qualified else "__name__"
    return str(getattr(named, attribute, getattr(type(named), attribute)))


def label_of(function: Callable[..., Any]) -> str:
    """A function's name with its module, for messages."""
    return f"{getattr(unwrapped(function), '__module__', '?')}.{name_of(function, qualified=True)}"


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many arguments by position, as lifespans, middlewares and error handlers are."""
    try:
        _signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # it is written in C, and says nothing
        return True
    return True
