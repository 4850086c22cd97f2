"""The end of a request: sends its response, or what error handlers return for a failure, and closes its nursery.

Rules that this module alone enforces:

* Until the response starts a disconnect of the client cancels handlers of safe methods; a stream that has started is
  cancelled for any method; after the whole response, nothing is cancelled.
* After its head a response that fails is aborted and logged: there is no second one.
"""

from __future__ import annotations

import math
import types
from collections.abc import Coroutine, Generator
from typing import TypeVar, cast

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.delivery import Delivery
from trioweb.exchange.handling import Handling, answer_error
from trioweb.exchange.policy import Registered, is_departure, mark_error, split_cancelled
from trioweb.exchange.unread import UnreadBody
from trioweb.exchange.watch import watch_departure
from trioweb.exchange.whole import is_small, send_small
from trioweb.ground.errors import BrokenOff, ClientDisconnected, forget, taken
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import PLAIN, DirectTransport, Transport
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused

T = TypeVar("T")


class Finishing(Handling):
    """A request whose response is to be sent."""

    outbox: Outbox
    """Sends the response, unless it is small."""
    unread: UnreadBody
    _own: Transport
    _scope: trio.CancelScope
    _delivery: Delivery | None = None

    # The client, while middleware or handler wait

    async def _watched(self, coroutine: Coroutine[object, object, T], trap: object, scope: trio.CancelScope) -> T:
        """Await the rest of a coroutine, whose first step has given ``trap``. A disconnect cancels ``scope``."""
        own, scope.shield = self._own, False
        watching: trio.CancelScope | None = None
        direct = False
        if self.cancels_handler:
            direct = isinstance(own, DirectTransport) and own.is_direct(self.send)
            if direct:
                own.watch(self)  # type: ignore[attr-defined]
            else:
                watching = trio.CancelScope()
                if self.may_have_body:  # `receive` gives the disconnect after the body, which may stay unread
                    self._ask_server()
                self.start(watch_departure, self.inbox, watching, scope.cancel)
        try:
            value = await _resumed(coroutine, trap)
        finally:
            if direct:
                own.watch(None)  # type: ignore[attr-defined]
            elif watching is not None:
                watching.cancel()
        # A disconnect in the last step has cancelled the scope: raise it here, since a cancelled scope is no shield.
        await trio.lowlevel.checkpoint_if_cancelled()
        scope.shield = self._own.cancels is None
        return value

    def left(self) -> None:
        """See ``Watcher``."""
        self._scope.cancel()

    def look(self) -> float:
        """See ``Watcher``."""
        return math.inf

    # What `run` has not sent

    async def finish(self, outcome: Response | Exception | None) -> None:
        """Send a response, or what error handlers return for a failure. Returns when it is sent and the nursery closed.

        Raises:
            Exception: if the response was aborted, and the server has no other way to be told.
        """
        failure: Exception | None = None
        self._connect()
        try:
            try:
                sending = self._send(outcome)
                del outcome  # the coroutine alone refers to it, since a stream may run for hours
                failure = await sending
                del sending
            except BaseException as ended:
                with trio.CancelScope(shield=True):
                    await self.give_up(ended)
                raise
            ending = self.end(failure, self.outbox)
            failure = None
            await ending
        finally:
            forget(failure)
            failure = None

    async def _send(self, outcome: Response | Exception | None) -> Exception | None:
        """Send a response, or what error handlers return for its failure. Returns the failure that is to be logged.

        Each call gets the only reference to a response or failure, whose body or frames can then be freed meanwhile.
        """
        asked: Registered | bool = False
        failure: Exception | None = None
        try:
            while True:
                if isinstance(outcome, Exception):
                    failure, outcome = outcome, None
                elif outcome is not None:
                    delivering = self._deliver(outcome)
                    outcome = None
                    failure = await delivering
                    del delivering
                if failure is None or self.outbox.started or self.inbox.gone or is_departure(failure):
                    return failure
                if asked is True:  # the default answer cannot be sent
                    return failure
                self.failed += (asked,) if asked else ()
                answering = self._answer(failure)
                failure = None
                outcome, asked = await answering
                del answering
        finally:
            del failure, outcome

    def _connect(self) -> None:
        self.outbox = outbox = Outbox(self.send, self.scope["http_version"])
        outbox.transport = self.find_transport()
        self._ask_server()
        self.unread = UnreadBody(self.inbox, expected=self.may_have_body)
        if self.unread.expected:
            outbox.before_end = self.unread.read_rest

    def _ask_server(self) -> None:
        """Have the inbox ask the server for a disconnect, if the server does not report it by itself."""
        transport = self.find_transport()
        self.inbox.has_left, self.inbox.polls = transport.has_left, not transport.tells_departure

    async def _deliver(self, response: Response) -> Exception | None:
        """Send a response. Returns its failure."""
        try:
            response = await self.prepared(response)
            if self.room is not None and self.room.interrupted and (failure := await self.what_interrupts(response)):
                if (stream := stream_of(response)) is not None and not stream.begun:
                    await close_unused(stream.source)
                return failure
            # A server may block in `send` until its messages are received, which a delivery's watch does; a small write
            # has none.
            unread = self.unread.expected and not self.inbox.complete
            if self._delivery is None and is_small(self, response) and not unread:
                sending = send_small(self, response, self.outbox, self.unread)
            else:
                sending = (self._delivery or Delivery(self)).deliver(response, self.outbox, self.unread)
            del response
            await sending
            if not (self.outbox.started or self.inbox.gone):  # the nursery has ended the stream before its first chunk
                return await self.closed_with(None)
        except Exception as error:
            return taken(error)
        finally:
            self._delivery = self.interruptible = None
        return None

    async def _answer(self, failure: Exception) -> tuple[Response | Exception, Registered | bool]:
        """Close the nursery and call the error handler. Returns the response and the handler, or ``True`` for none."""
        closing = self.close_room(failure)
        del failure
        ended = await closing
        failure = cast("Exception", ended)
        del ended
        self.due = math.inf  # the route's timeout does not apply to error handlers
        self.open = True
        try:
            with trio.CancelScope() as self._scope:
                answering = answer_error(self, failure, outermost=True)
                try:
                    trap = answering.send(None)
                except StopIteration as done:
                    response, by = done.value
                else:
                    response, by = await self._watched(answering, trap, self._scope)
                if self.request is not None:
                    mark_error(self.request, response)
                return response, by
            return ClientDisconnected("the client left before its response"), True
        except Exception as error:
            return taken(error), True
        finally:
            del failure

    async def end(self, failure: Exception | None, outbox: Outbox, *, left: bool = False) -> None:
        """See ``Handling``. ``left``: the client has disconnected, so that the tasks in the nursery are cancelled.

        Raises:
            Exception: as ``finish``.
        """
        try:
            if left or (self.cancels_handler and (self.inbox.gone or outbox.gone) and outbox.state is not ENDED):
                self.dismiss()
            ended = await self.close_room(failure)
            failure = cast("Exception | None", ended)
            del ended
            self.open = False
            while self.opened:
                await self.opened.pop().aclose()
            if failure is not None:
                self.report(outbox, failure)  # before the client sees the abort
            if outbox.state is not ENDED:
                await _abort(self, outbox)
                _raise_to_server(failure, outbox)
        finally:
            forget(failure)
            failure = self.reported = None
            await self._release()

    async def give_up(self, ended: BaseException) -> None:
        """See ``Handling``: after a disconnect, or a cancellation from outside."""
        if self._delivery is not None:  # first: its generator may use the dependencies
            await self._delivery.discard()
            self._delivery = None
        closed = await self.close_room(ended)
        cancelled, failure = split_cancelled(ended, closed if isinstance(closed, Exception) else None)
        try:
            if failure is not None:
                self.report(getattr(self, "outbox", None), failure)  # set by `finish`
        finally:
            forget(failure)
            self.reported = None
            del cancelled, failure, closed, ended
        while self.opened:
            await self.opened.pop().aclose()
        await self._release()

    async def _release(self) -> None:
        request, self.request = self.request, None
        self.interruptible = None
        self.values = {}
        if request is not None:
            await request._aclose()


