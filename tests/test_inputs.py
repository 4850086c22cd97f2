"""Typed inputs, asked for over HTTP: what a client sends, and what a handler gets."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.asgi import Answer, Exchange, ask
from trioweb import App, Body, Cookie, File, Form, Header, InputError, Query, Request, Response, UploadFile


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
