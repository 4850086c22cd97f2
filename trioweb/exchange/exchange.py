"""One request, from its ASGI scope to the last byte of its response.

Rules that this module alone enforces:

* Middleware and handler run in the request's own task, in one cancel scope, which is also the shield of a small
  response: it is down while they wait, and only then is the client watched.
* Nothing is made that the request does not ask for: the inbox, the outbox, the nursery (a ``Room``) and the watch over
  its client are made on first use.
* Before the response starts a client that leaves cancels handlers of safe methods; once a stream has started, whatever
  the method; once the whole response is sent, nothing.
* The nursery of a request that fails is cancelled and closed before its error handler answers.
* After the head has left no second answer is begun: a response that fails is broken off, and logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar, cast

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
from trioweb.messages.response import BODILESS, Response

T = TypeVar("T")
Rest = Callable[[], Awaitable[None]]
"""What is left to do for a request: it is awaited by who keeps nothing else of it, since it may take hours."""


class Exchange(Finishing):
    """One request on its way: ``run`` is all of it, or all but what it returns."""

    def run(self) -> Coroutine[object, object, Rest | None]:
        """Answer the request, or say what does so: of what is under way for long nothing of this is kept.

        A cancellation from outside cancels middleware and handler, and breaks a stream off; it never reaches ``send``.
        """
        nursery = self.policy.nursery
        if nursery is None:
            return self._run_alone()
        self.start = nursery.start_own
        return self._run()

    async def _run_alone(self) -> None:
        """As ``run``, where the app's lifespan does not run: what would be hosted by that is hosted here."""
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                self.start = nursery.start_soon
                try:
                    rest = await self._run()
                    if rest is not None:
                        serving = rest()
                        del rest  # it holds what the request has failed with
                        await serving
                except Exception as error:  # as itself, and not in the nursery's group
                    failure = error
            if failure is not None:
                raise failure
        finally:
            del failure  # it holds this frame

    def _run(self) -> Coroutine[object, object, Rest | None]:
        self._own = own = own_transport(self.scope) or PLAIN
        if own.cancels is None:
            return self._run_in_scope()
        self._scope = own.cancels
        return self._begin()

    async def _run_in_scope(self) -> Rest | None:
        # Up from the start: nothing can be cancelled in a coroutine's first step, and most handlers have no other.
        with trio.CancelScope(shield=True) as self._scope:
            return await self._begin()
        if not self.may_have_body:
            return None
        late = self._scope.deadline <= trio.current_time()
        return self._rest(self.inbox.overdue() if late else ClientDisconnected("the client left before its response"))

    async def _begin(self) -> Rest | None:
        """Run middleware and handler, and send what is small. Returns what sends the response, or answers a failure."""
        endpoint = self.endpoint
        outcome: Response | Exception | None = None
        sending = False
        try:
            coroutine = self._way()
            try:
                trap = coroutine.send(None)
            except StopIteration as done:
                value = done.value
            else:
                value = await self._attended(coroutine, trap, self._scope)
            del coroutine
            response = value if value.__class__ is Response else to_response(value, endpoint.label, endpoint.streaming)
            value = None
            small = self._small(response)
            if small is None:
                outcome = response
            else:
                sending = True
                self.open = False
                self.request = None  # what has been read of its body is not needed to send this
                self.policy.writes.add(self, self)
                await self._own.respond(self.send, response.status_code, *small)
        except Exception as error:
            if sending:
                await failed_to_send(taken(error), self)
            else:
                outcome = taken(error)
        except BaseException as ended:
            with trio.CancelScope(shield=True):
                await self.give_up(ended)
            raise
        finally:
            if sending:
                self.policy.writes.now.pop(self, None)
        try:
            return None if outcome is None else self._rest(outcome)
        finally:
            del outcome  # an exception's traceback may have this frame

    def _rest(self, outcome: Response | Exception) -> Rest:
        """What is left to do: send a response, or answer a failure."""
        if isinstance(outcome, Response) and self._delivery is None and is_simple(self, outcome, self._own):
            return send_inline(self, outcome, cast("DirectTransport", self._own))
        return partial(self.finish, outcome)

    def _way(self) -> Coroutine[object, object, Any]:
        """What leads to the response: chosen by what the route's handler asks for, and what stands around it."""
        endpoint = self.endpoint
        if self.policy.middleware or endpoint.middleware:
            return self._through()
        if self.found is not None:
            return found(self)
        if endpoint.light:
            if endpoint.waits and self._own.cancels is None:
                self.inbox.timer = self._scope  # a scope around each wait for the body would cost more
            return endpoint.call(self.params, self.the_request() if endpoint.reads else None)
        return self.call_endpoint()

    async def _through(self) -> Response:
        """Run the middleware, which is cancelled where the nursery fails between handler and response."""
        chain = Chain(self)
        response: Response | None = None
        if self.endpoint.light:  # whose nursery is that of an error handler at most
            response = await chain.run()
        else:
            with trio.CancelScope() as self.middleware_scope:
                response = await chain.run()
            self.middleware_scope = None
        if response is None or (self.room is not None and self.room.interrupted):
            raise await self.closed_with(None)
        self._delivery = chain.delivery
        return response

    def _small(self, response: Response) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
        """Headers and body of a response that can be sent at once; ``None`` for one that cannot."""
        body = response.body
        if (
            body is None
            or len(body) > SLICE
            or self.room is not None
            or self.opened
            or self.policy.nursery is None
            or (self.request is not None and self.request._reader is not None)
            or (self.may_have_body and not (self._inbox is not None and self._inbox.complete))
            or self.scope["http_version"][0] != "1"  # where a write may wait for a window, and hears of no departure
        ):
            return None
        status, headers = response.status_code, response.headers.raw
        check_status(status)
        if self.scope["method"] == "HEAD" or status in BODILESS:
            return sendable(headers, "1.1", status), b""
        return checked_headers(headers, "1.1", status, len(body)), body
