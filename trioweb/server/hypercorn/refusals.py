"""How a request is refused that one of Hypercorn's protocols has read: in one way, whichever it is.

Hypercorn refuses by itself what is no request, or is for a server of another name, and answers for an app that has not:
all with the same method, which is this one here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import time
from typing import Any, Final, Self

import trio
from hypercorn.protocol.events import Body, EndBody, Event, Response, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from trioweb.ground.http.headers import RawHeaders
from trioweb.server.refusals import UNNAMED, refusal

END_SECONDS: Final = 1.0
"""Seconds for a client to take what stands before the end of its stream; nobody waits longer for that."""


async def send_refusal(
    send: Callable[[Event], Awaitable[None]], stream_id: int, status: int, headers: RawHeaders, body: bytes
) -> None:
    """Send a whole response as Hypercorn's protocols take it, and end the stream."""
    with trio.move_on_after(END_SECONDS):
        await send(Response(stream_id=stream_id, status_code=status, headers=headers))
        if body:
            await send(Body(stream_id=stream_id, data=body))
        await send(EndBody(stream_id=stream_id))
    await send(StreamClosed(stream_id=stream_id))


class Refusing:
    """What refuses in the place of a stream of Hypercorn's."""

    scope: Any
    config: Any
    send: Any
    stream_id: int
    start_time: float

    async def refuse(self, status: int, reason: str = "", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer in the app's place, where nothing was sent yet.

        Args:
            status: the status.
            reason: what is wrong, as the beginning of a sentence.
            headers: what else there is to say.
        """
        own, body = refusal(status, reason)
        fields = self.ending([*own, *headers])
        await self.config.log.access(self.scope, {"status": status, "headers": fields}, time() - self.start_time)
        is_head = self.scope.get("method") == "HEAD"
        await send_refusal(self.send, self.stream_id, status, fields, b"" if is_head else body)

    async def _send_error_response(self, status_code: int) -> None:
        """Hypercorn's name for it."""
        await self.refuse(status_code, UNNAMED[1] if status_code == UNNAMED[0] else "")

    def ending(self, headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
        """The headers of a refusal: after it an HTTP/1 connection ends; HTTP/2 has no word for that."""
        rest = [(bytes(name), bytes(value)) for name, value in headers]
        connection = [value for name, value in rest if name.lower() == b"connection" and value.lower() != b"close"]
        rest = [field for field in rest if field[0].lower() != b"connection"]
        if self.scope["http_version"][0] == "1":
            rest.append((b"connection", b", ".join([b"close", *connection])))
        return rest


class RequestStream(Refusing, HTTPStream):
    """A request of Hypercorn's, over HTTP/1.1 or as a stream of HTTP/2."""

    @classmethod
    def instead_of(cls, made: HTTPStream) -> Self:
        """One of this class in the place of Hypercorn's own, to which nothing has happened yet."""
        return cls(
            made.app, made.config, made.context, made.task_group, made.scheme == "https", made.client, made.server,
            made.send, made.stream_id,
        )  # fmt: skip

    async def refuse(self, status: int, reason: str = "", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """See ``Refusing``."""
        self.state = ASGIHTTPState.CLOSED
        await super().refuse(status, reason, headers)
