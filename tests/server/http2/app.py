"""The app under test over HTTP/2: plain ASGI, so that what is tested is the server."""

from __future__ import annotations

import json
from typing import Any

import trio

from tests.notes import note
from tests.state import state
from trioweb import App

BLOCK = b"x" * 16384

told = App()
told.get("/state")(state)


@told.route("/unread", methods=["GET", "POST"], cancel_on_disconnect=True)
async def unread() -> str:
    """Wait until the client leaves, and read nothing of the body."""
    await trio.sleep_forever()
    return "never"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Do what the path says; without one of these, answer with what the request was."""
    if scope["type"] != "http" or scope["path"] in {"/state", "/unread"}:
        await told(scope, receive, send)
        return
    name, _, argument = scope["path"][1:].partition("/")
    match name:
        case "echo":
            await echo(receive, send)
        case "early":
            await send(start())
            await send(part(b"early", more=False))
        case "waits":
            await wait(receive)
        case "blocks":
            await send_blocks(send, int(argument))
        case _:
            await tell(scope, receive, send)


def start(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """The beginning of a response."""
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """A piece of its body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


async def echo(receive: Any, send: Any) -> None:
    """Send a body back while it still arrives."""
    await send(start())
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        await send(part(message["body"], more=more))


async def wait(receive: Any) -> None:
    """Wait until the client has left."""
    note("waits begun")
    while (await receive())["type"] != "http.disconnect":
        pass
    note("waits ended")


async def send_blocks(send: Any, count: int) -> None:
    """Send so many blocks of 16 KiB."""
    note("blocks begun")
    await send(start())
    for number in range(count):
        await send(part(BLOCK))
        note("block", number + 1)
    await send(part(b"", more=False))


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the request was, once it is whole."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            note("left", scope["path"])
            return
        body += message["body"]
        more = message.get("more_body", False)
    note("request", scope["method"], scope["path"])
    seen = {
        "method": scope["method"],
        "scheme": scope["scheme"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    await send(start((b"content-type", b"application/json")))
    await send(part(b"" if scope["method"] == "HEAD" else json.dumps(seen).encode(), more=False))
