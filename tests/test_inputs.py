"""Typed inputs, asked for over HTTP: what a client sends, and what a handler gets."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.asgi import Answer, Exchange, ask
from trioweb import (
    App,
    Body,
    Cookie,
    File,
    Form,
    Header,
    HTTPError,
    InputError,
    Provide,
    Query,
    Request,
    Response,
    RouteError,
    UploadFile,
)  # fmt: skip
from trioweb.testing import TestClient


class Color(enum.Enum):
    """Some words."""

    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    """Some numbers."""

    LOW = 1


class Item(msgspec.Struct):
    """A body."""

    name: str
    price: Annotated[float, msgspec.Meta(gt=0)] = 1
    tags: list[str] = []
    on: bool = False


class Filter(msgspec.Struct, forbid_unknown_fields=True, rename={"page": "p"}):
    """A whole query."""

    page: int = 1
    ids: list[int] = []
    color: Color | None = None


class Upload(msgspec.Struct):
    """A whole form."""

    title: str
    file: UploadFile
    more: list[UploadFile] = []


def app_of(handler: Any, method: str = "GET", path: str = "/") -> App:
    """An app with one route."""
    app = App()
    app.route(path, [method])(handler)
    return app


async def get(annotation: Any, query: str = "", default: Any = ..., headers: Any = (), path: str = "/") -> Any:
    """What a handler gets as ``x``, or the errors of a 422."""

    async def handler(x) -> Response:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return Response(repr(x))

    handler.__annotations__["x"] = annotation
    if default is not ...:
        handler.__defaults__ = (default,)
    answer = await ask(app_of(handler, path=path), path.replace("{x}", query), query_string=b"" if "{" in path
                       else query.encode(), headers=headers)  # fmt: skip
    return result(answer)


def result(answer: Answer) -> Any:
    """What was answered."""
    if answer.status == 422:
        assert answer.headers["content-type"] == "application/problem+json"
        return [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in json.loads(answer.body)["errors"]]
    return answer.body.decode() if answer.status == 200 else answer.status


@pytest.mark.parametrize(
    ("annotation", "query", "got"),
    [
        (int, "x=3", 3),
        (int, "x=-3", -3),
        (float, "x=1.5", 1.5),
        (str, "x=1%20%C3%A9", "1 é"),
        (str, "x=", ""),
        (str, "x=a&x=b", "b"),
        (bool, "x=true", True),
        (bool, "x=0", False),
        (bool, "x=on", True),
        (bool, "x=Yes", True),
        (bool, "x=no", False),
        (bool, "x=OFF", False),
        (int | None, "x=3", 3),
        (int | None, "x=", None),
        (int | None, "", None),
        (str | None, "", None),
        (str | None, "x=null", "null"),
        (list[int], "x=1&x=2", [1, 2]),
        (list[int], "x=1&x=", [1]),
        (set[str], "x=a&x=a", {"a"}),
        (tuple[int, str], "x=1&x=2", (1, "2")),
        (list[bool], "x=on&x=0", [True, False]),
        (list[int] | None, "", None),
        (Color, "x=red", Color.RED),
        (Level, "x=1", Level.LOW),
        (Literal["a", "b"], "x=b", "b"),
        (Literal[1, 2], "x=2", 2),
        (dt.date, "x=2024-02-29", dt.date(2024, 2, 29)),
        (UUID, "x=12345678123456781234567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        (Any, "x=1", "1"),
        (Annotated[int, Query], "x=3", 3),
        (Annotated[int, Query("y")], "x=3&y=4", 4),
        (Annotated[int, Query, msgspec.Meta(ge=1)], "x=3", 3),
        (Annotated[Filter, Query], "p=2&ids=1&ids=2&color=red", Filter(2, [1, 2], Color.RED)),
        (Annotated[Filter, Query], "", Filter()),
        (Annotated[Filter, Query], "p=&color=", Filter()),
    ],
)
async def test_a_query_parameter(annotation: Any, query: str, got: Any) -> None:
    """A parameter of the query becomes what its annotation says."""
    assert await get(annotation, query) == repr(got)


@pytest.mark.parametrize(
    ("annotation", "query", "errors"),
    [
        (int, "", [("query.x", "Missing")]),
        (int, "x=", [("query.x", "Missing")]),
        (str, "y=1", [("query.x", "Missing")]),
        (list[int], "", [("query.x", "Missing")]),
        (int, "x=a", [("query.x", "Expected `int`, got `str`")]),
        (int, "x=%00", [("query.x", "Expected `int`, got `str`")]),
        (bool, "x=maybe", [("query.x", "Expected `bool`, got `str`")]),
        (list[int], "x=1&x=b", [("query.x.1", "Expected `int`, got `str`")]),
        (Color, "x=green", [("query.x", "Invalid enum value 'green'")]),
        (dt.date, "x=2023-02-29", [("query.x", "Invalid RFC3339 encoded date")]),
        (Annotated[int, Query("y"), msgspec.Meta(le=5)], "y=6", [("query.y", "Expected `int` <= 5")]),
        (Annotated[Filter, Query], "p=z", [("query.p", "Expected `int`, got `str`")]),
        (Annotated[Filter, Query], "q=z", [("query.q", "Unknown field")]),
        (Annotated[Filter, Query], "ids=1&ids=z", [("query.ids.1", "Expected `int`, got `str`")]),
        (int, "x=" + "9" * 5000, [("query.x", "Integer value out of range")]),
    ],
)
async def test_a_query_parameter_that_does_not_fit(annotation: Any, query: str, errors: Any) -> None:
    """What does not fit, or is not there, is a 422 that names the parameter."""
    assert await get(annotation, query) == errors


TEXTS: list[tuple[Any, str, Any]] = [
    (int, "007", 7),
    (int, "-007", -7),
    (int, "+7", 7),
    (int, " 7 ", 7),
    (int, "0", 0),
    (int, "000", 0),
    (float, ".5", 0.5),
    (float, "-.5", -0.5),
    (float, "5.", 5.0),
    (float, "00.50", 0.5),
    (float, ".5e1", 5.0),
    (Decimal, ".50", Decimal("0.50")),
    (int | None, "07", 7),
    (int | bool, "on", True),
    (int | bool, "02", 2),
    (Literal[1, 2], "02", 2),
    (Level, "01", Level.LOW),
    (Annotated[int, msgspec.Meta(ge=1)], "07", 7),
    (dt.datetime, "2026-01-31T10:30", dt.datetime(2026, 1, 31, 10, 30)),  # noqa: DTZ001 - browsers send no zone
    (dt.datetime, "2026-01-31 10:30", dt.datetime(2026, 1, 31, 10, 30)),  # noqa: DTZ001
    (dt.datetime, "2026-01-31T10:30Z", dt.datetime(2026, 1, 31, 10, 30, tzinfo=dt.UTC)),
    (dt.datetime, "2026-01-31T10:30:15.5", dt.datetime(2026, 1, 31, 10, 30, 15, 500000)),  # noqa: DTZ001
    (dt.time, "10:30", dt.time(10, 30)),
    (dt.time | None, "10:30", dt.time(10, 30)),
    (bool, "On", True),
    # Where text fits, it stays what it is.
    (str, "007", "007"),
    (str, ".5", ".5"),
    (str | int, "007", "007"),
    (str | bool, "on", "on"),
    (str | None, "yes", "yes"),
    (Any, "on", "on"),
    (Literal["on", "off"] | bool, "on", "on"),
    (Literal["on", "off"] | bool, "yes", True),
    (Literal["007"] | int, "007", "007"),
    (Literal["007"] | int, "008", 8),
    (UUID | int, "00000000000000000000000000000007", UUID(int=7)),
]
"""Text, what it is to be, and what it is then."""


class Place(enum.Enum):
    """Where a text may stand."""

    QUERY = "query"
    LIST = "list"
    FORM = "form"
    FIELD = "field"
    MAPPING = "mapping"
    HEADER = "header"
    PATH = "path"


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize(("annotation", "text", "got"), TEXTS, ids=repr)
async def test_text_as_people_write_it(place: Place, annotation: Any, text: str, got: Any) -> None:
    """Numbers, times and booleans are read as browsers send them and people write them, wherever text stands."""
    query = urlencode({"x": text})
    form = b"application/x-www-form-urlencoded"
    match place:
        case Place.QUERY:
            assert await get(annotation, query) == repr(got)
        case Place.LIST:
            assert await get(list[annotation], f"{query}&{query}") == repr([got, got])
        case Place.FORM:
            assert await post(Annotated[annotation, Form], query.encode(), form) == repr(got)
        case Place.FIELD:
            made = msgspec.defstruct("Made", [("x", annotation)])
            assert await post(made, query.encode(), form) == f"Made(x={got!r})"
        case Place.MAPPING:
            assert await post(dict[str, annotation], query.encode(), form) == repr({"x": got})
            assert await get(Annotated[dict[str, annotation], Query], query) == repr({"x": got})
        case Place.HEADER:
            assert await get(Annotated[annotation, Header], headers=[(b"x", text.encode())]) == repr(got)
        case Place.PATH:
            assert await get(annotation, quote(text), path="/{x}") == repr(got)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [(float, "."), (float, "-."), (float, "e5"), (int, "7x"), (int, "0x7"), (int, "1_0"), (int, "--7"), (int, "\u0663"),
     (int, "7 7"), (int, "+"), (dt.time, "1030"), (dt.time, "25:00"), (dt.datetime, "2026-01-31"),
     (dt.datetime, "2026-01-31T10"), (bool, "onn"), (Literal[1], "x")],
)  # fmt: skip
async def test_text_that_is_none_of_it(annotation: Any, text: str) -> None:
    """What is not a number, time or boolean by any of these ways is a 422."""
    assert [loc for loc, _ in await get(annotation, urlencode({"x": text}))] == ["query.x"]


async def test_defaults() -> None:
    """What was not sent is left to the handler's default."""
    assert await get(int, "", 10) == "10"
    assert await get(int, "x=", 10) == "10"
    assert await get(int | None, "", 10) == "10"
    assert await get(list[int], "", ()) == "()"
    assert await get(int, "x=z", 10) == [("query.x", "Expected `int`, got `str`")]


