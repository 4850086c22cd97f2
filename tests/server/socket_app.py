"""The WebSockets of the tests on real servers. Each notes what happens to it in the file that ``EVENT_LOG`` names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from tests.state import state
from trioweb import App, HTTPError, WebSocket, WebSocketDisconnect

LOG = Path(os.environ.get("EVENT_LOG", os.devnull))

app = App(write_timeout=0.5)
app.get("/state")(state)


def note(text: str) -> None:
    """Note a line."""
    with LOG.open("a") as file:
        file.write(text + "\n")


@app.lifespan
async def life(_: App) -> AsyncIterator[None]:
    """Note the end."""
    yield
    note("stopped")


@app.get("/-/ready")
async def ready() -> str:
    """Say that it is ready."""
    return "ready"


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Send back what comes."""
    chosen = ws.subprotocols[-1] if ws.subprotocols else None
    await ws.accept(chosen, headers={"x-version": ws.http_version})
    async for message in ws:
        if message == "bye":
            await ws.close(4000, "as asked")
            return
        if message == "break":
            raise ZeroDivisionError
        await ws.send(message)
    try:
        await ws.receive()
    except WebSocketDisconnect as left:
        note(f"left {left.code} {left.reason}")


@app.websocket("/deny/{status:int}")
async def deny(status: int) -> None:
    """Refuse."""
    raise HTTPError(status, "Not you.", {"x-why": "because"})


@app.websocket("/flood")
async def flood(ws: WebSocket) -> None:
    """Send without an end, and read nothing."""
    await ws.accept()
    try:
        while True:
            await ws.send(b"x" * 100_000)
    finally:
        note("flood ended")


@app.websocket("/busy")
async def busy(ws: WebSocket) -> None:
    """Read nothing until the peer has left."""
    await ws.accept()
    note("busy")
    ws.nursery.start_soon(wait_for_end)
    while not ws.is_disconnected:
        await trio.sleep(0.01)
    note(f"got {len([message async for message in ws])}")


async def wait_for_end() -> None:
    """Note how it ends."""
    try:
        await trio.sleep_forever()
    finally:
        note("companion ended")


@app.websocket("/stop")
async def stop(ws: WebSocket) -> None:
    """Wait for the end, and tidy up."""
    await ws.accept()
    await ws.send("ready")
    async for _ in ws:
        pass
    await trio.sleep(0.2)
    note("tidied up")


@app.websocket("/idle")
async def idle(ws: WebSocket) -> None:
    """Accept, and wait."""
    await ws.accept()
    async for _ in ws:
        pass
