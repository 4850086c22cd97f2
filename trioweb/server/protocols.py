"""Which of Hypercorn's protocols speaks on a connection, and what they lack.

Its HTTP/2 forgets a stream that it has answered or refused, and falls over the next frame of that stream's body, with
all the stream's neighbours on the connection. Here such a frame falls on nobody.

A WebSocket's app hears of no code but 1006 when its peer closes. The reply to a close repeats its code and reason, so
they are read from that, on its way out. Its pings are sent, and no pong is waited for: here a peer of whom nothing has
come since the ping before is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import h11
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Data
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol

Make = Callable[[type[H11Protocol] | type[H2Protocol]], Any]


class Protocol:
    """What a connection speaks: HTTP/1.1 until its client asks for HTTP/2, or HTTP/2 from the start.

    Args:
        make: a protocol of a class, with all that it needs.
        http2: HTTP/2 was agreed on in the TLS handshake.
    """

    def __init__(self, make: Make, *, http2: bool) -> None:
        self._make = make
        self._own: H11Protocol | H2Protocol = self._make_http2() if http2 else make(_H11)

    async def initiate(self) -> None:
        """Say what this side has to say first."""
        await self._own.initiate()

    async def handle(self, event: Event) -> None:
        """Take what has happened to the connection: bytes, or its end."""
        try:
            await self._own.handle(event)
        except H2ProtocolAssumedError as assumed:  # the client knows that we speak it
            self._own = self._make_http2()
            await self._own.initiate()
            await self._own.handle(RawData(assumed.data))
        except H2CProtocolRequiredError as upgrade:
            self._own = self._make_http2()
            await self._own.initiate(upgrade.headers, upgrade.settings)
            if upgrade.data:
                await self._own.handle(RawData(upgrade.data))

    def _make_http2(self) -> H2Protocol:
        protocol: H2Protocol = self._make(_H2)
        protocol.streams = _Streams()
        return protocol

    @property
    def is_http1(self) -> bool:
        """Whether it is HTTP/1."""
        return isinstance(self._own, H11Protocol)

    @property
    def has_no_streams(self) -> bool:
        """Whether it is HTTP/2, and nothing is asked for."""
        return isinstance(self._own, H2Protocol) and self._own.idle

    @property
    def may_receive_more(self) -> bool:
        """Whether the client may be in the middle of sending something."""
        if isinstance(self._own, H11Protocol) and isinstance(self._own.connection, h11.Connection):
            return self._own.connection.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        return True

    @property
    def ends_with_connection(self) -> bool:
        """Whether a response is under way that its client would take for whole if the connection just ended."""
        stream = self._own.stream if isinstance(self._own, H11Protocol) else None
        return stream is not None and getattr(stream, "scope", {}).get("http_version") == "1.0"


class _Hearing:
    """What notes when something has come last, in front of a protocol of Hypercorn's."""

    heard_at = -math.inf

    async def handle(self, event: Event) -> None:
        self.heard_at = trio.current_time()
        await super().handle(event)  # type: ignore[misc]  # of what stands behind


class _H11(_Hearing, H11Protocol):
    async def stream_send(self, event: StreamEvent) -> None:
        if not await _left(self, self.stream, event):
            await super().stream_send(event)


class _H2(_Hearing, H2Protocol):
    async def stream_send(self, event: StreamEvent) -> None:
        if not await _left(self, self.streams.get(event.stream_id), event):
            await super().stream_send(event)


_pings: WeakKeyDictionary[object, float] = WeakKeyDictionary()


async def _left(protocol: _H11 | _H2, stream: object, event: StreamEvent) -> bool:
    """Look at what goes out, and close the connection instead if it is a ping to one who was silent since the last."""
    if not isinstance(event, Data):
        return False
    _note_close(stream, event.data)
    if event.data[:1] != b"\x89":
        return False
    before = _pings.get(stream, -math.inf)
    _pings[stream] = trio.current_time()
    if protocol.heard_at < before:
        await protocol.send(Closed())
        return True
    return False


_closes: WeakKeyDictionary[object, dict[str, object]] = WeakKeyDictionary()


def _note_close(stream: object, data: bytes) -> None:
    """Note the code and reason of the peer's close that a frame repeats, if it does (RFC 6455, section 5.5.1)."""
    connection = getattr(stream, "connection", None)
    if data[:1] == b"\x88" and connection is not None and connection.state.name == "CLOSED":
        code = int.from_bytes(data[2:4], "big") if len(data) >= 4 else 1005
        _closes[stream] = {"code": code, "reason": data[4:].decode("utf-8", "replace")}


def with_peers_close(message: dict[str, Any], send: object) -> dict[str, Any]:
    """The news that a WebSocket's peer has left, with its own code and reason where it gave them.

    Args:
        message: the news.
        send: what the app sends with.
    """
    return {**message, **_closes.get(getattr(send, "__self__", None), {})}


class _Nobody:
    """A stream that is not there."""

    idle = True

    async def handle(self, event: object) -> None:
        """Take a frame that nobody wants."""


class _Streams(dict[int, Any]):
    def __missing__(self, stream_id: int) -> _Nobody:
        return _Nobody()
