"""Types of others as inputs and outputs: pydantic's, attrs', rows of a database, and what a user has taught."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import ipaddress
import json
import subprocess
import sys
from collections import ChainMap, UserDict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypeVar

import attrs
import msgspec
import pydantic
import pytest
import sqlalchemy
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from trioweb import (
    App,
    Body,
    CSVResponse,
    EventStreamResponse,
    Form,
    JSONLinesResponse,
    JSONResponse,
    Query,
    Request,
    RouteError,
    WebSocket,
)
from trioweb.testing import TestClient, WebSocketClosed

T = TypeVar("T")


class Item(pydantic.BaseModel):
    """A model with constraints and an alias."""

    name: str = pydantic.Field(min_length=1, alias="Name")
    price: float = pydantic.Field(ge=0)
    tags: list[str] = []

    @pydantic.field_validator("name")
    @classmethod
    def _no_spaces(cls, value: str) -> str:
        if " " in value:
            raise ValueError("has a space")
        return value.lower()


@pydantic.dataclasses.dataclass
class Place:
    """A dataclass of pydantic's."""

    x: int = pydantic.Field(ge=0)


class Cat(pydantic.BaseModel):
    """One model of a union."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    """Another one."""

    kind: Literal["dog"]
    barks: bool


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
CAT, DOG = {"kind": "cat", "lives": 9}, {"kind": "dog", "barks": True}


class Tree(pydantic.BaseModel):
    """A model within itself."""

    kids: list[Tree] = []


@attrs.frozen(kw_only=True)
class Gate:
    """A class of attrs that checks its fields."""

    a: int = attrs.field(validator=attrs.validators.ge(0))
    tags: list[str] = attrs.Factory(list)


class Patch(msgspec.Struct):
    """What is changed of something: what was not sent is told from null."""

    name: str | msgspec.UnsetType | None = msgspec.UNSET
    count: int | msgspec.UnsetType = msgspec.UNSET


class Partial(TypedDict):
    """Not all of it must be there."""

    a: int
    b: NotRequired[str]


class Access(enum.Flag):
    """What may be done."""

    READ = 1
    WRITE = 2


Number = NewType("Number", int)


class Page(pydantic.BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]


class Household(TypedDict):
    """A dictionary of models."""

    pets: list[Pet]


@dataclasses.dataclass
class Owner:
    """A plain dataclass around a union of models."""

    pet: Cat | Dog


@dataclasses.dataclass
class Box:
    """A plain dataclass around a model."""

    item: Item
    count: int = 1


@attrs.define
class Point:
    """A class of attrs."""

    x: int
    y: int = 0


class Crate(msgspec.Struct):
    """A Struct, which pydantic does not know, around a model and other things."""

    item: Item
    at: Point | None = None
    path: Path | None = None
    ip: ipaddress.IPv4Address | None = None


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class Money:
    """A class of the user's own."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    @classmethod
    def parse(cls, text: str) -> Money:
        """Read it."""
        return cls(round(float(text) * 100))

    def __str__(self) -> str:
        return f"{self.cents / 100:.2f}"


ITEM = {"Name": "Tea", "price": 1}
BAD_ITEM = {"Name": "", "price": -1}
BAD_FAULTS = [
    {"loc": ["body", "Name"], "msg": "String should have at least 1 character"},
    {"loc": ["body", "price"], "msg": "Input should be greater than or equal to 0"},
]


async def ask(app: App, method: str, path: str, **options: Any) -> Any:
    """A response of an app."""
    async with TestClient(app) as client:
        return await client.request(method, path, **options)


def echo_of(annotation: Any) -> App:
    """An app that sends back what it was sent."""
    app = App()

    async def handler(it: Any) -> Any:
        return it

    handler.__annotations__["it"] = annotation
    app.post("/")(handler)
    return app


# Pydantic, in


