"""Where arguments come from: what registration accepts, and what it refuses with which words."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import msgspec
import pytest

from trioweb import Body, Cookie, File, Form, Header, Provide, Query, Request, RouteError, UploadFile, WebSocket
from trioweb.arguments import Arguments
from trioweb.connection import Connection
from trioweb.ground.templates import CONVERTERS, parse_template
from trioweb.planner import Planner


class Item(msgspec.Struct):
    """Something with fields."""

    n: int = 0


@dataclasses.dataclass
class Data:
    """The same as a dataclass."""

    n: int = 0


class Typed(TypedDict):
    """The same as a TypedDict."""

    n: int


class Odd:
    """Something that no client can send."""


class Mixed(enum.Enum):
    """An enum that msgspec does not take."""

    A = 1
    B = "b"


def planned(function: Callable[..., Any], path: str = "/") -> Arguments:
    """The arguments of a function."""
    return Planner(f"GET {path}", parse_template(path, CONVERTERS).parameters).plan(function)


async def _values(
    i: int, e: Literal["a"], u: UUID | None, d: dt.date = dt.date.min, many: list[int] = [],  # noqa: B006
    a: Any = 1, q: Annotated[int, Query("Q")] = 1, q2: Annotated[int, Query] = 1, h: Annotated[str, Header] = "",
    x_token: Annotated[str, Header] = "", h2: Annotated[str, Header("X-H")] = "", c: Annotated[str, Cookie] = "",
    model: Annotated[Item | None, Query] = None, u2: Annotated[int, Query] | None = None,
) -> None: ...  # fmt: skip


def test_where_values_come_from() -> None:
    """A plain value is one of the query; markers say otherwise, called or not, with another name or not."""
    found = [(each.name, each.where, each.key) for each in planned(_values).inputs]
    assert found == [
        ("i", "query", "i"), ("e", "query", "e"), ("u", "query", "u"), ("d", "query", "d"), ("many", "query", "many"),
        ("a", "query", "a"), ("q", "query", "Q"), ("q2", "query", "q2"), ("h", "header", "h"),
        ("x_token", "header", "x-token"), ("h2", "header", "X-H"), ("c", "cookie", "c"), ("model", "query", ""),
        ("u2", "query", "u2"),
    ]  # fmt: skip
    assert [each.required for each in planned(_values).inputs][:4] == [True, True, False, False]


@pytest.mark.parametrize(
    "annotation", [Item, Data, Typed, dict[str, int], list[Item], list[Data] | None, Item | None, Annotated[int, Body]]
)
def test_what_is_the_body(annotation: Any) -> None:
    """What has fields, and a list of such, is the body."""

    async def handler(it) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    handler.__annotations__["it"] = annotation
    plan = planned(handler)
    assert plan.body is not None
    assert plan.body.found.name == "it"
    assert (plan.inputs, plan.form) == ([], [])


async def _form(a: UploadFile, b: list[UploadFile], c: Annotated[str, Form], d: Annotated[Item, Form],
                e: Annotated[bytes, File("E")], f: UploadFile | None) -> None: ...  # fmt: skip


def test_what_is_in_a_form() -> None:
    """Files need no marker; fields do; what has fields takes all of the form."""
    plan = planned(_form)
    assert [(each.key, each.shape.is_file) for each in plan.form] == [
        ("a", True), ("b", True), ("c", False), ("", False), ("E", True), ("f", True),
    ]  # fmt: skip
    assert plan.files == ["e"]


def test_a_default_of_the_users_own() -> None:
    """A parameter with a default that no annotation speaks of, or none that a client could send, is left alone."""

    def handler(a=1, b: Odd = Odd(), c: Nowhere = None) -> None: ...  # type: ignore[name-defined,no-untyped-def]  # noqa: F821, ANN001, B008

    plan = planned(handler)
    assert plan.passes_all
    assert not plan.takes_request


async def _dependency(request: Request, limit: int = 1) -> int:
    return limit


async def _generator(value: Annotated[int, Provide(_dependency)]) -> AsyncIterator[int]:
    yield value


@asynccontextmanager
async def _manager() -> AsyncIterator[int]:
    yield 1


def _plain() -> int:
    return 1


class Callable_:  # noqa: N801
    """An object that is called."""

    async def __call__(self, q: int = 1) -> int:
        """Provide."""
        return q


@pytest.mark.parametrize("function", [_dependency, _generator, _manager, _plain, Callable_()])
def test_what_may_provide(function: Any) -> None:
    """Async functions, generators, context managers, plain functions and objects may provide."""

    async def handler(it) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    handler.__annotations__["it"] = Annotated[int, Provide(function)]
    plan = planned(handler)
    assert plan.provided["it"].function is function
    assert plan.takes_request


def _sync_generator() -> Iterator[int]:
    yield 1


async def _circle(it: Annotated[int, Provide(lambda: 0)]) -> int:
    return it


_circle.__annotations__["it"] = Annotated[int, Provide(_circle)]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Odd, "cannot be an input: nothing that a client sends can be made into Odd; take a Struct"),
        (Mixed, "cannot be an input: Enums must contain either all str or all int"),
        (list[Odd], "cannot be an input: nothing that a client sends can be made into Odd"),
        (Annotated[Odd, Query], "cannot be an input: nothing"),
        (Annotated[int, Query, Header], "one of Query, Header, Cookie, Body, Form, File and Provide is enough"),
        (Annotated[int | None, msgspec.Meta(ge=1)], "cannot be an input: Can only set `ge` on a numeric type"),
        (Annotated[Item, Header], "has fields: they come from a body, a query string or a form, not from a header"),
        (Annotated[Item, Cookie], "has fields: they come from"),
        (Annotated[list[Item], Query], "has fields: they come from"),
        (Annotated[list[int], Cookie], "is a list, and of a cookie there is one value"),
        (Annotated[int, Provide(5)], "Provide takes a function, got int"),  # type: ignore[arg-type]
        (Annotated[int, Provide(_sync_generator)], "_sync_generator yields: make it an async def"),
        (Annotated[int, Provide(_circle)], "_circle is provided by way of itself: break the circle"),
        (Annotated[int, Provide(lambda x: x)], "nothing can fill the parameter 'x'"),
        ("Nowhere", "nothing can fill the parameter 'it' of .* \\(its annotation 'Nowhere' is not known at the top"),
        (None, "nothing can fill the parameter 'it' of .*: name a parameter of the path"),
    ],
)
def test_what_is_refused(annotation: Any, message: str) -> None:
    """What cannot be filled is an error when the route is registered, which names route, handler and parameter."""

    async def handler(it) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    if annotation is not None:
        handler.__annotations__["it"] = annotation
    with pytest.raises(RouteError, match=message) as caught:
        planned(handler)
    assert str(caught.value).startswith("GET /: ")


@pytest.mark.parametrize("marker", [Query("x"), Query, Header(), Body(), File(), Provide(_plain)])
def test_a_marker_that_is_a_default(marker: Any) -> None:
    """A marker in the place of a default, as FastAPI had it, is refused: the handler would get the marker itself."""

    def handler(it: int = marker) -> None: ...

    name = marker.__name__ if isinstance(marker, type) else type(marker).__name__
    with pytest.raises(RouteError, match=rf"'it' .* has {name} as its default: write it: Annotated\[\.\.\., {name}\("):
        planned(handler)


async def _two_bodies(a: Item, b: Data) -> None: ...
async def _body_and_form(a: Item, b: UploadFile) -> None: ...
async def _form_and_body(a: Annotated[str, Form], b: Annotated[bytes, Body]) -> None: ...
async def _body_of_a_dependency(a: Annotated[None, Provide(_two_bodies)], b: Item) -> None: ...
async def _path_model(a: Item) -> None: ...


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (_two_bodies, "takes the body, and .*'a' of .* does so too: make one type of both"),
        (_body_of_a_dependency, "takes the body, and .* does so too"),
        (_body_and_form, r"takes a field of a form, and .* the whole body: write Annotated\[..., Form\]"),
        (_form_and_body, "takes a field of a form, and .* the whole body"),
    ],
)
def test_one_body(handler: Any, message: str) -> None:
    """A request has one body: two that want it whole are refused."""
    with pytest.raises(RouteError, match=message):
        planned(handler)


def test_a_path_is_no_object() -> None:
    """A parameter of the path has no fields."""
    with pytest.raises(RouteError, match="has fields"):
        planned(_path_model, "/{a}")


async def _takes_request(request: Request) -> int:
    return 0


async def _takes_connection(connection: Connection) -> str:
    return connection.path


def test_a_websocket_is_taken_by_annotation_or_name() -> None:
    """A WebSocket's handler takes it as it likes; what takes a connection is for requests and WebSockets."""

    async def by_type(socket: WebSocket, c: Annotated[str, Provide(_takes_connection)]) -> None: ...
    async def by_name(ws) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    for function, names in ((by_type, ("socket",)), (by_name, ("ws",))):
        assert Planner("WEBSOCKET /", {}, websocket=True).plan(function).request_names == names

    async def handler(request: Request, c: Annotated[str, Provide(_takes_connection)]) -> None: ...

    assert planned(handler).provided["c"].arguments.request_names == ("connection",)


