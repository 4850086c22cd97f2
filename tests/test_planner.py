"""Where arguments come from: what registration accepts, and what it refuses with which words."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, NamedTuple, Self, TypedDict
from uuid import UUID

import annotated_types
import attrs
import msgspec
import pydantic
import pytest
from typing_extensions import Unpack

from trioweb import Body, Cookie, File, Form, Header, Provide, Query, Request, RouteError, UploadFile, WebSocket
from trioweb.ground.templates import CONVERTERS, parse_template
from trioweb.handlers.arguments import Arguments
from trioweb.handlers.planner import Planner
from trioweb.messages.connection import Connection


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


class Struct2(msgspec.Struct):
    """Something else with fields."""

    m: int = 0


class HasMarker(msgspec.Struct):
    """A class whose field says where it comes from, which its whole decides."""

    n: Annotated[int, Query] = 0


class HasConstraint(msgspec.Struct):
    """A class whose field has a condition that msgspec does not know."""

    n: Annotated[int, annotated_types.Gt(0)] = 1


@pydantic.dataclasses.dataclass
class PydanticData:
    """A dataclass of pydantic's."""

    n: Annotated[int, pydantic.Field(gt=0)]


class PydanticModel(pydantic.BaseModel):
    """A model of pydantic's."""

    n: int


class HasPydantic(msgspec.Struct):
    """A class that pydantic does not know, with one of its own."""

    data: PydanticData


@dataclasses.dataclass
class FixedAndPydantic:
    """A dataclass that pydantic validates, with a field that is not for its caller."""

    model: PydanticModel
    is_admin: bool = dataclasses.field(default=False, init=False)


@dataclasses.dataclass
class Fixed:
    """A dataclass with a field that is not for its caller."""

    name: str
    is_admin: bool = dataclasses.field(default=False, init=False)


@attrs.define
class FixedAttrs:
    """The same of attrs."""

    name: str
    is_admin: bool = attrs.field(default=False, init=False)


@attrs.define
class Converted:
    """A class whose constructor changes what it is given."""

    n: int = attrs.field(converter=abs)


@dataclasses.dataclass
class Base:
    """A plain dataclass."""

    n: int


class Pair(NamedTuple):
    """A tuple with a name for its part."""

    n: int


class OwnNew(Pair):
    """A tuple whose constructor changes what it is given."""

    def __new__(cls, n: int) -> Self:
        """Count one more."""
        return super().__new__(cls, n + 1)


@attrs.define(init=False)
class OwnAttrsInit:
    """A class of attrs without its constructor."""

    n: int = 1


@dataclasses.dataclass
class DataNew:
    """A dataclass that checks where it is made."""

    n: int

    def __new__(cls, n: int) -> Self:
        """Make it."""
        assert n > 0
        return super().__new__(cls)


@dataclasses.dataclass
class OwnSet:
    """A dataclass that checks where it is set."""

    n: int

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, abs(value))


@attrs.define
class AttrsSet:
    """The same of attrs."""

    n: int

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, abs(value))


@attrs.define
class SharedAttrs:
    """A class whose default all its objects share."""

    tags: list[str] = []  # noqa: RUF008


class SharedTuple(NamedTuple):
    """The same of a tuple."""

    tags: list[str] = []  # noqa: RUF012


class FrozenItem(msgspec.Struct, frozen=True):
    """Something that does not change, but for what it holds."""

    tags: list[str] = []


class SharedStruct(msgspec.Struct):
    """The same of a Struct."""

    n: int
    item: FrozenItem = FrozenItem()


class Rest(TypedDict):
    """What may be given by name."""

    n: int


class OwnInit(Base):
    """A class with a constructor of its own."""

    def __init__(self, n: int) -> None:
        super().__init__(abs(n))


class OddField(msgspec.Struct):
    """A class with a field that no client can send."""

    odd: Odd | None = None


class Uncopied:
    """Something that cannot be copied."""

    def __deepcopy__(self, memo: object) -> Uncopied:
        raise TypeError("not me")


class Mixed(enum.Enum):
    """An enum that msgspec does not take."""

    A = 1
    B = "b"


def planned(function: Callable[..., Any], path: str = "/") -> Arguments:
    """The arguments of a function."""
    return Planner(f"GET {path}", parse_template(path, CONVERTERS).parameters).plan(function)


def planned_websocket(function: Callable[..., Any]) -> Arguments:
    """The arguments of the handler of a WebSocket."""
    return Planner("WEBSOCKET /", {}, websocket=True).plan(function)


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
    assert plan.files == {"e"}


