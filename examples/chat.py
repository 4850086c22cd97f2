"""A chat room over WebSockets, each in a nursery of its own. Who reads slowly loses lines, and holds up nobody.

::

    hypercorn -k trio examples.chat:app
    python -m websockets "ws://localhost:8000/chat/lobby?name=Ada"

Then type ``{"text": "hello"}``. The tour has a page for it, ``/chat``. It is the room of one process: with several
workers people meet who are connected to the same one.
"""

from typing import Annotated, Final

import msgspec
import trio

from trioweb import App, Router, WebSocket

WAITING: Final = 100
"""Lines that wait for a reader who is slow; those beyond are lost to that one reader."""

router = Router()


class Said(msgspec.Struct):
    """What a client sends."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Line(msgspec.Struct):
    """What all clients get."""

    who: str
    text: str
    present: int


_rooms: dict[str, set[trio.MemorySendChannel[Line]]] = {}


@router.websocket("/chat/{room}")
async def chat(ws: WebSocket, room: str, name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]) -> None:
    """One person in a room, until they leave. A message that is none is a close with 1007."""
    await ws.accept()
    put, take = trio.open_memory_channel[Line](WAITING)
    people = _rooms.setdefault(room, set())
    people.add(put)
    ws.nursery.start_soon(pass_on, take, ws)  # it ends with this handler, or with the connection
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


app = App()
app.include(router)
