"""A request's handler: calls it, and gives it the request, the nursery and the time that it may take.

Rules that this module alone enforces:

* A handler runs in one cancel scope, which a failure in its nursery and its route's timeout cancel.
* The nursery is made on first use: most handlers have none.
* The nursery of a failed request is cancelled and closed before the error handler is called.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar, cast

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.policy import Registered, call_error_handler, log, split_cancelled
from trioweb.exchange.room import Room, Start
from trioweb.ground.errors import HTTPError, StreamTimeout, chained, forget, taken
from trioweb.handlers.endpoint import to_response
from trioweb.io.outbox import Outbox
from trioweb.io.transport import Transport
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.request import Request
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused
from trioweb.streams.stream import Stream

T = TypeVar("T")


class Handling(Call):
    """A request that is handled.

    Attributes:
        request: the request; ``None`` until it is asked for.
        room: hosts the nursery; ``None`` until that is asked for.
        opened: the responses with open files, closed when the request ends.
        due: when the route's timeout expires, by trio's clock.
        middleware_scope: around the middlewares, which go on after the handler.
        interruptible: ends the current stream, or handler, if the nursery fails.
        interrupted: the handler was cancelled by a failure of its nursery; the server is about to resume.
        open: the nursery may be used: a handler, an error handler or a stream runs.
    """

    # Defaults in the class: most requests set none of these, and setting each in `__init__` takes time.
    request: Request | None = None
    room: Room | None = None
    opened: list[RangeResponse] | None = None
    due = math.inf
    middleware_scope: trio.CancelScope | None = None
    interruptible: Callable[[], object] | None = None
    open = False
    interrupted = False
    _own_start: Start | None = None
    _resumed_with: Response | Exception | None = None
    _scope_of_handler: trio.CancelScope | None = None

    def left(self) -> None:
        """See ``Watcher``: cancel what runs."""
        raise NotImplementedError

    async def finish(self, outcome: Response | Exception | None) -> None:
        """Send a response, or what error handlers return for a failure, if nothing was sent."""
        raise NotImplementedError

    async def end(self, failure: Exception | None, outbox: Outbox, *, left: bool = False) -> None:
        """Close the nursery, report a failure, and release the connection, after a response or in its place."""
        raise NotImplementedError

    async def give_up(self, ended: BaseException) -> None:
        """Close the nursery and the response of a request that was cancelled. The caller holds a shield."""
        raise NotImplementedError

    @property
    def start(self) -> Start:
        """Starts a task that may outlive the request."""
        if self._own_start is not None:
            return self._own_start
        nursery = self.policy.nursery
        if nursery is None:
            raise RuntimeError("the app's lifespan has ended")
        return nursery.start_own

    def the_request(self) -> Request:
        """The request, made on first use."""
        if self.request is None:
            self.request = self.make_request()
        return self.request

    async def call_endpoint(self) -> Response:
        """Call the handler, in a scope that its timeout and a failure of its nursery cancel.

        Raises:
            Exception: if it fails; the nursery is closed then.
        """
        endpoint = self.endpoint
        failure: Exception | None = None
        response: Response | None = None
        try:
            with trio.CancelScope() as self._scope_of_handler:
                if endpoint.timeout is not None:
                    self.due = self._scope_of_handler.deadline = trio.current_time() + endpoint.timeout
                response = await self.called()
            if self._scope_of_handler.cancel_called and not (self.room is not None and self.room.interrupted):
                failure = self.timed_out(started=False)
        except Exception as error:
            failure = taken(error)
        except BaseException as ended:
            with trio.CancelScope(shield=True):
                await self.close_room(ended)
            raise
        finally:
            self._scope_of_handler = None
        outcome = self._outcome(response, failure)
        del failure  # its traceback refers to this frame
        return await outcome

    async def resumable(self, own: Transport, calling: Awaitable[Response]) -> Response:
        """The response of handler or middleware, on a server that can resume: its own scope spares one here.

        If the nursery fails, that scope cancels all of this request's call; then the server resumes.
        """
        failure: Exception | None = None
        response: Response | None = None
        self.interruptible = partial(self._interrupt_with, own)
        try:
            response = await calling
        except Exception as error:
            failure = taken(error)
        except BaseException as ended:
            if not self.interrupted:
                with trio.CancelScope(shield=True):
                    await self.close_room(ended)
                raise
            failure = split_cancelled(ended)[1]
        finally:
            self.interruptible = None
        outcome = self._outcome(response, failure)
        del failure  # its traceback refers to this frame
        if not self.interrupted:
            return await outcome
        with trio.CancelScope(shield=True):
            try:
                self._resumed_with = await outcome
            except Exception as error:
                self._resumed_with = taken(error)
        await trio.lowlevel.checkpoint()  # raises Cancelled: that goes out to the server, which resumes
        raise AssertionError("the server has not cancelled the call")

    def _interrupt_with(self, own: Transport) -> None:
        self.interrupted, self.interruptible = True, None
        own.resume_with(self._resume)

    async def _resume(self) -> None:
        self.interrupted = False
        outcome, self._resumed_with = self._resumed_with, None
        finishing = self.finish(outcome)
        del outcome
        await finishing

    async def _outcome(self, response: Response | None, failure: Exception | None) -> Response:
        """The response of the handler; or, once the nursery is closed, the failure is raised."""
        try:
            if failure is not None:
                failure = await self.closed_with(failure)
            elif response is None or (self.room is not None and self.room.interrupted):
                failure = await self.what_interrupts(response)
            if failure is None and response is not None:
                return response
            if response is not None and (stream := stream_of(response)) is not None:
                await close_unused(stream.source)
            raise failure or self.endpoint.cut_short()
        finally:
            del failure, response

    async def called(self) -> Response:
        """The response of the handler: a coroutine for ``call_endpoint`` or ``resumable``."""
        endpoint = self.endpoint
        self.open = True
        if endpoint.takes_nursery:
            await self.open_room().opened()
        if endpoint.waits:
            self.values = {}
        value = await endpoint.call(self.params, self.the_request())
        return to_response(value, endpoint.label, endpoint.streaming)

    async def what_interrupts(self, response: Response | None) -> Exception | None:
        """The failure of a nursery that has ended early; or an error, if it was cancelled under a handler or stream."""
        ended = await self.close_room(None)
        if isinstance(ended, Exception):
            return ended
        return self.endpoint.cut_short() if response is None or response.body is None else None

    async def closed_with(self, failure: Exception | None) -> Exception:
        """Close the nursery after a failure, or after its own. Returns the failure that this has led to."""
        closing = self.close_room(failure)
        del failure
        ended = await closing
        return ended if isinstance(ended, Exception) else self.endpoint.cut_short()

    def timed_out(self, *, started: bool) -> HTTPError | StreamTimeout:
        """The error of a request that exceeds its route's timeout, before or after its response has started."""
        endpoint = self.endpoint
        if started:
            return StreamTimeout(f"{endpoint.where} took longer than its timeout of {endpoint.timeout} s")
        log(logging.WARNING, self.scope, f"{endpoint.label} took longer than its timeout of {endpoint.timeout} s")
        return HTTPError(503, "It took too long to answer this request.")

    def cap(self, stream: Stream) -> None:
        """Limit a stream to the rest of the route's timeout."""
        if self.due < math.inf:
            left = self.due - trio.current_time()
            stream.max_duration = left if stream.max_duration is None else min(left, stream.max_duration)

    def judged(self, failure: Exception, *, started: bool) -> Exception:
        """The failure of a stream: the route's timeout if the stream was limited by it."""
        late = isinstance(failure, StreamTimeout) and failure is not self.reported and trio.current_time() >= self.due
        return self.timed_out(started=started) if late else failure

    # The nursery

    @property
    def nursery(self) -> trio.Nursery:
        """See ``Request.nursery``."""
        return self.open_room().nursery if self.open else super().nursery

    def open_room(self) -> Room:
        """The host of the nursery, made on first use. Does not block."""
        if self.room is None:
            self.room = Room(self.start, self._interrupt)
        return self.room

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to exit after the response: see ``Room.enter``."""
        return await self.open_room().enter(manager)

    async def close_room(self, failure: BaseException | None) -> BaseException | None:
        """Close the nursery, if there is one, for a request with this failure: see ``Room.close``."""
        room, self.room = self.room, None
        if room is None:
            return failure
        closing = room.close(failure)
        del failure
        return await closing

    def _interrupt(self) -> None:
        scope = self._scope_of_handler or self.middleware_scope
        if scope is not None:
            scope.cancel()
        elif self.interruptible is not None:
            self.interruptible()

    def dismiss(self) -> None:
        """Cancel the nursery without interrupting the request. Does not block."""
        if self.room is not None:
            self.room.dismiss()

    async def prepared(self, response: Response) -> Response:
        """Prepare a file or range for its request, once; any other response is ready.

        Raises:
            HTTPError: if the request's conditions do not hold, or the file does not exist.
            OSError: if the file cannot be opened.
        """
        if isinstance(response, RangeResponse) and not any(response is each for each in self.opened or ()):
            request = self.the_request()
            response = await response.prepare(request.method, request.headers)
            self.opened = [*(self.opened or ()), response]
        return response


async def answer_error(
    handling: Handling, failure: Exception, *, outermost: bool
) -> tuple[Response, Registered | bool]:
    """Answer a failure by its error handler; if that fails, by the error handler of the new failure.

    Args:
        handling: the request.
        failure: its failure.
        outermost: no middleware is outside: a failure that is not expected is reported and answered, not raised.

    Returns:
        The response, and the error handler; ``True`` for the default response.

    Raises:
        Exception: if the failure is not expected, unless ``outermost``.
    """
    policy = handling.policy
    handling.open = True
    try:
        while True:
            if not handling.expects(failure):
                if not outermost:
                    raise failure
                handling.report(None, failure)
            found = policy.handler_for(failure, handling.failed)
            if found is None:
                return policy.default_answer(failure, handling.scope), True
            handler, label = found
            try:
                value = await call_error_handler(handler, handling.the_request(), failure)
                return await handling.prepared(to_response(value, label, streaming=False)), found
            except Exception as error:
                handling.failed += (found,)
                failure = chained(taken(error), failure)
    finally:
        forget(failure)
        del failure


async def found(handling: Handling) -> Response:
    """The outcome of a request without a handler: ``Call.found``.

    Raises:
        Exception: if that is an error.
    """
    outcome = handling.found
    try:
        if isinstance(outcome, Exception):
            raise outcome
        return cast("Response", outcome)
    finally:
        del outcome
