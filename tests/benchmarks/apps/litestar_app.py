"""The routes as a user of Litestar writes them."""

# No future annotations: Litestar would look for the names elsewhere.
import importlib
from typing import Any

from tests.benchmarks.apps import producers
from tests.benchmarks.apps.producers import Order
from tests.benchmarks.apps.settings import FILES, MIDDLEWARES, ROUTES
from tests.benchmarks.payload import GREETING

# By name, so that type checkers do without the packages.
anyio: Any = importlib.import_module("anyio")
litestar: Any = importlib.import_module("litestar")
di: Any = importlib.import_module("litestar.di")
response: Any = importlib.import_module("litestar.response")

board = producers.Board(anyio.Event)


async def greet() -> str:
    """A small response."""
    return GREETING


async def order(data: Order) -> dict[str, object]:
    """Take a typed JSON body."""
    return {"id": data.id, "total": data.amount * data.count}


async def query(limit: int = 10) -> str:
    """Take a query parameter."""
    return str(limit)


async def take_request(request: litestar.Request) -> str:
    """Take the request."""
    return GREETING if request.method == "GET" else ""


async def wait() -> str:
    """Await once."""
    await anyio.lowlevel.checkpoint()
    return GREETING


async def depend(greeting: str) -> str:
    """Take what a dependency gives."""
    return greeting


async def rows(count: int) -> Any:
    """Short chunks from an async generator."""
    return response.Stream(producers.rows(count), media_type="text/plain")


async def rows_of_request(request: litestar.Request, count: int) -> Any:
    """The same, of a handler that takes the request."""
    return response.Stream(producers.rows(count if request.method == "GET" else 0), media_type="text/plain")


async def rows_from_thread(count: int) -> Any:
    """Short chunks from a generator that runs in a thread."""
    return response.Stream(producers.rows_from_thread(count), media_type="text/plain")


async def lines(count: int) -> Any:
    """JSON lines, encoded by the generator itself."""
    return response.Stream(producers.lines(count), media_type="application/x-ndjson")


async def table(count: int) -> Any:
    """CSV, by the generator itself."""
    return response.Stream(producers.table(count), media_type="text/csv")


async def blocks(size: int, count: int) -> Any:
    """Large chunks."""
    return response.Stream(producers.blocks(size, count), media_type="application/octet-stream")


async def file(size: int) -> Any:
    """A file."""
    return response.File(f"{FILES}/{size}")


async def events() -> Any:
    """An event stream."""
    return response.Stream(board.events(), media_type="text/event-stream")


async def events_of_request(request: litestar.Request) -> Any:
    """The same, of a handler that takes the request."""
    return response.Stream(board.events(request.headers.get("last-event-id")), media_type="text/event-stream")


async def publish(number: int) -> str:
    """Send an event to all."""
    return board.publish(number)


async def leave(key: str, pause: int) -> Any:
    """A stream that a client leaves."""
    return response.Stream(producers.stay(key, pause, anyio.sleep), media_type="text/plain")


async def left(key: str) -> str:
    """When its end was through."""
    return str(producers.ends.get(key, ""))


def section(number: int) -> Any:
    """One of many routes."""

    async def read(item: int) -> str:
        return f"{number} {item}"

    return litestar.get(f"/section{number}/items/{{item:int}}", media_type="text/plain")(read)


STREAMS = {
    "/async/{count:int}": rows, "/sync/{count:int}": rows_from_thread, "/json/{count:int}": lines,
    "/csv/{count:int}": table, "/blocks/{size:int}/{count:int}": blocks, "/file/{size:int}": file, "/events": events,
    "/leave/{key:str}/{pause:int}": leave, "/request/async/{count:int}": rows_of_request,
    "/request/events": events_of_request,
}  # fmt: skip
TEXTS = {
    "/": greet, "/publish/{number:int}": publish, "/left/{key:str}": left, "/query": query, "/request": take_request,
    "/awaits": wait,
}  # fmt: skip
DEPENDENCIES = {"greeting": di.Provide(producers.provide)}

app = litestar.Litestar(
    [
        litestar.post("/order", status_code=200)(order),
        *(litestar.get(path)(handler) for path, handler in STREAMS.items()),
        *(litestar.get(path, media_type="text/plain")(handler) for path, handler in TEXTS.items()),
        litestar.get("/dependency", media_type="text/plain", dependencies=DEPENDENCIES)(depend),
        *(section(number) for number in range(ROUTES)),
    ],
    middleware=[producers.Look] * MIDDLEWARES,
    openapi_config=None,
    logging_config=None,
)