@pytest.mark.parametrize("query", ["x=%ff", "%ff=1", "x=\xff"])
async def test_a_query_that_is_not_utf8(query: str) -> None:
    """A query string that is not UTF-8 is a 400 where it is an input."""

    async def handler(x: str = "") -> str:
        return x

    answer = await ask(app_of(handler), "/", query_string=query.encode("latin-1").replace(b"\xff", b"%ff"))
    assert answer.status == 400


async def test_too_many_query_parameters() -> None:
    """A million parameters are a 400, at once."""

    async def handler(x: list[int]) -> int:
        return len(x)

    exchange = Exchange("GET", "/", query_string=b"x=1&" * 1_000_000)  # more than an httpx URL may have
    await exchange.run(app_of(handler))
    assert exchange.status == 400


async def test_headers_and_cookies() -> None:
    """Headers and cookies go by their names; lists take repeated headers; what is missing or does not fit is named."""
    headers = [(b"x-token", b"secret"), (b"x-n", b"1"), (b"x-n", b"2"), (b"cookie", b"x=5; y=z")]
    assert await get(Annotated[str, Header("X-Token")], headers=headers) == "'secret'"
    assert await get(Annotated[list[int], Header("x-n")], headers=headers) == "[1, 2]"
    assert await get(Annotated[int, Cookie], headers=headers) == "5"
    assert await get(Annotated[int, Cookie("y")], headers=headers) == [("cookie.y", "Expected `int`, got `str`")]
    assert await get(Annotated[str, Header("x-other")], headers=headers) == [("header.x-other", "Missing")]


