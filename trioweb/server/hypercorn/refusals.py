"""Refusals of requests that one of Hypercorn's protocols has read.

Hypercorn refuses invalid requests and unknown server names, and answers for apps that have not, with one method: it is
overridden here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import time
from typing import Final, Self

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Body, EndBody, Event, Response, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream

from trioweb.ground.http.headers import RawHeaders
from trioweb.io.hypercorn import Theirs
from trioweb.server.refusals import UNNAMED, refusal

END_SECONDS: Final = 1.0
"""Seconds for a client to take what is written before the end of its stream."""


async def send_refusal(
    send: Callable[[Event], Awaitable[None]], stream_id: int, status: int, headers: RawHeaders, body: bytes
) -> None:
    """Send a whole response as events of Hypercorn's, and end the stream."""
    with trio.move_on_after(END_SECONDS):
        await send(Response(stream_id=stream_id, status_code=status, headers=headers))
        if body:
            await send(Body(stream_id=stream_id, data=body))
        await send(EndBody(stream_id=stream_id))
    await send(StreamClosed(stream_id=stream_id))


class Refusing:
    """Mixin of a stream of Hypercorn's that sends the server's own refusals."""

    scope: Theirs  # HTTPScope or WebsocketScope, whose keys differ
    config: Config
    send: Callable[[Event], Awaitable[None]]
    stream_id: int
    start_time: float

    async def refuse(self, status: int, reason: str = "", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer instead of the app, which has sent nothing yet.

        Args:
            status: the status.
            reason: see ``refusal``.
            headers: further headers.
        """
        own, body = refusal(status, reason)
        fields = self.ending([*own, *headers])
        await self.config.log.access(self.scope, {"status": status, "headers": fields}, time() - self.start_time)
        is_head = self.scope.get("method") == "HEAD"
        await send_refusal(self.send, self.stream_id, status, fields, b"" if is_head else body)

    async def _send_error_response(self, status_code: int) -> None:
        """Refuse: Hypercorn's name."""
        await self.refuse(status_code, UNNAMED[1] if status_code == UNNAMED[0] else "")

    def ending(self, headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
        """The headers of a refusal: they close an HTTP/1.1 connection."""
        rest = [(bytes(name), bytes(value)) for name, value in headers]
        connection = [value for name, value in rest if name.lower() == b"connection" and value.lower() != b"close"]
        rest = [field for field in rest if field[0].lower() != b"connection"]
        if self.scope["http_version"][0] == "1":
            rest.append((b"connection", b", ".join([b"close", *connection])))
        return rest


class RequestStream(Refusing, HTTPStream):
    """A request, over HTTP/1.1 or as a stream of HTTP/2."""

    @classmethod
    def instead_of(cls, made: HTTPStream) -> Self:
        """A stream of this class instead of Hypercorn's own, which has not handled an event yet."""
        return cls(
            made.app, made.config, made.context, made.task_group, made.scheme == "https", made.client, made.server,
            made.send, made.stream_id,
        )  # fmt: skip

    async def refuse(self, status: int, reason: str = "", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """See ``Refusing``."""
        self.state = ASGIHTTPState.CLOSED
        await super().refuse(status, reason, headers)