def _no_annotation(it=1) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def _no_client_can(it: Odd = Odd()) -> None: ...  # noqa: B008
def _checkers_only(it: Annotated[Nowhere, Provide(print)] = None) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _untold(it: dt.date | dt.datetime | None = None) -> None: ...
def _untold_choice(it: UUID | Literal["all"] = "all") -> None: ...
def _two_bodies_or_none(it: Item | Struct2 | None = None) -> None: ...
def _within(it: list[Annotated[str, Header]] = []) -> None: ...  # noqa: B006
def _within_a_class(it: HasMarker | None = None) -> None: ...
def _not_ours(it: Annotated[int, Odd()] = 1) -> None: ...
def _not_checked_within(it: HasConstraint | None = None) -> None: ...
def _pydantic_within(it: HasPydantic | None = None) -> None: ...
def _fixed_beside_pydantic(it: FixedAndPydantic | None = None) -> None: ...
def _fixed(it: Fixed | None = None) -> None: ...
def _fixed_within(it: list[Fixed] | None = None) -> None: ...
def _fixed_attrs(it: FixedAttrs | None = None) -> None: ...
def _converted(it: Converted | None = None) -> None: ...
def _own_init(it: OwnInit | None = None) -> None: ...
def _odd_field(it: OddField | None = None) -> None: ...
def _own_new(it: OwnNew | None = None) -> None: ...
def _own_attrs_init(it: OwnAttrsInit | None = None) -> None: ...
def _data_new(it: DataNew | None = None) -> None: ...
def _own_set(it: OwnSet | None = None) -> None: ...
def _attrs_set(it: AttrsSet | None = None) -> None: ...
def _shared_attrs(it: SharedAttrs | None = None) -> None: ...
def _shared_tuple(it: SharedTuple | None = None) -> None: ...
def _shared_struct(it: list[SharedStruct] = []) -> None: ...  # noqa: B006
def _no_function(it: Annotated[int, Provide] = 1) -> None: ...
def _no_name(it: Annotated[int, Query("")] = 1) -> None: ...
def _no_text(it: Annotated[int, Header(5)] = 1) -> None: ...
def _no_header(it: Annotated[int, Header("x token")] = 1) -> None: ...
def _list_of_any(*it: int) -> None: ...
def _marked_rest(**it: Annotated[int, Query]) -> None: ...
def _typed_rest(**it: Unpack[Rest]) -> None: ...
def _uncopied(it: Annotated[Any, Query] = Uncopied()) -> None: ...  # noqa: B008


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (_no_annotation, "nothing can fill the parameter 'it'.*functools.partial binds"),
        (_no_client_can, "nothing that a client sends can be made into Odd"),
        (_checkers_only, "cannot be evaluated: 'Annotated.*': NameError: name 'Nowhere' is not defined"),
        (_untold, "cannot be an input: "),
        (_untold_choice, "cannot be an input: "),
        (_two_bodies_or_none, "cannot be an input: "),
        (_within, r"Header stands within a type: write Annotated\[the whole type, Header\]"),
        (_within_a_class, "Query stands within a type"),
        (_not_ours, r"Odd object at .*> means nothing here: write msgspec.Meta\(...\) for a constraint, Provide"),
        (_not_checked_within, r"Gt\(gt=0\) means nothing here"),
        (_pydantic_within, "PydanticData is a dataclass of pydantic's within a class that pydantic does not know"),
        (_fixed_beside_pydantic, "the field FixedAndPydantic.is_admin is not for its caller"),
        (_fixed, r"the field Fixed.is_admin is not for its caller to set \(init=False\), but a client could"),
        (_fixed_within, "the field Fixed.is_admin is not for its caller"),
        (_fixed_attrs, "the field FixedAttrs.is_admin is not for its caller"),
        (_converted, "the converter of Converted.n would not be called"),
        (_own_init, "the __init__ of OwnInit would not be called"),
        (_odd_field, "nothing that a client sends can be made into Odd"),
        (_own_new, "the __new__ of OwnNew would not be called"),
        (_own_attrs_init, "the __init__ of OwnAttrsInit would not be called"),
        (_data_new, "the __new__ of DataNew would not be called"),
        (_own_set, "the __setattr__ of OwnSet would not be called"),
        (_attrs_set, "the __setattr__ of AttrsSet would not be called"),
        (_shared_attrs, "the default of SharedAttrs.tags would be one for all requests: write default_factory=..."),
        (_shared_tuple, "the default of SharedTuple.tags would be one for all requests"),
        (_shared_struct, "the default of SharedStruct.item would be one for all requests"),
        (_no_function, r"Provide takes the function that is called: write Provide\(function\)"),
        (_no_name, r"nothing has the name in Query\(alias=''\): write Query without one, or another"),
        (_no_text, r"nothing has the name in Header\(alias=5\)"),
        (_no_header, "nothing has the name in Header"),
        (_list_of_any, r"_list_of_any takes \*it: int, which is no input: name each one"),
        (_marked_rest, r"_marked_rest takes \*\*it: (typing\.)?Annotated\[.*, which is no input"),
        (_typed_rest, r"_typed_rest takes \*\*it: (typing_extensions\.)?Unpack\[.*, which is no input"),
        (_uncopied, r"a default that cannot be copied for each request \(TypeError: not me\): write None"),
    ],
)
def test_a_default_hides_no_mistake(handler: Callable[..., Any], message: str) -> None:
    """A parameter that no client can fill, or whose conditions nobody would check, is refused, default or not."""
    for where, make in (("GET /", planned), ("WEBSOCKET /", planned_websocket)):
        with pytest.raises(RouteError, match=message) as caught:
            make(handler)
        assert str(caught.value).startswith(f"{where}: ")


