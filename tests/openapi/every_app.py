"""An app with every kind of input and output, described and served."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import attrs
import msgspec
import pydantic

from trioweb import (
    App,
    Body,
    Cookie,
    CSVResponse,
    EventStreamResponse,
    FileResponse,
    Form,
    Header,
    HTMLResponse,
    HTTPError,
    JSONLinesResponse,
    JSONSeqResponse,
    MultipartStreamResponse,
    Provide,
    Query,
    RedirectResponse,
    Request,
    ServerSentEvent,
    UploadFile,
    WebSocket,
)
from trioweb.openapi import security

app = App()


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"
    GREEN = "green"


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """A Struct with constraints."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
    price: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 1.0
    tags: list[str] = []
    colour: Colour | None = None


class Model(pydantic.BaseModel):
    """A model of pydantic's."""

    name: str = pydantic.Field(min_length=1)
    count: int = pydantic.Field(ge=0, le=100)


class Patch(msgspec.Struct, forbid_unknown_fields=True):
    """What is changed of something: what was not sent is told from null."""

    name: str | msgspec.UnsetType | None = msgspec.UNSET
    sizes: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


MARKS: pydantic.TypeAdapter[list[int]] = pydantic.TypeAdapter(list[Annotated[int, pydantic.Field(ge=1, le=6)]])


@attrs.define
class Point:
    """A class of attrs."""

    x: int
    y: int = 0


@dataclass
class Page:
    """Where in a list."""

    page: Annotated[int, msgspec.Meta(ge=1)] = 1
    size: Annotated[int, msgspec.Meta(ge=1, le=100, description="How many.")] = 10


class Tick(msgspec.Struct, tag=True):
    """A stroke of a clock."""

    n: int


class Done(msgspec.Struct, tag=True):
    """The end."""

    total: int


@security("token", {"type": "http", "scheme": "bearer"})
async def user(authorization: Annotated[str, Header] = "") -> str:
    """Who asks."""
    if authorization != "Bearer secret":
        raise HTTPError(401, headers={"www-authenticate": "Bearer"})
    return authorization


# Inputs


@app.get("/query")
async def query(  # noqa: D103
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10,
    words: str = "",
    since: date | None = None,
    colours: list[Literal["red", "green"]] = [],  # noqa: B006
    colour: Colour = Colour.RED,
    deep: bool = False,
) -> dict[str, int]:
    return {"limit": limit, "words": len(words), "colours": len(colours)}


@app.get("/pages")
async def pages(page: Annotated[Page, Query]) -> Page:  # noqa: D103
    return page


@app.get("/items/{id:int}/{name}")
async def item(id: int, name: str) -> list[str]:  # noqa: A002, D103
    return [str(id), name]


@app.get("/ids/{id:uuid}")
async def by_id(id: UUID) -> str:  # noqa: A002, D103
    return str(id)


@app.get("/files/{rest:path}")
async def rest(rest: str) -> int:  # noqa: D103
    return len(rest)


@app.get("/headers")
async def headers(x_count: Annotated[int, Header] = 1, theme: Annotated[str, Cookie] = "") -> list[int | str]:  # noqa: D103
    return [x_count, theme]


@app.get("/address")
async def address(ip: ipaddress.IPv4Address) -> dict[str, ipaddress.IPv4Address]:  # noqa: D103
    return {"ip": ip}


@app.post("/item")
async def create(item: Item) -> Item:  # noqa: D103
    return item


@app.post("/json")
async def json_only(items: Annotated[list[Item], Body("application/json")]) -> dict[str, Item]:  # noqa: D103
    return {item.name: item for item in items}


@app.put("/model")
async def model(model: Model) -> Model:  # noqa: D103
    return model


@app.put("/models")
async def models(models: list[Model] | None = None) -> list[Model]:  # noqa: D103
    return models or []


@app.patch("/point")
async def point(point: Point) -> Point:  # noqa: D103
    return point


@app.patch("/patch")
async def patch(patch: Patch) -> Patch:  # noqa: D103
    return patch


@app.post("/marks")
async def marks(marks: Annotated[list[int], Body("application/json"), MARKS]) -> dict[str, object]:  # noqa: D103
    return {"marks": marks}


@app.post("/form")
async def form(name: Annotated[str, Form], count: Annotated[int, Form] = 1) -> list[str]:  # noqa: D103
    return [name] * min(max(count, 0), 10)


@app.post("/upload")
async def upload(file: UploadFile, title: Annotated[str, Form] = "") -> dict[str, int]:  # noqa: D103
    return {"bytes": file.size, "title": len(title)}


@app.put("/raw")
async def raw(data: Annotated[bytes, Body("application/octet-stream")]) -> int:  # noqa: D103
    return len(data)


@app.put("/text")
async def text(data: Annotated[str, Body("text/plain")]) -> str:  # noqa: D103
    return data


@app.get("/secret")
async def secret(user: Annotated[str, Provide(user)]) -> str:  # noqa: D103
    return user


@app.delete("/thing/{id:int}", responses={403: "Nobody may."})
async def delete(id: int) -> None:  # noqa: A002, D103
    if id == 0:
        raise HTTPError(403)


# Outputs


@app.get("/none")
async def nothing() -> Item | None:  # noqa: D103
    return None


@app.get("/html")
async def html() -> HTMLResponse:  # noqa: D103
    return HTMLResponse("<!doctype html>")


@app.get("/bytes")
async def octets() -> bytes:  # noqa: D103
    return b"x"


@app.get("/file")
async def file() -> FileResponse:  # noqa: D103
    return FileResponse(Path(__file__), media_type="text/x-python")


@app.get("/redirect")
async def redirect() -> RedirectResponse:  # noqa: D103
    return RedirectResponse("/none")


@app.get("/lines")
async def lines() -> AsyncIterator[Tick | Done]:  # noqa: D103
    yield Tick(1)
    yield Done(1)


@app.get("/words")
def words() -> Iterator[str]:  # noqa: D103
    yield "to "
    yield "be"


@app.get("/events")
async def events() -> EventStreamResponse[Tick]:  # noqa: D103
    return EventStreamResponse([Tick(1)])


@app.get("/bare-events")
async def bare_events() -> AsyncIterator[ServerSentEvent]:  # noqa: D103
    yield ServerSentEvent("x")


@app.get("/json-lines")
async def json_lines() -> JSONLinesResponse[Model]:  # noqa: D103
    return JSONLinesResponse([Model(name="a", count=1)])


@app.get("/json-seq")
async def json_seq() -> JSONSeqResponse[Model]:  # noqa: D103
    return JSONSeqResponse([Model(name="a", count=1)])


@app.get("/table")
async def table() -> CSVResponse:  # noqa: D103
    return CSVResponse([[1, 2]])


@app.get("/pictures")
async def pictures() -> MultipartStreamResponse:  # noqa: D103
    return MultipartStreamResponse([b"1", b"2"])


@app.get("/anything")
async def anything(request: Request):  # type: ignore[no-untyped-def]  # noqa: ANN201, D103
    return {"method": request.method}


@app.websocket("/ws/{room}")
async def talk(ws: WebSocket, room: str, last: int = 0) -> None:  # noqa: D103
    await ws.accept()
    await ws.close()


app.mount("/old", App())
app.add_docs("/docs", title="Everything")
