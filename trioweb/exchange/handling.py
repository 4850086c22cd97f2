"""What a request has that its handler may ask for: itself, its nursery, its time; and the call of the handler.

Rules that this module alone enforces:

* A handler runs in one cancel scope: what fails in its nursery, and its route's timeout, cancel that.
* Nothing is made that nobody asks for: most handlers use no nursery.
* The nursery of a request that fails is cancelled and closed before its error handler answers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, cast

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.policy import Registered, call_error_handler, log
from trioweb.exchange.room import Room, Start
from trioweb.ground.errors import HTTPError, StreamTimeout, chained, forget, taken
from trioweb.handlers.endpoint import to_response
from trioweb.io.outbox import Outbox
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.request import Request
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused
from trioweb.streams.stream import Stream

T = TypeVar("T")


class Handling(Call):
    """A request that is handled.

    Attributes:
        start: starts a task that may outlive the request.
        request: the request, where somebody has asked for it.
        room: what hosts its nursery, where somebody has asked for that.
        opened: what is to be closed when the request ends, sent or not.
        due: when the route's timeout has passed, by trio's clock.
        middleware_scope: around the middlewares, where a nursery may fail after the handler has returned.
        interruptible: ends a response that is under way, where the nursery fails.
        open: handler, error handler or response is at work: the nursery may be asked for.
    """

    # Defaults of the class: most requests set none of them, and are spared a line in `__init__` for each.
    start: Start
    request: Request | None = None
    room: Room | None = None
    opened: list[RangeResponse] | None = None
    due = math.inf
    middleware_scope: trio.CancelScope | None = None
    interruptible: Callable[[], object] | None = None
    open = False
    _scope_of_handler: trio.CancelScope | None = None

    def left(self) -> None:
        """The client has left: cancel what is at work. Does not block."""
        raise NotImplementedError

    async def finish(self, outcome: Response | Exception) -> None:
        """Send a response, or what error handlers make of a failure, where nothing has been sent."""
        raise NotImplementedError

    async def end(self, failure: Exception | None, outbox: Outbox, *, left: bool = False) -> None:
        """After a response, or in place of one: close the nursery, report a fault, let go of the connection."""
        raise NotImplementedError

    async def give_up(self, ended: BaseException) -> None:
        """The request was cancelled: close what it holds. The caller holds a shield."""
        raise NotImplementedError

    def the_request(self) -> Request:
        """The request, made for the first who asks."""
        if self.request is None:
            self.request = self.make_request()
        return self.request

    async def call_endpoint(self) -> Response:
        """Call the handler, in a scope that its timeout cancels, and its nursery where that fails.

        Raises:
            Exception: what it failed with; the nursery is closed then.
        """
        endpoint = self.endpoint
        failure: Exception | None = None
        response: Response | None = None
        self.open = True
        try:
            with trio.CancelScope() as self._scope_of_handler:
                if endpoint.timeout is not None:
                    self.due = self._scope_of_handler.deadline = trio.current_time() + endpoint.timeout
                if endpoint.takes_nursery:
                    await self.open_room().opened()
                if endpoint.waits:
                    self.values = {}
                value = await endpoint.call(self.params, self.the_request())
                response = to_response(value, endpoint.label, endpoint.streaming)
                del value
            if self.room is not None and self.room.interrupted:
                failure = await self.what_interrupts(response)
            elif self._scope_of_handler.cancel_called:
                failure = self.outlasted(started=False)
        except Exception as error:
            failure = taken(error)
        except BaseException as ended:
            with trio.CancelScope(shield=True):
                await self.close_room(ended)
            raise
        finally:
            self._scope_of_handler = None
        try:
            if failure is None and response is not None:
                return response
            if response is not None and (stream := stream_of(response)) is not None:
                await close_unused(stream.source)
            raise await self.closed_with(failure)
        finally:
            del failure, response

    async def what_interrupts(self, response: Response | None) -> Exception | None:
        """What it means that the nursery has ended: its failure, or that it was cancelled under a handler or stream."""
        ended = await self.close_room(None)
        if isinstance(ended, Exception):
            return ended
        return self.endpoint.cut_short() if response is None or response.body is None else None

    async def closed_with(self, failure: Exception | None) -> Exception:
        """Close the nursery, of what has failed or was cancelled by it. Returns what that has led to."""
        closing = self.close_room(failure)
        del failure
        ended = await closing
        return ended if isinstance(ended, Exception) else self.endpoint.cut_short()

    def outlasted(self, *, started: bool) -> HTTPError | StreamTimeout:
        """The error of a request that has outlasted its route's timeout, before or after its response has started."""
        endpoint = self.endpoint
        if started:
            return StreamTimeout(f"{endpoint.where} took longer than its timeout of {endpoint.timeout} s")
        log(logging.WARNING, self.scope, f"{endpoint.label} took longer than its timeout of {endpoint.timeout} s")
        return HTTPError(503, "It took too long to answer this request.")

    def cap(self, stream: Stream) -> None:
        """Leave a stream no more than what is left of the route's timeout."""
        if self.due < math.inf:
            left = self.due - trio.current_time()
            stream.max_duration = left if stream.max_duration is None else min(left, stream.max_duration)

    def judged(self, failure: Exception, *, started: bool) -> Exception:
        """What a stream has failed with, which may be the route's timeout: it was capped by that."""
        late = isinstance(failure, StreamTimeout) and failure is not self.reported and trio.current_time() >= self.due
        return self.outlasted(started=started) if late else failure

    # The nursery

    @property
    def nursery(self) -> trio.Nursery:
        """See ``Request.nursery``."""
        return self.open_room().nursery if self.open else super().nursery

    def open_room(self) -> Room:
        """What hosts the nursery, made for the first who asks. Does not block."""
        if self.room is None:
            self.room = Room(self.start, self._interrupt)
        return self.room

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to be left after the response: see ``Room.enter``."""
        return await self.open_room().enter(manager)

    async def close_room(self, told: BaseException | None) -> BaseException | None:
        """Close the nursery, if there is one: see ``Room.close``."""
        room, self.room = self.room, None
        if room is None:
            return told
        closing = room.close(told)
        del told
        return await closing

    def _interrupt(self) -> None:
        scope = self._scope_of_handler or self.middleware_scope
        if scope is not None:
            scope.cancel()
        elif self.interruptible is not None:
            self.interruptible()

    def dismiss(self) -> None:
        """Cancel what runs in the nursery, silently: what it feeds has ended. Does not block."""
        if self.room is not None:
            self.room.dismiss()

    async def dismiss_room(self) -> None:
        """The same, and wait for its end."""
        self.dismiss()
        await self.close_room(None)

    async def prepared(self, response: Response) -> Response:
        """A response that depends on what its request asks for, a file for instance, made ready for it once.

        Raises:
            HTTPError: the request's conditions do not hold, or it asks for what is not there.
            OSError: a file cannot be opened.
        """
        if isinstance(response, RangeResponse) and not any(response is each for each in self.opened or ()):
            request = self.the_request()
            response = await response.prepare(request.method, request.headers)
            self.opened = [*(self.opened or ()), response]
        return response


async def answer_error(
    handling: Handling, failure: Exception, *, outermost: bool
) -> tuple[Response, Registered | bool]:
    """The answer to a failure, by its error handler; that of a handler that fails by the handler of what it raised.

    Args:
        handling: the request.
        failure: what it has failed with.
        outermost: what nothing expects is reported, and answered by the handler of all that; else it is raised.

    Returns:
        The answer, and who has made it: ``True`` for nobody.

    Raises:
        Exception: what nothing expects, with middlewares outside.
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
    """What stands for a handler where there is none.

    Raises:
        Exception: what the lack of one is answered with.
    """
    outcome = handling.found
    try:
        if isinstance(outcome, Exception):
            raise outcome
        return cast("Response", outcome)
    finally:
        del outcome
