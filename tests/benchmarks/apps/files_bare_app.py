"""As many bytes as a file has, from memory: ``/{bytes of a message}/{bytes of all}``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any


async def app(
    scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """The ASGI app."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    message, size = (int(number) for number in scope["path"][1:].split("/")) if scope["path"] != "/" else (1, 0)
    data = bytes(message)
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(size // message):
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