@pytest.mark.parametrize(
    ("annotation", "sent", "got"),
    [
        (Item, ITEM, {"Name": "tea", "price": 1.0, "tags": []}),
        (list[Item], [ITEM], [{"Name": "tea", "price": 1.0, "tags": []}]),
        (dict[str, Item], {"a": ITEM}, {"a": {"Name": "tea", "price": 1.0, "tags": []}}),
        (Item | None, ITEM, {"Name": "tea", "price": 1.0, "tags": []}),
        (Place, {"x": 1}, {"x": 1}),
        (Box, {"item": ITEM}, {"item": {"Name": "tea", "price": 1.0, "tags": []}, "count": 1}),
        (Crate, {"item": ITEM, "at": {"x": 1}, "path": "/tmp", "ip": "1.2.3.4"}, {
            "item": {"Name": "tea", "price": 1.0, "tags": []}, "at": {"x": 1, "y": 0}, "path": "/tmp", "ip": "1.2.3.4",
        }),
        (Point, {"x": 1}, {"x": 1, "y": 0}),
        (Annotated[PurePosixPath, Body], "a/b", "a/b"),
        (Annotated[ipaddress.IPv6Network, Body], "::/64", "::/64"),
        (Annotated[Mapping[str, Sequence[int]], Body], {"a": [1]}, {"a": [1]}),
        (Annotated[Colour, Body], "red", "red"),
        (Cat | Dog, DOG, DOG),
        (Pet, DOG, DOG),
        (Pet | None, CAT, CAT),
        (list[Cat | Dog], [DOG, CAT], [DOG, CAT]),
        (dict[str, list[Pet]], {"a": [CAT]}, {"a": [CAT]}),
        (Item | int, 7, 7),
        (Owner, {"pet": DOG}, {"pet": DOG}),
        (Household, {"pets": [CAT, DOG]}, {"pets": [CAT, DOG]}),
        (Page[Pet], {"items": [CAT]}, {"items": [CAT]}),
        (pydantic.RootModel[list[int]], [1, 2], [1, 2]),
        (Page[Page[int]], {"items": [{"items": [1]}]}, {"items": [{"items": [1]}]}),
        (Tree, {"kids": [{"kids": []}]}, {"kids": [{"kids": []}]}),
        (Annotated[pydantic.SecretStr, Body], "secret", "**********"),
        (Annotated[pydantic.HttpUrl, Body], "http://example.org", "http://example.org/"),
        (Gate, {"a": 1}, {"a": 1, "tags": []}),
        (list[Gate], [{"a": 1, "tags": ["x"]}], [{"a": 1, "tags": ["x"]}]),
        (Patch, {"name": None}, {"name": None}),
        (Patch, {"count": 2}, {"count": 2}),
        (Annotated[dict[str, object], Body], {"a": [1]}, {"a": [1]}),
        (Partial, {"a": 1}, {"a": 1}),
        (Annotated[Access, Body], 3, 3),
        (Annotated[list[Decimal], Body], ["1.50"], ["1.50"]),
        (Annotated[list[dt.timedelta], Body], ["PT90S"], ["PT90S"]),
        (Annotated[Number, Body], 7, 7),
    ],
)  # fmt: skip
async def test_what_is_taken_is_given_back(annotation: Any, sent: Any, got: Any) -> None:
    """Types of others are bodies and answers, alone and within each other, by the names of their aliases."""
    response = await ask(echo_of(annotation), "POST", "/", json=sent)
    assert (response.status_code, response.json()) == (200, got)


@pytest.mark.parametrize(
    ("annotation", "sent", "within"),
    [
        (Item, BAD_ITEM, []),
        (list[Item], [ITEM, BAD_ITEM], [1]),
        (Box, {"item": BAD_ITEM}, ["item"]),
        (Crate, {"item": BAD_ITEM}, ["item"]),
        (list[Crate], [{"item": ITEM}, {"item": BAD_ITEM}], [1, "item"]),
    ],
)
async def test_pydantic_tells_all_that_is_wrong(annotation: Any, sent: Any, within: list[str | int]) -> None:
    """One 422 has every error of a model, in the form of all others, wherever the model stands."""
    response = await ask(echo_of(annotation), "POST", "/", json=sent)
    assert response.status_code == 422
    assert response.json()["errors"] == [{**fault, "loc": ["body", *within, fault["loc"][1]]} for fault in BAD_FAULTS]


