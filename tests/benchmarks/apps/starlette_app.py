"""The routes as a user of Starlette writes them."""

from __future__ import annotations

import importlib
from typing import Any

from tests.benchmarks.apps import producers
from tests.benchmarks.apps.settings import FILES, MIDDLEWARES, ROUTES
from tests.benchmarks.payload import GREETING

# By name, so that type checkers do without the packages.
anyio: Any = importlib.import_module("anyio")
starlette: Any = importlib.import_module("starlette.applications")
middleware: Any = importlib.import_module("starlette.middleware")
responses: Any = importlib.import_module("starlette.responses")
routing: Any = importlib.import_module("starlette.routing")

Text = responses.PlainTextResponse
Stream = responses.StreamingResponse
board = producers.Board(anyio.Event)
fan = producers.Fan()


async def greet(request: Any) -> Any:
    """A small response."""
    return Text(GREETING)


async def order(request: Any) -> Any:
    """Take a typed JSON body."""
    return responses.Response(producers.receipt(await request.body()), media_type="application/json")


async def query(request: Any) -> Any:
    """Take a query parameter."""
    return Text(str(int(request.query_params["limit"])))


async def take_request(request: Any) -> Any:
    """Take the request, as all do."""
    return Text(GREETING if request.method == "GET" else "")


async def wait(request: Any) -> Any:
    """Await once."""
    await anyio.lowlevel.checkpoint()
    return Text(GREETING)


async def depend(request: Any) -> Any:
    """Call what others have as a dependency."""
    return Text(await producers.provide())


async def rows(request: Any) -> Any:
    """Short chunks from an async generator."""
    return Stream(producers.rows(request.path_params["count"]), media_type="text/plain")


async def rows_of_request(request: Any) -> Any:
    """The same, and look at the request as well."""
    count = request.path_params["count"] if request.method == "GET" else 0
    return Stream(producers.rows(count), media_type="text/plain")


async def rows_from_thread(request: Any) -> Any:
    """Short chunks from a generator that runs in a thread."""
    return Stream(producers.rows_from_thread(request.path_params["count"]), media_type="text/plain")


async def lines(request: Any) -> Any:
    """JSON lines, encoded by the generator itself."""
    return Stream(producers.lines(request.path_params["count"]), media_type="application/x-ndjson")


async def table(request: Any) -> Any:
    """CSV, by the generator itself."""
    return Stream(producers.table(request.path_params["count"]), media_type="text/csv")


async def blocks(request: Any) -> Any:
    """Large chunks."""
    chunks = producers.blocks(request.path_params["size"], request.path_params["count"])
    return Stream(chunks, media_type="application/octet-stream")


async def file(request: Any) -> Any:
    """A file."""
    return responses.FileResponse(f"{FILES}/{request.path_params['size']}")


async def events(request: Any) -> Any:
    """An event stream."""
    return Stream(board.events(), media_type="text/event-stream")


async def events_of_request(request: Any) -> Any:
    """The same, and look at the request as well."""
    return Stream(board.events(request.headers.get("last-event-id")), media_type="text/event-stream")


async def publish(request: Any) -> Any:
    """Send an event to all."""
    return Text(board.publish(request.path_params["number"]))


async def announce(request: Any) -> Any:
    """Send an event to all subscribers."""
    return Text(await fan.publish(request.path_params["number"]))


async def announce_many(request: Any) -> Any:
    """Send one each millisecond."""
    return Text(await fan.publish_many(request.path_params["first"], request.path_params["count"], anyio.sleep))


async def leave(request: Any) -> Any:
    """A stream that a client leaves."""
    chunks = producers.stay(request.path_params["key"], request.path_params["pause"], anyio.sleep)
    return Stream(chunks, media_type="text/plain")


async def left(request: Any) -> Any:
    """When its end was through."""
    return Text(str(producers.ends.get(request.path_params["key"], "")))


async def count(request: Any) -> Any:
    """Count the bytes of a body as they come."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return Text(str(size))


async def form(request: Any) -> Any:
    """Take a form whole, and count what is in it."""
    async with request.form(max_fields=20_000) as form:
        size = sum(value.size if hasattr(value, "size") else len(value) for _, value in form.multi_items())
        return Text(f"{len(form.multi_items())} {size}")


def section(number: int) -> Any:
    """One of many routes."""

    async def read(request: Any) -> Any:
        return Text(f"{number} {request.path_params['item']}")

    return routing.Route(f"/section{number}/items/{{item:int}}", read)


app = starlette.Starlette(
    routes=[
        routing.Route("/", greet),
        routing.Route("/order", order, methods=["POST"]),
        routing.Route("/query", query),
        routing.Route("/request", take_request),
        routing.Route("/awaits", wait),
        routing.Route("/dependency", depend),
        routing.Route("/async/{count:int}", rows),
        routing.Route("/request/async/{count:int}", rows_of_request),
        routing.Route("/sync/{count:int}", rows_from_thread),
        routing.Route("/json/{count:int}", lines),
        routing.Route("/csv/{count:int}", table),
        routing.Route("/blocks/{size:int}/{count:int}", blocks),
        routing.Route("/file/{size:int}", file),
        routing.Route("/events", events),
        routing.Route("/request/events", events_of_request),
        routing.Route("/publish/{number:int}", publish),
        routing.Route("/hub/events", fan),
        routing.Route("/hub/publish/{number:int}", announce),
        routing.Route("/hub/run/{first:int}/{count:int}", announce_many),
        routing.Route("/leave/{key}/{pause:int}", leave),
        routing.Route("/left/{key}", left),
        routing.Route("/count", count, methods=["POST"]),
        routing.Route("/form", form, methods=["POST"]),
        *(section(number) for number in range(ROUTES)),
    ],
    middleware=[middleware.Middleware(producers.Look)] * MIDDLEWARES,
)
