"""The app under test in the tests with real servers. It notes what happens in it, a line an event."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.notes import LOG, note
from tests.state import state
from trioweb import (
    App,
    EventStreamResponse,
    HTTPError,
    JSONLinesResponse,
    Request,
    Response,
    ServerSentEvent,
    StreamingResponse,
)

app = App()
app.get("/state")(state)

BLOCK = b"x" * 65536


def note_task(where: str) -> None:
    """Note in which task something happened."""
    note(where, id(trio.lowlevel.current_task()))


@app.get("/")
async def root() -> str:
    """Answer at once."""
    return "ok"


@asynccontextmanager
async def resource() -> AsyncIterator[None]:
    """Stand for something that takes time to give back."""
    note_task("task opened")
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)
        note_task("task closed")


@app.get("/one-task/{ending}")
async def one_task(ending: str) -> AsyncIterator[str]:
    """Hold a resource while it yields, and end in the way that is asked for."""
    async with resource():
        for number in range(3):
            yield f"{number}\n"
            note_task("task resumed")
        if ending == "error":
            raise ValueError("as asked")
        if ending == "leave":
            await trio.sleep(3600)
        if ending == "flood":
            while True:
                yield "x" * 65536


@app.get("/deadline")
async def deadline() -> AsyncIterator[str]:
    """Yield numbered blocks for half a second, then go on: the client reads nothing meanwhile."""
    number = 0
    with trio.move_on_after(0.5):
        while True:
            number += 1
            note("deadline", number)
            yield f"[{number:07}]".ljust(16384, ".")
    note("deadline over")
    yield "[END]"


@app.get("/flood")
async def flood() -> AsyncIterator[bytes]:
    """Yield without end."""
    number = 0
    try:
        while True:
            number += 1
            note("flood", number)
            yield BLOCK
    finally:
        note("flood closed")


@app.get("/flood/sync")
def flood_sync() -> Iterator[bytes]:
    """Yield without end, from a worker thread."""
    number = 0
    try:
        while True:
            number += 1
            note("flood-sync", number)
            yield BLOCK
    finally:
        note("flood-sync closed")


@app.get("/huge")
async def huge() -> AsyncIterator[bytes]:
    """Yield one chunk of 32 MiB."""
    yield b"h" * (32 * 2**20)  # not zeros, which take no memory until they are looked at


@app.get("/lines/{count:int}")
async def lines(count: int) -> AsyncIterator[str]:
    """Yield short lines as fast as they go."""
    for number in range(count):
        yield f"{number}\n"


@app.get("/busy")
async def busy() -> AsyncIterator[str]:
    """Work hard for each short chunk, and never wait."""
    for number in range(200):
        end = time.perf_counter() + 0.005
        while time.perf_counter() < end:
            pass
        note("busy", number)
        yield f"{number}\n"


@app.get("/sleepy")
async def sleepy() -> AsyncIterator[str]:
    """Yield once, then sleep for an hour."""
    try:
        yield "first\n"
        note("sleepy sleeps")
        await trio.sleep(3600)
    finally:
        note("sleepy closed")


@app.get("/fails-before")
async def fails_before() -> AsyncIterator[str]:
    """Refuse before the first chunk."""
    await trio.sleep(0)
    if LOG:
        raise HTTPError(418, "no coffee")
    yield ""


class Unforeseen(Exception):
    """What nobody has a handler for."""


@app.get("/breaks-before")
async def breaks_before() -> AsyncIterator[str]:
    """Break before the first chunk."""
    if LOG:
        raise Unforeseen("a secret")
    yield ""


class Foreseen(Exception):
    """What has a handler."""


@app.error_handler(Foreseen)
async def handle_foreseen(request: Request, error: Foreseen) -> Response:
    """Answer it."""
    return Response(f"{request.path}: {error}", 409)


@app.get("/foreseen")
async def foreseen(nursery: trio.Nursery) -> AsyncIterator[str]:
    """Break before the first chunk while a task runs in the request's nursery."""

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            note("work ended")

    nursery.start_soon(work)
    await trio.sleep(0.01)
    if LOG:
        raise Foreseen("as foreseen")
    yield ""


@app.get("/nothing")
async def nothing() -> AsyncIterator[str]:
    """End without a chunk."""
    if not LOG:
        yield ""


@app.get("/fails-mid")
async def fails_mid() -> AsyncIterator[str]:
    """Break after the first chunk."""
    yield "accepted"
    await trio.sleep(0.01)
    raise Unforeseen("in the middle")


@app.get("/fails-mid/at-once")
async def fails_mid_at_once() -> AsyncIterator[str]:
    """Break right after many chunks were accepted."""
    for number in range(1000):
        yield f"{number:063}\n"
    raise Unforeseen("in the middle")


@app.get("/fails-mid/sync")
def fails_mid_sync() -> Iterator[str]:
    """Break after the first chunk, in a thread."""
    yield "accepted"
    raise Unforeseen("in the middle")