async def test_a_validator_of_the_users() -> None:
    """What a validator says is in the 422; what is no JSON at all is a 400."""
    app = echo_of(Item)
    response = await ask(app, "POST", "/", json={"Name": "a b", "price": 1})
    assert response.json()["errors"] == [{"loc": ["body", "Name"], "msg": "Value error, has a space"}]
    response = await ask(app, "POST", "/", content=b'{"Name"', headers={"content-type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_has_not(number: str) -> None:
    """What only JavaScript's programs call a number is no JSON, for a model neither; as a word in a text it is one."""
    headers = {"content-type": "application/json"}
    response = await ask(echo_of(Item), "POST", "/", content=f'{{"Name": "a", "price": {number}}}', headers=headers)
    assert response.status_code == 400
    response = await ask(echo_of(Item), "POST", "/", json={"Name": number, "price": 1})
    assert response.json()["Name"] == number.lower()


async def test_a_form_and_a_query_of_a_model() -> None:
    """The fields of a model are found by their aliases in a form and a query string, several of a name as a list."""
    response = await ask(echo_of(Item), "POST", "/", data={"Name": "Tea", "price": "1.5", "tags": ["a", "b"]})
    assert response.json() == {"Name": "tea", "price": 1.5, "tags": ["a", "b"]}
    response = await ask(echo_of(Annotated[Item, Form]), "POST", "/", data={"price": "-1"})
    assert [fault["loc"] for fault in response.json()["errors"]] == [["form", "Name"], ["form", "price"]]
    response = await ask(echo_of(Annotated[Item, Query]), "POST", "/?Name=Tea&price=1&tags=a&tags=b")
    assert response.json() == {"Name": "tea", "price": 1.0, "tags": ["a", "b"]}


class Names(pydantic.BaseModel):
    """A list that clients send by several names."""

    model_config = pydantic.ConfigDict(populate_by_name=True)
    names: list[str] = pydantic.Field(validation_alias=pydantic.AliasChoices("n", "name"))


async def test_other_names_and_json_in_text() -> None:
    """A list is found by each name that a model has for it; ``pydantic.Json`` is JSON in a text."""
    for name in ("n", "name", "names"):
        response = await ask(echo_of(Annotated[Names, Query]), "POST", f"/?{name}=a&{name}=b")
        assert response.json() == {"names": ["a", "b"]}
    assert (await ask(echo_of(pydantic.Json[list[int]]), "POST", "/?it=[1,2]")).json() == [1, 2]
    response = await ask(echo_of(Annotated[pydantic.Json[dict[str, int]], Query]), "POST", "/?it=x")
    assert response.json()["errors"][0]["loc"] == ["query", "it"]
    assert (await ask(echo_of(Annotated[Patch, Query]), "POST", "/?count=+2")).json() == {"count": 2}
    response = await ask(echo_of(int | msgspec.UnsetType), "POST", "/?it=2")
    assert response.text == "2"


@pytest.mark.parametrize("row", [Item(Name="a", price=1), Gate(a=1), Place(1)])
async def test_rows_of_a_table(row: Any) -> None:
    """Models, and objects of attrs, are rows of CSV whose columns are their fields."""
    app = App()

    @app.get("/")
    async def table() -> CSVResponse:
        return CSVResponse([row])

    names = {"Item": "Name,price,tags", "Gate": "a,tags", "Place": "x"}
    assert (await ask(app, "GET", "/")).text.partition("\r\n")[0] == names[type(row).__name__]


@pytest.mark.parametrize("where", [Query, Form])
@pytest.mark.parametrize("annotation", [Cat | Dog, Pet, list[Item]])
def test_objects_that_text_cannot_tell_apart(annotation: Any, where: Any) -> None:
    """A union or a list of objects in a form or a query string is an error when it is registered."""
    with pytest.raises(RouteError, match="is a list or a union of objects, which only JSON can say: write Body there"):
        echo_of(Annotated[annotation, where])


async def test_a_field_of_pydantics_on_a_parameter() -> None:
    """``Annotated[int, Field(ge=1)]`` is a query parameter that pydantic checks."""
    app = echo_of(Annotated[int, pydantic.Field(ge=1)])
    assert (await ask(app, "POST", "/?it=2")).text == "2"
    response = await ask(app, "POST", "/?it=0")
    assert response.json()["errors"] == [{"loc": ["query", "it"], "msg": "Input should be greater than or equal to 1"}]


def test_a_condition_that_pydantic_would_not_check() -> None:
    """Where pydantic validates a type, a note of msgspec's, or of FastAPI's, is an error and not overlooked."""
    with pytest.raises(RouteError, match=r"does not know msgspec.Meta\(max_length=3\): write pydantic.Field"):
        echo_of(Annotated[list[Item], msgspec.Meta(max_length=3)])
    fastapi = pytest.importorskip("fastapi")
    with pytest.raises(RouteError, match="means nothing here"):
        echo_of(Annotated[Item, fastapi.Depends(print)])
    with pytest.raises(RouteError, match="pydantic cannot validate it"):
        echo_of(Annotated[dict[str, Any] | Unknown, pydantic.Field()])


STRICT: pydantic.TypeAdapter[list[int]] = pydantic.TypeAdapter(
    list[Annotated[int, pydantic.Field(ge=1)]], config=pydantic.ConfigDict(strict=True)
)


async def test_an_adapter_validates() -> None:
    """A ``TypeAdapter`` noted for an input validates it as it is configured, alone or in ``request.json``."""
    app = echo_of(Annotated[list[int], Body, STRICT])

    @app.post("/request")
    async def by_hand(request: Request) -> Any:
        strict: Any = Annotated[list[int], STRICT]
        return await request.json(strict)

    for path in ("/", "/request"):
        assert (await ask(app, "POST", path, json=[1, 2])).json() == [1, 2]
        response = await ask(app, "POST", path, json=["1", 0])
        assert [fault["loc"] for fault in response.json()["errors"]] == [["body", 0], ["body", 1]]
    query = echo_of(Annotated[list[int], Query, pydantic.TypeAdapter(list[Annotated[int, pydantic.Field(ge=1)]])])
    assert (await ask(query, "POST", "/?it=1&it=2")).json() == [1, 2]
    assert (await ask(query, "POST", "/?it=0")).status_code == 422


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[list[int], Body, STRICT, pydantic.Field(max_length=2)],
        Annotated[list[Annotated[int, pydantic.TypeAdapter(pydantic.PositiveInt)]], Body],
        Annotated[list[Annotated[int, msgspec.Meta(ge=1)]], Body, STRICT],
    ],
)
def test_an_adapter_that_would_not_be_asked(annotation: Any) -> None:
    """An adapter within a type, and a condition beside an adapter, would not be checked: they are errors."""
    with pytest.raises(RouteError, match=r"would not be checked|means nothing here|does not know msgspec.Meta"):
        echo_of(annotation)


