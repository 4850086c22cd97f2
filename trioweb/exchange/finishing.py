"""Sends the response to a request that is not small, or what error handlers return for its failure.

Rules that this module alone enforces:

* Until the response starts a disconnect of the client cancels handlers of safe methods; a stream that has started is
  cancelled for any method; after the whole response, nothing is cancelled.
* The nursery of a failed request is cancelled and closed before the error handler is called.
* After its head a response that fails has ended: there is no second one.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Coroutine
from typing import TypeVar, cast

import trio

from trioweb.exchange.answers import answer_error, mark_error
from trioweb.exchange.call import Call
from trioweb.exchange.clock import watch
from trioweb.exchange.delivery import Delivery
from trioweb.exchange.ending import end, give_up
from trioweb.exchange.policy import is_departure
from trioweb.exchange.whole import UnreadBody, is_small, send_small
from trioweb.ground.errors import ClientDisconnected, taken
from trioweb.io.outbox import Outbox
from trioweb.messages.response import Response
from trioweb.streams.stepping import stepping

T = TypeVar("T")
Outcome = Response | Exception | None
"""What a request comes to: ``None`` if its nursery has ended early, and with it the handler."""


class Finishing:
    """Sends the response to one request, or what error handlers return for a failure.

    Args:
        call: the request.
        delivery: has made the first chunk of a stream, for middleware.
    """

    __slots__ = ("_call", "_delivery", "_outbox", "_unread")

    def __init__(self, call: Call, delivery: Delivery | None = None) -> None:
        self._call = call
        self._delivery = delivery
        self._outbox = outbox = Outbox(call.send, call.scope["http_version"])
        outbox.transport = call.find_transport()
        self._unread = UnreadBody(call.inbox, expected=call.may_have_body)
        if self._unread.expected:
            outbox.before_end = self._unread.read_rest

    async def run(self, outcome: Outcome) -> None:
        """Send a response, or what error handlers return for a failure. Returns when it is sent and the nursery closed.

        Each call here gets the only reference to a response or failure, whose body or frames can then be freed while a
        stream runs for hours.

        Raises:
            Exception: if the response was aborted, and the server has no other way to be told.
        """
        call = self._call
        is_default = False
        failure: Exception | None = None
        try:
            while True:
                if isinstance(outcome, Exception):
                    failure, outcome = outcome, None
                else:
                    delivering = self._deliver(outcome)
                    outcome = None
                    failure = await delivering  # thousands of streams wait here, each with as few frames as possible
                    del delivering
                if failure is None or self._outbox.started or call.inbox.gone or is_departure(failure) or is_default:
                    break
                answering = self._answer(failure)
                failure = None
                outcome, is_default = await answering
                del answering
            ending = end(call, failure, self._outbox)
        except BaseException as ended:
            with trio.CancelScope(shield=True):
                if self._delivery is not None:  # first: its generator may use the dependencies
                    await self._delivery.discard()
                await give_up(call, ended, self._outbox)
            raise
        finally:
            del failure, outcome
        await ending

    async def _deliver(self, response: Response | None) -> Exception | None:
        """Send a response. Returns its failure."""
        call, outbox = self._call, self._outbox
        failure: Exception | None = None
        try:
            if response is not None:
                response = await call.prepared(response)
            if response is None or call.interrupted:
                if self._delivery is not None:
                    await self._delivery.discard()
                failure = await call.cut_short(response)
                if failure is not None or response is None:
                    return failure
            # A server may block in `send` until its messages are received, which a delivery's watch does; a small write
            # has none.
            unread = self._unread.expected and not call.inbox.complete
            if self._delivery is None and is_small(call, response) and not unread:
                sending: Awaitable[Exception | None] = send_small(call, response, outbox, self._unread)
            else:
                sending = (self._delivery or Delivery(call)).deliver(response, outbox, self._unread)
            del response
            failure = await sending
            if failure is None and not (outbox.started or outbox.gone or call.inbox.gone):
                failure = await call.cut_short(None)  # the nursery has ended the stream before its first chunk
        except Exception as error:
            failure = taken(error)
        finally:
            self._delivery = None
        try:
            return failure
        finally:
            del failure

    async def _answer(self, failure: Exception) -> tuple[Response | Exception, bool]:
        """Close the nursery and call the error handler. Returns the response, and whether it is the default one."""
        call = self._call
        closing = call.close_room(failure)
        del failure
        answering = answer_error(call, cast("Exception", await closing), outermost=True)
        del closing
        call.due = math.inf  # the route's timeout does not apply to error handlers
        with call.make_scope() as call.cancel_scope:
            try:
                trap = answering.send(None)
            except StopIteration as done:
                response, is_default = done.value
            else:
                response, is_default = await watched(call, answering, trap)
            if call.request is not None:
                mark_error(call.request, response)
            return response, is_default
        return ClientDisconnected("the client left before its response"), True


async def watched(call: Call, coroutine: Coroutine[object, object, T], trap: object) -> T:
    """Await the rest of a coroutine, whose first step has given ``trap``. A disconnect cancels the call's scope."""
    own, scope = call.own, call.cancel_scope
    scope.shield = False
    stop_watching = watch(call, call, own) if call.cancels_handler else None
    try:
        value = await stepping(coroutine, trap=trap)
    finally:
        if stop_watching is not None:
            stop_watching()
    if call.room is None and call.kept is None:  # else the response is not sent in this scope
        # A disconnect in the last step has cancelled the scope: raise it here, since a cancelled scope is no shield.
        await trio.lowlevel.checkpoint_if_cancelled()
    scope.shield = own.cancels is None
    return value
