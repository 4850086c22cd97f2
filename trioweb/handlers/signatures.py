"""Inspect a user's callable: its parameters, its name, and how to call it.

Only this module decides how a callable is called, for handlers, dependencies, WebSockets, middleware and error
handlers. A callable may be a function, a method, a ``functools.partial``, the result of a decorator, an object with a
``__call__``, or a class.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, TypeAlias, get_origin

import msgspec

from trioweb.ground.annotations import Annotation, Names, members_of, resolved
from trioweb.ground.errors import RouteError
from trioweb.io.threads import in_thread

Function: TypeAlias = Callable[..., Any]
"""A user's function, or another callable."""


class Kind(enum.Enum):
    """How a function is called."""

    COROUTINE = "async def: the call is awaited"
    GENERATOR = "a generator function, sync or async: the call returns the generator, and does not block"
    THREAD = "def: the call runs in a worker thread"


class Unresolved(msgspec.Struct, frozen=True):
    """An annotation that cannot be evaluated.

    Attributes:
        text: the annotation.
        reason: the error of its evaluation.
    """

    text: str
    reason: str


async def call_in_thread(call: Callable[[], object]) -> object:
    """Call a plain function in a worker thread; a cancellation waits until it has returned."""
    value = await in_thread(call)
    return await value if inspect.iscoroutine(value) else value  # a coroutine: of an `async def` in a decorator


def parameters_of(function: Function) -> Mapping[str, inspect.Parameter]:
    """The parameters of a callable, with annotations that are resolved, or ``Unresolved``.

    Arguments that a ``functools.partial`` has bound are left out, keyword arguments too.

    Raises:
        RouteError: if the function has no signature.
    """
    try:
        parameters = _signature(function).parameters
    except (TypeError, ValueError) as error:
        raise RouteError(f"{name_of(function)} has no signature to look at: write a function around it") from error
    written, bound = innermost(function), bound_names(function)
    return {
        name: parameter.replace(annotation=_resolved(parameter, written))
        for name, parameter in parameters.items()
        if name not in bound
    }


def returns_of(function: Function) -> Annotation:
    """The annotation of what a callable returns, resolved as those of its parameters.

    Returns:
        ``inspect.Parameter.empty`` where nothing is said, or it has no signature; ``Unresolved`` as for a parameter.
    """
    try:
        written = _signature(function).return_annotation
    except (TypeError, ValueError):
        return inspect.Parameter.empty
    return _resolved(
        inspect.Parameter("returns", inspect.Parameter.KEYWORD_ONLY, annotation=written), innermost(function)
    )


def bound_names(function: Function) -> set[str]:
    """The arguments that a ``functools.partial`` has bound by their names."""
    return {name for layer in layers_of(function) if isinstance(layer, partial) for name in layer.keywords}


def _signature(function: Function) -> inspect.Signature:
    called: Any = function
    has_own = hasattr(called, "__wrapped__") or "__signature__" in getattr(called, "__dict__", ())
    if not (has_own or isinstance(called, (type, partial)) or inspect.isroutine(called)):
        called = called.__call__  # before Python 3.12, inspect drops the first parameter of a static __call__
    if sys.version_info >= (3, 14):
        from annotationlib import Format  # noqa: PLC0415 - since 3.14: annotations are evaluated on access

        return inspect.signature(called, annotation_format=Format.FORWARDREF)
    return inspect.signature(called)


def _resolved(parameter: inspect.Parameter, function: Function) -> Annotation:
    # Each by itself: a name that only type checkers import makes one annotation Unresolved, and not all.
    if parameter.annotation is parameter.empty:
        return parameter.empty
    try:
        return resolved(parameter.annotation, _names_for(parameter, function))
    except Exception as error:
        written = parameter.annotation
        text = getattr(written, "__forward_arg__", None) or (written if isinstance(written, str) else repr(written))
        return Unresolved(text.strip("'\""), f"{type(error).__name__}: {error}")


def _names_for(parameter: inspect.Parameter, function: Function) -> Names:
    """The names that a parameter's annotation may use: the globals of the module that it was written in."""
    if not isinstance(function, type):
        names: Names = getattr(function, "__globals__", {})
        return {**names, **{each.__name__: each for each in getattr(function, "__type_params__", ())}}
    # The constructor of a dataclass is made of the fields of several classes, perhaps of different modules.
    for cls in function.__mro__:
        if _written_in(cls).get(parameter.name) == parameter.annotation:
            return vars(sys.modules[cls.__module__])
    for name in ("__init__", "__new__"):
        constructor = getattr(function, name)
        if hasattr(constructor, "__globals__"):
            own_names: Names = constructor.__globals__
            return own_names
    return vars(sys.modules[function.__module__])


def _written_in(cls: type) -> Mapping[str, Annotation]:
    try:
        return inspect.get_annotations(cls)
    except NameError:  # from Python 3.14 on it evaluates them
        return {}


def is_a(annotation: Annotation, cls: type) -> bool:
    """Whether an annotation is a class, or an optional one.

    Of an ``Unresolved`` annotation the name counts: linters advise to import such classes for type checkers only.
    """
    if isinstance(annotation, Unresolved):
        return annotation.text.rpartition(".")[2] == cls.__name__
    origin: Annotation = get_origin(annotation)
    annotation = annotation.__origin__ if origin is Annotated else annotation
    members = set(members_of(annotation)) - {type(None)}
    return bool(members) and all(isinstance(member, type) and issubclass(member, cls) for member in members)


def layers_of(function: Function) -> Iterator[Function]:
    """The callables that a call goes through: decorators and partials, and at last the user's function or class."""
    layer: Any = function
    while True:
        yield layer
        if isinstance(layer, type):  # a call makes an object, and does not call its __call__
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


def _entered(function: Function) -> Function:
    """The function or class whose code runs first: of a decorated function, the decorator's."""
    function = unwrapped(function)
    if isinstance(function, type) or inspect.isroutine(function):
        return function
    return _entered(type(function).__call__)


def kind_of(function: Function) -> Kind:
    """How a function is called: decided by the code that runs first, since a decorator may change the kind."""
    entered = _entered(function)
    if inspect.isasyncgenfunction(entered) or inspect.isgeneratorfunction(entered):
        return Kind.GENERATOR
    marked = inspect.iscoroutinefunction(entered) or inspect.iscoroutinefunction(function)
    return Kind.COROUTINE if marked else Kind.THREAD


def innermost(function: Function) -> Function:
    """The function or class that the user wrote, without decorators and partials."""
    *_, last = layers_of(function)
    return last


def unwrapped(function: Function) -> Function:
    """The function of a ``functools.partial``, or the function itself."""
    while isinstance(function, partial):
        function = function.func
    return function


def name_of(function: Function, *, qualified: bool = False) -> str:
    """The name of a function, or of the class of another callable."""
    named = unwrapped(function)
    attribute = "__qualname__" if qualified else "__name__"
    return str(getattr(named, attribute, getattr(type(named), attribute)))


def label_of(function: Function) -> str:
    """The name of a function with its module, for messages."""
    return f"{getattr(unwrapped(function), '__module__', '?')}.{name_of(function, qualified=True)}"


def takes(function: Function, count: int, names: Iterable[str] = ()) -> bool:
    """Whether a function can be called with ``count`` positional arguments, and arguments of these names."""
    try:
        _signature(function).bind(*[None] * count, **dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:  # a function in C without a signature
        return True
    return True