@pytest.mark.parametrize("key", [(1, 2), None])
def test_keys_that_are_no_text(key: Any) -> None:
    """A dict whose keys have no text is a TypeError."""
    with pytest.raises(TypeError, match="is unsupported"):
        JSONResponse({key: 1})


class Unknown:
    """A class that nobody knows."""


def test_pydantic_is_imported_only_with_a_class_of_its_own() -> None:
    """An app without pydantic's classes does not import it, in all that it takes and answers."""
    code = (
        "import sys\nfrom trioweb import App\nfrom pathlib import Path\napp = App()\n"
        "@app.post('/')\nasync def f(it: dict[str, list[int]], path: Path) -> list[int]: return [1]\n"
        "app.openapi()\nprint([name for name in sys.modules if 'pydantic' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Other ways in and out


async def test_models_in_json_lines() -> None:
    """Lines of a body become models, and models become lines; a line that does not fit is a 422 with its number."""
    app = App()

    @app.post("/")
    async def lines(request: Request) -> AsyncIterator[Item]:
        async for item in request.json_lines(Item):
            yield item

    line = json.dumps(ITEM)
    assert (await ask(app, "POST", "/", content=f"{line}\n{line}\n")).text.count('{"Name":"tea"') == 2
    response = await ask(app, "POST", "/", content=json.dumps(BAD_ITEM))
    assert [fault["loc"] for fault in response.json()["errors"]] == [["body", 0, "Name"], ["body", 0, "price"]]


async def test_models_in_responses_and_events() -> None:
    """``JSONResponse``, JSON lines and events encode what a handler may return."""
    app = App()
    item = Item(Name="a", price=1)

    @app.get("/json")
    async def whole() -> JSONResponse:
        return JSONResponse({"item": item, "path": Path("/x")}, 201)

    @app.get("/lines")
    async def lines() -> JSONLinesResponse[Item]:
        return JSONLinesResponse([item])

    @app.get("/events")
    async def events() -> EventStreamResponse[Item]:
        return EventStreamResponse([item])

    assert (await ask(app, "GET", "/json")).json()["item"]["Name"] == "a"
    assert (await ask(app, "GET", "/lines")).json()["Name"] == "a"
    assert (await ask(app, "GET", "/events")).text == 'data: {"Name":"a","price":1.0,"tags":[]}\n\n'


async def test_models_in_messages() -> None:
    """A WebSocket's messages are validated and encoded like bodies."""
    app = App()

    @app.websocket("/")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(await ws.receive_json(Item))
        await ws.receive_json(Item)

    async with TestClient(app) as client, client.websocket("/") as ws:
        await ws.send(json.dumps(ITEM))
        assert json.loads(await ws.receive())["Name"] == "tea"
        await ws.send(json.dumps(BAD_ITEM))
        with pytest.raises(WebSocketClosed, match="Name: String should have at least 1 character"):
            await ws.receive()


async def test_request_json_takes_a_model() -> None:
    """``request.json(Item)`` validates by pydantic."""
    app = App()

    @app.post("/")
    async def read(request: Request) -> Item:
        return await request.json(Item)

    assert (await ask(app, "POST", "/", json=ITEM)).json()["Name"] == "tea"
    assert (await ask(app, "POST", "/", json=BAD_ITEM)).json()["errors"] == BAD_FAULTS


# Out


def rows() -> Sequence[Any]:
    """Rows of a database."""
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("select 1 as id, 'tea' as name")).all()
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (rows(), '[{"id":1,"name":"tea"}]'),
        (rows()[0], '{"id":1,"name":"tea"}'),
        (rows()[0]._mapping, '{"id":1,"name":"tea"}'),
        (UserDict(a=[ChainMap({"b": deque([1])})]), '{"a":[{"b":[1]}]}'),
        (Point(1), '{"x":1,"y":0}'),
        (Path("/tmp/x"), '"/tmp/x"'),
        (ipaddress.ip_network("10.0.0.0/8"), '"10.0.0.0/8"'),
        (Colour.RED, '"red"'),
        ({"paths": [Path("x")], "ips": {ipaddress.ip_address("::1")}}, '{"paths":["x"],"ips":["::1"]}'),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_has_a_json_form_is_an_answer(value: Any, text: str) -> None:
    """Rows are objects, as are all mappings; paths, addresses and enumerations are text; alone and nested."""
    app = App()

    @app.get("/")
    async def root() -> Any:
        return value

    response = await ask(app, "GET", "/")
    assert (response.text, response.headers["content-type"]) == (text, "application/json")


