"""Function middleware: calls each with a ``call_next`` that calls the next one, and at last the endpoint.

Rules that this module alone enforces:

* Middlewares run nested in the request's own task, and so does the handler.
* An expected failure, as an ``HTTPError`` or an exception with an error handler of its class, is a response to the
  middlewares around it; any other exception passes through them. Both hold for the first chunk of a stream, too.
* A response that is not sent is closed before another one is sent.
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
    """Runs the middlewares of one request."""

    __slots__ = ("_called", "_exchange", "_failed_frame", "_middleware", "_streams", "delivery")

    def __init__(self, exchange: Handling) -> None:
        self._exchange = exchange
        self._middleware: tuple[Middleware, ...] = exchange.policy.middleware + exchange.endpoint.middleware
        self._streams: list[Response] | None = None  # streaming responses that were returned, to close those not sent
        self._called = False  # the handler was
        self._failed_frame: FrameType | None = None
        self.delivery: Delivery | None = None
        """Has made the first chunk of a stream, and sends it."""

    async def run(self) -> Response:
        """Return the response of the outermost middleware, after closing the other streaming responses.

        Raises:
            Exception: if a failure is not expected.
        """
        response: Response | None = None
        try:
            response = await self.call_next(0, self._exchange.the_request())
            return response
        finally:
            if self._failed_frame is not None:
                self._clear_frames(None)
            if self._streams:
                with trio.CancelScope(shield=True):
                    await self._close_unsent(response)

    async def call_next(self, index: int, request: Request) -> Response:
        """Return the response of the middleware of this index."""
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
            self._clear_frames(error)
            failure = unwrap(error)
            if not exchange.expects(failure):
                del failure
                raise
            answering = self._answer_expected(failure)
            del failure
        else:
            if response._stream is not None:
                self._remember(response)
            return response
        return await answering  # outside of the block: else Python sets its error as the context of the next one

    async def _call_handler(self, request: Request) -> Response:
        exchange = self._exchange
        endpoint = exchange.endpoint
        if request is not exchange.request:
            _check(request)
        if self._called:  # a second call: close the first response, and the nursery, before there is another
            with trio.CancelScope(shield=True):
                await self._close_unsent(None)
                exchange.dismiss()
                await exchange.close_room(None)
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
                response = await self._begin(response)
        except Exception as error:
            self._clear_frames(error)
            failed = self._fail(taken(error))
        else:
            return response
        return await failed  # outside of the block: else Python sets its error as the context of the next one

    def _clear_frames(self, error: Exception | None) -> None:
        """Clear the ended frames of the previous failure, and remember the frame of this one.

        A user's nursery that was cancelled is in a reference cycle with the frames of its callers: the middlewares'
        variables would stay alive until the garbage collector runs.
        """
        clear_ended(self._failed_frame)
        trace = None if error is None else error.__traceback__
        self._failed_frame = None if trace is None else trace.tb_frame

    async def _begin(self, response: Response) -> Response:
        """Make the first chunk of a stream, so that its failure is known, and its content type."""
        response = await self._exchange.prepared(response)
        stream = stream_of(response)
        if stream is not None:
            self._remember(response)
            self.delivery = Delivery(self._exchange)
            await self.delivery.begin(response)
            if not self.delivery.has_begun(stream):
                self.delivery = None
        return response

    async def _fail(self, failure: Exception) -> Response:
        """Answer an expected failure of the handler; close the nursery and raise any other."""
        if self._exchange.expects(failure):
            answering = self._answer_expected(failure)
            del failure
            return await answering
        closing = self._exchange.close_room(failure)
        del failure
        ended = await closing
        try:
            raise cast("Exception", ended)
        finally:
            del ended

    async def _answer_expected(self, failure: Exception) -> Response:
        """Answer an expected failure, after closing the streams and the request's nursery."""
        exchange = self._exchange
        with trio.CancelScope(shield=True):
            await self._close_unsent(None)
        ended = await exchange.close_room(failure)
        answering = answer_error(exchange, cast("Exception", ended), outermost=False)
        del failure, ended
        response, _ = await answering
        return response

    def _remember(self, response: Response) -> None:
        """Remember a streaming response, to close it if it is not sent."""
        if stream_of(response) is not None and not any(response is seen for seen in self._streams or ()):
            self._streams = [*(self._streams or ()), response]

    async def _close_unsent(self, answer: Response | None) -> None:
        """Close the responses other than ``answer``, with their streams and files. The caller holds a shield."""
        exchange = self._exchange
        sent = None if answer is None else stream_of(answer)
        while self._streams:
            stream = stream_of(self._streams.pop())
            if stream is None or (sent is not None and stream.source is sent.source):
                continue
            if is_channel(stream.source):
                exchange.dismiss()  # first, or the tasks that send to the channel would raise BrokenResourceError
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
