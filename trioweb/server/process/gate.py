"""What stands between the server and the app: limits on requests, for any ASGI app."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.typing import AppWrapper

from trioweb.app.app import App
from trioweb.exchange.call import NO_ROUTE, Call
from trioweb.exchange.conversation import Conversation
from trioweb.exchange.exchange import Exchange
from trioweb.exchange.policy import Policy
from trioweb.ground.errors import HTTPError
from trioweb.io.pace import AUTO, MIN_RATE, Pace
from trioweb.io.transport import GIVEN_RATE, own_transport
from trioweb.messages.limits import Limits
from trioweb.server.config import ServerConfig
from trioweb.server.logs.logs import AccessRecord, ServerLogger, wants_access_log
from trioweb.server.logs.view import ResponseView

RETRY_AFTER: Final = 1
"""Seconds after which a client that was refused may try again."""

Receive = Callable[[], Awaitable[Any]]


class Gate:
    """An app with the limits of its server around it.

    Beyond ``max_requests_in_flight`` a request is answered with a 503 at once. A request whose body has not come for
    ``body_timeout`` seconds, or comes at less than ``min_rate``, while the app waits for it, is over for the app as if
    its client had left; if the app has not answered, the client gets a 408.

    Attributes:
        app: what answers requests.
        limit: requests at a time.
        min_rate: bytes a second that clients must send or take, unless the app says otherwise for a request.
    """

    def __init__(self, app: AppWrapper, config: ServerConfig) -> None:
        self.app = app
        self.limit = config.max_requests_in_flight
        innermost = app.app if isinstance(app, ASGIWrapper) else None
        own = innermost.min_rate if isinstance(innermost, App) else AUTO
        rate = own if config.min_rate == AUTO else config.min_rate
        self.min_rate = MIN_RATE if isinstance(rate, str) else rate
        self._given_rate = config.min_rate
        self._body_timeout = config.body_timeout
        # An app of ours sees for itself how its bodies come, and knows when it waits for them.
        unlimited = isinstance(innermost, App) or (config.body_timeout is None and rate == AUTO)
        self._body_rate = None if unlimited else self.min_rate
        self._logger = config.log if isinstance(config.log, ServerLogger) and wants_access_log(config) else None
        self._in_flight = 0

    async def __call__(self, scope: Any, receive: Receive, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        """Answer a request, or have the app do it; and log those that HTTP/1.1 of our own does not serve."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send, sync_spawn, call_soon)
        elif self._logger is None or own_transport(scope) is not None:
            await self._serve(scope, receive, send, sync_spawn, call_soon)
        else:
            record = AccessRecord(self._logger, scope, send)
            try:
                await self._serve(scope, receive, send, sync_spawn, call_soon)
            finally:
                await record.close(scope)

    async def _serve(self, scope: Any, receive: Receive, send: Any, sync_spawn: Any, call_soon: Any) -> None:
        if self._given_rate != AUTO:
            scope["extensions"][GIVEN_RATE] = self._given_rate
        if self.limit is not None and self._in_flight >= self.limit:
            busy = HTTPError(503, "The server is busy.", {"retry-after": str(RETRY_AFTER)})
            await _refuse(scope, receive, send, busy)
            return
        self._in_flight += 1
        try:
            unlimited = self._body_timeout is None and self._body_rate is None
            if unlimited or scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
                await self.app(scope, receive, send, sync_spawn, call_soon)
                return
            body = _TimedBody(receive, self._body_timeout, self._body_rate)
            await self.app(scope, body.receive, send, sync_spawn, call_soon)
            if body.late and ResponseView(send).is_unanswered:
                late = HTTPError(408, "The request body did not come.", {"connection": "close"})
                await _refuse(scope, receive, send, late)
        finally:
            self._in_flight -= 1


class _TimedBody:
    """A request's ``receive`` that gives the client up when its body does not come."""

    __slots__ = ("_complete", "_pace", "_receive", "_seconds", "late")

    def __init__(self, receive: Receive, seconds: float | None, rate: float | None) -> None:
        self._receive = receive
        self._seconds = math.inf if seconds is None else seconds
        self._pace = Pace(rate)
        self._complete = False
        self.late = False

    async def receive(self) -> Any:
        if self._complete:
            return await self._receive()
        patience = min(self._seconds, self._pace.start(trio.current_time(), self._pace.seen))
        with trio.move_on_after(0 if self.late else patience):
            message = await self._receive()
            self._pace.look(trio.current_time(), self._pace.seen + len(message.get("body", b"")))
            self._complete = not message.get("more_body", False)
            return message
        self.late = True
        return {"type": "http.disconnect"}


async def _refuse(scope: Any, receive: Receive, send: Any, error: HTTPError) -> None:
    """Answer in the app's place."""
    policy = Policy(_REFUSING, debug=False, limits=Limits())
    call = Call(policy, NO_ROUTE, {}, scope, receive, send, error)
    await (Conversation(call) if scope["type"] == "websocket" else Exchange(call)).run()


_REFUSING: Final = App()