async def test_path_parameters() -> None:
    """Parameters of the path are named in the same way."""
    assert await get(int, "5", path="/{x}") == "5"
    assert await get(int, "a", path="/{x}") == [("path.x", "Expected `int`, got `str`")]


async def test_all_that_does_not_fit_is_told() -> None:
    """One answer names all parameters that do not fit, of path, query, headers and cookies."""

    async def handler(id: int, a: int, b: int, h: Annotated[int, Header], c: Annotated[int, Cookie]) -> None: ...  # noqa: A002

    answer = await ask(app_of(handler, path="/{id}"), "/x", query_string=b"a=x", headers=[(b"h", b"x")])
    assert [name for name, _ in result(answer)] == ["path.id", "query.a", "query.b", "header.h", "cookie.c"]


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        (b"application/json", b'{"n": "x"}', ["query.a", "header.h", "query.b", "body.n"]),
        (b"application/x-www-form-urlencoded", b"n=x", ["query.a", "header.h", "query.b", "body.n"]),
        (b"multipart/form-data; boundary=X", b"--X--\r\n", ["query.a", "header.h", "query.b", "body.n"]),
    ],
)
async def test_one_answer_tells_of_the_body_too(content_type: bytes, body: bytes, told: list[str]) -> None:
    """A wrong body is told together with the rest, also what dependencies take; none of them is called then."""
    called = []

    class Numbered(msgspec.Struct):
        n: int

    async def provided(b: int) -> int:
        called.append(b)
        return b

    async def handler(a: int, h: Annotated[int, Header], item: Any, b: Any) -> None: ...

    handler.__annotations__.update(item=Numbered, b=Annotated[int, Provide(provided)])
    headers = [(b"content-type", content_type), (b"h", b"x")]
    answer = await ask(app_of(handler, "POST"), "/", "POST", query_string=b"a=x&b=x", headers=headers, body=[body])
    found = [name.replace("form.", "body.") for name, _ in result(answer)]
    assert sorted(found) == sorted(told)
    assert called == []


