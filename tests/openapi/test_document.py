"""The description of an app as an OpenAPI 3.2 document: what its routes take and answer, and no more."""

from __future__ import annotations

import enum
import ipaddress
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import pydantic
import pytest
import trio

from tests.openapi.every_app import Done, Page, Tick
from tests.openapi.validity import check
from trioweb import (
    App,
    Body,
    Cookie,
    CSVResponse,
    EventStreamResponse,
    File,
    FileResponse,
    Form,
    Header,
    HTMLResponse,
    JSONSeqResponse,
    MultipartStreamResponse,
    Provide,
    Query,
    RedirectResponse,
    Request,
    Response,
    RouteError,
    Router,
    ServerSentEvent,
    StreamingResponse,
    UploadFile,
    WebSocket,
)
from trioweb.__main__ import main
from trioweb.middleware import CallNext
from trioweb.openapi import security

Handler = Callable[..., Any]
JSON = "application/json"
REFERENCE = "#/components/schemas/"


class Item(msgspec.Struct):
    """A thing for sale."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    price: float = 1.0


class Size(enum.StrEnum):
    """Text, of a few."""

    SMALL = "small"


def described(handler: Handler, method: str = "GET", path: str = "/", **options: Any) -> dict[str, Any]:
    """The operation of a handler, in a document that is valid."""
    app = App()
    app.route(path, [method], **options)(handler)
    document = check(app.openapi())
    [item] = document["paths"].values()
    operation: dict[str, Any] = item[method.lower()]
    return operation


def parameters(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of an operation by where they are and their names."""
    return {f"{each['in']} {each['name']}": each for each in operation["parameters"]}


def content(operation: dict[str, Any], status: str = "200") -> Any:
    """The bodies of a response, by their media types."""
    return operation["responses"][status].get("content")


def test_an_app_without_routes() -> None:
    """An empty app is described by an empty document, with the title and the version that were given."""
    document = check(App().openapi(title="Shop", version="3", description="Tea."))
    assert document == {
        "openapi": "3.2.0",
        "info": {"title": "Shop", "version": "3", "description": "Tea."},
        "paths": {},
    }


# What a route takes


async def takes_many(
    id: int,  # noqa: A002
    limit: Annotated[int, msgspec.Meta(ge=1, le=100, description="At most so many.")] = 10,
    since: date | None = None,
    status: list[Literal["open", "paid"]] = [],  # noqa: B006
    x_agent: Annotated[str, Header] = "",
    token: Annotated[str | None, Header("x-token")] = None,
    theme: Annotated[str, Cookie] = "light",
) -> None:
    """Take something from everywhere."""


def test_parameters_are_those_of_the_plan() -> None:
    """Each input is a parameter with its place, name, type, constraints and default; ``None`` is no text."""
    found = parameters(described(takes_many, path="/users/{id:int}"))
    assert found["path id"] == {
        "name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0},
    }  # fmt: skip
    assert found["query limit"] == {
        "name": "limit", "in": "query", "required": False, "description": "At most so many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
    }  # fmt: skip
    assert found["query since"]["schema"] == {"type": "string", "format": "date"}
    assert found["query status"]["schema"]["items"] == {"enum": ["open", "paid"]}
    assert found["header x-agent"]["schema"]["default"] == ""
    assert found["header x-token"]["schema"] == {"type": "string"}
    assert found["cookie theme"]["schema"] == {"type": "string", "default": "light"}
    assert [each for each in found if found[each]["required"]] == ["path id"]


def test_the_fields_of_an_object_in_the_query_are_parameters() -> None:
    """A dataclass that comes from the query string is described by its fields."""

    async def find(page: Annotated[Page, Query], words: str) -> None: ...

    found = parameters(described(find))
    assert list(found) == ["query page", "query size", "query words"]
    assert found["query size"]["description"] == "How many."
    assert [found[each]["required"] for each in found] == [False, False, True]


async def inner(limit: int = 5) -> int:
    """A dependency."""
    return limit


async def outer(inner: Annotated[int, Provide(inner)], limit: int = 5, word: str = "") -> int:
    """A dependency with one of its own."""
    return inner