async def test_paths_and_addresses_are_inputs() -> None:
    """They are read from text; what is none is a 422 that names the type."""
    app = App()

    @app.get("/{path}")
    async def root(path: Path, ip: ipaddress.IPv4Address) -> str:
        return f"{path!r} {ip!r}"

    assert (await ask(app, "GET", "/a?ip=1.2.3.4")).text == "PosixPath('a') IPv4Address('1.2.3.4')"
    response = await ask(app, "GET", "/a?ip=1.2.3")
    assert response.json()["errors"] == [{"loc": ["query", "ip"], "msg": "Expected `IPv4Address`, got `str`"}]


# A type of one's own


async def test_a_type_is_taught() -> None:
    """``add_type`` makes a class an input and an output, with a schema; what it refuses is a 422."""
    app = App()
    app.add_type(Money, encode=str, decode=Money.parse, schema={"type": "string", "examples": ["9.50"]})

    @app.post("/")
    async def pay(money: Money, more: Annotated[list[Money], Body]) -> list[Money]:
        return [Money(money.cents + sum(each.cents for each in more))]

    assert (await ask(app, "POST", "/?money=1.5", json=["1"])).json() == ["2.50"]
    response = await ask(app, "POST", "/?money=x", json=["1"])
    assert response.json()["errors"] == [{"loc": ["query", "money"], "msg": "Expected `Money`, got `str`"}]
    operation = app.openapi()["paths"]["/"]["post"]
    assert operation["parameters"][0]["schema"] == {"type": "string", "examples": ["9.50"]}
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["items"]["type"] == "string"


