"""The app under test in the fault suite and the soak. It notes what happens in it, and tells what its worker holds."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator

import trio

from tests.notes import note
from tests.state import state
from trioweb import App, EventStreamResponse, Request, Response, ServerSentEvent, StreamingResponse

app = App(min_rate=float(os.environ.get("MIN_RATE", "240")))
BLOCK = b"x" * 65536
DOWNLOAD_SIZE = 8 * 2**20
"""Bytes of a download; too many for the buffers of both kernels."""


# What the worker holds


app.get("/state")(state)


@app.get("/stacks")
async def stacks() -> list[str]:
    """Tell where each task of a connection waits."""
    found = []
    root = trio.lowlevel.current_root_task()
    todo = [root] if root is not None else []
    while todo:
        task = todo.pop()
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        frames = [f"{frame.f_code.co_name}:{line}" for frame, line in task.iter_await_frames()]
        if {"_handle", "_run_handler", "run"} & {frame.partition(":")[0] for frame in frames}:
            found.append(f"{task.name}: {' > '.join(frames)}")
    return found


# Answers in one piece


@app.get("/")
async def root() -> str:
    """Answer at once."""
    return "ok"


@app.get("/small/{size:int}")
async def small(size: int) -> bytes:
    """Answer at once, with so many bytes."""
    return b"s" * size


@app.get("/large")
async def large() -> bytes:
    """Answer at once, with more than any buffer holds."""
    return BLOCK * 256


@app.get("/waits")
async def waits() -> str:
    """Wait for an hour before answering."""
    note("waits started")
    try:
        await trio.sleep(3600)
    finally:
        note("waits ended")
    return "never"


@app.get("/thread")
def thread() -> str:
    """Answer from a worker thread, after a while."""
    time.sleep(0.05)
    return "ok"


@app.get("/error")
async def error() -> str:
    """Fail."""
    raise RuntimeError("as asked")


# Request bodies


@app.post("/ignored")
async def ignored() -> str:
    """Answer without a look at the body."""
    return "answered"


@app.post("/reads")
async def reads(request: Request) -> str:
    """Read the whole body."""
    note("reads started")
    try:
        return str(len(await request.body()))
    finally:
        note("reads ended")


@app.post("/echo")
async def echo(request: Request) -> AsyncIterator[bytes]:
    """Stream the body back while it still arrives."""
    async for chunk in request.stream():
        yield chunk


@app.post("/unread", cancel_on_disconnect=True)
async def unread() -> str:
    """Wait for an hour, and read nothing of the body."""
    note("unread started")
    try:
        await trio.sleep(3600)
    finally:
        note("unread ended")
    return "never"


# Streams


@app.get("/flood")
async def flood() -> AsyncIterator[bytes]:
    """Yield without end."""
    number = 0
    note("flood started")
    try:
        while True:
            number += 1
            yield BLOCK
    finally:
        note("flood closed after", number)


@app.get("/flood/sync")
def flood_sync() -> Iterator[bytes]:
    """Yield without end, from a worker thread."""
    note("flood started")
    try:
        while True:
            yield BLOCK
    finally:
        note("flood closed")


@app.get("/flood/counted")
async def flood_counted() -> AsyncIterator[bytes]:
    """Yield without end, and note each chunk."""
    number = 0
    try:
        while True:
            number += 1
            note("counted", number)
            yield BLOCK
    finally:
        note("counted closed")


@app.get("/limited")
async def limited() -> Response:
    """Yield without end to a client that must not be slow."""

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield BLOCK
        finally:
            note("limited closed")

    return StreamingResponse(chunks(), write_timeout=0.5)


@app.get("/sleepy")
async def sleepy() -> AsyncIterator[str]:
    """Yield once, then sleep for an hour."""
    try:
        yield "first\n"
        note("sleepy sleeps")
        await trio.sleep(3600)
    finally:
        note("sleepy closed")


@app.get("/late")
async def late() -> AsyncIterator[str]:
    """Sleep for an hour before the first chunk."""
    try:
        note("late sleeps")
        await trio.sleep(3600)
        yield "never\n"
    finally:
        note("late closed")


@app.get("/events")
async def events() -> Response:
    """Send an event ten times a second, without end."""

    async def source() -> AsyncIterator[ServerSentEvent]:
        number = 0
        try:
            while True:
                yield ServerSentEvent("tick", id=number)
                number += 1
                await trio.sleep(0.1)
        finally:
            note("events closed")

    return EventStreamResponse(source())


@app.get("/download/{kind}")
async def download(kind: str) -> Response:
    """Give a download piece by piece, of a declared length or not."""

    async def chunks() -> AsyncIterator[bytes]:
        note("download started")
        for _ in range(DOWNLOAD_SIZE // len(BLOCK)):
            yield BLOCK

    headers = {"content-length": str(DOWNLOAD_SIZE)} if kind == "declared" else None
    return StreamingResponse(chunks(), headers=headers)


@app.get("/paced/{count:int}")
async def paced(count: int) -> AsyncIterator[str]:
    """Yield a line now and then, so many times."""
    for number in range(count):
        yield f"{number}\n"
        await trio.sleep(0.02)


@app.route("/fails", methods=["GET", "POST"])
async def fails() -> AsyncIterator[str]:
    """Fail after the first chunk."""
    yield "accepted\n"
    await trio.sleep(0.01)
    raise RuntimeError("in the middle")


# Generators that do what they should not


@app.get("/blocks")
async def blocks() -> AsyncIterator[str]:
    """Block the loop for a second."""
    yield "before\n"
    await trio.sleep(0.05)
    note("blocks")
    time.sleep(1)
    yield "after\n"


@app.get("/swallows")
async def swallows() -> AsyncIterator[str]:
    """Take every exception for nothing, and yield on."""
    while True:
        try:
            yield "x" * 65536
            await trio.sleep(0.01)
        except GeneratorExit:
            note("swallows closed")
            raise
        except BaseException as caught:
            note("swallowed", type(caught).__name__)


@app.get("/bad-finally/{ending}")
async def bad_finally(ending: str) -> AsyncIterator[str]:
    """Fail in the clean-up."""
    try:
        yield "first\n"
        note("bad-finally sleeps")
        await trio.sleep(0 if ending == "end" else 3600)
    finally:
        raise RuntimeError("in a finally")


@app.get("/slow-finally")
async def slow_finally() -> AsyncIterator[str]:
    """Take a while to clean up, shielded, as one who rolls something back does."""
    try:
        yield "first\n"
        await trio.sleep(3600)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.2)
        note("slow-finally closed")