def test_what_a_dependency_takes_is_described() -> None:
    """The inputs of dependencies are the route's, each once, also where several take the same."""

    async def find(it: Annotated[int, Provide(outer)], inner: Annotated[int, Provide(inner)]) -> None: ...

    assert sorted(parameters(described(find))) == ["query limit", "query word"]


def test_a_path_is_written_without_converters() -> None:
    """Converters become types; a parameter that may have slashes says so."""
    app = App()
    app.add_converter("day", "[0-9]{4}-[0-9]{2}")

    @app.get("/{a:uuid}/{b:float}/{c:day}/{rest:path}")
    async def find(a: Any, b: float, c: Any, rest: str) -> None: ...

    [(path, item)] = check(app.openapi())["paths"].items()
    assert path == "/{a}/{b}/{c}/{rest}"
    found = [each["schema"] for each in item["get"]["parameters"]]
    assert found[0] == {"type": "string", "format": "uuid"}
    assert found[1]["type"] == "number"
    assert found[2]["pattern"] == "^(?:[0-9]{4}-[0-9]{2})$"
    assert item["get"]["parameters"][3]["allowReserved"] is True


def test_a_type_in_the_path_is_that_of_the_annotation() -> None:
    """Text of the path that is converted to an annotation has the type of that."""

    async def find(day: date) -> None: ...

    assert parameters(described(find, path="/{day}"))["path day"]["schema"]["format"] == "date"


def test_a_body_is_json_or_a_form() -> None:
    """A Struct is taken as JSON and as a form; with a media type as that alone."""

    async def both(item: Item) -> None: ...
    async def one(item: Annotated[Item, Body("application/json")]) -> None: ...
    async def many(items: list[Item] | None = None) -> None: ...

    body = described(both, "POST")["requestBody"]
    assert body["required"] is True
    assert list(body["content"]) == [
        "application/json", "application/x-www-form-urlencoded", "multipart/form-data",
    ]  # fmt: skip
    assert {each["schema"]["$ref"] for each in body["content"].values()} == {REFERENCE + "Item"}
    assert list(described(one, "POST")["requestBody"]["content"]) == ["application/json"]
    body = described(many, "POST")["requestBody"]
    assert body["required"] is False
    assert list(body["content"]) == ["application/json"]


def test_bytes_and_text_are_taken_as_they_are() -> None:
    """A body that is not decoded has the media type that was given, or any."""

    async def png(data: Annotated[bytes, Body("image/png")]) -> None: ...
    async def any_bytes(data: Annotated[bytes, Body]) -> None: ...
    async def text(data: Annotated[str, Body("text/plain")]) -> None: ...

    assert described(png, "PUT")["requestBody"]["content"] == {"image/png": {}}
    assert described(any_bytes, "PUT")["requestBody"]["content"] == {"*/*": {}}
    assert described(text, "PUT")["requestBody"]["content"] == {"text/plain": {"schema": {"type": "string"}}}


def test_a_form_with_files_is_multipart() -> None:
    """Fields and files of a form are the properties of one object; with files it is multipart."""

    async def upload(
        title: Annotated[str, Form], photo: UploadFile, more: list[UploadFile] = [], raw: Annotated[bytes, File] = b"",  # noqa: B006
    ) -> None: ...  # fmt: skip

    content = described(upload, "POST")["requestBody"]["content"]
    [(kind, body)] = content.items()
    assert kind == "multipart/form-data"
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    assert body["schema"]["properties"]["photo"] == file
    assert body["schema"]["properties"]["more"]["items"] == file
    assert body["schema"]["properties"]["raw"]["contentMediaType"] == file["contentMediaType"]
    assert body["schema"]["required"] == ["photo", "title"]


