"""The handler's side of a request with middlewares: an exchange in a task of its own, which asks before it sends.

Handler, dependencies and response run there as they do without middlewares, in one task. When there is an outcome, a
response or a failure that nothing expects, the exchange waits here for what the middlewares make of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from trioweb.exchange.exchange import Exchange
from trioweb.messages.response import Response


class Core:
    """Runs ``exchange``. All but ``run`` is called by the task of the middlewares.

    Args:
        exchange: the request's.
        on_lost: called when the exchange has ended while the middlewares are still at work: the client has left, or the
            server stops.
    """

    __slots__ = (
        "_asked", "_concluded", "_ended", "_failure", "_news", "_on_lost", "_outcome", "_replied", "_reply",
        "_scope", "_taken", "answers", "exchange",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, on_lost: Callable[[], None]) -> None:
        self.exchange = exchange
        exchange.outward = self._ask
        self._on_lost = on_lost
        self._scope = trio.CancelScope()
        self._outcome: Response | Exception | None = None
        self._reply: Response | Exception | None = None
        self._asked = self._taken = self._concluded = False
        self.answers = False
        """It has an answer of its own, and what the middlewares would say comes too late."""
        self._news = trio.lowlevel.ParkingLot()
        self._replied = trio.lowlevel.ParkingLot()
        self._ended = trio.Event()
        self._failure: Exception | None = None

    async def run(self, outcome: Response | Exception | None) -> None:
        """Run the exchange to its end, with what the handler has led to or else by calling it. Raises nothing."""
        try:
            with self._scope:
                running = self.exchange.run(outcome)
                del outcome
                await running
        except Exception as error:
            self._failure = error
        finally:
            self._ended.set()
            self._news.unpark_all()
            if not self._concluded:
                self._on_lost()
            # What refers to each other would otherwise wait for the garbage collector.
            self.exchange.outward = self._outcome = self._reply = None
            del self._on_lost

    @property
    def over(self) -> bool:
        """It has ended, or is about to: nothing can be asked of it any more."""
        return self._ended.is_set() or self._concluded

    async def _ask(self, outcome: Response | Exception) -> Response:
        if self._taken:  # a task of the request's has failed, after the response was handed over and before it was sent
            self._concluded, self.answers, self.exchange.outward = True, True, None
            self._on_lost()
            if isinstance(outcome, Exception):
                try:
                    raise outcome
                finally:
                    del outcome
            return outcome
        self._outcome, self._asked = outcome, True
        del outcome
        self._news.unpark_all()
        await self._replied.park()
        reply, self._reply = self._reply, None
        if isinstance(reply, Exception):
            try:
                raise reply
            finally:
                del reply
        assert reply is not None  # noqa: S101 - nobody answers without one
        return reply

    def _answer(self, reply: Response | Exception) -> None:
        self._outcome, self._asked, self._taken, self._reply = None, False, False, reply
        self._replied.unpark_all()

    async def outcome(self) -> Response:
        """Wait for the handler's response. A cancellation cancels the handler, and waits for its end.

        Raises:
            Exception: what it raised, where nothing expects that.
        """
        try:
            while not self._asked:
                await self._news.park()  # where it ends without an outcome this is cancelled
        except trio.Cancelled:
            await self.abandon()
            raise
        self._taken = True
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Exception):
            try:
                raise outcome
            finally:
                del outcome
        assert outcome is not None  # noqa: S101 - it was asked for something
        return outcome

    def reply(self, failure: Exception) -> None:
        """Have the request fail with what a middleware raised, and answered by its error handler: see ``outcome``."""
        self._answer(failure)

    def leave_behind(self, source: Any) -> None:
        """A channel whose other end a task of the request's may hold: it is closed when the response is sent."""
        self.exchange.left_behind.append(source)

    def conclude(self, final: Response | Exception) -> None:
        """Have the answer of the outermost middleware sent, or what it raised answered by the app."""
        self._concluded = True
        self.exchange.outward = None
        self._answer(final)

    async def finish(self) -> None:
        """Wait until all is sent and the request has ended; a cancellation ends it before that."""
        try:
            await self._ended.wait()
        except trio.Cancelled:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._ended.wait()
            raise
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure

    async def abandon(self) -> None:
        """End it without an answer. Waits for its end, whatever is cancelled meanwhile."""
        self._concluded = True
        self.exchange.abandoned = True
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()