async def test_form_fields_are_told_together_with_the_rest() -> None:
    """The fields of a form that do not fit stand beside what does not fit in the query."""

    async def handler(a: int, b: Annotated[int, Form], c: Annotated[int, Form]) -> None: ...

    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    answer = await ask(app_of(handler, "POST"), "/", "POST", query_string=b"a=x", headers=headers, body=[b"b=x"])
    assert [name for name, _ in result(answer)] == ["query.a", "form.b", "form.c"]


async def test_a_refusal_by_a_dependency_comes_before_the_body() -> None:
    """A dependency that refuses is heard before the body is read: a wrong body is not told to who may not send one."""

    async def signed_in() -> None:
        raise HTTPError(401)

    async def handler(item: Item, user: Any) -> None: ...

    handler.__annotations__["user"] = Annotated[None, Provide(signed_in)]
    assert (await ask(app_of(handler, "POST"), "/", "POST", headers=[JSON], body=[b"{"])).status == 401


async def test_an_error_handler_sees_the_errors() -> None:
    """A handler for InputError gets the list, and answers in its own form."""

    async def handler(x: int) -> None: ...

    app = app_of(handler)

    @app.error_handler(InputError)
    async def on_error(request: Request, error: InputError) -> Response:
        return Response(str(error.errors), 400)

    answer = await ask(app, "/")
    assert (answer.status, answer.body) == (400, b"[{'loc': ['query', 'x'], 'msg': 'Missing'}]")


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5), st.text(max_size=10))
async def test_what_is_written_is_read(numbers: list[int], text: str) -> None:
    """Whatever is sent in a query comes back."""

    async def handler(n: list[int], t: str = "") -> list[Any]:
        return [n, t]

    text = text.encode("utf-8", "replace").decode()
    query = urlencode([("n", number) for number in numbers] + [("t", text)])
    answer = await ask(app_of(handler), "/", query_string=query.encode())
    assert json.loads(answer.body) == [numbers, text]


