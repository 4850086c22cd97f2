"""The end of a request: sends a response, or what error handlers return for a failure, and closes its nursery.

Rules that this module alone enforces:

* Until the response starts a disconnect of the client cancels handlers of safe methods; a stream that has started is
  cancelled for any method; after the whole response, nothing is cancelled.
* The nursery of a failed request is cancelled and closed before the error handler is called.
* After its head a response that fails is aborted and logged: there is no second one.
"""

from __future__ import annotations

import math
import types
from collections.abc import Coroutine, Generator
from typing import TypeVar, cast

import trio

from trioweb.exchange.answers import answer_error, mark_error
from trioweb.exchange.call import Call
from trioweb.exchange.delivery import Delivery
from trioweb.exchange.policy import is_departure, split_cancelled
from trioweb.exchange.watch import watch_departure
from trioweb.exchange.whole import UnreadBody, is_small, send_small
from trioweb.ground.errors import BrokenOff, ClientDisconnected, forget, taken
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import PLAIN, DirectTransport, Transport
from trioweb.messages.response import Response

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
        _ask_server(call.inbox, outbox.transport)
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
        try:
            sending = self._send(outcome)
            del outcome
            ending = end(self._call, await sending, self._outbox)
            del sending
        except BaseException as ended:
            with trio.CancelScope(shield=True):
                await give_up(self._call, ended, self._outbox, self._delivery)
            raise
        await ending

    async def _send(self, outcome: Outcome) -> Exception | None:
        """Send a response, or what error handlers return for its failure. Returns the failure that is to be logged."""
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
                    failure = await delivering
                    del delivering
                if failure is None or self._outbox.started or call.inbox.gone or is_departure(failure) or is_default:
                    return failure
                answering = self._answer(failure)
                failure = None
                outcome, is_default = await answering
                del answering
        finally:
            del failure, outcome

    async def _deliver(self, response: Response | None) -> Exception | None:
        """Send a response. Returns its failure."""
        call, outbox = self._call, self._outbox
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
                sending = send_small(call, response, outbox, self._unread)
            else:
                sending = (self._delivery or Delivery(call)).deliver(response, outbox, self._unread)
            del response
            await sending
            if not (outbox.started or call.inbox.gone):  # the nursery has ended the stream before its first chunk
                return await call.cut_short(None)
        except Exception as error:
            return taken(error)
        finally:
            self._delivery = None
        return None

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


async def end(call: Call, failure: Exception | None, outbox: Outbox, *, left: bool = False) -> None:
    """Close the nursery, report a failure, and release the connection, after a response or in its place.

    Args:
        call: the request.
        failure: its failure.
        outbox: has sent its response, or a part of it.
        left: the client has disconnected, so that the tasks in the nursery are cancelled.

    Raises:
        Exception: as ``Finishing.run``.
    """
    try:
        if left or (call.cancels_handler and (call.inbox.gone or outbox.gone) and outbox.state is not ENDED):
            call.dismiss()
        closing = call.close_room(failure)
        failure = None
        failure = await closing
        del closing
        call.open = False
        await call.close_files()
        if failure is not None:
            call.report(outbox, failure)  # before the client sees the abort
        if outbox.state is not ENDED:
            await _abort(call, outbox)
            _raise_to_server(failure, outbox)
    finally:
        forget(failure)
        failure = None
        await _release(call)


async def give_up(
    call: Call, ended: BaseException, outbox: Outbox | None = None, delivery: Delivery | None = None
) -> None:
    """Close the nursery and the response of a request that was cancelled. The caller holds a shield.

    Args:
        call: the request.
        ended: the cancellation, maybe in a group with failures.
        outbox: has sent a part of its response.
        delivery: has made the first chunk of a stream.
    """
    if delivery is not None:  # first: its generator may use the dependencies
        await delivery.discard()
    await call.cancel_room(outbox)
    call.open = False
    failure = split_cancelled(ended)[1]
    if failure is not None:
        call.report(outbox, failure)
    forget(failure)
    del failure, ended
    await call.close_files()
    await _release(call)


async def _release(call: Call) -> None:
    request, call.request = call.request, None
    call.reported = call.interruptible = None
    call.values = {}
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


def _ask_server(inbox: Inbox, transport: Transport) -> None:
    """Have the inbox ask the server for a disconnect, if the server does not report it by itself."""
    inbox.has_left, inbox.polls = transport.has_left, not transport.tells_departure


async def watched(call: Call, coroutine: Coroutine[object, object, T], trap: object) -> T:
    """Await the rest of a coroutine, whose first step has given ``trap``. A disconnect cancels the call's scope."""
    own, scope = call.own, call.cancel_scope
    scope.shield = False
    watching: trio.CancelScope | None = None
    direct: DirectTransport | None = None
    if call.cancels_handler:
        if isinstance(own, DirectTransport) and own.is_direct(call.send):
            direct = own
            direct.watch(call)
        else:
            watching = trio.CancelScope()
            if call.may_have_body:  # `receive` gives the disconnect after the body, which may stay unread
                _ask_server(call.inbox, call.find_transport())
            call.start(watch_departure, call.inbox, watching, scope.cancel)
    try:
        value = await _resumed(coroutine, trap)
    finally:
        if direct is not None:
            direct.watch(None)
        elif watching is not None:
            watching.cancel()
    if call.room is None:  # else the response is not sent in this scope
        # A disconnect in the last step has cancelled the scope: raise it here, since a cancelled scope is no shield.
        await trio.lowlevel.checkpoint_if_cancelled()
    scope.shield = own.cancels is None
    return value


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
