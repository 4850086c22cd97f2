"""A chat room over WebSockets and a hub. Who reads slowly loses lines, and holds up nobody.

::

    hypercorn -k trio examples.chat:app
    python -m websockets "ws://localhost:8000/chat/lobby?name=Ada"

Then type ``{"text": "hello"}``. The tour has a page for it, ``/chat``. It is the room of one process; with
``REDIS_URL`` set, people meet who are connected to any worker.
"""

from __future__ import annotations

import os
from typing import Annotated, Final

import msgspec
import trio

from trioweb import App, Router, WebSocket
from trioweb.hub import Hub, MemoryHub, RedisHub, Subscription

WAITING: Final = 10_000
"""Bytes that wait for a reader who is slow; the oldest lines beyond are lost to that one reader."""

router = Router()
hub: Hub = RedisHub(os.environ["REDIS_URL"], prefix="chat:") if "REDIS_URL" in os.environ else MemoryHub(history=0)


class Said(msgspec.Struct):
    """What a client sends."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Line(msgspec.Struct):
    """What all clients get."""

    who: str
    text: str
    present: int


@router.websocket("/chat/{room}")
async def chat(ws: WebSocket, room: str, name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]) -> None:
    """One person in a room, until they leave. A message that is none is a close with 1007."""
    await ws.accept()
    try:
        async with hub.subscribe(room, member=name, limit=WAITING) as lines:
            ws.nursery.start_soon(pass_on, lines, ws)  # it ends with this handler, or with the connection
            await tell(room, name, "came in")
            async for said in ws.messages(Said):
                await tell(room, name, said.text)
    finally:
        with trio.move_on_after(1, shield=True):
            await tell(room, name, "left")


async def pass_on(lines: Subscription, ws: WebSocket) -> None:
    """Send what is said in the room."""
    async for line in lines:
        if line.event is None:  # the others are joins, leaves and gaps
            await ws.send_json(line.data)


async def tell(room: str, who: str, text: str) -> None:
    """Say something to all who are there, without waiting for any."""
    await hub.publish(room, Line(who, text, len(await hub.members(room))))


app = App()
app.include(router)
app.lifespan(hub)