# Bodies

JSON = (b"content-type", b"application/json")


async def post(annotation: Any, body: bytes, content_type: bytes | None = JSON[1], default: Any = ...) -> Any:
    """What a handler gets of a body, or the errors of a 422, or another status."""

    async def handler(x) -> Response:  # type: ignore[no-untyped-def]  # noqa: ANN001
        if isinstance(x, Upload):
            files = [(file.filename, (await file.read()).decode()) for file in (x.file, *x.more)]
            return Response(repr((x.title, files)))
        if isinstance(x, UploadFile):
            return Response(repr((x.filename, await x.read())))
        return Response(repr(x))

    handler.__annotations__["x"] = annotation
    if default is not ...:
        handler.__defaults__ = (default,)
    headers = [] if content_type is None else [(b"content-type", content_type)]
    return result(await ask(app_of(handler, "POST"), "/", "POST", headers=headers, body=[body]))


@pytest.mark.parametrize("content_type", [JSON[1], b"Application/JSON; charset=utf-8", b"application/a+json"])
async def test_a_json_body(content_type: bytes) -> None:
    """A JSON body becomes what the annotation says, under any of JSON's content types."""
    assert await post(Item, b'{"name": "a", "price": 2}', content_type) == repr(Item("a", 2.0))
    assert await post(list[Item], b'[{"name": "a"}]', content_type) == repr([Item("a")])
    assert await post(dict[str, int], b'{"name": 1}', content_type) == repr({"name": 1})
    assert await post(Annotated[int, Body], b"5", content_type) == "5"


@pytest.mark.parametrize(
    ("body", "content_type", "got"),
    [
        (b'{"name": 1}', JSON[1], [("body.name", "Expected `str`, got `int`")]),
        (b'{"name": "a", "price": 0}', JSON[1], [("body.price", "Expected `float` > 0.0")]),
        (b"{}", JSON[1], [("body.name", "Missing")]),
        (b"", None, [("body", "Missing")]),
        (b"", JSON[1], 400),
        (b'{"name": ', JSON[1], 400),
        (b'{"name": "\xff"}', JSON[1], 400),
        (b"[" * 100_000, JSON[1], 422),
        (b'{"name": "a", "x": ' + b"[" * 100_000, JSON[1], 400),
        (b'{"name": "a"}', b"text/plain", 415),
        (b'{"name": "a"}', None, 415),
        (b'{"name": "a"}', b"application/jsonp", 415),
        (b'{"name": "a"}', b"", 415),
        (b"name=a&price=x", b"application/x-www-form-urlencoded", [("body.price", "Expected `float`, got `str`")]),
        (b"name=%ff", b"application/x-www-form-urlencoded", 400),
        (b"name=a", b"multipart/form-data", 400),
    ],
)
async def test_a_body_that_does_not_fit(body: bytes, content_type: bytes, got: Any) -> None:
    """422 for what does not fit, 400 for what cannot be read, 415 for another content type, or none."""
    answer = await post(Item, body, content_type)
    assert answer == got or (got == 422 and answer[0][0] == "body")


@dataclasses.dataclass
class Order:
    """A body that is a dataclass, with a default."""

    name: str
    count: int = 1