def test_a_form_of_one_type_and_a_field() -> None:
    """A type that takes a whole form, and fields beside it, are one object."""

    async def order(item: Annotated[Item, Form], gift: Annotated[bool, Form] = False) -> None: ...

    schema = described(order, "POST")["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert sorted(schema["properties"]) == ["gift", "name", "price"]
    assert schema["required"] == ["name"]


# What it answers


def returning(annotation: Any) -> Handler:
    """A handler that says what it returns."""

    async def handler() -> Any: ...

    handler.__annotations__["return"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Item, {"200": {"application/json": {"schema": {"$ref": REFERENCE + "Item"}}}}),
        (list[int], {"200": {"application/json": {"schema": {"type": "array", "items": {"type": "integer"}}}}}),
        (int | str, {"200": {JSON: {"schema": {"type": "integer"}}, "text/plain": {"schema": {"type": "string"}}}}),
        (None, {"204": None}),
        (Item | None, {"200": {"application/json": {"schema": {"$ref": REFERENCE + "Item"}}}, "204": None}),
        (bytes, {"200": {"application/octet-stream": {}}}),
        (HTMLResponse, {"200": {"text/html": {}}}),
        (CSVResponse, {"200": {"text/csv": {}}}),
        (Response, {"default": None}),
        (RedirectResponse, {"3XX": None}),
        (EventStreamResponse, {"200": {"text/event-stream": {}}}),
        (AsyncIterator[str], {"200": {"text/plain": {"schema": {"type": "string"}}}}),
        (AsyncIterator[bytes], {"200": {"application/octet-stream": {}}}),
        (Iterator[Item], {"200": {"application/x-ndjson": {"itemSchema": {"$ref": REFERENCE + "Item"}}}}),
        (StreamingResponse[Item], {"200": {"application/x-ndjson": {"itemSchema": {"$ref": REFERENCE + "Item"}}}}),
        (Any, {"2XX": None}),
        (Item | Any, {"2XX": None, "200": {JSON: {"schema": {"$ref": REFERENCE + "Item"}}}}),
        (NoReturn, {"default": None}),
        (Size, {"200": {"text/plain": {"schema": {"$ref": REFERENCE + "Size"}}}}),
        (trio.abc.ReceiveStream, {"200": {"application/octet-stream": {}}}),
        (trio.MemoryReceiveChannel[int], {"200": {"application/x-ndjson": {"itemSchema": {"type": "integer"}}}}),
        (AsyncIterator[Any], {"200": None}),
        (JSONSeqResponse[int], {"200": {"application/json-seq": {"itemSchema": {"type": "integer"}}}}),
        (MultipartStreamResponse, {"200": {"multipart/x-mixed-replace": {}}}),
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_is_that_of_the_annotation(annotation: Any, expected: dict[str, Any]) -> None:
    """What a handler is annotated to return decides statuses, media types and schemas."""
    responses = described(returning(annotation))["responses"]
    assert {status: each.get("content") for status, each in responses.items()} == expected


def test_a_stream_of_events_is_described_by_its_events() -> None:
    """The items of an event stream are events, whose data is JSON in a string."""
    found = content(described(returning(EventStreamResponse[Tick | Done])))["text/event-stream"]["itemSchema"]
    assert found["required"] == ["data"]
    data = found["properties"]["data"]
    assert data["contentMediaType"] == "application/json"
    assert [each["$ref"] for each in data["contentSchema"]["anyOf"]] == [REFERENCE + "Tick", REFERENCE + "Done"]
    found = content(described(returning(AsyncIterator[ServerSentEvent])))["text/event-stream"]["itemSchema"]
    assert found["properties"]["data"] == {"type": "string"}
    assert "required" not in found
    found = content(described(returning(EventStreamResponse[str | Tick])))["text/event-stream"]["itemSchema"]
    assert found["properties"]["data"]["anyOf"][1] == {"type": "string"}


def test_files_have_ranges() -> None:
    """A file may be answered in part, as not modified, or not at all."""
    assert set(described(returning(FileResponse))["responses"]) == {"200", "206", "304", "416"}


def test_a_handler_that_always_streams() -> None:
    """With ``streaming=True`` a list is the items of a stream."""
    found = content(described(returning(list[Item]), streaming=True))
    assert found == {"application/x-ndjson": {"itemSchema": {"$ref": REFERENCE + "Item"}}}


def test_errors_are_those_that_the_framework_answers() -> None:
    """What the plan says can go wrong is answered with a problem document, and nothing else is."""

    async def nothing() -> None: ...
    async def text(q: str = "") -> None: ...
    async def number(q: int = 1) -> None: ...

    assert set(described(nothing)["responses"]) == {"204"}
    assert set(described(text)["responses"]) == {"204", "400"}
    assert set(described(number)["responses"]) == {"204", "400", "422"}
    assert set(described(takes_many, path="/{id:int}")["responses"]) == {"204", "400", "404", "422"}

    async def body(item: Item) -> None: ...

    app = App()
    app.post("/")(body)
    document = check(app.openapi())
    responses = document["paths"]["/"]["post"]["responses"]
    assert set(responses) == {"204", "400", "408", "413", "415", "422"}
    reference = responses["422"]["$ref"].rpartition("/")[2]
    assert list(document["components"]["responses"][reference]["content"]) == ["application/problem+json"]


class Problem(msgspec.Struct):
    """Something to solve."""

    number: int


def test_a_type_of_the_users_may_have_the_name_of_ours() -> None:
    """A user's class named ``Problem`` keeps its name, and so do two classes of one name."""

    async def solve(problem: Problem) -> Problem:
        return problem

    app = App()
    app.post("/")(solve)
    document = check(app.openapi())
    schemas = document["components"]["schemas"]
    assert "number" in schemas["Problem"]["properties"]
    reference = document["components"]["responses"]["UnprocessableContent"]["content"]["application/problem+json"]
    assert reference == {"schema": {"$ref": REFERENCE + "Problem_"}}


class Model(pydantic.BaseModel):
    """A model of pydantic's, sent otherwise than it is got."""

    made: str = pydantic.Field(validation_alias="makes", serialization_alias="made")


Twin = pydantic.create_model("Item", count=(int, ...))
"""A model that has the name of a Struct."""


class Holder(msgspec.Struct):
    """A Struct around both."""

    item: Item
    twin: Twin  # type: ignore[valid-type]


async def takes_models(model: Model) -> Model:
    """Take a model and give it back."""
    return model


async def takes_twins(holder: Holder) -> Item | None:
    """Take two classes of one name."""


def test_models_are_described_by_pydantic() -> None:
    """What clients send is described as it is validated, and what they get as it is serialized."""
    app = App()
    app.post("/")(takes_models)
    document = check(app.openapi())
    schemas = document["components"]["schemas"]
    assert list(schemas["Model-Input"]["properties"]) == ["makes"]
    assert list(schemas["Model-Output"]["properties"]) == ["made"]


def test_a_model_and_a_struct_of_one_name_are_told_apart() -> None:
    """Each class has a name of its own, and references lead to the right one, also from within a Struct."""
    app = App()
    app.post("/")(takes_twins)
    document = check(app.openapi())
    schemas = document["components"]["schemas"]
    properties = schemas["Holder"]["properties"]
    assert list(schemas[properties["twin"]["$ref"].removeprefix(REFERENCE)]["properties"]) == ["count"]
    assert list(schemas[properties["item"]["$ref"].removeprefix(REFERENCE)]["properties"]) == ["name", "price"]


HOME = ipaddress.IPv4Address("127.0.0.1")


class Odd(msgspec.Struct):
    """A class with a default that msgspec cannot write down."""

    at: ipaddress.IPv4Address = HOME


async def takes_odd(odd: Odd, item: Annotated[Item, Query], ip: ipaddress.IPv4Address = HOME) -> None:
    """Take something odd."""


def test_a_type_that_cannot_be_described() -> None:
    """It is described as anything, and the others as they are; a default of a class of one's own as what is sent."""
    operation = described(takes_odd, "POST")
    assert operation["requestBody"]["content"]["application/json"] == {"schema": {}}
    found = parameters(operation)
    assert sorted(found) == ["query ip", "query name", "query price"]
    assert found["query ip"]["schema"] == {"type": "string", "format": "ipv4", "default": "127.0.0.1"}


# What a route says of itself


async def documented(limit: int = 10) -> None:
    """List the orders,
    newest first.

    With *all* of their lines.

    Args:
        limit: for readers of the code.
    """


def test_a_docstring_is_the_description() -> None:
    """The first paragraph is the summary, the rest the description, without what is for readers of the code."""
    operation = described(documented)
    assert operation["summary"] == "List the orders, newest first."
    assert operation["description"] == "With *all* of their lines."


def test_options_of_a_route_say_more() -> None:
    """Summary, description, tags and deprecation are what the decorator was given."""
    operation = described(documented, summary="Orders", description="", tags=["shop"], deprecated=True)
    assert operation["summary"] == "Orders"
    assert "description" not in operation
    assert operation["tags"] == ["shop"]
    assert operation["deprecated"] is True


def test_a_route_names_other_responses() -> None:
    """A sentence is an error's description, a type a JSON body, and a mapping what OpenAPI says, with a ``model``."""
    own = {"description": "A picture.", "content": {"image/png": {}}}
    operation = described(
        documented,
        responses={
            404: "There is none.",
            201: Item,
            "5XX": {"description": "Ours.", "model": Item},
            202: own,
            303: "See.",
        },
    )
    responses = operation["responses"]
    assert responses["404"]["description"] == "There is none."
    assert list(responses["404"]["content"]) == ["application/problem+json"]
    assert responses["201"]["content"]["application/json"]["schema"] == {"$ref": REFERENCE + "Item"}
    assert responses["5XX"]["content"]["application/json"]["schema"] == {"$ref": REFERENCE + "Item"}
    assert responses["202"] == own
    assert responses["303"] == {"description": "See."}


def test_a_response_without_a_status_is_refused() -> None:
    """A status that is none is an error that names the route and what to write."""
    with pytest.raises(ValueError, match=r"GET /: responses has 'none': write a status such as 404"):
        described(documented, responses={"none": "?"})


def test_a_route_can_be_left_out() -> None:
    """``include_in_schema=False`` leaves a route out."""
    app = App()
    app.get("/", include_in_schema=False)(documented)
    assert app.openapi()["paths"] == {}


def test_a_router_says_what_holds_for_all_its_routes() -> None:
    """Its tags and responses come before those of its routes, whatever includes it and however late they come."""
    inner = Router("/items", tags=["items"], responses={404: "There is none.", 409: "Sold."})
    outer = Router(tags="shop")
    outer.include(inner, "/v1", tags=["v1", "items"])
    outer.include(inner, "/v2", deprecated=True)
    app = App()
    app.include(outer)
    inner.get("", tags=["list", "items"], responses={409: "Gone."})(documented)
    inner.get("/bare")(documented)
    paths = app.openapi()["paths"]
    first, second = paths["/v1/items"]["get"], paths["/v2/items"]["get"]
    assert first["tags"] == ["shop", "v1", "items", "list"]
    assert second["tags"] == ["shop", "items", "list"]
    assert paths["/v2/items/bare"]["get"]["tags"] == ["shop", "items"]
    assert {code: each["description"] for code, each in first["responses"].items() if code in {"404", "409"}} == {
        "404": "There is none.",
        "409": "Gone.",
    }
    assert ("deprecated" in first, second["deprecated"]) == (False, True)


@pytest.mark.parametrize("here", ["router", "outer router", "include"])
def test_a_router_can_be_left_out(here: str) -> None:
    """``include_in_schema=False`` leaves out all routes below it, those that say otherwise too; others stay."""
    router = Router(include_in_schema=here != "router")
    router.get("/hidden", include_in_schema=True)(documented)
    outer = Router(include_in_schema=here != "outer router")
    outer.include(router, "/v1", include_in_schema=here != "include")
    app = App()
    app.include(outer)
    app.get("/seen")(documented)
    assert list(app.openapi()["paths"]) == ["/seen"]
    assert app.url_for("documented") == "/v1/hidden"


class Group(enum.Enum):
    """Tags as FastAPI's guide has them."""

    SHOP = "shop"


@pytest.mark.parametrize("tags", ["shop", ["shop"], ("shop", "shop"), [Group.SHOP]])
def test_spellings_of_tags(tags: Any) -> None:
    """One tag may stand without a list, and an enumeration has tags as its values."""
    assert described(documented, tags=tags)["tags"] == ["shop"]
    router = Router(tags=tags)
    router.get("/")(documented)
    app = App()
    app.include(router)
    assert app.openapi()["paths"]["/"]["get"]["tags"] == ["shop"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tags": [7]}, RouteError, r"tags is a list of text, got \[7\]: write tags=\["),
        ({"tags": 7}, RouteError, "tags is a list of text, got 7"),
        ({"responses": [404]}, RouteError, r"responses is a mapping: write responses=\{404"),
        ({"tag": ["x"]}, TypeError, "has no option 'tag': there are .*tags"),
    ],
)
def test_what_is_no_option(options: Any, error: type[Exception], message: str) -> None:
    """What a route, a router or `include` does not understand is an error that names it."""
    with pytest.raises(error, match=f"'/x'.*{message}" if error is TypeError else f"GET /x: {message}"):
        App().get("/x", **options)(documented)
    with pytest.raises(error, match=rf"Router\('/x'\): .*{message}"):
        Router("/x", **options)
    with pytest.raises(error, match=rf"Router\('/x'\): .*{message}"):
        App().include(Router(), "/x", **options)


async def test_options_of_an_inclusion() -> None:
    """`include` has the options of a router, for what it includes there alone; their order is from outside."""
    seen: list[str] = []

    async def note(request: Request, call_next: CallNext) -> Response:
        seen.append("middleware")
        return await call_next(request)

    def login() -> None:
        seen.append("login")

    router = Router("/x", dependencies=[Provide(lambda: seen.append("own"))])

    @router.post("")
    async def take(data: Annotated[bytes, Body("application/octet-stream")]) -> int:
        return len(data)

    app = App()
    app.include(router, "/in", middleware=[note], dependencies=[Provide(login)], max_body_size=3)
    app.include(router)
    client = app.test_client()
    headers = {"content-type": "application/octet-stream"}
    assert (await client.post("/x", content=b"12345", headers=headers)).text == "5"
    assert seen == ["own"]
    assert (await client.post("/in/x", content=b"12345", headers=headers)).status_code == 413
    assert (await client.post("/in/x", content=b"123", headers=headers)).text == "3"
    assert seen[-3:] == ["middleware", "login", "own"]


def test_what_can_be_included() -> None:
    """An app of another framework is no router: the error says what takes it."""
    with pytest.raises(TypeError, match=r"include takes a Router and then a prefix, got .*: write app.mount"):
        App().include(print)  # type: ignore[arg-type]


# Security


@security("token", {"type": "http", "scheme": "bearer"})
async def user(authorization: Annotated[str, Header] = "") -> str:
    """Who asks."""
    return authorization


@security("key", {"type": "apiKey", "in": "header", "name": "x-key"}, scopes=["read"], optional=True)
async def key(x_key: Annotated[str, Header] = "", user: Annotated[str, Provide(user)] = "") -> str:
    """By what they ask."""
    return x_key


def test_a_dependency_says_what_it_checks() -> None:
    """A route with a dependency that says so needs that scheme, and answers 401; also behind another dependency."""

    async def secret(key: Annotated[str, Provide(key)]) -> None: ...

    app = App()
    app.get("/")(secret)
    document = check(app.openapi())
    operation = document["paths"]["/"]["get"]
    assert operation["security"] == [{"token": []}, {"key": ["read"], "token": []}]
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert "401" in operation["responses"]
    assert sorted(parameters(operation)) == ["header x-key"], "OpenAPI wants no parameter named authorization"


@security("token", {"type": "http", "scheme": "basic"})
async def other() -> str:
    """Another scheme."""
    return ""


def test_security_that_contradicts_itself() -> None:
    """Two schemes of one name, and what is no scheme, are errors that say what to write."""

    async def secret(a: Annotated[str, Provide(user)], b: Annotated[str, Provide(other)]) -> None: ...

    with pytest.raises(ValueError, match="names the scheme 'token', which another dependency describes as"):
        described(secret)
    with pytest.raises(TypeError, match=r"takes a scheme as OpenAPI writes one, got 'bearer': write \{"):
        security("token", "bearer")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"scopes is a list: write scopes=\['read'\]"):
        security("token", {"type": "http"}, scopes="read")


