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

from trioweb.exchange.answers import answer_error
from trioweb.exchange.call import Call
from trioweb.exchange.delivery import Delivery
from trioweb.exchange.handling import call_in_scope
from trioweb.ground.errors import clear_ended, taken, unwrap
from trioweb.handlers.layers import Middleware
from trioweb.handlers.results import to_response
from trioweb.handlers.signatures import label_of
from trioweb.messages.request import Request
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused
from trioweb.streams.sources import is_channel


class Chain:
    """Runs the middlewares of one request."""

    __slots__ = ("_call", "_called", "_failed_frame", "_middleware", "_streams", "delivery")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._middleware: tuple[Middleware, ...] = call.policy.middleware + call.endpoint.middleware
        self._streams: list[Response] = []  # streaming responses that were returned, to close those not sent
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
            response = await self.call_next(0, self._call.the_request())
            return response
        finally:
            if self._failed_frame is not None:
                self._clear_frames(None)
            if self._streams:
                with trio.CancelScope(shield=True):
                    await self._close_unsent(response)

    async def call_next(self, index: int, request: Request) -> Response:
        """Return the response of the middleware of this index."""
        call = self._call
        if request is not call.request:
            _check(request)
        middleware = self._middleware[index]
        index += 1
        try:
            following = self._call_handler if index == len(self._middleware) else partial(self.call_next, index)
            value = await middleware(request, following)
            if type(value) is Response:
                response = value
            else:
                response = await call.prepared(to_response(value, label_of(middleware), streaming=False))
        except Exception as error:
            self._clear_frames(error)
            failure = unwrap(error)
            if not call.expects(failure):
                del failure
                raise
            answering = self._answer(failure)
            del failure
        else:
            if response._stream is not None:
                self._remember(response)
            return response
        return await answering  # outside of the block: else Python sets its error as the context of the next one

    async def _call_handler(self, request: Request) -> Response:
        call = self._call
        endpoint = call.endpoint
        if request is not call.request:
            _check(request)
        if self._called:  # a second call: close all of the first before there is another response
            await self._cancel()
        self._called = True
        try:
            if endpoint.light:
                value = await endpoint.call(call.params, request if endpoint.reads else None)
                response = to_response(value, endpoint.label, endpoint.streaming, endpoint.status_code)
            else:
                response = await call_in_scope(call)
            if response.body is None:
                response = await self._begin(response)
        except Exception as error:
            self._clear_frames(error)
            answering = self._answer(taken(error))
        except BaseException:  # a cancellation
            await self._cancel()
            raise
        else:
            return response
        return await answering  # outside of the block: else Python sets its error as the context of the next one

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
        response = await self._call.prepared(response)
        stream = stream_of(response)
        if stream is not None:
            self._remember(response)
            self.delivery = Delivery(self._call)
            await self.delivery.begin(response)
            if not self.delivery.has_begun(stream):
                self.delivery = None
        return response

    async def _cancel(self) -> None:
        """Close the handler's response and nursery."""
        with trio.CancelScope(shield=True):
            await self._close_unsent(None)
            await self._call.cancel_room()

    async def _answer(self, failure: Exception) -> Response:
        """Close the streams and the request's nursery, and answer the failure.

        Raises:
            Exception: if it is not expected.
        """
        with trio.CancelScope(shield=True):
            await self._close_unsent(None)
        closing = self._call.close_room(failure)
        del failure
        failure = cast("Exception", await closing)
        del closing
        try:
            if not self._call.expects(failure):
                raise failure
            answering = answer_error(self._call, failure, outermost=False)
        finally:
            del failure
        response, _ = await answering
        return response

    def _remember(self, response: Response) -> None:
        """Remember a streaming response, to close it if it is not sent."""
        if not any(response is seen for seen in self._streams):
            self._streams.append(response)

    async def _close_unsent(self, answer: Response | None) -> None:
        """Close the responses other than ``answer``, with their streams and files. The caller holds a shield."""
        call = self._call
        sent = None if answer is None else stream_of(answer)
        while self._streams:
            stream = stream_of(self._streams.pop())
            if stream is None or (sent is not None and stream.source is sent.source):
                continue
            if is_channel(stream.source):
                call.dismiss()  # first, or the tasks that send to the channel would raise BrokenResourceError
            if self.delivery is not None and self.delivery.has_begun(stream):
                await self.delivery.discard()
                self.delivery = None
            else:
                await close_unused(stream.source)
            if is_channel(stream.source):
                await call.close_room(None)
        await call.close_files(answer)


def _check(request: object) -> None:
    if not isinstance(request, Request):
        raise TypeError(
            f"call_next was given {type(request).__qualname__}: write `await call_next(request)` with the request"
        )