async def test_a_dataclass_that_is_handed_back() -> None:
    """A handler that returns the dataclass it was given returns all of it, the defaults too, from wherever it came."""
    whole = b'{"name":"a","count":1}'
    app = App()

    @app.post("/body")
    async def body(order: Order) -> Order:
        return order

    @app.post("/json")
    async def read(request: Request) -> Order:
        return await request.json(Order)

    @app.get("/query")
    async def query(order: Annotated[Order, Query]) -> Order:
        return order

    form = (b"content-type", b"application/x-www-form-urlencoded")
    assert (await ask(app, "/body", "POST", headers=[JSON], body=[b'{"name": "a"}'])).body == whole
    assert (await ask(app, "/body", "POST", headers=[form], body=[b"name=a"])).body == whole
    assert (await ask(app, "/json", "POST", body=[b'{"name": "a"}'])).body == whole
    assert (await ask(app, "/query", query_string=b"name=a")).body == whole


async def test_an_optional_body() -> None:
    """No body at all is the default, or None."""
    assert await post(Item | None, b"", None) == "None"
    assert await post(Item, b"", None, 5) == "5"
    assert await post(Item | None, b"null") == "None"


@pytest.mark.parametrize(
    "content_type",
    [None, JSON[1], b"application/a+json", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=X",
     b"text/plain", b"application/octet-stream"],
)  # fmt: skip
@pytest.mark.parametrize(
    "annotation", [Item | None, list[Item] | None, dict[str, int] | None, Annotated[int | None, Body]]
)
async def test_an_empty_body_is_none(annotation: Any, content_type: bytes | None) -> None:
    """Where a body may be left out, none came that has no bytes, whatever content type some clients always send."""
    assert await post(annotation, b"", content_type) == "None"
    assert await post(annotation, b"", content_type, 5) == "5"


@pytest.mark.parametrize("content_type", [None, JSON[1], b"text/plain", b"multipart/form-data; boundary=X"])
async def test_an_empty_body_has_no_fields(content_type: bytes | None) -> None:
    """The same of a form's fields and files."""
    assert await post(Annotated[int | None, Form], b"", content_type) == "None"
    assert await post(UploadFile | None, b"", content_type) == "None"
    assert await post(Annotated[int, Form], b"", content_type) == [("form.x", "Missing")]


@pytest.mark.parametrize(
    ("annotation", "body", "got"),
    [
        (dict[str, str], b"a=1&b=two", {"a": "1", "b": "two"}),
        (dict[str, Any], b"a=1&a=2", {"a": "2"}),
        (dict, b"a=1", {"a": "1"}),
        (dict[str, int], b"a=01&b=2", {"a": 1, "b": 2}),
        (dict[str, list[int]], b"a=1&a=2&b=3", {"a": [1, 2], "b": [3]}),
        (dict[str, int | None], b"a=&b=1", {"b": 1}),
        (Mapping[str, bool], b"a=on&b=0", {"a": True, "b": False}),
        (dict[str, int] | None, b"", None),
        (Annotated[dict[str, str], Form], b"a=1", {"a": "1"}),
        (Annotated[dict[str, str], Body], b"a=1", {"a": "1"}),
        (dict[str, int], b"a=x", [("body.a", "Expected `int`, got `str`")]),
    ],
)
async def test_a_mapping_takes_a_form(annotation: Any, body: bytes, got: Any) -> None:
    """A ``dict`` is made of a form's fields as of JSON: each value, or all values, of a name."""
    answer = await post(annotation, body, b"application/x-www-form-urlencoded")
    assert answer == (got if isinstance(answer, list) else repr(got))


