"""Hypercorn's protocol of a connection, and fixes for it.

Its HTTP/2 deletes a stream that it has answered or refused, and fails, with all streams of the connection, at the next
frame of that stream's body. Here such a frame is ignored.

Its streams are replaced as soon as it makes them: see ``websockets`` and ``refusals``. It sends pings but expects no
pong: here a peer that has sent nothing since the previous ping is disconnected.
"""

from __future__ import annotations

import math
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import TypeAlias, cast

import h11
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Data
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import STREAM_ID, H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream

from trioweb.io.hypercorn import Theirs
from trioweb.server.config import ServerConfig
from trioweb.server.http1.checks import UPGRADE_FIELDS, find_h2c_settings
from trioweb.server.hypercorn.refusals import RequestStream, send_refusal
from trioweb.server.hypercorn.websockets import WebSocketStream
from trioweb.server.logs.entries import COMPLETE, refused_scope
from trioweb.server.logs.records import AccessRecord
from trioweb.server.refusals import LATE_HEAD, refusal

Stream: TypeAlias = HTTPStream | WSStream

Make = Callable[[type], Theirs]
"""Makes a protocol of a class: Hypercorn's types of its arguments are narrower than what it needs of them."""


class Protocol:
    """The protocol of a connection: HTTP/2 from the start, or HTTP/1.1 until its client asks for HTTP/2.

    Args:
        make: makes a protocol of a class.
        http2: the TLS handshake has chosen HTTP/2.
        h2c: clients may upgrade HTTP/1.1 to HTTP/2.
    """

    def __init__(self, make: Make, *, http2: bool, h2c: bool) -> None:
        self._make = make
        self._h2c = h2c
        self._own: H11Protocol | H2Protocol = self._make_http2() if http2 else self._make_http1()

    async def initiate(self) -> None:
        """Send what the server sends first."""
        await self._own.initiate()

    async def handle(self, event: Event) -> None:
        """Take bytes from the connection, or its end."""
        try:
            await self._own.handle(event)
        except H2ProtocolAssumedError as assumed:
            self._own = self._make_http2()
            await self._own.initiate()
            await self._own.handle(RawData(assumed.data))
        except H2CProtocolRequiredError as upgrade:
            self._own = self._make_http2()
            headers = [field for field in upgrade.headers if field[0] not in UPGRADE_FIELDS]
            await self._own.initiate(headers, urlsafe_b64encode(find_h2c_settings(upgrade.headers) or b""))
            if upgrade.data:
                await self._own.handle(RawData(upgrade.data))

    def _make_http1(self) -> H11Protocol:
        protocol: _H11 = self._make(_H11)
        protocol.h2c = self._h2c
        return protocol

    def _make_http2(self) -> H2Protocol:
        protocol: H2Protocol = self._make(_H2)
        protocol.streams = _Streams()
        return protocol

    async def refuse_late_head(self) -> None:
        """Answer a 408 over HTTP/1.1; HTTP/2 has no request to answer."""
        if isinstance(self._own, _H11):
            await self._own.refuse(*LATE_HEAD)

    @property
    def is_http1(self) -> bool:
        """Whether it is HTTP/1.1."""
        return isinstance(self._own, H11Protocol)

    @property
    def has_no_streams(self) -> bool:
        """Whether it is HTTP/2 without a request."""
        return isinstance(self._own, H2Protocol) and self._own.idle

    @property
    def may_receive_more(self) -> bool:
        """Whether the client may still send a part of a request."""
        if isinstance(self._own, H11Protocol) and isinstance(self._own.connection, h11.Connection):
            return self._own.connection.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        return True

    @property
    def ends_with_connection(self) -> bool:
        """Whether the client would take a close of the connection for the end of the response."""
        stream = self._own.stream if isinstance(self._own, H11Protocol) else None
        return stream is not None and getattr(stream, "scope", {}).get("http_version") == "1.0"


class _Timestamped:
    """Mixin of a protocol that records the time of the last event."""

    heard_at = -math.inf

    async def handle(self, event: Event) -> None:
        self.heard_at = trio.current_time()
        await super().handle(event)  # type: ignore[misc]  # of the protocol


class _H11(_Timestamped, H11Protocol):
    h2c = False

    @property
    def stream(self) -> Stream | None:
        """The current request or WebSocket, of a class of this package."""
        return self._stream

    @stream.setter
    def stream(self, stream: Stream | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._stream = None if stream is None else _ours(stream)

    async def _check_protocol(self, event: h11.Request) -> None:
        # Without a valid upgrade it is just a request. ``Protocol`` handles the preface of HTTP/2.
        asks = event.http_version == b"1.1" and find_h2c_settings(event.headers) is not None
        if event.method == b"PRI" or (self.h2c and asks):
            await super()._check_protocol(event)

    async def stream_send(self, event: StreamEvent) -> None:
        if _may_send(self.stream, event, self.heard_at):
            await super().stream_send(event)
        else:
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        await self.refuse(status_code)

    async def refuse(self, status: int, reason: str = "") -> None:
        """Answer, and log, an invalid or incomplete request, for which there is no stream."""
        headers, body = refusal(status, reason)
        headers.append((b"connection", b"close"))
        if self.stream is None:
            scope = refused_scope(b"", self.client, "https" if self.ssl else "http")
            await AccessRecord(cast("ServerConfig", self.config), scope).log(status, headers, COMPLETE)
        await send_refusal(super().stream_send, STREAM_ID, status, headers, body)


class _H2(_Timestamped, H2Protocol):
    async def stream_send(self, event: StreamEvent) -> None:
        if _may_send(self.streams.get(event.stream_id), event, self.heard_at):
            await super().stream_send(event)
        else:
            await self.send(Closed())


def _ours(stream: Stream) -> Stream:
    if type(stream) is HTTPStream:
        return RequestStream.instead_of(stream)
    return WebSocketStream.instead_of(stream) if type(stream) is WSStream else stream


def _may_send(stream: object, event: StreamEvent, heard_at: float) -> bool:
    return not (isinstance(event, Data) and isinstance(stream, WebSocketStream)) or stream.may_send(
        event.data, heard_at
    )


class _NoStream:
    """Stands for a stream that has ended."""

    idle = True

    async def handle(self, event: object) -> None:
        """Ignore a late frame."""


class _Streams(dict[int, Stream]):
    def __setitem__(self, stream_id: int, stream: Stream) -> None:
        super().__setitem__(stream_id, _ours(stream))

    def __missing__(self, stream_id: int) -> _NoStream:
        return _NoStream()
