"""The routes as a user of trioweb writes them."""

from __future__ import annotations

import cProfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import trio

from tests.benchmarks.apps import producers
from tests.benchmarks.apps.producers import Order, ends
from tests.benchmarks.apps.settings import COMPRESSION, FILES, HUB, MIDDLEWARES, PROFILE, PYDANTIC, ROUTES
from tests.benchmarks.payload import GREETING, block, records, text_rows
from trioweb import (
    App,
    Compression,
    CSVResponse,
    EventStreamResponse,
    FileResponse,
    Provide,
    Request,
    Response,
    UploadFile,
)  # fmt: skip
from trioweb.middleware import CallNext

app = App(max_body_size=2**31)


@app.get("/")
async def greet() -> str:
    """A small response."""
    return GREETING


@app.post("/order")
async def order(order: Order) -> dict[str, object]:
    """Take a typed JSON body."""
    return {"id": order.id, "total": order.amount * order.count}


if PYDANTIC:
    import pydantic

    class Model(pydantic.BaseModel):
        """The same body, validated by pydantic."""

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

    @app.post("/model")
    async def model(model: Model) -> dict[str, object]:
        """Take it."""
        return {"id": model.id, "total": model.amount * model.count}


def add_section(number: int) -> None:
    """Add one of many routes."""

    @app.get(f"/section{number}/items/{{item:int}}", name=f"section{number}")
    async def read(item: int) -> str:
        return f"{number} {item}"


for number in range(ROUTES):
    add_section(number)


# The twins of the small response: what other handlers mention


@app.get("/query")
async def query(limit: int = 10) -> str:
    """Take a query parameter."""
    return str(limit)


@app.get("/request")
async def take_request(request: Request) -> str:
    """Take the request."""
    return GREETING if request.method == "GET" else ""


@app.get("/awaits")
async def wait() -> str:
    """Await once."""
    await trio.lowlevel.checkpoint()
    return GREETING


@app.get("/dependency")
async def depend(greeting: Annotated[str, Provide(producers.provide)]) -> str:
    """Take what a dependency gives."""
    return greeting


# Streams


@app.get("/async/{count:int}")
async def rows(count: int) -> AsyncIterator[str]:
    """Short chunks from an async generator."""
    for row in text_rows(count):
        yield row


@app.get("/request/async/{count:int}")
async def rows_of_request(request: Request, count: int) -> AsyncIterator[str]:
    """The same, of a handler that takes the request."""
    for row in text_rows(count if request.method == "GET" else 0):
        yield row


@app.get("/sync/{count:int}")
def rows_from_thread(count: int) -> Iterator[str]:
    """Short chunks from a generator that runs in a thread."""
    yield from text_rows(count)


@app.get("/json/{count:int}")
async def lines(count: int) -> AsyncIterator[dict[str, Any]]:
    """JSON lines."""
    for record in records(count):
        yield record


@app.get("/csv/{count:int}")
async def table(count: int) -> Response:
    """CSV."""
    return CSVResponse(records(count))


@app.get("/blocks/{size:int}/{count:int}")
async def blocks(size: int, count: int) -> AsyncIterator[bytes]:
    """Large chunks."""
    data = block(size)
    for _ in range(count):
        yield data


@app.get("/file/{size:int}")
async def file(size: int) -> Response:
    """A file."""
    return FileResponse(f"{FILES}/{size}")


# Events


if HUB:
    from trioweb.hub import MemoryHub

    hub = MemoryHub()
    app.lifespan(hub)

    @app.get("/hub/events")
    async def subscribe(request: Request) -> Response:
        """The events of a hub."""
        return hub.stream("news", after=request.last_event_id)

    @app.get("/hub/publish/{number:int}")
    async def announce(number: int) -> str:
        """Publish one."""
        return await hub.publish("news", f"event {number}")

    @app.get("/hub/run/{first:int}/{count:int}")
    async def announce_many(first: int, count: int) -> str:
        """Publish one each millisecond."""
        begin = trio.current_time()
        for index in range(count):
            await trio.sleep_until(begin + index / 1000)
            await hub.publish("news", f"event {first + index}")
        return "published"


board = producers.Board(trio.Event)


@app.get("/events")
async def events() -> Response:
    """An event stream."""

    async def produce() -> AsyncIterator[str]:
        yield "ready"
        while True:
            yield await board.hear()

    return EventStreamResponse(produce())


@app.get("/request/events")
async def events_of_request(request: Request) -> Response:
    """The same, of a handler that takes the request."""

    async def produce() -> AsyncIterator[str]:
        yield "ready" if request.last_event_id is None else "ready again"
        while True:
            yield await board.hear()

    return EventStreamResponse(produce())


@app.get("/publish/{number:int}")
async def publish(number: int) -> str:
    """Send an event to all."""
    return board.publish(number)


@app.get("/leave/{key}/{pause:int}")
async def leave(key: str, pause: int) -> AsyncIterator[str]:
    """A stream that a client leaves; it notes when its end is through."""
    try:
        while True:
            yield "here\n"
            await trio.sleep(pause / 1000)
    finally:
        ends[key] = time.monotonic()


@app.get("/left/{key}")
async def left(key: str) -> str:
    """When that was."""
    return str(ends.get(key, ""))


# Bodies


@app.post("/count")
async def count(request: Request) -> str:
    """Count the bytes of a body as they come."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return str(size)


@app.post("/form")
async def form(request: Request) -> str:
    """Take a form whole, and count what is in it."""
    form = await request.form(max_fields=20_000)
    size = sum(value.size if isinstance(value, UploadFile) else len(value) for _, value in form.multi_items())
    return f"{len(form.multi_items())} {size}"


@app.post("/parts")
async def parts(request: Request) -> str:
    """Take a form as it arrives, and count what is in it."""
    count = size = 0
    async for part in request.parts():
        count += 1
        async for chunk in part:
            size += len(chunk)
    return f"{count} {size}"


# Middleware


async def look(request: Request, call_next: CallNext) -> Response:
    """Look at the response. A header more would cost the server's own time too."""
    response = await call_next(request)
    if response.status_code != 200:
        response.headers["cache-control"] = "no-store"
    return response


async def accept(request: Request, call_next: CallNext) -> Response:
    """Have all clients accept gzip, and nothing else."""
    request.headers["accept-encoding"] = "gzip"
    return await call_next(request)


for _ in range(MIDDLEWARES):
    app.middleware(look)
if COMPRESSION:
    app.middleware(accept)
    app.middleware(Compression(codings=["gzip"]))


if PROFILE:
    profiler = cProfile.Profile(time.thread_time)  # others use the core, too
    profiler.enable()  # in the thread that imports the app, and runs it

    @app.lifespan
    async def profiled(app: App) -> AsyncIterator[None]:
        """Write down where the time went."""
        yield
        profiler.disable()
        profiler.dump_stats(PROFILE)