# The document as a whole


def test_paths_that_differ_by_the_names_of_parameters_are_one() -> None:
    """OpenAPI has one path for them: the names are those of the first, and a second one of a method is named."""
    app = App()

    @app.get("/items/{id:int}")
    async def by_number(id: int) -> None: ...  # noqa: A002

    @app.get("/items/{name}")
    async def by_name(name: str) -> None: ...

    @app.delete("/items/{key}")
    async def delete(key: str) -> None: ...

    document = check(app.openapi())
    [(path, item)] = document["paths"].items()
    assert path == "/items/{id}"
    assert [each["name"] for each in item["delete"]["parameters"]] == ["id"]
    assert item["get"]["operationId"] == "by_number"
    assert item["get"]["x-also"] == ["GET /items/{name}"]


def test_methods_of_any_name() -> None:
    """``QUERY`` is a method of OpenAPI 3.2, and others have a place there; each operation has an id of its own."""
    app = App()

    @app.route("/cache", methods=["PURGE", "QUERY", "GET"])
    async def cache(request: Request) -> None: ...

    item = check(app.openapi())["paths"]["/cache"]
    assert list(item) == ["get", "query", "additionalOperations"]
    assert item["additionalOperations"]["PURGE"]["operationId"] == "cache_purge_cache"


