"""The end of a request: its response is sent, or what error handlers make of a failure; then its nursery is closed.

Rules that this module alone enforces:

* Before the response starts a client that leaves cancels handlers of safe methods; once a stream has started, whatever
  the method; once the whole response is sent, nothing.
* After the head has left no second answer is begun: a response that fails is broken off, and logged.
"""

from __future__ import annotations

import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
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
Rest = Callable[[], Awaitable[None]]
"""What is left to do for a request: it is awaited by who keeps nothing else of it, since it may take hours."""


class Finishing(Handling):
    """A request whose response is to be sent."""

    outbox: Outbox
    """Where the response leaves, unless it is small."""
    unread: UnreadBody
    """What is left of the request's body then."""
    _own: Transport
    _scope: trio.CancelScope
    _delivery: Delivery | None = None

    # The client, while somebody waits

    async def _attended(self, coroutine: Coroutine[object, object, T], trap: object, scope: trio.CancelScope) -> T:
        """Go on with what has taken its first step and waits for ``trap``; cancel ``scope`` when its client leaves."""
        own, scope.shield = self._own, False
        watching: trio.CancelScope | None = None
        direct = False
        if self.cancels_handler:
            direct = isinstance(own, DirectTransport) and own.is_direct(self.send)
            if direct:
                own.watch(self)  # type: ignore[attr-defined]
            else:
                watching = trio.CancelScope()
                if self.may_have_body:  # behind which the news would wait
                    self._ask_server()
                self.start(watch_departure, self.inbox, watching, scope.cancel)
        try:
            value = await _resumed(coroutine, trap)
        finally:
            if direct:
                own.watch(None)  # type: ignore[attr-defined]
            elif watching is not None:
                watching.cancel()
        # A client that left in this very moment: a scope that is cancelled already would be no shield for its response.
        await trio.lowlevel.checkpoint_if_cancelled()
        scope.shield = self._own.cancels is None
        return value

    def left(self) -> None:
        """See ``Watcher``."""
        self._scope.cancel()

    def look(self) -> float:
        """See ``Watcher``."""
        return math.inf

    # The rest: what is not sent by ``run``

    async def finish(self, outcome: Response | Exception | None) -> None:
        """Send a response, or what error handlers make of a failure. Returns when it is sent and the nursery closed.

        Raises:
            Exception: what a response was broken off for, where the server cannot be told in another way.
        """
        failure: Exception | None = None
        self._connect()
        try:
            try:
                sending = self._send(outcome)
                del outcome  # it may take hours
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
        """Send a response, else what error handlers make of what it fails with. Returns what is left to be reported."""
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
            outbox.before_end = self.unread.take

    def _ask_server(self) -> None:
        """Have the inbox ask the server whether the client has left, where that may not say so by itself."""
        transport = self.find_transport()
        self.inbox.has_left, self.inbox.polls = transport.has_left, not transport.tells_departure

    async def _deliver(self, response: Response) -> Exception | None:
        """Send a response. Returns what it failed with."""
        try:
            response = await self.prepared(response)
            if self.room is not None and self.room.interrupted and (failure := await self.what_interrupts(response)):
                if (stream := stream_of(response)) is not None and not stream.begun:
                    await close_unused(stream.source)
                return failure
            # A server may tell of a departure from inside of ``send``, and wait for somebody to take what is unread.
            unread = self.unread.expected and not self.inbox.complete
            if self._delivery is None and is_small(self, response) and not unread:
                sending = send_small(self, response, self.outbox, self.unread)
            else:
                sending = (self._delivery or Delivery(self)).deliver(response, self.outbox, self.unread)
            del response
            await sending
            if not (self.outbox.started or self.inbox.gone):  # its nursery has ended it
                return await self.closed_with(None)
        except Exception as error:
            return taken(error)
        finally:
            self._delivery = self.interruptible = None
        return None

    async def _answer(self, failure: Exception) -> tuple[Response | Exception, Registered | bool]:
        """Answer with an error handler. Returns its response, and who has made that: ``True`` for nobody."""
        closing = self.close_room(failure)
        del failure
        ended = await closing
        failure = cast("Exception", ended)
        del ended
        self.due = math.inf  # an error handler may take its time
        self.open = True
        try:
            with trio.CancelScope() as self._scope:
                answering = answer_error(self, failure, outermost=True)
                try:
                    trap = answering.send(None)
                except StopIteration as done:
                    response, by = done.value
                else:
                    response, by = await self._attended(answering, trap, self._scope)
                return self._marked(response), by
            return ClientDisconnected("the client left before its response"), True
        except Exception as error:
            return taken(error), True
        finally:
            del failure

    def _marked(self, response: Response) -> Response:
        if self.request is not None:
            mark_error(self.request, response)
        return response

    async def end(self, failure: Exception | None, outbox: Outbox, *, left: bool = False) -> None:
        """See ``Handling``.

        Args:
            failure: what the request has failed with.
            outbox: where its response has left, or would have.
            left: its client has left: what runs in the nursery is cancelled, silently.

        Raises:
            Exception: what a response was broken off for, where the server cannot be told in another way.
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
                self.report(outbox, failure)
            if outbox.state is not ENDED:
                await _leave(self, outbox, UnreadBody(self.inbox, expected=self.may_have_body))
                _raise_untold(failure, outbox)
        finally:
            forget(failure)
            failure = self.reported = None
            await self._let_go()

    async def give_up(self, ended: BaseException) -> None:
        """The request was cancelled, by its client's leaving or from outside: close what it holds. Holds a shield."""
        if self._delivery is not None:
            await self._delivery.discard()
            self._delivery = None
        closed = await self.close_room(ended)
        cancelled, failure = split_cancelled(ended, closed if isinstance(closed, Exception) else None)
        try:
            if failure is not None:
                self.report(getattr(self, "outbox", None), failure)  # there is none before the response
        finally:
            forget(failure)
            self.reported = None
            del cancelled, failure, closed, ended
        while self.opened:
            await self.opened.pop().aclose()
        await self._let_go()

    async def _let_go(self) -> None:
        request, self.request = self.request, None
        self.interruptible = None
        self.values = {}
        if request is not None:
            await request._aclose()


async def _leave(call: Call, outbox: Outbox, unread: UnreadBody) -> None:
    """After a response that did not end: see that nothing in the server waits for that, or for a body's reader."""
    if outbox.transport is PLAIN:  # an answer that needed no nursery
        outbox.transport = call.find_transport()
    with trio.CancelScope(shield=True):
        await outbox.break_off()
        call.inbox.gone |= await outbox.transport.drop()
    if call.inbox.gone:
        unread.expected = call.may_have_body
        await unread.abandon()


def _raise_untold(failure: Exception | None, outbox: Outbox) -> None:
    """Raise what a response was broken off for, where the server cannot be told in another way.

    Raises:
        Exception: that.
    """
    try:
        if isinstance(failure, BrokenOff):
            failure = cast("Exception | None", failure.__cause__)
        silent = outbox.started and outbox.transport is PLAIN
        if silent and failure is not None and not is_departure(failure):
            raise failure
    finally:
        del failure  # where it is raised, it holds this frame


@types.coroutine
def _resumed(coroutine: Coroutine[object, object, T], trap: object) -> Generator[object, object, T]:
    """Await the rest of a coroutine whose first step has been taken."""
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
        del reply  # it may be what trio raises, whose traceback has this frame