async def _abort(call: Call, outbox: Outbox) -> None:
    """Abort a response that did not end: nothing in the server may wait for its end, or for a reader of the body."""
    with trio.CancelScope(shield=True):
        await outbox.break_off()
        call.inbox.gone |= await outbox.transport.drop()
    if call.inbox.gone and call.may_have_body:
        # On the lost connection the server may be blocked on its full queue for this request, and all others with it.
        await call.inbox.drain()


def _raise_to_server(failure: Exception | None, outbox: Outbox) -> None:
    """Raise why a response was aborted, if the server has no other way to be told that it was.

    Raises:
        Exception: the failure.
    """
    try:
        if isinstance(failure, BrokenOff):
            failure = cast("Exception | None", failure.__cause__)
        silent = outbox.started and outbox.transport is PLAIN
        if silent and failure is not None and not is_departure(failure):
            raise failure
    finally:
        del failure  # its traceback refers to this frame


@types.coroutine
def _resumed(coroutine: Coroutine[object, object, T], trap: object) -> Generator[object, object, T]:
    """Await the rest of a coroutine whose first step has given ``trap``: trio gets it, and the coroutine the result."""
    reply = None
    try:
        while True:
            try:
                reply = yield trap
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as raised:
                trap = coroutine.throw(raised)
            else:
                trap = coroutine.send(reply)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        del reply  # it may be an exception of trio's, whose traceback refers to this frame
