"""Handlers: how their parameters are filled, and what becomes of what they return."""

from __future__ import annotations

import dataclasses
import enum
import functools
import io
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional  # noqa: F401 - by name
from uuid import UUID

import msgspec
import pytest
import trio

from trioweb import App, HTTPError, JSONResponse, Provide, Request, Response
from trioweb.ground.errors import RouteError
from trioweb.ground.templates import CONVERTERS, parse_template
from trioweb.handlers.endpoint import Endpoint, plan
from trioweb.handlers.results import to_response
from trioweb.handlers.route import Route
from trioweb.handlers.signatures import Kind
from trioweb.messages.connection import Connection
from trioweb.messages.response import stream_of

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

LABEL = "app.handler"
PLAIN = Connection({"type": "http", "query_string": b"", "headers": []}, App(), {})
"""A request without a query."""


def planned(handler: Callable[..., Any], path: str = "/") -> Endpoint:
    """The endpoint of a handler at a path."""
    parameters = parse_template(path, CONVERTERS).parameters
    return plan(Route(path, frozenset({"GET"}), handler, "handler"), parameters)


class SubRequest(Request):
    """A request class of a user's own."""

    __slots__ = ()


class Color(enum.Enum):
    """Values that a path parameter may be annotated with."""

    RED = "red"


async def _by_name(request) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    ...


async def _by_type(it: Request, crew: trio.Nursery) -> None: ...
async def _by_text(it: "trioweb.Request", crew: "Nursery") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037
async def _by_subclass(*, it: SubRequest) -> None: ...
async def _by_both(request: trio.Nursery, it: Request) -> None: ...
async def _neither(request: str) -> None: ...


@pytest.mark.parametrize(
    ("handler", "path", "request_name", "nursery_name"),
    [
        (_by_name, "/", "request", None),
        (_by_type, "/", "it", "crew"),
        (_by_text, "/", "it", "crew"),
        (_by_subclass, "/", "it", None),
        (_by_both, "/", "it", "request"),
        (_neither, "/{request}", None, None),
        (_by_type, "/{it}/{crew}", "it", "crew"),
    ],
)
def test_request_and_nursery_are_found(
    handler: Callable[..., Any], path: str, request_name: str | None, nursery_name: str | None
) -> None:
    """Request and nursery are found by annotation, also as text; then a request by its name, unless the path has it."""
    endpoint = planned(handler, path)
    assert (endpoint.arguments.request_names, endpoint.arguments.nursery_names) == tuple(
        () if n is None else (n,) for n in (request_name, nursery_name)
    )
    assert endpoint.light == (request_name is None and nursery_name is None)


async def _whole(id: str, n: int, color: Color, kind: Literal["a", "b"], key: UUID | None = None) -> Unknown:  # noqa: A002
    return id, n, color, kind, key


async def _noted(n: Annotated[int, "how many"]) -> None: ...


@pytest.mark.parametrize(
    ("handler", "path", "given", "filled"),
    [
        (
            _whole,
            "/{id}/{n}/{color}/{kind}",
            ("5", "6", "red", "a"),
            {"id": "5", "n": 6, "color": Color.RED, "kind": "a"},
        ),
        (_noted, "/{n}", ("5",), {"n": 5}),
        (_noted, "/{n:int}", (5,), {"n": 5}),
        (lambda n: n, "/{n}", ("5",), {"n": "5"}),
        (lambda **rest: rest, "/{a}/{b:int}", ("x", 1), {"a": "x", "b": 1}),
        (lambda *_, b: b, "/{b}", ("y",), {"b": "y"}),
        (lambda b, request: (b, request), "/{a}/{b}", ("x", "y"), {"b": "y", "request": PLAIN}),
    ],
)
def test_path_parameters_are_filled(
    handler: Callable[..., Any], path: str, given: tuple[Any, ...], filled: dict[str, Any]
) -> None:
    """Path parameters go by name, converted where their annotation says so; the request has those not asked for."""
    names = parse_template(path, CONVERTERS).parameters
    assert planned(handler, path).arguments.bind(dict(zip(names, given, strict=True)), PLAIN) == filled


@pytest.mark.parametrize(("name", "value"), [("n", "x"), ("n", "1.5"), ("color", "blue"), ("kind", "c"), ("key", "5")])
def test_a_path_parameter_that_does_not_fit(name: str, value: str) -> None:
    """What does not fit its annotation is a 422 that names the parameter."""

    async def handler(
        n: int = 0, color: Color = Color.RED, kind: Literal["a", "b"] = "a", key: UUID | None = None
    ) -> None: ...

    with pytest.raises(HTTPError, match=f"The request does not fit. path.{name}: ") as caught:
        planned(handler, f"/{{{name}}}").arguments.bind({name: value}, PLAIN)
    assert caught.value.status == 422


def _only(a: str, /) -> None: ...