def test_websockets_and_mounts_are_named_beside() -> None:
    """OpenAPI has no words for WebSockets and for other apps: extensions name them."""
    app = App()
    router = Router(prefix="/chat")

    @router.websocket("/{room}")
    async def chat(ws: WebSocket, room: str, last: int = 0) -> None: ...

    app.include(router)
    app.mount("/old", App())
    document = check(app.openapi())
    assert document["paths"] == {}
    [socket] = document["x-websockets"]
    assert socket["path"] == "/chat/{room}"
    assert [each["name"] for each in socket["parameters"]] == ["room", "last"]
    assert document["x-mounts"] == ["/old"]


def test_the_order_is_that_of_the_paths() -> None:
    """Two apps with the same routes, registered in another order, have the same document, byte for byte."""
    documents = []
    for turn in (1, -1):
        app = App()
        for path in ["/a", "/b/{x}", "/c"][::turn]:
            for method in ["GET", "POST"][::turn]:
                app.route(path, [method], name=f"{method}{path}")(takes_rest)
        documents.append(json.dumps(app.openapi()))
    assert documents[0] == documents[1]


async def takes_rest(
    request: Request, page: Annotated[Page, Query], item: Annotated[Item, Body]
) -> AsyncIterator[Tick | Done]:
    """Take more than one thing."""
    yield Done(0)


