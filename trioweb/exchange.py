"""One request and its answer: the handler, its nursery, the client that may leave, and errors turned into answers.

Rules that this module alone enforces:

* One nursery a request. It opens and closes here, and is closed before an error handler answers.
* Before the response starts a client that leaves cancels handlers of safe methods; once a stream has started, whatever
  the method; once the whole response is sent, nothing.
* After the head has left no second answer is begun: a response that fails is broken off, and logged.
* A handler that takes neither the request nor a nursery and returns at once pays for none of this.
"""

from __future__ import annotations

import inspect
import logging
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast
from urllib.parse import quote

import trio

from trioweb.ground.errors import ClientDisconnected, HTTPError
from trioweb.ground.headers import Headers, RawHeaders
from trioweb.ground.problems import format_trace, render_problem, wants_page
from trioweb.handlers import Endpoint, respond, to_response
from trioweb.request import Application, Request
from trioweb.responses import BODILESS, FileResponse, Response, stream_of
from trioweb.wire.hypercorn import find_transport
from trioweb.wire.inbox import Inbox
from trioweb.wire.outbox import ENDED, SLICE, STARTED, Outbox
from trioweb.wire.relay import relay
from trioweb.wire.sources import close_unused

logger = logging.getLogger("trioweb")

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose handlers are cancelled when the client leaves: nobody is there for what they would have found."""

ErrorHandler = Callable[[Request, Any], Any]


@dataclass(slots=True)
class Policy:
    """What all requests of an app have in common.

    Attributes:
        app: what requests show as their app.
        debug: errors show their traceback to the client.
        max_body_size: bytes of a body that a request holds in memory.
        by_status: error handlers for statuses.
        by_class: error handlers for classes of exceptions.
    """

    app: Application
    debug: bool
    max_body_size: int
    by_status: dict[int, tuple[ErrorHandler, str]] = field(default_factory=dict)
    by_class: dict[type[Exception], tuple[ErrorHandler, str]] = field(default_factory=dict)

    def handler_for(self, error: Exception) -> tuple[ErrorHandler, str] | None:
        """The error handler for an exception: its status first, then the nearest of its classes."""
        if isinstance(error, HTTPError) and error.status in self.by_status:
            return self.by_status[error.status]
        for cls in type(error).__mro__:
            if cls in self.by_class:
                return self.by_class[cls]
        return None if isinstance(error, HTTPError) else self.by_status.get(500)

    def is_expected(self, error: Exception) -> bool:
        """Whether an exception is an answer, rather than a fault to log: its own class has a handler, or it is one."""
        return isinstance(error, HTTPError) or any(
            cls in self.by_class for cls in type(error).__mro__ if cls is not Exception
        )


class Exchange:
    """One request on its way. ``run`` is all of it."""

    __slots__ = (
        "_endpoint", "_inbox", "_light_scope", "_nursery", "_outbox", "_params", "_policy", "_request", "_scope",
        "_send", "_streaming", "_watch_scope",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        endpoint: Endpoint,
        params: Mapping[str, Any],
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        self._policy = policy
        self._endpoint = endpoint
        self._params = params
        self._scope = scope
        self._send = send
        self._inbox = Inbox(receive)
        self._outbox = Outbox(send, scope["http_version"])
        self._request: Request | None = None
        self._nursery: trio.Nursery | None = None
        self._light_scope: trio.CancelScope | None = None
        self._watch_scope: trio.CancelScope | None = None
        self._streaming = False

    async def run(self, app_nursery: trio.Nursery | None, answer: Response | HTTPError | None = None) -> None:
        """Answer the request. Returns when the response is sent and the request's nursery has closed.

        A cancellation from outside cancels the handler and breaks a stream off; it never reaches ``send``.

        Args:
            app_nursery: where to watch for a client that leaves a handler without a nursery; ``None`` if there is none.
            answer: what to answer where the routes say it already.
        """
        failure: Exception | None
        if isinstance(answer, Response):
            failure = await self.reply(answer)
        elif answer is not None:
            failure = answer
        elif app_nursery is not None and self._endpoint.light and not _may_have_body(self._scope):
            failure = await self._run_light(app_nursery)
        else:
            failure = await self._attempt(self._call_handler)
        if failure is not None and not self._outbox.started and not self._inbox.gone:
            failure = await self._answer(failure)
        if failure is not None:
            self._report(failure)
        if self._outbox.state is STARTED:
            with trio.CancelScope(shield=True):
                await self._outbox.break_off()

    # The way of a handler that may be over at once

    async def _run_light(self, app_nursery: trio.Nursery) -> Exception | None:
        """Run the handler without a nursery: a watcher for the client starts only when it first waits."""
        response: Response | None = None
        with trio.CancelScope() as scope:
            self._light_scope = scope
            try:
                value = await _stepwise(self._endpoint.call(self._params, None), lambda: self._watch_light(app_nursery))
                response = to_response(value, self._endpoint.label, self._endpoint.streaming)
                self._stop_watching()
                if response.body is not None:
                    scope.shield = True
                    if len(response.body) > SLICE:
                        self._outbox.transport = find_transport(self._send, self._scope["http_version"])
                    await self._send_whole(response)
                    return None
            except Exception as error:  # noqa: BLE001 - the answer to it comes when the scope is closed
                return unwrap(error)
            finally:
                self._light_scope = None
                self._stop_watching()
        if response is None:
            return None
        stream = response

        async def answer() -> Response:
            if isinstance(stream, FileResponse):
                await stream.prepare()
            return stream

        return await self._attempt(answer)

    def _watch_light(self, app_nursery: trio.Nursery) -> None:
        if self._cancels_handler():
            self._watch_scope = trio.CancelScope()
            app_nursery.start_soon(self._watch, self._watch_scope)

    # The way of every other one

    async def _attempt(self, answer: Callable[[], Awaitable[Response]]) -> Exception | None:
        """Get a response and send it, in a nursery of its own. Returns what failed, unwrapped."""
        failure: Exception | None = None
        self._outbox.transport = find_transport(self._send, self._scope["http_version"])
        if _may_have_body(self._scope):
            self._outbox.before_end = self._drain_request
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._request is not None:
                    self._request._nursery = nursery
                self._watch_scope = trio.CancelScope()
                nursery.start_soon(self._watch, self._watch_scope)
                try:
                    await self._deliver(await answer(), nursery)
                finally:
                    self._stop_watching()
        except Exception as error:  # noqa: BLE001 - crosses the nursery as a value
            failure = error
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if cancelled is None or rest is None or not isinstance(rest, Exception):
                raise
            self._report(unwrap(rest))
            raise cancelled from None
        finally:
            self._nursery = None
            if self._request is not None:
                self._request._nursery = None
        if failure is None and not (self._outbox.started or self._inbox.gone):
            failure = RuntimeError(
                f"{self._endpoint.where}: the request's nursery was cancelled before {self._endpoint.label} returned: "
                "cancel a scope around what should stop instead"
            )
        return None if failure is None else unwrap(failure)

    async def _call_handler(self) -> Response:
        endpoint = self._endpoint
        request = self._the_request() if endpoint.request_name or endpoint.nursery_name else None
        value = await endpoint.call(self._params, request)
        return await respond(value, endpoint.label, endpoint.streaming)

    def _the_request(self) -> Request:
        if self._request is None:
            self._request = Request(
                self._scope, self._policy.app, self._params, self._inbox, self._policy.max_body_size
            )
            self._request._nursery = self._nursery
        return self._request

    async def _deliver(self, response: Response, nursery: trio.Nursery) -> None:
        stream = stream_of(response)
        if stream is None or self._is_bodiless(response):
            with trio.CancelScope(shield=True) as self._outbox.scope:
                if stream is not None:
                    await close_unused(stream.source)
                await self._send_whole(response)
            return
        self._streaming = True
        if self._inbox.gone:
            nursery.cancel_scope.cancel()
        try:
            await relay(stream, self._endpoint.where, nursery, self._outbox, lambda kind: self._head(response, kind))
        finally:
            with trio.CancelScope(shield=True):
                await self._outbox.break_off()  # now, not after what else runs in the nursery has come to its end
        await self._let_go()

    def _head(self, response: Response, media_type: str | None) -> tuple[int, RawHeaders]:
        if media_type is not None and "content-type" not in response.headers:
            response.headers["content-type"] = media_type
        if not (self._inbox.wanted or self._inbox.complete):
            self._inbox.discard()
        return response.status_code, response.headers.raw

    def _is_bodiless(self, response: Response) -> bool:
        return self._scope["method"] == "HEAD" or response.status_code in BODILESS

    async def _send_whole(self, response: Response) -> None:
        """Send a response in one piece. The caller holds a shield."""
        headers = response.headers.raw
        bodiless = self._is_bodiless(response)
        body = b"" if bodiless else response.body or b""
        if not bodiless:
            _check_length(headers, len(body), self._endpoint.label)
        await self._outbox.start(response.status_code, headers, bodiless=bodiless)
        await self._outbox.whole(body)
        await self._let_go()

    # A request body that nobody wants

    async def _drain_request(self) -> None:
        """Before the end of a response: take in what the client still sends, so that it is not reset while it sends."""
        if not self._inbox.complete:
            self._inbox.discard()
            await self._inbox.discarded()
            self._inbox.discard(unbounded=True)

    async def _let_go(self) -> None:
        """After the end of a response: let the server stop reading a body that went on."""
        if self._outbox.before_end is not None and not self._inbox.complete:
            await self._inbox.over()

    # The client

    async def _watch(self, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await self._inbox.departed()
            except trio.Cancelled:
                if scope.cancel_called:
                    raise
                if self._nursery is None or not self._nursery.cancel_scope.cancel_called:
                    # From outside, and the sender is shielded: it must hear of it from here.
                    self._outbox.gone = True
                    self._outbox.release()
                    raise
                # The request's own nursery: what was accepted is still sent, to a client that may leave meanwhile.
                scope.shield = True
                await self._inbox.departed()
            self._client_left()

    def _client_left(self) -> None:
        # A server reports a disconnect from inside the send of the end, too: then there is nothing to cancel.
        if self._outbox.state is not ENDED:
            self._outbox.gone = True
            if self._light_scope is not None:
                self._light_scope.cancel()
            elif self._nursery is not None and (self._streaming or self._cancels_handler()):
                self._nursery.cancel_scope.cancel()
        self._outbox.release()

    def _cancels_handler(self) -> bool:
        chosen = self._endpoint.cancel_on_disconnect
        return self._scope["method"] in SAFE if chosen is None else chosen

    def _stop_watching(self) -> None:
        if self._watch_scope is not None:
            self._watch_scope.cancel()
            self._watch_scope = None

    # Errors

    async def _answer(self, failure: Exception) -> Exception | None:
        """Answer a request whose handler failed. Returns what is still to be reported."""
        if isinstance(failure, ClientDisconnected):
            return None
        found = self._policy.handler_for(failure)
        if found is not None:
            error_handler, label = found
            if not self._policy.is_expected(failure):
                self._report(failure)
            error = failure

            async def answer() -> Response:
                value = await call_error_handler(error_handler, self._the_request(), error)
                return await respond(value, label, streaming=False)

            second = await self._attempt(answer)
            if second is None or self._outbox.started or self._inbox.gone:
                return second
            failure = second
        self._report(failure)
        return await self.reply(self._default_answer(failure))

    async def reply(self, response: Response) -> Exception | None:
        """Send a response that needs no handler."""
        if _may_have_body(self._scope):

            async def answer() -> Response:
                return response

            return await self._attempt(answer)
        with trio.CancelScope(shield=True):
            await self._send_whole(response)
        return None

    def _default_answer(self, failure: Exception) -> Response:
        page = wants_page(Headers.from_raw(self._scope["headers"]).get("accept", ""))
        if isinstance(failure, HTTPError):
            body, media_type = render_problem(failure.status, failure.detail, None, page)
            return Response(body, failure.status, failure.headers, media_type)
        trace = format_trace(failure) if self._policy.debug else None
        body, media_type = render_problem(500, None, trace, page)
        return Response(body, 500, None, media_type)

    def _report(self, failure: Exception) -> None:
        outbox = self._outbox
        if isinstance(failure, ClientDisconnected) or (isinstance(failure, HTTPError) and not outbox.started):
            return
        request = f"{self._scope['method']} {_printable(self._scope)}"
        if outbox.state is ENDED:
            text = f"{request}: failed after its response of {outbox.sent} bytes was sent"
        elif outbox.started:
            text = f"{request}: the response was broken off after {outbox.sent} bytes"
        else:
            text = f"{request}: {self._endpoint.label} failed"
        logger.error(text, exc_info=failure)


async def call_error_handler(handler: ErrorHandler, request: Request, error: Exception) -> Any:
    """Call an error handler: an ``async def`` or generator function here, a plain ``def`` in a worker thread."""
    if inspect.iscoroutinefunction(handler):
        return await handler(request, error)
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        return handler(request, error)
    value = await trio.to_thread.run_sync(handler, request, error)
    return await value if inspect.iscoroutine(value) else value


def unwrap(error: Exception) -> Exception:
    """A group that holds one exception is that exception."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@types.coroutine
def _stepwise(awaitable: Awaitable[Any], on_wait: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await a coroutine, and call ``on_wait`` if it does not finish in its first step."""
    coroutine = cast("Coroutine[Any, Any, Any]", awaitable)
    try:
        trap = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    on_wait()
    while True:
        try:
            reply = yield trap
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as raised:  # noqa: BLE001 - passed on as it is
            step = partial(coroutine.throw, raised)
        else:
            step = partial(coroutine.send, reply)
        try:
            trap = step()
        except StopIteration as stop:
            return stop.value


def _may_have_body(scope: Mapping[str, Any]) -> bool:
    """Whether a request body can come. HTTP/1 announces it (RFC 9112, section 6.3); HTTP/2 need not."""
    if scope["http_version"][0] != "1":
        return True
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            return True
    return False


def _check_length(headers: RawHeaders, length: int, label: str) -> None:
    for name, value in headers:
        if name == b"content-length" and value != b"%d" % length:
            raise ValueError(
                f"{label} gave a body of {length} bytes the content-length {value.decode('latin-1')!r}: leave it out"
            )


def _printable(scope: Mapping[str, Any]) -> str:
    return (scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1")
