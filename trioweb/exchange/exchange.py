"""One request, from its ASGI scope to the last byte of its response.

Rules that this module alone enforces:

* Middleware and handler run in the request's own task, in one cancel scope, which also shields the write of a small
  response: the shield is off while they wait, and only then is the client watched.
* Inbox, outbox, nursery (a ``Room``) and the watch over the client are made on first use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, cast

import trio

from trioweb.exchange.chain import Chain
from trioweb.exchange.finishing import Finishing
from trioweb.exchange.handling import found
from trioweb.exchange.inline import is_simple, send_inline
from trioweb.exchange.whole import failed_to_send
from trioweb.ground.errors import ClientDisconnected, taken
from trioweb.handlers.endpoint import to_response
from trioweb.io.outbox import SLICE, check_status, checked_headers, sendable
from trioweb.io.transport import PLAIN, DirectTransport, own_transport
from trioweb.messages.connection import Connection
from trioweb.messages.response import BODILESS, Response

Rest = Callable[[], Awaitable[None]]
"""The rest of a request's work, without references to what it does not need: it may take hours."""


class Exchange(Finishing):
    """Answers one request: see ``run``."""

    def run(self) -> Coroutine[object, object, Rest | None]:
        """Answer the request. Returns what is left to await, if anything: the caller drops its other references first.

        A cancellation from outside cancels middleware and handler, and aborts a stream; it never reaches ``send``.
        """
        return self._run_alone() if self.policy.nursery is None else self._run()

    async def _run_alone(self) -> None:
        """As ``run``, if the app's lifespan does not run: this task then hosts the nursery."""
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._own_start = nursery.start_soon
                try:
                    rest = await self._run()
                    if rest is not None:
                        serving = rest()
                        del rest  # it refers to the request's failure
                        await serving
                except Exception as error:  # raised below: a nursery would wrap it in a group
                    failure = error
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback refers to this frame

    def _run(self) -> Coroutine[object, object, Rest | None]:
        self._own = own = own_transport(self.scope) or PLAIN
        if own.cancels is None:
            return self._run_in_scope()
        self._scope = own.cancels
        return self._begin()

    async def _run_in_scope(self) -> Rest | None:
        # Shielded from the start: the first step of a coroutine cannot be cancelled, and most handlers have only one.
        with trio.CancelScope(shield=True) as self._scope:
            return await self._begin()
        if not self.may_have_body:
            return None
        late = self._scope.deadline <= trio.current_time()
        return self._rest(self.inbox.overdue() if late else ClientDisconnected("the client left before its response"))

    async def _begin(self) -> Rest | None:  # noqa: PLR0912 - every request passes here: a call less is worth it
        """Run middleware and handler, and send a small response. Returns what is left to await for another outcome."""
        endpoint = self.endpoint
        outcome: Response | Exception | None = None
        sending = False
        try:
            coroutine = self._respond()
            try:
                # The first step by hand: a handler that does not wait ends in it, and needs no watch over its client.
                trap = coroutine.send(None)
            except StopIteration as done:
                value = done.value
            else:
                value = await self._watched(coroutine, trap, self._scope)
            del coroutine
            response = value if value.__class__ is Response else to_response(value, endpoint.label, endpoint.streaming)
            value = None
            small = self._small(response)
            if small is None:
                outcome = response
            else:
                sending = True
                if self.request is not None:  # free its body while the response is sent
                    self.open, self.request = False, None
                headers, body = small
                rest = self._own.respond(self.send, response.status_code, headers, body)
                if rest is not None:
                    self.policy.writes.add(self, self)
                    try:
                        await rest
                    finally:
                        self.policy.writes.now.pop(self, None)
        except Exception as error:
            if sending:
                await failed_to_send(taken(error), self)
            else:
                outcome = taken(error)
        except BaseException as ended:  # cancelled: from outside, or by a disconnect
            if not self.interrupted:
                with trio.CancelScope(shield=True):
                    await self.give_up(ended)
            raise
        try:
            return None if outcome is None else self._rest(outcome)
        finally:
            del outcome  # a failure's traceback may refer to this frame

    def _rest(self, outcome: Response | Exception) -> Rest:
        """What is left to await: sends a response, or answers a failure."""
        if isinstance(outcome, Response) and self._delivery is None and is_simple(self, outcome, self._own):
            return send_inline(self, outcome, cast("DirectTransport", self._own))
        return partial(self.finish, outcome)

    def _respond(self) -> Coroutine[object, object, Any]:
        """The coroutine that returns the response: the middleware, or what the handler's signature needs."""
        endpoint = self.endpoint
        if self.policy.middleware or endpoint.middleware:
            return self._call_middleware()
        if self.found is not None:
            return found(self)
        if endpoint.light:
            if not endpoint.waits:  # of a request only its line and fields are read
                read = Connection(self.scope, self.policy.app, self.params) if endpoint.reads else None
                return endpoint.call(self.params, read)
            if self._own.cancels is None:
                self.inbox.timer = self._scope  # cheaper than a scope around each read of the body
            return endpoint.call(self.params, self.the_request())
        if endpoint.timeout is None and self._own.resumes(self.send):
            return self.resumable(self._own, self.called())
        return self.call_endpoint()

    async def _call_middleware(self) -> Response:
        """Run the middleware. It is cancelled if the request's nursery fails after the handler has returned."""
        chain = Chain(self)
        response: Response | None = None
        if self.endpoint.light:  # it has no nursery, except in an error handler
            response = await chain.run()
        elif self._own.resumes(self.send):
            response = await self.resumable(self._own, chain.run())
        else:
            with trio.CancelScope() as self.middleware_scope:
                response = await chain.run()
            self.middleware_scope = None
        if response is None or (self.room is not None and self.room.interrupted):
            raise await self.closed_with(None)
        self._delivery = chain.delivery
        return response

    def _small(self, response: Response) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
        """The headers and body of a response that needs no ``Outbox``; ``None`` for any other."""
        body = response.body
        if (
            body is None
            or len(body) > SLICE
            or self.room is not None
            or self.opened
            or self.policy.nursery is None
            or (self.request is not None and self.request._reader is not None)
            or (self.may_have_body and not (self._inbox is not None and self._inbox.complete))
            or self.scope["http_version"][0] != "1"  # a write may wait for a flow-control window: see `is_small`
        ):
            return None
        status, headers = response.status_code, response.headers.raw
        check_status(status)
        if self.scope["method"] == "HEAD" or status in BODILESS:
            return sendable(headers, "1.1", status), b""
        return checked_headers(headers, "1.1", status, len(body)), body