@pytest.mark.parametrize(
    ("handler", "path", "message"),
    [
        (lambda n: n, "/", "'n' of {label}: name a parameter of the path (there is none), annotate it as Request or"),
        (lambda n: n, "/{a}/{b}", "'n' of {label}: name a parameter of the path (there is {{a}}, {{b}}), annotate it"),
        (lambda *, nursery: nursery, "/", "'nursery' of {label}: "),
    ],
)
def test_a_parameter_that_nothing_can_fill(handler: Callable[..., Any], path: str, message: str) -> None:
    """A parameter that nothing can fill is a RouteError that names route, parameter and handler."""
    with pytest.raises(RouteError) as caught:
        planned(handler, path)
    label = f"{handler.__module__}.{handler.__qualname__}"
    assert str(caught.value).startswith(f"GET {path}: nothing can fill the parameter {message.format(label=label)}")


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (5, "GET /{a}: a handler must be a function, got int"),
        (_only, "GET /{a}: tests.test_handlers._only takes 'a' by position only: remove the \"/\" from its parameters"),
    ],
)
def test_what_is_no_handler(handler: Any, message: str) -> None:
    """What cannot be called with keywords is a RouteError that says why."""
    with pytest.raises(RouteError) as caught:
        planned(handler, "/{a}")
    assert str(caught.value) == message


@functools.singledispatch
async def _chosen(a: object) -> str:
    """A function that is chosen by the type of its first argument."""
    return repr(a)


class _Chosen:
    @functools.singledispatchmethod
    def method(self, a: object) -> str:
        """The same as a method."""
        return repr(a)


@pytest.mark.parametrize("function", [_chosen, _Chosen().method])
@pytest.mark.parametrize("provided", [False, True])
def test_what_is_chosen_by_its_first_argument(function: Any, provided: bool) -> None:
    """A function that takes its first argument by position only is refused, as a handler and as a dependency."""

    async def depends(a: str, given: str) -> str:
        return a + given

    depends.__annotations__["given"] = Annotated[str, Provide(function)]
    with pytest.raises(
        RouteError, match=r"^GET /\{a\}: .* is chosen by its first argument .* a function that calls it$"
    ):
        planned(depends if provided else function, "/{a}")


class Calls:
    """Handlers that are methods and objects."""

    async def method(self, name: str) -> str:
        """A coroutine method."""
        return name

    async def __call__(self, name: str) -> str:
        """A callable object."""
        return name


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that hides what a function is, but for its signature."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


async def _named(name: str) -> str:
    return name


async def _coroutine(name: str, end: str = "") -> str:
    return name + end


async def _async_generator(name: str) -> AsyncGenerator[str, None]:
    yield name


def _generator(name: str) -> Iterator[str]:
    yield name


def _function(name: str) -> str:
    return name


@pytest.mark.parametrize(
    ("handler", "kind", "label"),
    [
        (_coroutine, Kind.COROUTINE, "_coroutine"),
        (_async_generator, Kind.GENERATOR, "_async_generator"),
        (_generator, Kind.GENERATOR, "_generator"),
        (_function, Kind.THREAD, "_function"),
        (Calls().method, Kind.COROUTINE, "Calls.method"),
        (Calls(), Kind.COROUTINE, "Calls"),
        (functools.partial(_coroutine, end="!"), Kind.COROUTINE, "_coroutine"),
        (functools.partial(functools.partial(_generator)), Kind.GENERATOR, "_generator"),
        (functools.partial(Calls()), Kind.COROUTINE, "Calls"),
        (_wrapped(_coroutine), Kind.THREAD, "_coroutine"),
        (_wrapped(_async_generator), Kind.THREAD, "_async_generator"),
    ],
)
async def test_how_handlers_are_called(handler: Callable[..., Any], kind: Kind, label: str) -> None:
    """Functions, methods, objects, partials and decorated functions are called as what they are, under their names."""
    endpoint = planned(handler, "/{name}")
    assert endpoint.kind is kind
    value = await endpoint.call({"name": "ada"}, PLAIN)
    if hasattr(value, "__anext__"):
        [value] = [chunk async for chunk in value]
    elif not isinstance(value, str):
        value = next(value)
    assert value == "ada" + ("!" if getattr(handler, "keywords", {}) else "")
    assert endpoint.label == f"tests.test_handlers.{label}"


async def _twice(request: Any, it: Request) -> None: ...


def test_no_parameter_is_left_unfilled() -> None:
    """Where two parameters take the request both get it, or the route is refused; a call never lacks an argument."""
    try:
        endpoint = planned(_twice)
    except RouteError:
        return
    request: Any = object()
    assert endpoint.arguments.bind({}, request) == {"request": request, "it": request}


@pytest.mark.parametrize("annotation", ["Request | None", "Optional[Request]", "Annotated[Request, 1]"])
def test_a_request_that_may_be_missing(annotation: str) -> None:
    """A parameter that may be a request, or is one with a note, takes the request as well."""

    def handler(it: Any = None) -> None: ...

    handler.__annotations__["it"] = annotation
    assert planned(handler).arguments.request_names == ("it",)


@dataclasses.dataclass
class Point:
    """A dataclass to return."""

    x: int


class Pixel(msgspec.Struct):
    """A Struct to return."""

    x: int


