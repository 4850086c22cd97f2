"""An app for tests of the processes behind `trioweb run`: it says which worker it is, and can end it."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import AsyncIterator

import trio

from trioweb import App, EventStreamResponse, Response

app = App()
if "COLLECTOR" in os.environ:
    gc.set_threshold(int(os.environ["COLLECTOR"]))


@app.lifespan
async def life(app: App) -> AsyncIterator[None]:
    """Fail at start-up where a file says so, or never start, and note the end."""
    if "NEVER_START" in os.environ:
        await trio.sleep_forever()
    mark = os.environ.get("FAIL_MARK")
    if mark and os.path.exists(mark):  # noqa: PTH110
        raise OSError("no database")
    yield
    note("ended")


def note(text: str) -> None:
    """Tell a test."""
    with open(os.environ["EVENT_LOG"], "a") as log:  # noqa: PTH123
        print(text, file=log)


@app.get("/")
async def root() -> int:
    """Say which process this is."""
    return os.getpid()


@app.get("/collector")
async def collector() -> list[int]:
    """When Python looks for cycles, and among how few objects it does not."""
    return [*gc.get_threshold(), gc.get_freeze_count()]


@app.get("/crash/{status:int}")
async def crash(status: int) -> None:
    """End the process, as a crash does."""
    os._exit(status)


@app.get("/stubborn")
async def stubborn() -> str:
    """Heed no cancellation."""
    note("/stubborn")
    with trio.CancelScope(shield=True):
        await trio.sleep(60)
    return "done"


@app.get("/blocking")
async def blocking() -> str:
    """Block the loop."""
    note("/blocking")
    time.sleep(60)
    return "done"


@app.get("/slow")
async def slow() -> str:
    """Answer in a moment."""
    note("slow started")
    await trio.sleep(0.3)
    return "slow"


@app.get("/waits")
async def waits() -> None:
    """Take a minute, and heed a cancellation."""
    note("waits")
    await trio.sleep(60)


@app.get("/events")
async def events() -> Response:
    """Stream events for ever."""

    async def endless() -> AsyncIterator[int]:
        yield os.getpid()
        await trio.sleep_forever()

    return EventStreamResponse(endless())


@app.get("/quotes")
async def quotes(text: str) -> str:
    """Fail with what was asked."""
    raise ValueError(text)
