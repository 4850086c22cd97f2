"""The app as Hypercorn's protocols call it: with limits on bodies, and the access log."""

from __future__ import annotations

import math

import trio

from trioweb.ground.http.asgi import Message, MutableScope, Receive, Scope, Send
from trioweb.ground.pace import AUTO, Pace
from trioweb.io.transport import GIVEN_RATE
from trioweb.server.hypercorn.records import CallRecord, ResponseView
from trioweb.server.hypercorn.refusals import END_SECONDS
from trioweb.server.logs.logs import request_logger
from trioweb.server.refusals import BUSY, LATE_BODY, refusal
from trioweb.server.shared import Shared


class Calls:
    """The app for Hypercorn's protocols. The server's own HTTP/1.1 has the same limits elsewhere.

    Beyond ``max_requests_in_flight`` a request gets a 503 at once. If the body does not come for ``body_timeout``
    seconds while the app waits for it, or comes at less than ``min_rate``, the app receives ``http.disconnect``; if it
    then returns without a response, the client gets a 408.

    Args:
        shared: what all connections of a worker share.
    """

    def __init__(self, shared: Shared) -> None:
        self._gate = gate = shared.gate
        self._config = config = shared.config
        # An app of this package checks the rate itself: only it knows when it waits for the body.
        unlimited = gate.is_ours or (config.body_timeout is None and config.min_rate == AUTO)
        self._body_rate = None if unlimited else gate.min_rate
        self._logs = request_logger(config) is not None

    async def __call__(self, scope: MutableScope, receive: Receive, send: Send, *_: object) -> None:
        """Call the app for a request, and log it."""
        record = CallRecord(self._config, scope, send) if self._logs else None
        try:
            if not self._gate.enter():
                await _refuse(scope, send, *BUSY)
                return
            try:
                await self._serve(scope, receive, send)
            finally:
                self._gate.leave()
        finally:
            if record is not None:
                await record.close()

    async def _serve(self, scope: MutableScope, receive: Receive, send: Send) -> None:
        if self._config.min_rate != AUTO:
            scope["extensions"][GIVEN_RATE] = self._config.min_rate
        unlimited = self._config.body_timeout is None and self._body_rate is None
        if unlimited or scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._gate.app(scope, receive, send)
            return
        body = _TimedBody(receive, self._config.body_timeout, self._body_rate)
        await self._gate.app(scope, body.receive, send)
        if body.late and ResponseView(send).is_unanswered:
            await _refuse(scope, send, *LATE_BODY)


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    headers, body = refusal(status, reason)
    if scope["http_version"].startswith("1"):
        headers.append((b"connection", b"close"))
    kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
    with trio.move_on_after(END_SECONDS):
        await send({"type": f"{kind}.start", "status": status, "headers": headers})
        await send({"type": f"{kind}.body", "body": body})


class _TimedBody:
    """A request's ``receive`` with a time limit for the body: after that it returns ``http.disconnect``."""

    __slots__ = ("_complete", "_pace", "_receive", "_seconds", "late")

    def __init__(self, receive: Receive, seconds: float | None, rate: float | None) -> None:
        self._receive = receive
        self._seconds = math.inf if seconds is None else seconds
        self._pace = Pace(rate)
        self._complete = False
        self.late = False

    async def receive(self) -> Message:
        if self._complete:
            after: Message = await self._receive()
            return after
        patience = min(self._seconds, self._pace.start(trio.current_time(), self._pace.seen))
        with trio.move_on_after(0 if self.late else patience):
            message: Message = await self._receive()
            self._pace.look(trio.current_time(), self._pace.seen + len(message.get("body", b"")))
            self._complete = not message.get("more_body", False)
            return message
        self.late = True
        return {"type": "http.disconnect"}