@pytest.mark.parametrize(
    ("value", "status", "media_type", "body"),
    [
        ("\xe9", 200, "text/plain; charset=utf-8", b"\xc3\xa9"),
        (b"x", 200, "application/octet-stream", b"x"),
        (bytearray(b"x"), 200, "application/octet-stream", b"x"),
        (memoryview(b"x"), 200, "application/octet-stream", b"x"),
        ({"a": 1}, 200, "application/json", b'{"a":1}'),
        ({}, 200, "application/json", b"{}"),
        ([1, "a"], 200, "application/json", b'[1,"a"]'),
        (5, 200, "application/json", b"5"),
        (0.5, 200, "application/json", b"0.5"),
        (False, 200, "application/json", b"false"),
        (Point(1), 200, "application/json", b'{"x":1}'),
        (Pixel(1), 200, "application/json", b'{"x":1}'),
        (None, 204, None, b""),
    ],
)
def test_values(value: Any, status: int, media_type: str | None, body: bytes) -> None:
    """Each value that a handler returns is the response that the table says."""
    response = to_response(value, LABEL, streaming=False)
    assert (type(response), response.status_code, response.body) == (Response, status, body)
    assert response.headers.getlist("content-type") == ([] if media_type is None else [media_type])


def test_responses_stay_themselves() -> None:
    """A response is itself, on a streaming route too."""
    response = JSONResponse({})
    assert to_response(response, LABEL, streaming=False) is response
    assert to_response(response, LABEL, streaming=True) is response


async def test_streams() -> None:
    """Generators, iterators, channels, receive streams and async files are streamed as they are."""
    send, channel = trio.open_memory_channel[str](0)
    async_gen = _async_generator("a")
    file = trio.wrap_file(io.BytesIO(b"x"))
    pipe = trio.testing.memory_stream_one_way_pair()[1]
    for value in (async_gen, _generator("a"), iter([1]), map(str, [1]), channel, file, pipe):
        stream = stream_of(to_response(value, LABEL, streaming=False))
        assert stream is not None
        assert (stream.source, stream.encode) == (value, None)
    send.close()
    channel.close()
    await async_gen.aclose()


@pytest.mark.parametrize("value", [[1, 2], (1, 2), {1, 2}, range(3), iter("ab")])
def test_a_streaming_route_streams(value: Any) -> None:
    """On a route that always streams an iterable is streamed, a list too."""
    stream = stream_of(to_response(value, LABEL, streaming=True))
    assert stream is not None
    assert stream.source is value


@pytest.mark.parametrize("value", ["text", b"bytes", {"a": 1}, 5, None, Point(1), object()])
def test_what_a_streaming_route_cannot_stream(value: Any) -> None:
    """On such a route any other value is a TypeError that names handler and type."""
    name = type(value).__qualname__
    with pytest.raises(TypeError, match=rf"^app\.handler is registered with streaming=True, but returned {name}: "):
        to_response(value, LABEL, streaming=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "app.handler returned object: return a Response, str, bytes, dict, list"),
        (("text", 404), "app.handler returned tuple: return a Response, "),
        ({1, 2}, "app.handler returned set: return a Response, "),
        (Point, "app.handler returned type: return a Response, "),
        (Pixel, "app.handler returned StructMeta: return a Response, "),
        (UUID(int=0), "app.handler returned UUID: return a Response, "),
        (HTTPError(404), "app.handler returned HTTPError: raise it instead"),
        ({"a": object()}, "app.handler returned dict that has no JSON form: "),
        ([Color], "app.handler returned list that has no JSON form: "),
    ],
)
def test_anything_else_is_an_error(value: Any, message: str) -> None:
    """A value that is none of these is a TypeError that names handler and type."""
    with pytest.raises(TypeError) as caught:
        to_response(value, LABEL, streaming=False)
    assert str(caught.value).startswith(message)


def test_a_hint_for_what_comes_close() -> None:
    """A tuple is told of statuses and ``streaming=True``, a function of calling it, a coroutine of ``await``."""
    status = r"a status goes with Response\(content, status\); "
    with pytest.raises(TypeError, match=r"a status goes with JSONResponse\(content, status\); "):
        to_response(({"a": 1}, 201), LABEL, streaming=False)
    with pytest.raises(TypeError, match=rf"{status}to stream a tuple, register the route with streaming=True$"):
        to_response((1, 2), LABEL, streaming=False)
    with pytest.raises(TypeError, match=r"returned function: call it: write `return _coroutine\(\.\.\.\)`, with"):
        to_response(_coroutine, LABEL, streaming=False)
    forgotten = _coroutine("ada")
    with pytest.raises(TypeError, match=r"returned a coroutine that nobody has awaited: write `return await \.\.\.`$"):
        to_response(forgotten, LABEL, streaming=False)
    inside = _coroutine("ada")
    with pytest.raises(TypeError, match=r"that has no JSON form: .*: write `await` before the call that made it$"):
        to_response({"a": [inside]}, LABEL, streaming=False)
    inside.close()
