"""A WebSocket as its handler sees it (RFC 6455): a connection that begins as a request, and then has messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar, overload

import trio

from trioweb.ground.chunks import encode_json
from trioweb.ground.errors import HTTPError, InputError, WebSocketDisconnect
from trioweb.ground.faults import decode_json
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.closing import INCONSISTENT, UNACCEPTABLE, check_close, shortened
from trioweb.ground.http.headers import Headers, HeaderSource
from trioweb.ground.values import json_decoder
from trioweb.io.duplex import Duplex
from trioweb.messages.connection import Application, Connection
from trioweb.messages.resources import Provider

T = TypeVar("T")


class WebSocket(Connection):
    """One WebSocket. Accept it, or raise an ``HTTPError`` to refuse it; then iterate over its messages.

    ::

        @app.websocket("/echo")
        async def echo(ws: WebSocket):
            await ws.accept()
            async for message in ws:
                await ws.send(message)

    When the handler returns it is closed with 1000, when the handler fails with 1011, when the server stops with 1001.
    A peer that leaves ends the iteration and cancels what runs in ``ws.nursery``; the handler goes on, so that it can
    tidy up. One that only waits for other things than messages is to do that in ``ws.nursery``, or its route is to say
    ``cancel_on_disconnect=True``. Tasks may send and receive at the same time: each message leaves whole, and each one
    that comes goes to one of them.
    """

    __slots__ = ("_duplex", "_nursery", "_provider")

    def __init__(self, scope: Scope, app: Application, path_params: Mapping[str, Any], duplex: Duplex) -> None:
        super().__init__(scope, app, path_params)
        self._duplex = duplex
        self._nursery: trio.Nursery | None = None
        self._provider: Provider | None = None

    @property
    def nursery(self) -> trio.Nursery:
        """For work that accompanies the handler. It is cancelled when the peer leaves, and when the handler returns;
        what fails in it fails the handler. ``app.nursery`` is for work that goes on.
        """
        if self._nursery is None:
            raise RuntimeError("ws.nursery is open while the handler runs: use app.nursery for work that outlives it")
        return self._nursery

    @property
    def _resources(self) -> Provider:
        assert self._provider is not None  # noqa: S101 - a handler is called with it
        return self._provider

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the peer speaks, best first."""
        return list(self.scope.get("subprotocols") or ())

    @property
    def is_disconnected(self) -> bool:
        """Whether the peer is known to have left. Does not block."""
        return self._duplex.gone

    async def accept(self, subprotocol: str | None = None, headers: HeaderSource | None = None) -> None:
        """Accept the handshake: from then on there are messages. Call it once, before anything else.

        A cancellation before the answer has begun leaves the peer waiting; later it waits until that has left.

        Args:
            subprotocol: the one to speak, of those in ``subprotocols``.
            headers: headers for the answer, for instance a ``set-cookie``.

        Raises:
            ValueError: the peer does not speak this subprotocol, or a header is none or the handshake's own.
            RuntimeError: it was accepted before.
            WebSocketDisconnect: the peer has left.
        """
        if subprotocol is not None and subprotocol not in self.subprotocols:
            offered = ", ".join(self.subprotocols) or "none"
            raise ValueError(
                f"the peer does not speak the subprotocol {subprotocol!r}, but {offered}: accept one of these"
            )
        raw = Headers(headers).raw
        for name, _ in raw:
            if name.startswith(b"sec-websocket-"):
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
        """The next message, text or bytes; waits for it. A cancellation loses nothing.

        Few messages are read ahead: a peer that sends faster than the handler takes has to wait.

        Raises:
            WebSocketDisconnect: the peer has left, and all that it sent before that was received; or it is closed.
            RuntimeError: it is not accepted.
        """
        return await self._duplex.receive()

    @overload
    async def receive_json(self, type: None = None) -> Any: ...
    @overload
    async def receive_json(self, type: type[T]) -> T: ...
    async def receive_json(self, type: Any = None) -> Any:  # noqa: A002
        """The next message, read as JSON, which is text. Waits as ``receive`` does.

        A message that is none closes the WebSocket: see ``messages``.

        Args:
            type: what to make of it, for instance a ``msgspec.Struct``; plain values unless given.

        Raises:
            WebSocketDisconnect: as ``receive``; and for a message that is not JSON, or does not fit.
        """
        return await self._decoded(json_decoder(type))

    @overload
    def messages(self, type: None = None) -> Messages[Any]: ...
    @overload
    def messages(self, type: type[T]) -> Messages[T]: ...
    def messages(self, type: Any = None) -> Messages[Any]:  # noqa: A002
        """The messages, each read as JSON of a type, for ``async for``.

        A bad one closes the WebSocket and ends the iteration, as a peer that leaves does. By RFC 6455, section 7.4.1:
        1003 where bytes came, since only text is understood; 1007 where the text is not JSON, or does not fit ``type``,
        since it does not hold what such a message promises. The reason says what is wrong and where.

        Args:
            type: what to make of each, for instance a ``msgspec.Struct`` or a union of tagged ones; plain values unless
                given.
        """
        return Messages(self, json_decoder(type))

    async def _decoded(self, decode: Callable[[bytes], T]) -> T:
        data = await self._duplex.receive()
        if not isinstance(data, str):
            code, reason = UNACCEPTABLE, "only text is understood here: JSON"
        else:
            try:
                value: T = decode_json(decode, data.encode("utf-8", "surrogatepass"), "The message", ())
            except InputError as error:
                [fault] = error.errors
                place = ".".join(map(str, fault["loc"]))
                code, reason = INCONSISTENT, f"{place}: {fault['msg']}" if place else fault["msg"]
            except HTTPError as error:
                code, reason = INCONSISTENT, error.detail or ""
            else:
                return value
        reason = shortened(reason)
        await self._duplex.close(code, reason, ended=True)
        raise WebSocketDisconnect(code, reason)

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send a message, as text or as bytes; waits for a peer that is slow to take it.

        A cancellation before it has begun to leave sends nothing, later it waits until the message has left: at most
        for ``App(write_timeout=...)``, within which the peer must take it, or it is left.

        Raises:
            TypeError: it is neither.
            WebSocketDisconnect: the peer has left.
            RuntimeError: it is not accepted, or closed by ``close``.
        """
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            raise TypeError(
                f"ws.send takes str or bytes, got {type(message).__qualname__}: write await ws.send_json(...) to send "
                "it as JSON"
            )
        await self._duplex.send(message)

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON, in a text message. Waits as ``send`` does.

        Raises:
            TypeError: it has no JSON form.
            WebSocketDisconnect: as ``send``, as well as ``RuntimeError``.
        """
        await self._duplex.send(encode_json(value).decode())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it: the peer is told why, and no message follows. Safe to call twice, and where the peer has left.

        Before ``accept`` it refuses the handshake, with a 403. Cancelled as ``send`` is. What the peer has sent and
        nobody received is thrown away.

        Args:
            code: why, as a number of RFC 6455, section 7.4; 4000 to 4999 are for an app's own.
            reason: why, in words: at most 123 bytes.

        Raises:
            ValueError: the code is none that may be sent, or the reason is too long.
        """
        check_close(code, reason)
        if self._duplex.is_connecting:
            await self._duplex.deny(403, [], b"", with_response=False)
        else:
            await self._duplex.close(code, reason, ended=False)


class Messages(Generic[T]):
    """The messages of a WebSocket as values of a type, for ``async for``."""

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
