"""The routes as a user of FastAPI writes them."""

# No future annotations: FastAPI would look for the names elsewhere.
import importlib
from typing import Annotated, Any

from tests.benchmarks.apps import producers
from tests.benchmarks.apps.settings import FILES, MIDDLEWARES, ROUTES
from tests.benchmarks.payload import GREETING

# By name, so that type checkers do without the packages.
anyio: Any = importlib.import_module("anyio")
fastapi: Any = importlib.import_module("fastapi")
responses: Any = importlib.import_module("fastapi.responses")
pydantic: Any = importlib.import_module("pydantic")

Text = responses.PlainTextResponse
Stream = responses.StreamingResponse
app = fastapi.FastAPI()
board = producers.Board(anyio.Event)


class Order(pydantic.BaseModel):  # type: ignore[misc]
    """A JSON body of ten fields."""

    id: int
    customer: str
    city: str
    street: str
    amount: float
    count: int
    express: bool
    note: str | None
    tags: list[str]
    position: dict[str, float]


@app.get("/", response_class=Text)  # type: ignore[untyped-decorator]
async def greet() -> str:
    """A small response."""
    return GREETING


@app.post("/model")  # type: ignore[untyped-decorator]
@app.post("/order")  # type: ignore[untyped-decorator]
async def order(order: Order) -> dict[str, object]:
    """Take a typed JSON body."""
    return {"id": order.id, "total": order.amount * order.count}


@app.get("/query", response_class=Text)  # type: ignore[untyped-decorator]
async def query(limit: int = 10) -> str:
    """Take a query parameter."""
    return str(limit)


@app.get("/request", response_class=Text)  # type: ignore[untyped-decorator]
async def take_request(request: fastapi.Request) -> str:
    """Take the request."""
    return GREETING if request.method == "GET" else ""


@app.get("/awaits", response_class=Text)  # type: ignore[untyped-decorator]
async def wait() -> str:
    """Await once."""
    await anyio.lowlevel.checkpoint()
    return GREETING


@app.get("/dependency", response_class=Text)  # type: ignore[untyped-decorator]
async def depend(greeting: Annotated[str, fastapi.Depends(producers.provide)]) -> str:
    """Take what a dependency gives."""
    return greeting


@app.get("/async/{count}")  # type: ignore[untyped-decorator]
async def rows(count: int) -> Any:
    """Short chunks from an async generator."""
    return Stream(producers.rows(count), media_type="text/plain")


@app.get("/request/async/{count}")  # type: ignore[untyped-decorator]
async def rows_of_request(request: fastapi.Request, count: int) -> Any:
    """The same, of a handler that takes the request."""
    return Stream(producers.rows(count if request.method == "GET" else 0), media_type="text/plain")


@app.get("/sync/{count}")  # type: ignore[untyped-decorator]
async def rows_from_thread(count: int) -> Any:
    """Short chunks from a generator that runs in a thread."""
    return Stream(producers.rows_from_thread(count), media_type="text/plain")


@app.get("/json/{count}")  # type: ignore[untyped-decorator]
async def lines(count: int) -> Any:
    """JSON lines, encoded by the generator itself."""
    return Stream(producers.lines(count), media_type="application/x-ndjson")


@app.get("/csv/{count}")  # type: ignore[untyped-decorator]
async def table(count: int) -> Any:
    """CSV, by the generator itself."""
    return Stream(producers.table(count), media_type="text/csv")


@app.get("/blocks/{size}/{count}")  # type: ignore[untyped-decorator]
async def blocks(size: int, count: int) -> Any:
    """Large chunks."""
    return Stream(producers.blocks(size, count), media_type="application/octet-stream")


@app.get("/file/{size}")  # type: ignore[untyped-decorator]
async def file(size: int) -> Any:
    """A file."""
    return responses.FileResponse(f"{FILES}/{size}")


@app.get("/events")  # type: ignore[untyped-decorator]
async def events() -> Any:
    """An event stream."""
    return Stream(board.events(), media_type="text/event-stream")


@app.get("/request/events")  # type: ignore[untyped-decorator]
async def events_of_request(request: fastapi.Request) -> Any:
    """The same, of a handler that takes the request."""
    return Stream(board.events(request.headers.get("last-event-id")), media_type="text/event-stream")


@app.get("/publish/{number}", response_class=Text)  # type: ignore[untyped-decorator]
async def publish(number: int) -> str:
    """Send an event to all."""
    return board.publish(number)


@app.get("/leave/{key}/{pause}")  # type: ignore[untyped-decorator]
async def leave(key: str, pause: int) -> Any:
    """A stream that a client leaves."""
    return Stream(producers.stay(key, pause, anyio.sleep), media_type="text/plain")


@app.get("/left/{key}", response_class=Text)  # type: ignore[untyped-decorator]
async def left(key: str) -> str:
    """When its end was through."""
    return str(producers.ends.get(key, ""))


def add_section(number: int) -> None:
    """Add one of many routes."""

    @app.get(f"/section{number}/items/{{item}}", response_class=Text)  # type: ignore[untyped-decorator]
    async def read(item: int) -> str:
        return f"{number} {item}"


for number in range(ROUTES):
    add_section(number)
for _ in range(MIDDLEWARES):
    app.add_middleware(producers.Look)
