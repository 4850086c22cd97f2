"""One request and its answer: the handler, its nursery, the client that may leave, and errors turned into answers.

Rules that this module alone enforces:

* One nursery a request. It opens and closes here, and is closed before an error handler answers.
* Before the response starts a client that leaves cancels handlers of safe methods; once a stream has started, whatever
  the method; once the whole response is sent, nothing.
* After the head has left no second answer is begun: a response that fails is broken off, and logged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import trio

from trioweb.deadline import Deadline
from trioweb.ground.asgi import Scope, Send
from trioweb.ground.errors import ClientDisconnected, HTTPError, StreamTimeout, unwrap
from trioweb.ground.headers import RawHeaders
from trioweb.handlers import Endpoint, respond
from trioweb.policy import Policy, call_error_handler, cancels_handler, is_departure, may_have_body, report
from trioweb.ranges import RangeResponse
from trioweb.request import Request
from trioweb.resources import Resources
from trioweb.responses import BODILESS, Response, stream_of
from trioweb.unread import UnreadBody
from trioweb.watch import ClientWatch
from trioweb.wire.hypercorn import find_transport
from trioweb.wire.inbox import Inbox
from trioweb.wire.outbox import ENDED, SLICE, Outbox, checked_headers
from trioweb.wire.producer import Producer
from trioweb.wire.relay import relay
from trioweb.wire.sources import close_unused
from trioweb.wire.transport import PLAIN


class Exchange:
    """One request on its way. ``run`` is all of it."""

    __slots__ = (
        "_deadline", "_endpoint", "_inbox", "_nursery", "_opened", "_outbox", "_overdue", "_params", "_policy",
        "_request", "_resources", "_scope", "_send", "_streaming", "_unread", "_watch",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        endpoint: Endpoint,
        params: Mapping[str, Any],
        scope: Scope,
        inbox: Inbox,
        send: Send,
    ) -> None:
        self._policy = policy
        self._endpoint = endpoint
        self._params = params
        self._scope = scope
        self._send = send
        self._inbox = inbox
        self._outbox = Outbox(send, scope["http_version"])
        self._opened: list[RangeResponse] = []
        self._request: Request | None = None
        self._nursery: trio.Nursery | None = None
        self._watch = ClientWatch(inbox, self._outbox, policy.limits.write_timeout)
        self._streaming = False
        self._overdue: Exception | None = None
        self._deadline = Deadline(endpoint, scope)
        self._unread = UnreadBody(inbox)
        self._resources = Resources()

    async def run(self, answer: Response | Exception | None = None) -> None:
        """Answer the request. Returns when the response is sent and the request's nursery has closed.

        A cancellation from outside cancels the handler and breaks a stream off; it never reaches ``send``.

        Args:
            answer: what the handler, or the lack of one, has led to already; unless given the handler is called.
        """
        failure: Exception | None
        try:
            if answer is None:
                failure = await self._attempt(self._call_handler)
            elif isinstance(answer, Response):
                failure = await self._reply(answer)
            else:
                failure = answer
            if failure is not None and not self._outbox.started and not self._inbox.gone:
                failure = await self._answer(failure)
            if failure is not None:
                self._report(failure)
            if self._outbox.state is not ENDED:
                await self._leave()
        finally:
            if self._request is not None:
                await self._request._aclose()

    async def _leave(self) -> None:
        """After a response that did not end: see that nothing in the server waits for that, or for a body's reader."""
        if self._outbox.transport is PLAIN:  # an answer that needed no nursery
            self._outbox.transport = find_transport(self._scope, self._send)
        with trio.CancelScope(shield=True):
            await self._outbox.break_off()
            self._inbox.gone |= await self._outbox.transport.drop()
        if self._inbox.gone:
            self._unread.expected = may_have_body(self._scope)
            await self._unread.abandon()

    async def _attempt(self, answer: Callable[[], Awaitable[Response]]) -> Exception | None:
        """Get a response and send it, in a nursery of its own. Returns what failed, unwrapped."""
        failure: Exception | None = None
        self._outbox.transport = transport = find_transport(self._scope, self._send)
        self._inbox.has_left = transport.has_left
        if may_have_body(self._scope):
            self._unread.expected = True
            self._outbox.before_end = self._unread.take
        try:
            # The watch stands outside of what a handler may cancel, or it could not tell that from a server that stops.
            shared = self._request is None and not self._endpoint.sees_nursery  # then nobody can cancel it
            async with trio.open_nursery() as around, nullcontext(around) if shared else trio.open_nursery() as nursery:
                self._nursery = nursery
                if self._request is not None:
                    self._request._nursery = nursery
                self._watch = ClientWatch(self._inbox, self._outbox, self._policy.limits.write_timeout)
                around.start_soon(self._watch.run, self._client_left, self._give_up, self._stalled)
                try:
                    with self._deadline.around():
                        async with self._resources:  # inside of all scopes, outside of those that a handler opens
                            await self._deliver(await answer(), nursery)
                    self._deadline.check(started=self._outbox.started)
                finally:
                    self._watch.stop()
        except Exception as error:
            failure = unwrap(error)
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
            while self._opened:  # sent or not
                await self._opened.pop().aclose()
        return self._verdict(failure)

    def _verdict(self, failure: Exception | None) -> Exception | None:
        """What an attempt failed with, which may be more than what it raised."""
        failure, self._overdue = failure or self._overdue, None
        if isinstance(failure, StreamTimeout) and self._deadline.passed:
            failure = self._deadline.outlasted(started=self._outbox.started)
        if failure is None and not (self._outbox.started or self._inbox.gone):
            failure = RuntimeError(
                f"{self._endpoint.where}: the request's nursery was cancelled before {self._endpoint.label} returned: "
                "cancel a scope around what should stop instead"
            )
        return failure

    async def _call_handler(self) -> Response:
        endpoint = self._endpoint
        request = self._the_request() if endpoint.reads or endpoint.waits or endpoint.arguments.takes_request else None
        self._deadline.begin()
        value = await endpoint.call(self._params, request)
        response = await self._respond(value, endpoint.label, endpoint.streaming)
        self._deadline.met()
        return response

    async def _respond(self, value: Any, label: str, streaming: bool) -> Response:
        return await respond(value, label, streaming, self._scope, self._opened)

    def _the_request(self) -> Request:
        if self._request is None:
            self._request = self._policy.make_request(self._endpoint, self._params, self._scope, self._inbox)
            self._request._nursery, self._request._resources = self._nursery, self._resources
        return self._request

    async def _deliver(self, response: Response, nursery: trio.Nursery) -> None:
        stream = stream_of(response)
        if stream is None or self._is_bodiless(response):
            with trio.CancelScope(shield=True) as self._outbox.scope:
                await self._send_whole(response)
                if stream is not None:
                    if isinstance(stream.source, (trio.abc.ReceiveChannel, trio.abc.ReceiveStream)):
                        nursery.cancel_scope.cancel()  # who feeds it has nobody to feed: that is no error
                    await close_unused(stream.source)
            return
        self._streaming = True
        self._policy.limits.apply(stream)
        self._deadline.cap(stream)
        self._watch.limit_writes(stream.write_timeout)
        if self._inbox.gone:
            nursery.cancel_scope.cancel()
        running = self._policy.event_streams if stream.ends_on_stop else set[Producer]()
        try:
            await relay(
                stream, self._endpoint.where, nursery, self._outbox, lambda kind: self._head(response, kind), running
            )
        finally:
            with trio.CancelScope(shield=True):
                await self._outbox.break_off()  # now, not after what else runs in the nursery has come to its end
                if self._resources.held and stream.channel is not None:
                    await stream.channel.finished()  # before what it may use is closed
        await self._unread.let_go()

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
            checked_headers(headers, self._scope["http_version"], response.status_code, len(body))
        await self._outbox.start(response.status_code, headers, bodiless=bodiless)
        await self._unread.take()
        await self._outbox.whole(body)
        await self._unread.let_go()

    # The client

    def _client_left(self) -> None:
        # A server reports a disconnect from inside the send of the end, too: then there is nothing to cancel. Nor is
        # there where the client has all the bytes that it was promised, and the producer has not come to its end yet.
        if self._outbox.state is not ENDED and not self._outbox.fulfilled:
            self._outbox.gone = True
            if self._nursery is not None and (
                self._streaming or cancels_handler(self._endpoint, self._scope["method"])
            ):
                self._nursery.cancel_scope.cancel()
        self._outbox.release()

    def _give_up(self) -> None:
        self._overdue = StreamTimeout(
            f"{self._endpoint.where}: the client took nothing for the write_timeout of {self._watch.write_timeout} s"
        )
        self._outbox.gone = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        self._outbox.release()

    def _stalled(self) -> None:
        self._overdue = self._inbox.overdue()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # Errors

    async def _answer(self, failure: Exception) -> Exception | None:
        """Answer a request whose handler failed. Returns what is still to be reported."""
        if is_departure(failure):
            return None
        self._deadline.lift()  # an error handler may take its time
        found = self._policy.handler_for(failure)
        if found is not None:
            error_handler, label = found
            if not self._policy.is_expected(failure):
                self._report(failure)
            error = failure

            async def answer() -> Response:
                value = await call_error_handler(error_handler, self._the_request(), error)
                return await self._respond(value, label, streaming=False)

            second = await self._attempt(answer)
            if second is None or self._outbox.started or self._inbox.gone:
                return second
            failure = second
        self._report(failure)
        return await self._reply(self._policy.default_answer(failure, self._scope))

    async def _reply(self, response: Response) -> Exception | None:
        """Send a response that needs no handler: without a nursery where nothing could run in it."""
        if stream_of(response) is not None or may_have_body(self._scope) or len(response.body or b"") > SLICE:
            return await self._attempt(partial(self._respond, response, self._endpoint.label, streaming=False))
        writes = self._policy.writes
        with trio.CancelScope(shield=True) as shield:
            writes.add(shield, self._scope, self._send)
            try:
                await self._send_whole(response)
            except ClientDisconnected as left:
                return left
            finally:
                writes.now.pop(shield, None)
        return None

    def _report(self, failure: Exception) -> None:
        outbox = self._outbox
        if outbox.state is ENDED:
            report(failure, self._scope, f"failed after its response of {outbox.sent} bytes was sent")
        elif outbox.started:
            report(failure, self._scope, f"the response was broken off after {outbox.sent} bytes")
        elif not isinstance(failure, HTTPError):
            report(failure, self._scope, f"{self._endpoint.label} failed")