class Silent:
    """A class that can be sent only."""


def test_what_cannot_be_taught() -> None:
    """A class that is known by itself, and words that say nothing, are errors; as is an input that nobody can make."""
    app = App()
    with pytest.raises(TypeError, match="Item is a type that is known without being taught: leave add_type out"):
        app.add_type(Item, encode=str)
    with pytest.raises(TypeError, match=r"add_type\(Silent\) says nothing: give encode=..., decode=... or both"):
        app.add_type(Silent)
    app.add_type(Silent, encode=lambda _: None)
    with pytest.raises(RouteError, match=r"can be made into Silent; take .* or say with app.add_type"):
        echo_of(Silent)


# All that is wrong


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A part of an order."""

    name: str
    count: Annotated[int, msgspec.Meta(ge=1)]


class Order(msgspec.Struct, rename="camel"):
    """An order."""

    order_id: int
    lines: list[Line]
    note: str | None = None


async def test_all_faults_are_told_at_once() -> None:
    """A 422 names every field that is wrong, missing or unknown, wherever it stands."""
    sent = {
        "orderId": "x",
        "lines": [{"name": 1, "count": 0}, {"name": "a", "count": 1}, {"count": 2, "odd": 1}],
        "note": 5,
    }
    response = await ask(echo_of(Order), "POST", "/", json=sent)
    assert response.json()["errors"] == [
        {"loc": ["body", "orderId"], "msg": "Expected `int`, got `str`"},
        {"loc": ["body", "lines", 0, "name"], "msg": "Expected `str`, got `int`"},
        {"loc": ["body", "lines", 0, "count"], "msg": "Expected `int` >= 1"},
        {"loc": ["body", "lines", 2, "name"], "msg": "Missing"},
        {"loc": ["body", "lines", 2, "odd"], "msg": "Unknown field"},
        {"loc": ["body", "note"], "msg": "Expected `str | null`, got `int`"},
    ]


async def test_all_faults_of_a_form_are_told_at_once() -> None:
    """The same of a form, whose values are text."""
    response = await ask(echo_of(Annotated[Line, Form]), "POST", "/", data={"count": "0"})
    assert [fault["loc"] for fault in response.json()["errors"]] == [["form", "name"], ["form", "count"]]


@pytest.mark.parametrize("annotation", [list[Line], list[Item]])
@pytest.mark.parametrize("count", [1_000, 20_000])
async def test_faults_without_end_are_cut(annotation: Any, count: int) -> None:
    """A body in which everything is wrong has an answer of bounded size."""
    response = await ask(echo_of(annotation), "POST", "/", json=[{}] * count)
    assert response.status_code == 422
    assert 1 <= len(response.json()["errors"]) <= 102


async def test_a_fault_behind_many_parts_that_fit() -> None:
    """Where the search would take too long the first fault is told, wherever it is."""
    response = await ask(echo_of(Annotated[list[int], Body]), "POST", "/", json=[1] * 20_000 + ["x"])
    assert response.json()["errors"] == [{"loc": ["body", 20_000], "msg": "Expected `int`, got `str`"}]
    response = await ask(echo_of(Node), "POST", "/", json=json.loads('{"next":' * 300 + "5" + "}" * 300))
    [fault] = response.json()["errors"]
    assert len(fault["loc"]) == 301


class Node(msgspec.Struct):
    """A type that contains itself."""

    next: Node | None = None