@pytest.mark.parametrize(
    ("annotation", "content_type", "body", "got"),
    [
        (Annotated[Item, Body("application/json")], JSON[1], b'{"name":"a"}', Item("a")),
        (Annotated[Item, Body("application/json")], b"APPLICATION/JSON; charset=utf-8", b'{"name":"a"}', Item("a")),
        (Annotated[Item, Body("application/json")], b"application/x-www-form-urlencoded", b"name=a", 415),
        (Annotated[Item, Body("application/json")], b"multipart/form-data; boundary=X", b"--X--\r\n", 415),
        (Annotated[Item, Body("application/json")], b"multipart/form-data; boundary=X", b"no form", 415),
        (Annotated[Item, Body("application/json")], b"multipart/form-data", b"no form", 415),
        (Annotated[Item, Body("application/json")], b"text/plain", b'{"name":"a"}', 415),
        (Annotated[Item, Body("application/json")], None, b'{"name":"a"}', 415),
        (Annotated[Item, Body("application/json")], b"application/a+json", b'{"name":"a"}', 415),
        (Annotated[Item, Body("application/a+json")], b"application/a+json", b'{"name":"a"}', Item("a")),
        (Annotated[Item, Body("application/x-www-form-urlencoded")], JSON[1], b'{"name":"a"}', 415),
        (Annotated[Item, Body("application/x-www-form-urlencoded")], b"application/x-www-form-urlencoded", b"name=a",
         Item("a")),
        (Annotated[Item | None, Body("application/json")], b"text/plain", b"", None),
        (Annotated[bytes, Body("image/png")], b"image/png", b"png", b"png"),
        (Annotated[bytes, Body("image/png")], b"image/gif", b"gif", 415),
        (Annotated[str, Body("text/plain")], b"text/plain; charset=latin-1", b"\xe9", "\xe9"),
        (Annotated[str, Body("text/plain")], JSON[1], b'"x"', 415),
        (Annotated[str, Body], JSON[1], b'"x"', "x"),
    ],
)  # fmt: skip
async def test_a_body_of_one_content_type(annotation: Any, content_type: bytes | None, body: bytes, got: Any) -> None:
    """``Body("application/json")`` takes that content type alone: a form of another site's page is a 415."""
    answer = await post(annotation, body, content_type)
    assert answer == (got if isinstance(got, int) else repr(got))


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Annotated[Item, Body("json")], 'Body takes a media type without parameters, got .json.: write "application/'),
        (Annotated[Item, Body("application/json; charset=utf-8")], "Body takes a media type without parameters"),
        (Annotated[Item, Body("image/png")], "cannot be made of 'image/png': write Body"),
        (Annotated[list[Item], Body("multipart/form-data")], "cannot be made of 'multipart/form-data'"),
    ],
)
def test_a_body_of_no_content_type(annotation: Any, message: str) -> None:
    """A media type that is none, or of which the type cannot be made, is refused when the route is registered."""

    async def handler(x: Any) -> None: ...

    handler.__annotations__["x"] = annotation
    with pytest.raises(RouteError, match=message):
        app_of(handler, "POST")


async def test_a_form_as_the_body() -> None:
    """What has fields is made of a form as well, by its content type."""
    body = b"name=a&price=2&tags=x&tags=y&on=on"
    assert await post(Item, body, b"application/x-www-form-urlencoded") == repr(Item("a", 2.0, ["x", "y"], on=True))
    assert await post(list[Item], body, b"application/x-www-form-urlencoded") == 415