@dataclasses.dataclass(frozen=True)
class FrozenData:
    """A dataclass that does not change."""

    n: int = 0
    parts: tuple[int, ...] = (1, 2)
    tags: list[str] = dataclasses.field(default_factory=list)


@attrs.frozen
class FrozenAttrs:
    """The same of attrs."""

    n: int = 0
    tags: list[str] = attrs.field(factory=list)


@attrs.define(on_setattr=attrs.setters.validate)
class Validated:
    """A class of attrs whose values are looked at whenever they are set."""

    n: int = attrs.field(default=1, validator=attrs.validators.ge(1))


class Reference(NamedTuple):
    """A tuple with defaults."""

    id: UUID = UUID(int=0)
    since: dt.date = dt.date.min


@pytest.mark.parametrize("annotation", [FrozenData, FrozenAttrs, Validated, FrozenItem, Reference])
def test_what_its_class_makes_as_usual(annotation: type) -> None:
    """Classes that do not change, that attrs checks or that make their own defaults are inputs."""

    def handler(it: Any) -> None: ...

    handler.__annotations__["it"] = annotation
    plan = planned(handler)
    assert plan.body is not None or plan.inputs


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
    assert [(name, each.function) for name, each in plan.provided] == [("it", function)]
    assert plan.takes_request


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
        (Annotated[list[Item], Query], "is a list or a union of objects, which only JSON can say: write Body there"),
        (Annotated[list[int], Cookie], "is a list, and of a cookie there is one value"),
        (Annotated[int, Provide(5)], "Provide takes a function, got int"),  # type: ignore[arg-type]
        (Annotated[int, Provide(_circle)], "_circle is provided by way of itself: break the circle"),
        (Annotated[int, Provide(lambda x: x)], "nothing can fill the parameter 'x'"),
        ("Nowhere", "'it' of .* has an annotation that cannot be evaluated: 'Nowhere': NameError: .*Define or import"),
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


@pytest.mark.parametrize("default", [msgspec.Meta(ge=1), pydantic.Field(5, ge=1)], ids=lambda it: type(it).__name__)
def test_a_condition_that_is_a_default(default: Any) -> None:
    """So is what says what a value must be, of msgspec or of a package that nobody asks: no client is held to it."""

    def handler(it: int = default) -> None: ...

    with pytest.raises(RouteError, match=r"'it' .* as its default: write it: Annotated\[.*, msgspec.Meta\(...\) or"):
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

    assert planned(handler).provided[0][1].arguments.request_names == ("connection",)


async def _json(ws: WebSocket, item: Item) -> None: ...
async def _file(ws: WebSocket, file: UploadFile) -> None: ...
async def _field(ws: WebSocket, field: Annotated[str, Form]) -> None: ...
async def _request(ws: WebSocket, r: Request) -> None: ...
async def _provided(ws: WebSocket, n: Annotated[int, Provide(_takes_request)]) -> None: ...
async def _bare(ws: WebSocket, x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_json, "'item' .* comes from a body, and a WebSocket has none"),
        (_file, "'file' .* comes from a body, and a WebSocket has none"),
        (_field, "'field' .* comes from a body, and a WebSocket has none"),
        (_request, "'r' .* cannot be a Request on this route: annotate it as WebSocket"),
        (_provided, "'request' .*_takes_request cannot be a Request on this route"),
        (_bare, r"annotate it as WebSocket or trio.Nursery, or as what it is in the query string \(int, str, list"),
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