async def _json(ws: WebSocket, item: Item) -> None: ...
async def _file(ws: WebSocket, file: UploadFile) -> None: ...
async def _field(ws: WebSocket, field: Annotated[str, Form]) -> None: ...
async def _request(ws: WebSocket, r: Request) -> None: ...
async def _provided(ws: WebSocket, n: Annotated[int, Provide(_takes_request)]) -> None: ...
async def _bare(ws: WebSocket, x: Nothing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_json, "'item' .* comes from a body, and a WebSocket has none"),
        (_file, "'file' .* comes from a body, and a WebSocket has none"),
        (_field, "'field' .* comes from a body, and a WebSocket has none"),
        (_request, "'r' .* cannot be a Request on this route: annotate it as WebSocket"),
        (_provided, "'request' .*_takes_request cannot be a Request on this route"),
        (_bare, r"annotate it as WebSocket or trio.Nursery, as what it is in the query string \(int, str, list"),
    ],
)
def test_what_a_websocket_does_not_have(function: Callable[..., Any], words: str) -> None:
    """A WebSocket has no body and is no request: its handler is refused when it is registered."""
    with pytest.raises(RouteError, match=words):
        Planner("WEBSOCKET /", {}, websocket=True).plan(function)


def test_a_request_is_no_websocket() -> None:
    """Nor does a request's handler get a WebSocket."""

    async def handler(ws: WebSocket) -> None: ...

    with pytest.raises(RouteError, match="cannot be a WebSocket on this route: annotate it as Request"):
        planned(handler)
