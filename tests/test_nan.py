"""Numbers that JSON has not, in all that is sent as JSON: an error, or ``null`` if asked."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pydantic
import pytest

from trioweb import (
    App,
    EventStreamResponse,
    JSONLinesResponse,
    JSONResponse,
    JSONSeqResponse,
    ServerSentEvent,
    StreamingResponse,
    WebSocket,
    nan_as_null,
)
from trioweb.hub import MemoryHub
from trioweb.streams import json_lines
from trioweb.testing import TestClient


class Model(pydantic.BaseModel):
    """A model, which by itself sends null."""

    mean: float
    none: int | None = None


class Row(msgspec.Struct):
    """A Struct."""

    mean: float
    none: int | None = None


class Bounds(msgspec.Struct):
    """Defaults that JSON has not."""

    most: float = math.inf
    least: tuple[float, ...] = (-math.inf, 0.0)
    name: str | None = None


VALUES: list[Any] = [{"mean": math.nan, "none": None}, Row(math.nan), Model(mean=math.nan)]
WAYS: dict[str, Callable[[Any], object]] = {
    "a value": lambda value: value,
    "JSONResponse": JSONResponse,
    "a stream": lambda value: StreamingResponse([value]),
    "JSON lines": lambda value: JSONLinesResponse(iter([value])),
    "a JSON sequence": lambda value: JSONSeqResponse([value]),
    "events": lambda value: EventStreamResponse([value]),
    "an event": lambda value: EventStreamResponse([ServerSentEvent(value, id=1)]),
    "lines by hand": lambda value: StreamingResponse(json_lines([value]), media_type="text/x-lines"),
}


def app_of(way: Callable[[Any], object], value: Any) -> App:
    """An app that sends a value in some way."""
    app = App()

    @app.get("/")
    async def send() -> Any:
        return way(value)

    return app


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_number_that_json_has_not(way: Callable[[Any], object], value: Any) -> None:
    """An answer, a chunk and an event with NaN are an error that says where it is, and what to write instead."""
    async with TestClient(app_of(way, value)) as client:
        with pytest.raises((TypeError, ValueError), match=r"\$\.mean is nan.*write None.*, or nan_as_null"):
            await client.get("/")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_null_if_asked(way: Callable[[Any], object], value: Any) -> None:
    """The same value in ``nan_as_null`` is sent as null."""
    async with TestClient(app_of(way, nan_as_null(value))) as client:
        assert '{"mean":null,"none":null}' in (await client.get("/")).text


async def test_chunks_of_a_generator() -> None:
    """The error names the route, and is raised at the ``yield``; the stream may go on."""
    app, errors = App(), []

    @app.get("/rows")
    async def rows() -> AsyncIterator[object]:
        yield {"mean": None}
        try:
            yield {"mean": math.inf}
        except ValueError as error:
            errors.append(str(error))
        yield nan_as_null({"mean": math.inf})

    async with TestClient(app) as client:
        assert (await client.get("/rows")).text == '{"mean":null}\n{"mean":null}\n'
    assert errors[0].startswith("GET /rows: $.mean is inf, which is no number in JSON")


async def test_messages() -> None:
    """``send_json`` and ``publish`` refuse such a number, and send null if asked."""
    app = App()

    @app.websocket("/")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ValueError, match=r"\$\[0\] is nan"):
            await ws.send_json([math.nan])
        await ws.send_json(nan_as_null([math.nan]))

    async with TestClient(app) as client, client.websocket("/") as ws:
        assert await ws.receive() == "[null]"
    async with MemoryHub() as hub, hub.subscribe("rows") as events:
        with pytest.raises(ValueError, match=r"\$\[0\] is nan"):
            await hub.publish("rows", [math.nan])
        await hub.publish("rows", nan_as_null([math.nan]))
        assert (await anext(events)).data == [None]


async def test_what_a_model_says_of_such_numbers() -> None:
    """Text for them, if a model is configured so, is sent, nested too; what would be no JSON is refused."""

    class Said(Model):
        model_config = pydantic.ConfigDict(ser_json_inf_nan="strings")

    class Constant(Model):
        model_config = pydantic.ConfigDict(ser_json_inf_nan="constants")

    said = Said(mean=math.inf)
    async with TestClient(app_of(lambda value: [value], said)) as client:
        assert (await client.get("/")).json() == [{"mean": "Infinity", "none": None}]
    async with TestClient(app_of(lambda value: [value], Constant(mean=1, none=1))) as client:
        with pytest.raises(TypeError, match="Constant is configured to send NaN, which is not JSON: write ser_json"):
            await client.get("/")


def test_defaults_that_json_has_not() -> None:
    """A default of infinity is no part of the description, which is JSON."""
    app = App()

    @app.post("/")
    async def put(bounds: Bounds, limit: float = math.inf) -> None: ...

    document = app.openapi()
    properties = document["components"]["schemas"]["Bounds"]["properties"]
    assert [("default" in properties[name]) for name in ("most", "least", "name")] == [False, False, True]
    assert document["paths"]["/"]["post"]["parameters"][0]["schema"] == {"type": "number"}
