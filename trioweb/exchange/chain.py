"""Function middleware: the way of a request through them to its handler, and of the response back.

Rules that this module alone enforces:

* Middlewares run in the request's own task, one inside of the other, without a task, channel or nursery each. A handler
  that has a nursery has a task too, apart from what middlewares open: so a scope around ``call_next`` can end before
  the response is sent, and the request's nursery before an error handler answers.
* What is expected of a request, a 404 or an exception with a handler of its class, is a response to what stands around
  it; any other exception is itself, out to the app's edge. That goes for what fails at a stream's beginning, too.
* A response that is not sent is closed before the one that is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import trio

from trioweb.exchange.call import Call, may_have_body
from trioweb.exchange.core import Core
from trioweb.exchange.exchange import Exchange
from trioweb.exchange.light import failed_to_send, rest_of
from trioweb.ground.errors import forget, taken, unwrap
from trioweb.handlers.endpoint import to_response
from trioweb.handlers.layers import Middleware
from trioweb.handlers.signatures import label_of
from trioweb.io.outbox import SLICE, check_status, checked_headers, sendable
from trioweb.io.transport import PLAIN, own_transport
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.request import Request
from trioweb.messages.response import BODILESS, Response, stream_of
from trioweb.streams.sources import close_unused, is_channel

Rest = Callable[[], Awaitable[None]]


def serve_through(call: Call) -> Awaitable[Rest | None]:
    """Answer a request through its middlewares, or say what does so.

    A cancellation from outside cancels middlewares and handler; it never reaches ``send``.
    """
    passage = Passage(call)
    return passage.run_alone() if call.policy.nursery is None else passage.run(call.policy.nursery.start_own)


class Passage:
    """One request on its way through its middlewares."""

    __slots__ = ("_call", "_chain", "_core", "_opened", "_owns_scope", "_request", "_scope", "_seen", "_start")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._chain: tuple[Middleware, ...] = call.policy.middleware + call.endpoint.middleware
        self._request: Request | None = call.make_request()  # until it is over
        self._core: Core | None = None
        self._seen: list[Response] | None = None  # that stream
        self._opened: list[RangeResponse] | None = None

    @property
    def _the_request(self) -> Request:
        return self._request or self._call.make_request()

    async def run_alone(self) -> None:
        """As ``run``, where the app's lifespan does not run: in a nursery of the request's own."""
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                rest = await self.run(nursery.start_soon)
                if rest is not None:
                    serving = rest()
                    del rest
                    try:
                        await serving
                    except Exception as error:  # as itself, and not in the nursery's group
                        failure = error
            if failure is not None:
                raise failure
        finally:
            del failure  # it holds this frame

    async def run(self, start: Callable[..., None]) -> Rest | None:
        """Run the middlewares, and send what they return or say what does so. ``start`` starts a task."""
        self._start = start
        own = own_transport(self._call.scope)
        endpoint = self._call.endpoint
        answer: Response | Exception | None = None
        try:
            # As for a handler without middlewares: the server's scope; or one that is up from the start, and down while
            # one waits. A handler that has a nursery may have its middlewares cancelled by what fails in that.
            if own is not None and own.cancels is not None and endpoint.light and not endpoint.waits:
                self._scope, self._owns_scope = own.cancels, False
                answer = await self._through()
            else:
                self._owns_scope = True
                with trio.CancelScope(shield=True) as self._scope:
                    answer = await self._through()
        except BaseException:
            if self._core is not None:
                await self._core.abandon()
            raise
        finally:
            self._call.found = None
        core = self._core
        try:
            if core is not None and core.answers:
                return core.finish
            if answer is None:  # it is sent, or the client has left
                return None
            if core is None or core.over:
                return partial(self._exchange(self._the_request).run, answer)
            core.conclude(answer)
            return core.finish
        finally:
            del answer  # an exception's traceback may have this frame
            self._request = None

    async def _through(self) -> Response | Exception | None:
        """Run the middlewares, and send what is small. Returns what is left to be sent, or answered."""
        call = self._call
        answer: Response | Exception | None = None
        started = False
        try:
            coroutine = self.call_next(0, self._the_request)
            try:
                trap = coroutine.send(None)
            except StopIteration as done:
                answer = done.value
            else:
                answer = await self._rest(coroutine, trap)
            assert isinstance(answer, Response)  # noqa: S101 - `call_next` returns nothing else
            if self._seen or self._opened:
                await self._close_unsent(answer)
            small = None if self._core is not None else self._small(answer)
            if small is None:
                return answer
            started = True
            del coroutine
            self._request = None  # what has been read of its body is not needed to send this
            call.policy.writes.add(self._scope, call)
            await (own_transport(call.scope) or PLAIN).respond(call.send, answer.status_code, *small)
        except Exception as error:
            if not started:
                await self._close_unsent(None)
                return taken(error)
            await failed_to_send(taken(error), call)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._close_unsent(None)
            raise
        finally:
            if started:
                call.policy.writes.now.pop(self._scope, None)
        return None

    async def _rest(self, coroutine: Coroutine[Any, Any, Response], trap: Any) -> Response:
        """Go on with middlewares that wait for ``trap``. The handler's task, where there is one, sees for itself
        whether the client leaves.
        """
        if self._owns_scope:
            self._scope.shield = False
        start = self._start if self._core is None else None
        answer = await rest_of(coroutine, trap, self._call, self._scope, start)
        if self._owns_scope:
            self._scope.shield = True
        return answer

    def _small(self, response: Response) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
        """Headers and body of a response that can be sent at once; ``None`` for one that cannot."""
        body = response.body
        if body is None or len(body) > SLICE or may_have_body(self._call.scope):
            return None
        status, headers = response.status_code, response.headers.raw
        check_status(status)
        if self._call.scope["method"] == "HEAD" or status in BODILESS:
            return sendable(headers, "1.1", status), b""
        return checked_headers(headers, "1.1", status, len(body)), body

    # The way in, and out

    async def call_next(self, index: int, request: Request) -> Response:
        """What the middleware of this index answers."""
        if request is not self._request:
            _check(request)
        middleware = self._chain[index]
        index += 1
        try:
            value = await middleware(
                request, self._call_handler if index == len(self._chain) else partial(self.call_next, index)
            )
            response: Response = value if value.__class__ is Response else await self._as_response(value, middleware)
        except Exception as error:
            turned = self._expected(error)
            if turned is None:
                raise
        else:
            if response._stream is not None:
                self._see(response)
            return response
        return await turned  # not in the block, or Python would take its error for the context of the next one

    async def _as_response(self, value: Any, middleware: Middleware) -> Response:
        response = to_response(value, label_of(middleware), streaming=False)
        if isinstance(response, RangeResponse) and not any(response is opened for opened in self._opened or ()):
            response = await response.prepare(self._the_request.method, self._the_request.headers)
            self._opened = [*(self._opened or ()), response]
        return response

    def _see(self, response: Response) -> None:
        """Remember what has a stream, to be closed where it is not sent."""
        if stream_of(response) is not None and not any(response is seen for seen in self._seen or ()):
            self._seen = [*(self._seen or ()), response]

    async def _call_handler(self, request: Request) -> Response:
        if request is not self._request:
            _check(request)
        endpoint, found = self._call.endpoint, self._call.found
        if isinstance(found, Exception):
            try:
                if not self._call.expects(found):
                    raise found
                turning = self._turned(found)
            finally:
                del found
            return await turning
        if found is None and endpoint.light and not endpoint.waits and self._core is None:
            turned: Awaitable[Response] | None = None
            try:
                value = await endpoint.call(self._call.params, request if endpoint.reads else None)
                found = to_response(value, endpoint.label, endpoint.streaming)
            except Exception as error:
                turned = self._expected(error)
                if turned is None:
                    raise
            if turned is not None:
                return await turned
        if found is not None and found.body is not None:
            return found
        return await self._ask_core(found, request)

    def _expected(self, error: Exception) -> Awaitable[Response] | None:
        """What makes a response of a failure that is expected; ``None`` for one that is not."""
        failure = unwrap(error)
        return self._turned(failure) if self._call.expects(failure) else None

    async def _turned(self, failure: Exception) -> Response:
        """An expected failure as a response."""
        call = self._call
        if call.policy.handler_for(failure, call.failed) is None and (self._core is None or self._core.over):
            answer = call.policy.default_answer(failure, call.scope)
            forget(failure)
            return answer
        asking = self._ask_core(failure, self._the_request)
        del failure
        return await asking

    # The handler's task

    async def _ask_core(self, outcome: Response | Exception | None, request: Request) -> Response:
        """Have the handler called in a task of its own, or an outcome dealt with there that needs a nursery.

        A cancellation here, by a scope of a middleware's, cancels that task and waits for its end.
        """
        core = self._core
        if core is not None and not core.over:
            if isinstance(outcome, Exception):
                core.reply(outcome)
            else:  # a middleware that calls twice: the first answer has to go before there is a second
                with trio.CancelScope(shield=True):
                    await self._close_unsent(None)
                    await core.abandon()
        if core is None or core.over:
            core = self._core = Core(self._exchange(request), self._lost)
            self._start(core.run, outcome)
        del outcome
        response = await core.outcome()
        self._see(response)
        return response

    def _lost(self) -> None:
        """The handler's task has ended, or answers by itself: what the middlewares would say comes too late."""
        # A scope of the server's is around the connection too, and that has an answer to come.
        if self._owns_scope or not (self._core and self._core.answers):
            self._scope.cancel()

    def _exchange(self, request: Request) -> Exchange:
        exchange = Exchange(self._call)
        exchange.adopt(request)
        return exchange

    async def _close_unsent(self, answer: Response | None) -> None:
        """Close the responses that are not sent, and what they hold."""
        sent = None if answer is None else stream_of(answer)
        while self._seen:
            stream = stream_of(self._seen.pop())
            if stream is None or stream.begun or (sent is not None and stream.source is sent.source):
                continue
            if is_channel(stream.source) and self._core is not None:
                self._core.leave_behind(stream.source)
            else:
                await close_unused(stream.source)
        while self._opened:
            response = self._opened.pop()
            if response is not answer:
                await response.aclose()


def _check(request: object) -> None:
    if not isinstance(request, Request):
        raise TypeError(
            f"call_next was given {type(request).__qualname__}: write `await call_next(request)` with the request"
        )