def multipart(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A multipart body."""
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        body += f"--X\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + b"--X--\r\n"


FORM = b"multipart/form-data; boundary=X"


async def test_an_optional_form() -> None:
    """A request without a body leaves a form's parameters to their defaults; one of another type is a 415."""
    assert await post(UploadFile | None, b"", None) == "None"
    assert await post(Annotated[str, Form], b"", None, "none") == "'none'"
    assert await post(Annotated[str, Form], b"", None) == [("form.x", "Missing")]
    assert await post(Annotated[str, Form], b"{}", JSON[1], "none") == 415
    assert await post(Annotated[str, Form], b"x=1", None, "none") == 415


@pytest.mark.parametrize(
    ("annotation", "body", "got"),
    [
        (UploadFile, multipart(("x", "a", b"1")), ("a", b"1")),
        (UploadFile, multipart(), [("form.x", "Missing")]),
        (UploadFile, multipart(("x", "", b"")), [("form.x", "Missing")]),
        (UploadFile, multipart(("x", None, b"1")), [("form.x", "Expected a file, got a field")]),
        (UploadFile | None, multipart(("x", "", b"")), None),
        (Annotated[UploadFile, File("y")], multipart(("y", "a", b"1")), ("a", b"1")),
        (Annotated[bytes, File], multipart(("x", "a", b"1")), b"1"),
        (Annotated[list[bytes], File], multipart(("x", "a", b"1"), ("x", "b", b"2")), [b"1", b"2"]),
        (Annotated[bytes | None, File], multipart(), None),
        (Annotated[str, Form], multipart(("x", None, b"1")), "1"),
        (Annotated[int, Form], multipart(("x", None, b"")), [("form.x", "Missing")]),
        (Annotated[int, Form("y")], multipart(("y", None, b"5")), 5),
        (Annotated[list[int], Form], multipart(("x", None, b"5"), ("x", None, b"6")), [5, 6]),
        (Annotated[str, Form], multipart(("x", "a", b"1")), [("form.x", "Expected a field, got a file")]),
        (Upload, multipart(("title", None, b"t"), ("file", "f", b"1"), ("more", "g", b"2")),
         ("t", [("f", "1"), ("g", "2")])),
        (Annotated[Upload, Form], multipart(("title", None, b"t"), ("file", "f", b"1")), ("t", [("f", "1")])),
        (Annotated[Upload, Form], multipart(("title", None, b"t")), [("form.file", "Missing")]),
        (Annotated[str, Form], b"--X", 400),
    ],
)  # fmt: skip
async def test_a_form(annotation: Any, body: bytes, got: Any) -> None:
    """Fields and files of a form become what their annotations say."""
    answer = await post(annotation, body, FORM)
    assert answer == (got if isinstance(answer, (int, list)) else repr(got))


async def test_raw_bytes() -> None:
    """`Annotated[bytes, Body]` is the body as it came, whatever its type."""
    assert await post(Annotated[bytes, Body], b"\xff", b"x/y") == repr(b"\xff")
    assert await post(Annotated[bytes, Body], b"", None) == repr(b"")


async def test_files_in_a_typed_form_end_with_its_request() -> None:
    """A file that a form's object holds is gone after the response, as any other."""
    app = App()
    kept: list[Upload] = []

    @app.post("/")
    async def take(upload: Upload) -> str:
        kept.append(upload)
        return (await upload.file.read()).decode()

    async with app.test_client() as client:
        answer = await client.post("/", data={"title": "a"}, files={"file": ("f", b"x" * 2_000_000)})
        assert answer.text == "x" * 2_000_000
    await kept[0].file.seek(0)
    with pytest.raises(RuntimeError, match="gone when its request has ended"):
        await kept[0].file.read()


class Spot(msgspec.Struct):
    """A place with a name."""

    x: float = 0
    name: str = ""


@pytest.mark.parametrize("text", ["nan", "NaN", "-inf", "+Infinity", " inf "])
async def test_a_number_is_finite(text: str) -> None:
    """NaN and infinity, which no JSON could say, are refused as texts, too: of one value, of several, and in fields."""
    app = App()

    @app.get("/one")
    async def one(x: float) -> float:
        return x

    @app.get("/many")
    async def many(x: Annotated[list[float | None], Query()]) -> list[float | None]:
        return x

    @app.get("/fields")
    async def fields(point: Annotated[Spot, Query()]) -> Spot:
        return point

    @app.get("/either")
    async def either(x: float | str) -> str:
        return repr(x)

    async with TestClient(app) as client:
        for path, others in (("/one", []), ("/many", [("x", "1")]), ("/fields", [("name", text)])):
            refused = await client.get(path, params=[*others, ("x", text)])
            assert (refused.status_code, refused.json()["errors"]) == (
                422,
                [{"loc": ["query", "x"], "msg": "Expected a finite number"}],
            )
        assert (await client.get("/fields", params={"x": "1e3", "name": text})).json() == {"x": 1000.0, "name": text}
        assert (await client.get("/either", params={"x": text})).text == repr(text)
