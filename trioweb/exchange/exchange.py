"""One request and its answer: the handler, its nursery, the client that may leave, and errors turned into answers.

Rules that this module alone enforces:

* One nursery a request. It opens and closes here, and is closed before an error handler answers.
* Before the response starts a client that leaves cancels handlers of safe methods; once a stream has started, whatever
  the method; once the whole response is sent, nothing.
* After the head has left no second answer is begun: a response that fails is broken off, and logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import trio

from trioweb.exchange.call import Call, may_have_body
from trioweb.exchange.deadline import Deadline
from trioweb.exchange.delivery import Delivery, leave, raise_untold, send_small
from trioweb.exchange.policy import (
    ErrorHandler,
    call_error_handler,
    is_departure,
    mark_error,
    split_cancelled,
    together,
)
from trioweb.exchange.unread import UnreadBody
from trioweb.exchange.watch import TASK as WATCH
from trioweb.exchange.watch import ClientWatch
from trioweb.ground.errors import StreamTimeout, chained, forget, taken
from trioweb.handlers.endpoint import respond
from trioweb.io.outbox import ENDED, SLICE, Outbox
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.request import Request
from trioweb.messages.resources import Resources
from trioweb.messages.response import Response, stream_of

_NOTHING: Final = nullcontext()
"""What stands for a scope or a nursery that is not needed: one for all requests."""


class Exchange:
    """One request on its way. ``run`` is all of it."""

    __slots__ = (
        "_call", "_deadline", "_delivery", "_inbox", "_nursery", "_opened", "_outbox", "_overdue", "_refused",
        "_request", "_resources", "_unread", "_watch", "abandoned", "left_behind", "outward",
    )  # fmt: skip

    _watch: ClientWatch  # of the attempt that is under way

    def __init__(self, call: Call) -> None:
        self._call = call
        self._inbox = call.inbox
        self._outbox = Outbox(call.send, call.scope["http_version"])
        self._opened: list[RangeResponse] = []
        self._request: Request | None = None
        self._nursery: trio.Nursery | None = None
        self._delivery: Delivery | None = None
        self._overdue: Exception | None = None
        self._deadline = Deadline(call)
        self._unread = UnreadBody(self._inbox)
        self._resources = Resources() if call.endpoint.waits else None
        self._refused: Exception | None = None
        self.outward: Callable[[Response | Exception], Awaitable[Response]] | None = None
        """Asks the middlewares what to make of an outcome: a response, or a failure that nothing expects."""
        self.left_behind: list[Any] = []
        """What is not sent after all: channels that a task of the request's may feed."""
        self.abandoned = False
        """The request is answered elsewhere."""

    def adopt(self, request: Request) -> None:
        """Take a request that was made for middlewares for that of the handler."""
        self._request = request
        request._resources = self._resources

    async def run(self, answer: Response | Exception | None = None) -> None:
        """Answer the request: with what the handler has led to already, else by calling it. Returns when the response
        is sent and the request's nursery has closed.

        A cancellation from outside cancels the handler and breaks a stream off; it never reaches ``send``.

        Raises:
            Exception: what a response was broken off for, where the server cannot be told in another way.
        """
        failure: Exception | None = None
        answer, self._call.found = self._call.found if answer is None else answer, None
        try:
            if isinstance(answer, Exception):
                failure, answer = answer, None
            else:
                attempt = self._attempt(self._call_handler) if answer is None else self._reply(answer)
                answer = None  # it may take hours
                failure = await attempt
            if failure is not None and not self._outbox.started and not self._inbox.gone:
                failure = await self._answer(failure)
                while failure is not None and failure is self._refused:
                    self._refused = None  # an error handler may raise the same once more
                    failure = await self._answer(failure)
            if failure is not None:
                self._call.report(self._outbox, failure)
            if self._outbox.state is not ENDED:
                await leave(self._call, self._outbox, self._unread)
                raise_untold(failure, self._outbox)
        finally:
            forget(failure)
            failure = self._refused = self._call.reported = None
            await self._let_go()

    async def _let_go(self) -> None:
        request, self._request = self._request, None
        if request is not None and not self.abandoned:
            await request._aclose()

    def _connect(self) -> None:
        self._outbox.transport = transport = self._call.find_transport()
        self._inbox.has_left = transport.has_left
        if may_have_body(self._call.scope):
            self._unread.expected = True
            self._outbox.before_end = self._unread.take

    async def _attempt(self, answer: Callable[[], Awaitable[Response]]) -> Exception | None:
        """Get a response and send it, in a nursery of its own. Returns what failed, unwrapped."""
        failure: Exception | None = None
        self._connect()
        try:
            # The watch stands outside of what a handler may cancel, or it could not tell that from a server that stops.
            shared = self._request is None and not self._call.endpoint.sees_nursery  # then nobody can cancel it
            async with trio.open_nursery() as around, _NOTHING if shared else trio.open_nursery() as inner:
                self._nursery = nursery = inner or around
                if self._request is not None:
                    self._request._nursery = nursery
                self._watch = ClientWatch(
                    self, self._inbox, self._outbox, self._call.policy.limits.write_timeout, self._call
                )
                around.start_soon(self._watch.run, name=WATCH)
                self._delivery = delivery = Delivery(
                    self._call, nursery, self._watch, self._outbox, self._unread, self._deadline, self.left_behind
                )
                try:
                    with self._deadline.around() or _NOTHING:
                        # Resources are inside of all scopes, and outside of those that a handler opens.
                        async with self._resources or _NOTHING:
                            answering = answer()
                            del answer
                            response = await self._passed(await answering)
                            delivering = delivery.deliver(
                                response, held=self._resources is not None and self._resources.held
                            )
                            del answering, response  # it may take hours
                            await delivering
                            if self.left_behind:
                                nursery.cancel_scope.cancel()  # who feeds it has nobody to feed: that is no error
                    self._deadline.check(started=self._outbox.started)
                except Exception as error:
                    # As a value: one that passes a nursery is in a cycle with trio's frames, and with its tasks'.
                    failure = taken(error)
                    nursery.cancel_scope.cancel()
                finally:
                    self._watch.stop()
            return self._verdict(failure)
        except Exception as error:
            return self._verdict(together(failure, error))
        except BaseException as ended:
            cancelled, failure = split_cancelled(ended, failure)
            try:
                if failure is not None:
                    self._call.report(self._outbox, failure)
                raise cancelled from None
            finally:
                del cancelled
        finally:
            failure = None
            self._nursery = self._delivery = None
            del self._watch  # which refers to this
            if self._request is not None:
                self._request._nursery = None
            while self._opened or self.left_behind:  # sent or not
                await (self._opened or self.left_behind).pop().aclose()

    async def _passed(self, outcome: Response | Exception) -> Response:
        """What the middlewares make of an outcome, where there are any."""
        if self.outward is None:
            if isinstance(outcome, Response):
                return outcome
            try:
                raise outcome
            finally:
                del outcome
        try:
            if isinstance(outcome, Response) and self._delivery is not None:
                await self._delivery.begin(outcome)
            asking = self.outward(outcome)
            del outcome
            try:
                response = await asking
            except Exception as error:
                self._refused = error
                raise
        except BaseException:
            if self._delivery is not None:
                await self._delivery.discard()
            raise
        if isinstance(response, RangeResponse):
            self._opened.append(response)
        return response

    def _verdict(self, failure: Exception | None) -> Exception | None:
        """What an attempt failed with, which may be more than what it raised."""
        failure, self._overdue = failure or self._overdue, None
        if isinstance(failure, StreamTimeout) and failure is not self._call.reported and self._deadline.passed:
            failure = self._deadline.outlasted(started=self._outbox.started)
        if failure is None and not (self._outbox.started or self._inbox.gone):
            failure = self._call.endpoint.cut_short()
        return failure

    async def _call_handler(self) -> Response:
        endpoint = self._call.endpoint
        request = self._the_request() if endpoint.reads or endpoint.arguments.takes_request else None
        self._deadline.begin()
        value = await endpoint.call(self._call.params, request)
        response = await respond(value, endpoint.label, endpoint.streaming, self._call.scope, self._opened)
        self._deadline.met()
        return response

    def _the_request(self) -> Request:
        if self._request is None:
            self._request = self._call.make_request()
            self._request._nursery, self._request._resources = self._nursery, self._resources
        return self._request

    # The client

    def client_left(self) -> None:
        """See ``Watched``."""
        # Nothing is cancelled where the client has all: a server may report it from inside the send of the end, too.
        if self._outbox.state is not ENDED and not self._outbox.fulfilled:
            self._outbox.gone = True
            streaming = self._delivery is not None and self._delivery.streaming
            if self._nursery is not None and (streaming or self._call.cancels_handler):
                self._nursery.cancel_scope.cancel()
        self._outbox.release()

    def takes_nothing(self) -> None:
        """See ``Watched``."""
        self._give_up(f"took nothing for the write_timeout of {self._watch.write_timeout} s")

    def takes_too_little(self) -> None:
        """See ``Watched``."""
        self._give_up(f"took less than {self._call.rate_for(self._watch.write_timeout):g} bytes a second")

    def _give_up(self, text: str) -> None:
        self._overdue = StreamTimeout(f"{self._call.endpoint.where}: the client {text}")
        self._outbox.gone = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        self._outbox.release()

    def sends_nothing(self) -> None:
        """See ``Watched``."""
        self._overdue = self._inbox.overdue()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # Errors

    async def _answer(self, failure: Exception) -> Exception | None:
        """Answer a request whose handler failed. Returns what is still to be reported.

        An error handler that fails is followed by that of what it raised, and is not asked again.
        """
        call = self._call
        remaining: Exception | None = None
        self._deadline.lift()  # an error handler may take its time
        try:
            while not is_departure(failure):
                expected = call.expects(failure)
                if self.outward is not None and not expected:
                    remaining = await self._pass(failure)
                    return remaining
                if not expected:
                    call.report(self._outbox, failure)
                found = call.policy.handler_for(failure, call.failed)
                if found is None:
                    remaining = await self._reply(self._marked(call.policy.default_answer(failure, call.scope)))
                    return remaining
                remaining = await self._attempt(partial(self._call_error_handler, *found, failure))
                if remaining is None or remaining is self._refused or self._outbox.started or self._inbox.gone:
                    return remaining
                call.failed += (found,)
                failure, remaining = chained(remaining, failure), None
            return None
        finally:
            if remaining is not failure:
                forget(failure)
            del failure, remaining

    async def _pass(self, failure: Exception) -> Exception | None:
        """Answer with what the middlewares make of a failure. Returns what they, or sending that, failed with."""
        passing = self._passed(failure)
        del failure
        try:
            return await self._reply(await passing)
        except Exception as refusal:
            return refusal

    async def _call_error_handler(self, handler: ErrorHandler, label: str, failure: Exception) -> Response:
        calling = call_error_handler(handler, self._the_request(), failure)
        del failure
        return self._marked(await respond(await calling, label, False, self._call.scope, self._opened))

    def _marked(self, response: Response) -> Response:
        """The answer to a failure, with what middlewares add to one that they do not see as a response."""
        if self.outward is None and self._request is not None:
            mark_error(self._request, response)
        return response

    def _reply(self, response: Response) -> Awaitable[Exception | None]:
        """Send a response that needs no handler: without a nursery where nothing could run in it."""
        needs_nursery = stream_of(response) is not None or self.outward is not None or len(response.body or b"") > SLICE
        label, scope = self._call.endpoint.label, self._call.scope
        if needs_nursery or may_have_body(scope):
            return self._attempt(partial(respond, response, label, False, scope, self._opened))
        return send_small(self._call, response, self._outbox, self._unread)
