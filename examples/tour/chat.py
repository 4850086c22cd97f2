"""A chat room: WebSockets, each in a nursery of its own. Who reads slowly loses lines, and holds up nobody.

It is the room of one process: with several workers (``-w``) people meet who are connected to the same one.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import trio

from examples.tour.files import CODE
from trioweb import FileResponse, Router, WebSocket

WAITING: Final = 100
"""Lines that wait for a reader who is slow; those beyond are lost to that one reader."""

router = Router()


class Said(msgspec.Struct):
    """What a page sends."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Line(msgspec.Struct):
    """What all pages get."""

    who: str
    text: str
    present: int


_rooms: dict[str, set[trio.MemorySendChannel[Line]]] = {}


@router.get("/chat")
async def page() -> FileResponse:
    """The page; open it twice."""
    return FileResponse(CODE / "chat.html", headers={"cache-control": "no-cache"})


@router.websocket("/chat/{room}")
async def chat(ws: WebSocket, room: str, name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]) -> None:
    """One person in a room, until their page is closed."""
    await ws.accept()
    put, take = trio.open_memory_channel[Line](WAITING)
    people = _rooms.setdefault(room, set())
    people.add(put)
    ws.nursery.start_soon(pass_on, take, ws)  # it ends with this handler, or with the page
    try:
        tell(people, name, "came in")
        async for said in ws.messages(Said):
            tell(people, name, said.text)
    finally:
        people.discard(put)
        tell(people, name, "left")
        if not people:
            _rooms.pop(room, None)


async def pass_on(lines: trio.MemoryReceiveChannel[Line], ws: WebSocket) -> None:
    """Send what is said in the room."""
    async for line in lines:
        await ws.send_json(line)


def tell(people: set[trio.MemorySendChannel[Line]], who: str, text: str) -> None:
    """Say something to all who are there, without waiting for any."""
    line = Line(who, text, len(people))
    for person in people:
        try:
            person.send_nowait(line)
        except trio.WouldBlock:
            continue  # too slow: the next line may find room
