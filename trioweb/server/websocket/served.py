"""One WebSocket for an ASGI app: its handshake, ``send``, and its end.

Rules that this module alone enforces:

* A refused handshake gets one response. After that, and after a close in either direction, nothing is written.
* What an app has not ended when it returns is ended: a handshake with a 500, a WebSocket with 1011.
* An app's error is logged, and affects no other WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio

from trioweb.ground.http.asgi import Message, MutableScope, Send
from trioweb.ground.http.closing import BROKEN, FAULT, GOING_AWAY, NORMAL, check_close, shortened
from trioweb.ground.http.headers import RawHeaders
from trioweb.server.faults import is_departure, log_app_fault, split_fault
from trioweb.server.logs.entries import BROKEN as BROKEN_OFF
from trioweb.server.logs.entries import COMPLETE, LEFT
from trioweb.server.logs.records import AccessRecord
from trioweb.server.refusals import BUSY, UNNAMED, refusal
from trioweb.server.shared import Shared
from trioweb.server.websocket.deflate import LEAST, Deflate, find_offer
from trioweb.server.websocket.ends import CLOSE_SECONDS, CLOSING, CONNECTING, ENDED, OPEN, REFUSING, SocketEnds
from trioweb.server.websocket.frames import BINARY, TEXT, FrameReader, write_close, write_frame
from trioweb.server.websocket.opening import EXTENSIONS, PROTOCOLS, check_handshake, subprotocols_of, values_of
from trioweb.server.websocket.pipe import Pipe
from trioweb.server.wire.writing import ClientLeftError

_EARLY: Final = 400, "a client waits for the answer to its handshake"


class ServedSocket(SocketEnds):
    """One WebSocket. ``run`` serves it.

    Args:
        shared: what all connections of a worker share.
        pipe: its bytes.
        scope: ASGI's, without ``subprotocols`` and ``extensions``, which are added.
        early: the client has sent bytes behind its handshake.
    """

    __slots__ = ("_accepted", "_deflate", "_record", "_response", "_scope", "_shared", "_values")

    def __init__(self, shared: Shared, pipe: Pipe, scope: MutableScope, *, early: bool = False) -> None:
        super().__init__(pipe, early, shared.config.websocket_ping_interval)
        self._shared = shared
        self._scope: MutableScope | None = scope
        self._values = values_of(scope["headers"])
        self._accepted = 101 if scope["http_version"] == "1.1" else 200
        self._record = AccessRecord(shared.config, scope)
        self._deflate: Deflate | None = None
        self._response: Message | None = None  # the start of a refusal

    async def run(self) -> None:
        """Serve: refuse the handshake, or call the app. Returns when nothing more is to be written or read.

        A cancellation cancels the app, and closes with 1001.
        """
        shared, gate, scope = self._shared, self._shared.gate, self._scope
        assert scope is not None  # noqa: S101 - the first call
        self._scope = None
        shared.pulse.add(self)
        try:
            fault = check_handshake(self._values, scope["http_version"])
            host = self._values.get(b"host", [b""])[0].decode("latin-1")
            if shared.config.server_names and host not in shared.config.server_names:
                await self._refuse(*UNNAMED)
            elif fault is not None:
                await self._refuse(*fault)
            elif self._early:
                await self._refuse(*_EARLY)
            elif not gate.enter():
                await self._refuse(*BUSY)
            else:
                try:
                    await shared.context.mark_request()
                    scope["subprotocols"] = subprotocols_of(self._values)
                    scope["extensions"] = {"trioweb": self, "websocket.http.response": {}}
                    calling = gate.app(scope, self.receive, self.send)
                    del scope  # it may take hours
                    await calling
                    del calling
                except BaseException as error:
                    await self._contain(error)
                finally:
                    gate.leave()
            await self._conclude()
        finally:
            shared.pulse.discard(self)
            self._watcher = None
            if self.state is OPEN and not self._flushing:
                with suppress(ClientLeftError):
                    self._pipe.write_nowait((write_close(GOING_AWAY, ""),))
            self.state = ENDED

    async def _contain(self, error: BaseException) -> None:
        cancelled = fault = None
        try:
            cancelled, fault = split_fault(error)
            if fault is not None and not (self.gone and is_departure(fault)):
                await log_app_fault(self._shared.config, fault)
            if cancelled is not None:
                raise cancelled
        finally:
            if cancelled is not None:
                await self._record.log(None, [], LEFT if self.gone else BROKEN_OFF)
            del error, cancelled, fault  # their tracebacks refer to this frame

    async def _conclude(self) -> None:
        """End what the app has not."""
        if self.state is CONNECTING and not self.gone:
            await self._refuse(*(_EARLY if self._early else (500, "")))
        elif self.state is CONNECTING:
            await self._record.log(None, [], LEFT)
        elif self.state is OPEN:
            with suppress(ClientLeftError):
                await self._close(FAULT, "")
        elif self.state is REFUSING:
            status = self._response["status"] if self._response is not None else None
            await self._record.log(status, [], LEFT if self.gone else BROKEN_OFF)
            self._cut()
        while self._flushing:
            await self._changed.park()
        if not self.gone:
            self._pipe.end()
            self._lasts(CLOSE_SECONDS)
        self._drop()
        while not self.gone:
            await self._changed.park()

    # What goes

    async def send(self, message: Message) -> None:
        """ASGI's ``send``. Waits until the system has taken the message; a cancellation does not take it back.

        Raises:
            OSError: if the peer has left, and no task of the app waits in ``receive``.
            RuntimeError: if the message is unknown, or out of order.
            ValueError: if it cannot be sent.
        """
        kind, response = message["type"], self._response
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._flushing:
            await self._changed.park()
        if self._ending is not None or self.state is ENDED:
            if kind == "websocket.send" and self.gone and not self._receiving:
                raise ClientLeftError("the peer has left")
        elif kind == "websocket.send" and self.state is OPEN:
            await self._send_data(message)
        elif kind == "websocket.accept" and self.state is CONNECTING:
            await self._accept(message)
        elif kind == "websocket.close":
            await self._close_for(message)
        elif kind == "websocket.http.response.start" and self.state is CONNECTING and response is None:
            self._response = message
        elif kind == "websocket.http.response.body" and response is not None:
            await self._respond(response, message)
        else:
            raise RuntimeError(f"a WebSocket that is {self.state} takes no {kind}")

    async def _close_for(self, message: Message) -> None:
        if self.state is CONNECTING:
            await self._refuse(403, "")
        elif self.state is OPEN:
            code, reason = message.get("code", NORMAL), shortened(message.get("reason") or "")
            check_close(code, reason)
            await self._close(code, reason)

    async def _send_data(self, message: Message) -> None:
        data: Any = message.get("bytes")
        opcode = BINARY
        if data is None:
            if not isinstance(message.get("text"), str):
                raise TypeError(f"a websocket.send has bytes or a text, got {message!r}")
            opcode, data = TEXT, message["text"].encode()
        compressed = self._deflate is not None and len(data) >= LEAST
        if compressed:
            assert self._deflate is not None  # noqa: S101 - as above
            data = self._deflate.compress(data)
        await self._written(self._pipe.write_nowait(write_frame(opcode, bytes(data), compressed=compressed)))

    async def _accept(self, message: Message) -> None:
        headers: RawHeaders = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
        for name, _ in headers:
            if name.lower().startswith(b"sec-websocket-") or name[:1] == b":":
                raise ValueError(f"the header {name!r} of an accepted handshake is the server's: leave it out")
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            if subprotocol not in subprotocols_of(self._values):
                raise ValueError(f"the peer does not offer the subprotocol {subprotocol!r}")
            headers.append((PROTOCOLS, subprotocol.encode()))
        config = self._shared.config
        if config.websocket_compression:
            self._deflate = find_offer(self._values.get(EXTENSIONS, ()))
            if self._deflate is not None:
                headers.append((EXTENSIONS, self._deflate.answer))
        whole = self._pipe.accept(headers)
        self.state, self._values = OPEN, {}
        self._reader = FrameReader(config.websocket_max_message_size, inflates=self._deflate is not None)
        self._start_pings()
        await self._record.log(self._accepted, headers, COMPLETE)
        await self._written(whole)

    async def _respond(self, start: Message, message: Message) -> None:
        more = message.get("more_body", False)
        first = self.state is CONNECTING
        headers = [(bytes(name), bytes(value)) for name, value in start.get("headers") or ()]
        whole = self._pipe.respond(
            start["status"] if first else None, headers if first else [], bytes(message.get("body", b"")), more=more
        )
        self.state = REFUSING
        await self._written(whole)
        if not more:
            self.state = ENDED
            self._finish(BROKEN, "")
            self._pipe.end()
            self._lasts(CLOSE_SECONDS)
            await self._record.log(start["status"], headers, COMPLETE)

    async def _refuse(self, status: int, reason: str, more: RawHeaders = []) -> None:  # noqa: B006 - it is not changed
        headers, body = refusal(status, reason)
        start: Message = {"type": "", "status": status, "headers": [*headers, *more]}
        with suppress(ClientLeftError):
            await self._respond(start, {"type": "", "body": body})

    async def _close(self, code: int, reason: str) -> None:
        self.state = CLOSING
        self._drop()
        if self.state is CLOSING:  # else what was unread was the peer's
            await self._written(self._pipe.write_nowait((write_close(code, reason),)))
            self._lasts(CLOSE_SECONDS)

    # See Transport

    def is_direct(self, send: Send) -> bool:
        """See ``Transport``."""
        return send == self.send

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``."""
        await self._shared.context.terminated.wait()
        on_stop(self._shared.config.graceful_timeout)
        await trio.sleep_forever()