def test_the_command_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``trioweb openapi module:app`` prints the document."""
    code = "from trioweb import App\nweb = App()\n@web.get('/tea')\nasync def tea() -> str: return 'tea'\n"
    (tmp_path / "teashop.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    assert main(["openapi", "teashop:web", "--title", "Tea", "--version", "2"]) == 0
    document = check(json.loads(capsys.readouterr().out))
    assert document["info"] == {"title": "Tea", "version": "2"}
    assert list(document["paths"]) == ["/tea"]


class Weight:
    """A class that is taught without a schema."""


class Parcel(msgspec.Struct):
    """Something with values that nobody describes."""

    weight: Weight
    notes: dict[str, object]
    count: int = 1


def test_values_that_nobody_describes() -> None:
    """A taught class without a schema, and ``object``, may be anything; the rest of a type with them is described."""
    app = App()
    app.add_type(Weight, encode=str, decode=lambda _: Weight())

    @app.post("/")
    async def send(parcel: Parcel) -> None: ...

    properties = check(app.openapi())["components"]["schemas"]["Parcel"]["properties"]
    assert properties["weight"] == {"title": "Weight"}
    assert properties["notes"] == {"type": "object", "additionalProperties": {"title": "object"}}
    assert properties["count"]["type"] == "integer"


class Shelf(pydantic.BaseModel):
    """A model that has another one within it."""

    name: str
    top: Model


class Room(msgspec.Struct):
    """A Struct that has a mapping within it."""

    shelves: dict[str, int]


@pytest.mark.parametrize("annotation", [Shelf, Room])
def test_forms_have_no_objects_within_them(annotation: Any) -> None:
    """A type that only JSON can say is not described as a form."""

    async def handler(it: Any) -> None: ...

    handler.__annotations__["it"] = annotation
    assert list(described(handler, "POST")["requestBody"]["content"]) == [JSON]
