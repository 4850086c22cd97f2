"""One request, from its ASGI scope to the last byte of its response.

Rules that this module alone enforces:

* Middleware and handler run in the request's own task, in one cancel scope, which also shields the write of a small
  response: the shield is off while they wait, and only then is the client watched.
* Inbox, outbox, nursery (a ``Room``) and the watch over the client are made on first use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Literal, cast

import trio

from trioweb.exchange.alone import is_simple, send_alone
from trioweb.exchange.call import Call
from trioweb.exchange.chain import Chain
from trioweb.exchange.delivery import Delivery
from trioweb.exchange.ending import give_up
from trioweb.exchange.finishing import Finishing, Outcome, watched
from trioweb.exchange.handling import call_handler, call_in_scope
from trioweb.exchange.policy import report, split_cancelled
from trioweb.ground.errors import ClientDisconnected, taken
from trioweb.handlers.endpoint import Calling
from trioweb.handlers.results import to_response
from trioweb.io.outbox import CLIENT_LEFT, SLICE, check_status, checked_headers, sendable
from trioweb.messages.connection import Connection
from trioweb.messages.response import BODILESS, Response

Rest = Callable[[], Awaitable[object]]
"""The rest of a request's work, without references to what it does not need: it may take hours."""


class Exchange(Call):
    """Answers one request: see ``run``."""

    _delivery: Delivery | None = None  # has made the first chunk of a stream, for middleware
    _held: list[Outcome] | None = None  # after `_interrupt_call`: the outcome, for `_resume`

    def run(self) -> Coroutine[object, object, Rest | None]:
        """Answer the request. Returns what is left to await, if anything: the caller drops its other references first.

        A cancellation from outside cancels middleware and handler, and aborts a stream; it never reaches ``send``.
        """
        if self.policy.nursery is None and self.host is None:
            return self._run_alone()
        if self.own.cancels is None:
            return self._run_in_scope()
        self.cancel_scope = self.own.cancels
        return self._run()

    async def _run_alone(self) -> None:
        """As ``run``, if the app's lifespan does not run: this task then hosts the nursery."""
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                self.host = nursery.start_soon
                try:
                    rest = await self.run()
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

    async def _run_in_scope(self) -> Rest | None:
        # Shielded from the start: the first step of a coroutine cannot be cancelled, and most handlers have only one.
        with trio.CancelScope(shield=True) as self.cancel_scope:
            return await self._run()
        if not self.may_have_body:
            return None
        late = self.cancel_scope.deadline <= trio.current_time()
        return self._rest(self.inbox.overdue() if late else ClientDisconnected("the client left before its response"))

    async def _run(self) -> Rest | None:
        """Run middleware and handler, and send a small response. Returns what is left to await for another outcome."""
        endpoint = self.endpoint
        outcome: Outcome = None
        try:
            coroutine = self._respond()
            try:
                # The first step by hand: a handler that does not wait ends in it, and needs no watch over its client.
                trap = coroutine.send(None)
            except StopIteration as done:
                value = done.value
            else:
                value = await watched(self, coroutine, trap)
            del coroutine
            response = value
            if value.__class__ is not Response:
                response = to_response(value, endpoint.label, endpoint.streaming, endpoint.status_code)
            value = None
            rest = self._send_small(response)
            if rest is False:
                outcome = response
            elif rest is not None:
                await self._finish_small(rest)
        except Exception as error:
            outcome = taken(error)
        except BaseException as ended:  # cancelled: from outside, by a disconnect, or by `_interrupt_call`
            if self._held is None:
                await self._give_up(ended)
                raise
            outcome = split_cancelled(ended)[1]
        finally:
            self.interruptible = None
        try:
            if self._held is None:
                return None if outcome is None else self._rest(outcome)
            self._held.append(outcome)
        finally:
            del outcome  # a failure's traceback may refer to this frame
        await trio.lowlevel.checkpoint()  # raises Cancelled: that goes out to the server, which resumes
        raise AssertionError("the server has not cancelled the call")

    async def _give_up(self, ended: BaseException) -> None:
        with trio.CancelScope(shield=True):
            delivery = self._take_delivery()
            if delivery is not None:  # first: its generator may use the dependencies
                await delivery.discard()
            await give_up(self, ended)

    def _rest(self, outcome: Response | Exception) -> Rest:
        """What is left to await: sends a response, or answers a failure."""
        if (
            isinstance(outcome, Response)
            and self._delivery is None
            and not self.interrupted
            and is_simple(self, outcome, self.own)
        ):
            return send_alone(self, outcome, self.own)
        return partial(Finishing(self, self._take_delivery()).run, outcome)

    def _interrupt_call(self) -> None:
        """The nursery has failed: have the server cancel this call of the app, and then await ``_resume``."""
        self.interruptible, self._held = None, []
        self.own.resume_with(self._resume)

    async def _resume(self) -> None:
        finishing = Finishing(self, self._take_delivery())
        await finishing.run(self._held.pop() if self._held else None)

    def _take_delivery(self) -> Delivery | None:
        delivery, self._delivery = self._delivery, None  # it refers to this object: no reference cycle may be left
        return delivery

    def _respond(self) -> Calling:
        """The coroutine that returns the response: the middleware, or what the handler's signature needs."""
        endpoint = self.endpoint
        if self.policy.middleware or endpoint.middleware:
            return self._call_middleware()
        if endpoint.light:
            if not endpoint.waits:  # of a request only its line and fields are read
                read = Connection(self.scope, self.policy.app, self.params) if endpoint.reads else None
                return endpoint.call(self.params, read)
            if self.own.cancels is None:
                self.inbox.timer = self.cancel_scope  # cheaper than a scope around each read of the body
            return endpoint.call(self.params, self.the_request())
        if endpoint.timeout is None and self.own.resumes(self.send):
            self.interruptible = self._interrupt_call
            return call_handler(self)
        return call_in_scope(self)

    async def _call_middleware(self) -> Response:
        """Run the middleware. It is cancelled if the request's nursery fails after the handler has returned."""
        chain = Chain(self)
        response: Response | None = None
        try:
            if self.endpoint.light:  # it has no nursery, except in an error handler
                return await chain.run()
            if self.own.resumes(self.send):
                self.interruptible = self._interrupt_call
                return await chain.run()
            with trio.CancelScope() as scope:
                self.interruptible = scope.cancel
                response = await chain.run()
        finally:
            self._delivery = chain.delivery
        if response is None:
            raise cast("Exception", await self.cut_short(None))
        return response

    def _send_small(self, response: Response) -> Awaitable[None] | Literal[False] | None:
        """Send a response that needs no ``Outbox``, as far as the client receives it now.

        Returns:
            What sends the rest of it, or ``None`` if there is none; ``False`` for a response that needs an ``Outbox``.
        """
        body = response.body
        if (
            body is None
            or len(body) > SLICE
            or self.room is not None
            or self.kept is not None
            or self.opened
            or self.policy.nursery is None
            or (self.request is not None and self.request._ends)
            or (not (self._inbox is not None and self._inbox.complete) and self.may_have_body)
            # A write may wait for a flow-control window: see `is_small`.
            or (self.scope["http_version"][0] != "1" and not self.own.wakes_writes)
        ):
            return False
        status, headers = response.status_code, response.headers.raw
        check_status(status)
        if self.scope["method"] == "HEAD" or status in BODILESS:
            headers, body = sendable(headers, "1.1", status), b""
        else:
            headers = checked_headers(headers, "1.1", status, len(body))
        rest = self.own.respond(self.send, status, headers, body)
        if self.request is not None:  # free its body while the rest is sent
            self.open, self.request = False, None
        return rest

    async def _finish_small(self, rest: Awaitable[None]) -> None:
        """Send the rest of a small response, watched by the sweep."""
        writes = self.policy.writes
        writes.add(self, self)
        try:
            await rest
        except Exception as error:
            if isinstance(taken(error), CLIENT_LEFT):
                await self.find_transport().drop()
            else:
                report(taken(error), self.scope, "sending the response failed")
        finally:
            writes.now.pop(self, None)
