"""Function middleware: the way of a request through them to its handler, and of the response back.

Rules that this module alone enforces:

* Middlewares run in the request's own task, one inside of the other, and so does the handler.
* What is expected of a request, a 404 or an exception with a handler of its class, is a response to what stands around
  it; any other exception is itself, out to the app's edge. That goes for what fails at a stream's beginning, too.
* A response that is not sent is closed before the one that is.
"""

from __future__ import annotations

from functools import partial
from types import FrameType
from typing import cast

import trio

from trioweb.exchange.delivery import Delivery
from trioweb.exchange.handling import Handling, answer_error, found
from trioweb.ground.errors import clear_ended, taken, unwrap
from trioweb.handlers.endpoint import to_response
from trioweb.handlers.layers import Middleware
from trioweb.handlers.signatures import label_of
from trioweb.messages.request import Request
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused
from trioweb.streams.sources import is_channel


class Chain:
    """One request on its way through its middlewares.

    Args:
        exchange: the request's.
    """

    __slots__ = ("_called", "_exchange", "_failed_in", "_middleware", "_seen", "delivery")

    def __init__(self, exchange: Handling) -> None:
        self._exchange = exchange
        self._middleware: tuple[Middleware, ...] = exchange.policy.middleware + exchange.endpoint.middleware
        self._seen: list[Response] | None = None  # that stream
        self._called = False  # the handler
        self._failed_in: FrameType | None = None
        self.delivery: Delivery | None = None
        """What sends a stream that was begun."""

    async def run(self) -> Response:
        """What the outermost middleware answers; the other responses that stream are closed.

        Raises:
            Exception: what nothing expects.
        """
        response: Response | None = None
        try:
            response = await self.call_next(0, self._exchange.the_request())
            return response
        finally:
            if self._failed_in is not None:
                self._let_go(None)
            if self._seen:
                with trio.CancelScope(shield=True):
                    await self._close_unsent(response)

    async def call_next(self, index: int, request: Request) -> Response:
        """What the middleware of this index answers."""
        exchange = self._exchange
        if request is not exchange.request:
            _check(request)
        middleware = self._middleware[index]
        index += 1
        try:
            following = self._call_handler if index == len(self._middleware) else partial(self.call_next, index)
            value = await middleware(request, following)
            response: Response = value
            if value.__class__ is not Response:
                response = await exchange.prepared(to_response(value, label_of(middleware), streaming=False))
        except Exception as error:
            self._let_go(error)
            failure = unwrap(error)
            if not exchange.expects(failure):
                del failure
                raise
            turning = self._turned(failure)
            del failure
        else:
            if response._stream is not None:
                self._see(response)
            return response
        return await turning  # not in the block, or Python would take its error for the context of the next one

    async def _call_handler(self, request: Request) -> Response:
        exchange = self._exchange
        endpoint = exchange.endpoint
        if request is not exchange.request:
            _check(request)
        if self._called:  # once more: the first answer has to go before there is a second
            with trio.CancelScope(shield=True):
                await self._close_unsent(None)
                await exchange.dismiss_room()
        self._called = True
        try:
            if exchange.found is not None:
                response = await found(exchange)
            elif endpoint.light:
                value = await endpoint.call(exchange.params, request if endpoint.reads else None)
                response = to_response(value, endpoint.label, endpoint.streaming)
            else:
                response = await exchange.call_endpoint()
            if response.body is None:
                response = await self._begun(response)
        except Exception as error:
            self._let_go(error)
            failing = self._failed(taken(error))
        else:
            return response
        return await failing  # not in the block, or Python would take its error for the context of the next one

    def _let_go(self, error: Exception | None) -> None:
        """Clear the frames that have called what failed earlier, as far as they have ended; remember this failure's.

        A user's nursery that was cancelled is in a reference cycle with the frames that it was called by, and what the
        middlewares keep in their variables would be kept until the collector runs.
        """
        clear_ended(self._failed_in)
        trace = None if error is None else error.__traceback__
        self._failed_in = None if trace is None else trace.tb_frame

    async def _begun(self, response: Response) -> Response:
        """A response that streams, with its first chunk made."""
        response = await self._exchange.prepared(response)
        stream = stream_of(response)
        if stream is not None:
            self._see(response)
            self.delivery = Delivery(self._exchange)
            await self.delivery.begin(response)
            if not self.delivery.has_begun(stream):
                self.delivery = None
        return response

    async def _failed(self, failure: Exception) -> Response:
        """What a handler that fails leads to: a response, where that is expected; else it fails."""
        if self._exchange.expects(failure):
            turning = self._turned(failure)
            del failure
            return await turning
        closing = self._exchange.close_room(failure)
        del failure
        ended = await closing
        try:
            raise cast("Exception", ended)
        finally:
            del ended

    async def _turned(self, failure: Exception) -> Response:
        """An expected failure as a response. What was begun is closed before, and the request's nursery too."""
        exchange = self._exchange
        with trio.CancelScope(shield=True):
            await self._close_unsent(None)
        ended = await exchange.close_room(failure)
        answering = answer_error(exchange, cast("Exception", ended), outermost=False)
        del failure, ended
        response, _ = await answering
        return response

    def _see(self, response: Response) -> None:
        """Remember what has a stream, to be closed where it is not sent."""
        if stream_of(response) is not None and not any(response is seen for seen in self._seen or ()):
            self._seen = [*(self._seen or ()), response]

    async def _close_unsent(self, answer: Response | None) -> None:
        """Close the responses that are not sent, and what they hold. The caller holds a shield."""
        exchange = self._exchange
        sent = None if answer is None else stream_of(answer)
        while self._seen:
            stream = stream_of(self._seen.pop())
            if stream is None or (sent is not None and stream.source is sent.source):
                continue
            if is_channel(stream.source):
                exchange.dismiss()  # who feeds it meets no broken channel
            if self.delivery is not None and self.delivery.has_begun(stream):
                await self.delivery.discard()
                self.delivery = None
            else:
                await close_unused(stream.source)
            if is_channel(stream.source):
                await exchange.close_room(None)
        for response in list(exchange.opened or ()):
            if response is not answer and exchange.opened is not None:
                exchange.opened.remove(response)
                await response.aclose()


def _check(request: object) -> None:
    if not isinstance(request, Request):
        raise TypeError(
            f"call_next was given {type(request).__qualname__}: write `await call_next(request)` with the request"
        )