@app.get("/fails-mid/in-band")
async def fails_mid_in_band() -> Response:
    """Tell of the error in the format itself."""

    async def items() -> AsyncIterator[Any]:
        yield {"n": 1}
        raise Unforeseen("in the middle")

    return JSONLinesResponse(items(), on_error=lambda error: {"error": str(error)})


@app.get("/wrong-chunk")
async def wrong_chunk() -> AsyncIterator[Any]:
    """Yield what cannot be sent, and go on from that."""
    yield "a"
    try:
        yield object()
    except TypeError as error:
        note("wrong chunk:", error)
    yield "b"


@app.get("/child-breaks")
async def child_breaks(nursery: trio.Nursery) -> AsyncIterator[str]:
    """Stream while a task in the request's nursery fails."""

    async def fail() -> None:
        await trio.sleep(0.05)
        raise Unforeseen("in a child")

    nursery.start_soon(fail)
    yield "accepted"
    await trio.sleep_forever()


@app.get("/length/{given:int}/{declared:int}")
async def length(given: int, declared: int) -> Response:
    """Declare a length for a stream, and give another."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(given):
            yield b"x"

    return StreamingResponse(chunks(), headers={"content-length": str(declared)})


@app.get("/events")
async def events() -> Response:
    """Send events, and begin with none."""

    async def source() -> AsyncIterator[ServerSentEvent]:
        try:
            await trio.sleep(0.2)
            yield ServerSentEvent("one", id=1)
            await trio.sleep_forever()
        finally:
            note("events closed")

    return EventStreamResponse(source(), ping=0.1, retry=500)


@app.get("/head-only")
async def head_only() -> Response:
    """Stream what a HEAD request must not start."""

    async def chunks() -> AsyncIterator[str]:
        note("head-only started")
        yield "body"

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/waits")
async def waits() -> str:
    """Wait for an hour before answering."""
    note("waits started")
    try:
        await trio.sleep(3600)
    finally:
        note("waits ended")
    return "never"


@app.post("/waits")
async def waits_post() -> str:
    """Work for a moment, whether or not somebody waits for it."""
    note("post started")
    await trio.sleep(0.3)
    return "done"


@app.post("/ignored-body")
async def ignored_body() -> str:
    """Answer without a look at the body."""
    return "answered"


@app.post("/echo")
async def echo(request: Request) -> AsyncIterator[bytes]:
    """Stream the request's body back while it still arrives."""
    async for chunk in request.stream():
        yield chunk


@app.get("/children")
async def children(nursery: trio.Nursery) -> str:
    """Answer, and go on in the request's nursery."""

    async def later() -> None:
        await trio.sleep(0.2)
        note("child done")

    nursery.start_soon(later)
    return "answered"


@app.get("/text/{text}")
async def text_of(text: str) -> dict[str, str]:
    """Show a path parameter."""
    return {"text": text}


@app.get("/header")
async def header(request: Request) -> dict[str, str | None]:
    """Show a header."""
    return {"x": request.headers.get("x-test")}


@app.get("/own-cancel")
async def own_cancel(nursery: trio.Nursery) -> bytes:
    """Cancel the request's nursery while the response is sent."""

    async def cancel() -> None:
        await trio.sleep(0.2)
        note("own cancelled")
        nursery.cancel_scope.cancel()

    nursery.start_soon(cancel)
    return bytes(30_000_000)


@app.get("/own-failure")
async def own_failure(nursery: trio.Nursery) -> bytes:
    """Fail in the request's nursery while the response is sent."""

    async def fail() -> None:
        await trio.sleep(0.2)
        note("own cancelled")
        raise Unforeseen("in a child")

    nursery.start_soon(fail)
    return bytes(30_000_000)


@app.post("/half-read", cancel_on_disconnect=True)
async def half_read(request: Request) -> str:
    """Read one chunk of a body, and wait."""
    async for _ in request.stream():
        break
    note("half-read waits")
    try:
        await trio.sleep(3600)
    finally:
        note("half-read cancelled")
    return "never"


@app.post("/half-read/stream")
async def half_read_stream(request: Request) -> AsyncIterator[str]:
    """Read one chunk of a body, and stream without end."""
    async for _ in request.stream():
        break
    try:
        note("half-read waits")
        while True:
            yield "x"
            await trio.sleep(0.1)
    finally:
        note("half-read cancelled")


@app.get("/odd-head/{status:int}/{length}")
async def odd_head(status: int, length: str) -> Response:
    """Answer with a head that no server can send."""
    response = StreamingResponse(["x"]) if length != "-" else Response("x")
    response.status_code = status
    if length != "-":
        response.headers["content-length"] = length
    return response


@app.get("/limited")
async def limited() -> Response:
    """Stream without end to a client that must not be slow."""

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield BLOCK
        finally:
            note("limited closed")

    return StreamingResponse(chunks(), write_timeout=0.5)


@app.get("/large")
async def large() -> bytes:
    """Answer with 8 MiB in one piece."""
    return bytes(8 * 2**20)
