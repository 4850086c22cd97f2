"""The WebSocket (RFC 6455) that a handler gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Self, TypeVar, overload

import trio

from trioweb.ground.annotations import Annotation
from trioweb.ground.encoding import encode_json
from trioweb.ground.errors import HTTPError, InputError, WebSocketDisconnect
from trioweb.ground.faults import decode_json
from trioweb.ground.http.asgi import PathParams, Scope
from trioweb.ground.http.closing import INCONSISTENT, UNACCEPTABLE, check_close, shortened
from trioweb.ground.http.headers import Headers, HeaderSource
from trioweb.ground.values import json_decoder
from trioweb.io.duplex import Duplex, is_own_header
from trioweb.messages.connection import Application, Connection, State
from trioweb.messages.resources import Provider

T = TypeVar("T")


class WebSocket(Connection):
    """A WebSocket. Accept it, or raise an ``HTTPError`` to refuse it; then iterate over its messages.

    ::

        @app.websocket("/echo")
        async def echo(ws: WebSocket):
            await ws.accept()
            async for message in ws:
                await ws.send(message)

    It is closed with 1000 when the handler returns, with 1011 when it fails, and with 1001 when the server stops. When
    the peer leaves, the iteration ends and ``ws.nursery`` is cancelled; the handler goes on, so that it can clean up. A
    handler that waits for other things than messages should do so in ``ws.nursery``, or its route should set
    ``cancel_on_disconnect=True``. Several tasks may send and receive at the same time: each message is sent whole, and
    each received message goes to one task.
    """

    __slots__ = ("_duplex", "_open_nursery", "_provider")

    def __init__(
        self,
        scope: Scope,
        app: Application,
        path_params: PathParams,
        duplex: Duplex,
        provider: Provider,
        open_nursery: Callable[[], trio.Nursery],
        state: State | None = None,
    ) -> None:
        super().__init__(scope, app, path_params)
        self._state = state
        self._duplex = duplex
        self._provider = provider
        self._open_nursery = open_nursery

    @property
    def nursery(self) -> trio.Nursery:
        """For tasks beside the handler. It is cancelled when the peer leaves and when the handler returns; a task that
        fails cancels the handler. Use ``app.nursery`` for tasks that go on.
        """
        return self._open_nursery()

    @property
    def _resources(self) -> Provider:
        return self._provider

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the peer offers, best first."""
        return list(self.scope.get("subprotocols") or ())

    @property
    def is_disconnected(self) -> bool:
        """Whether the peer is known to have left. Does not block."""
        return self._duplex.gone

    async def accept(self, subprotocol: str | None = None, headers: HeaderSource | None = None) -> None:
        """Accept the handshake. Call it once, before sending and receiving.

        A cancellation before the response has begun leaves the handshake open; later it waits until the response is
        sent.

        Args:
            subprotocol: one of ``subprotocols``, or ``None``.
            headers: headers of the response, for instance a ``set-cookie``.

        Raises:
            ValueError: if the peer does not offer the subprotocol, or a header is invalid or one of the handshake.
            RuntimeError: if it was accepted before.
            WebSocketDisconnect: if the peer has left.
        """
        if subprotocol is not None and subprotocol not in self.subprotocols:
            offered = ", ".join(self.subprotocols) or "none"
            raise ValueError(
                f"the peer does not speak the subprotocol {subprotocol!r}, but {offered}: accept one of these"
            )
        raw = Headers(headers).raw
        for name, _ in raw:
            if is_own_header(name):
                raise ValueError(
                    f"the header {name.decode()!r} is the handshake's own: leave it out (a subprotocol is given as "
                    "ws.accept(subprotocol=...))"
                )
        await self._duplex.accept(subprotocol, raw)

    def __repr__(self) -> str:
        return f"<WebSocket {self.path}, {'its peer has left' if self.is_disconnected else self._duplex.state}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self._duplex.receive()
        except WebSocketDisconnect:
            raise StopAsyncIteration from None

    async def receive(self) -> str | bytes:
        """The next message, text or bytes; waits for it. A cancellation loses no message.

        Few messages are buffered: a peer that sends faster than the handler receives must wait.

        Raises:
            WebSocketDisconnect: if the WebSocket is closed, or the peer has left and all its messages were received.
            RuntimeError: if the WebSocket is not accepted.
        """
        return await self._duplex.receive()

    @overload
    async def receive_json(self, type: None = None) -> Any: ...
    @overload
    async def receive_json(self, type: type[T]) -> T: ...
    async def receive_json(self, type: Annotation = None) -> object:  # noqa: A002
        """The next message, a text, decoded from JSON. Waits as ``receive`` does.

        An invalid message closes the WebSocket: see ``messages``.

        Args:
            type: the type of the value, for instance a ``msgspec.Struct``; plain values unless given.

        Raises:
            WebSocketDisconnect: as ``receive``; and if the message is not JSON, or not of ``type``.
        """
        return await self._decoded(json_decoder(type))

    @overload
    def messages(self, type: None = None) -> Messages[Any]: ...
    @overload
    def messages(self, type: type[T]) -> Messages[T]: ...
    def messages(self, type: Annotation = None) -> object:  # noqa: A002
        """The messages decoded from JSON, for ``async for``.

        An invalid message closes the WebSocket and ends the iteration, with a code of RFC 6455, section 7.4.1: 1003 for
        a binary message, 1007 if the text is not JSON, or not of ``type``. The reason says what is wrong and where.

        Args:
            type: the type of each value, for instance a ``msgspec.Struct`` or a union of tagged ones; plain values
                unless given.
        """
        return Messages(self, json_decoder(type))

    async def _decoded(self, decode: Callable[[bytes], T]) -> T:
        data = await self._duplex.receive()
        if not isinstance(data, str):
            code, reason = UNACCEPTABLE, "only text is understood here: JSON"
        else:
            try:
                return decode_json(decode, data.encode("utf-8", "surrogatepass"), "The message", ())
            except InputError as error:
                fault, *_ = error.errors
                place = ".".join(map(str, fault["loc"]))
                code, reason = INCONSISTENT, f"{place}: {fault['msg']}" if place else fault["msg"]
            except HTTPError as error:
                code, reason = INCONSISTENT, error.detail or ""
        reason = shortened(reason)
        await self._duplex.close(code, reason, ended=True)
        raise WebSocketDisconnect(code, reason)

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a text or binary message; waits for a slow peer.

        A cancellation before the message has begun sends nothing; later it waits until the message is sent, at most for
        ``App(write_timeout=...)``, after which the connection is aborted.

        Raises:
            TypeError: if the message is of another type.
            WebSocketDisconnect: if the peer has left.
            RuntimeError: if the WebSocket is not accepted, or was closed by ``close``.
        """
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            raise TypeError(
                f"ws.send takes str or bytes, got {type(message).__qualname__}: write await ws.send_json(...) to send "
                "it as JSON"
            )
        await self._duplex.send(message)

    async def send_json(self, value: object) -> None:
        """Send a value as JSON in a text message. Waits as ``send`` does.

        Raises:
            TypeError: if the value cannot be encoded.
            WebSocketDisconnect: as ``send``, as is ``RuntimeError``.
        """
        await self._duplex.send(encode_json(value).decode())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket. Safe to call twice, and after the peer has left.

        Before ``accept`` it refuses the handshake with a 403. A cancellation has the effect that it has in ``send``.
        Messages that were not received are discarded.

        Args:
            code: a close code of RFC 6455, section 7.4; 4000 to 4999 are for applications.
            reason: the reason in words, at most 123 bytes.

        Raises:
            ValueError: if the code may not be sent, or the reason is too long.
        """
        check_close(code, reason)
        if self._duplex.is_connecting:
            await self._duplex.deny([{"type": "websocket.close", "code": 1000, "reason": ""}])
        else:
            await self._duplex.close(code, reason, ended=False)


class Messages(Generic[T]):
    """The messages of a WebSocket, decoded from JSON, for ``async for``."""

    __slots__ = ("_decode", "_ws")

    def __init__(self, ws: WebSocket, decode: Callable[[bytes], T]) -> None:
        self._ws = ws
        self._decode = decode

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._ws._decoded(self._decode)
        except WebSocketDisconnect:
            raise StopAsyncIteration from None
