"""One WebSocket from its handshake to its close: the handler, its nursery, the peer that may leave, errors turned into
closes.

Rules that this module alone enforces:

* A handler that fails, or returns, before it has accepted is answered over HTTP, as a request's would be, by error
  handlers too; after that errors are closes with 1011, and logged.
* ``ws.nursery`` is closed before the handler's resources are, and these before the close is sent: it says how all
  ended.
* A peer that leaves cancels what runs in ``ws.nursery``. The handler hears of it where it sends and receives, unless
  its route wants it cancelled too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.policy import ErrorHandler, call_error_handler, is_departure, report, split_cancelled
from trioweb.ground.errors import StreamTimeout, WebSocketDisconnect, chained, forget, taken, unwrap
from trioweb.ground.http.closing import FAULT, GOING_AWAY, NORMAL
from trioweb.handlers.endpoint import to_response
from trioweb.io.duplex import CLOSED, CONNECTING, DENIED, Duplex
from trioweb.messages.resources import Resources
from trioweb.messages.response import Response
from trioweb.messages.websocket import WebSocket

CLOSING_SECONDS: Final = 2.0
"""How long a WebSocket that is closed by us waits for the peer to say so too (RFC 6455, section 7.1.1). A WebSocket.

Until then what the peer still sends is read and thrown away, or it would be told of a reset in place of our close.
"""


class Conversation:
    """One WebSocket on its way. ``run`` is all of it."""

    __slots__ = (
        "_around", "_call", "_departed", "_duplex", "_failure", "_handling", "_hosted", "_returned",
    )  # fmt: skip

    def __init__(self, call: Call) -> None:
        self._call = call
        self._duplex = Duplex(call.receive, call.send, call.policy.limits.write_timeout)
        self._duplex.transport = call.find_transport()
        self._duplex.on_left = self._peer_left
        self._handling = trio.CancelScope()
        self._around: trio.Nursery | None = None
        self._hosted: trio.Nursery | None = None
        self._returned = trio.Event()  # the handler
        self._departed = trio.Event()  # what ran in ws.nursery
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Serve it. Returns when it is closed and ``ws.nursery`` is too.

        A cancellation from outside cancels the handler and breaks the connection off; it never reaches ``send``.
        """
        if not await self._duplex.connected():
            return
        try:
            async with trio.open_nursery() as around:
                self._around = around
                around.start_soon(self._duplex.watch)
                try:
                    self._call.policy.end_on_stop(self)
                    found, self._call.found = self._call.found, None
                    ending = self._end(found if isinstance(found, Exception) else await self._handle())
                    del found
                    await ending
                finally:
                    self._call.policy.to_end.discard(self)
                    self._around = None  # a stop from now on has nothing to end, and may find the nursery closed
                    self._duplex.stop()
        finally:
            self._hosted = self._failure = None
            self._duplex.on_left = bool  # else it refers to this
        if self._duplex.timed_out:
            await self._duplex.transport.abort()

    def end(self) -> None:
        """The server stops: close it, and leave the handler the time that the server has. Does not block."""
        if self._around is not None:
            self._around.start_soon(self._go_away)

    async def _go_away(self) -> None:
        await self._duplex.answered()
        await self._duplex.close(GOING_AWAY, "", ended=True)
        self._peer_left()

    # The handler

    async def _handle(self) -> Exception | None:
        """Call the handler; returns what failed, unwrapped."""
        assert self._around is not None  # noqa: S101 - by `run`
        ws = WebSocket(self._call.scope, self._call.policy.app, self._call.params, self._duplex)
        ws._nursery = hosted = self._hosted = await self._around.start(self._host)
        ws._provider = resources = Resources()
        failure: Exception | None = None
        if self._duplex.gone:  # meanwhile
            self._peer_left()
        try:
            with self._handling:
                async with resources:  # outside of what the handler opens
                    try:
                        await self._call.endpoint.call(self._call.params, ws)
                    finally:
                        self._returned.set()
                        ws._nursery = None
                        hosted.cancel_scope.cancel()
                        with trio.CancelScope(shield=True):
                            await self._departed.wait()
        except Exception as error:
            failure = taken(error)
        except BaseException as ended:
            cancelled, failure = split_cancelled(ended)
            try:
                if failure is not None:
                    report(failure, self._call.scope, f"{self._call.endpoint.label} failed")
                raise cancelled from None
            finally:
                del cancelled, failure
        try:
            return self._failure or failure
        finally:
            self._failure = None
            del failure

    async def _host(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Keep ``ws.nursery`` open. What fails in it ends the handler, which then has failed with it."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                try:
                    await trio.sleep_forever()
                finally:
                    if self._duplex.gone or self._duplex.state is CLOSED:
                        # It stays open: the handler, which need not know yet, may start something in it.
                        with trio.CancelScope(shield=True):
                            await self._returned.wait()
        except Exception as error:
            if not is_departure(error):
                self._failure = unwrap(error)
                self._handling.cancel()
        finally:
            self._departed.set()

    def _peer_left(self) -> None:
        if self._hosted is not None:
            self._hosted.cancel_scope.cancel()
        if self._call.endpoint.cancel_on_disconnect and not self._returned.is_set():  # else it is tidying up
            self._handling.cancel()

    # The end

    async def _end(self, failure: Exception | None) -> None:
        """Say how it ended, and log a fault."""
        failure = self._verdict(failure)
        try:
            await self._tell(failure)
        finally:
            forget(failure)
            del failure  # an exception's traceback may have this frame

    async def _tell(self, failure: Exception | None) -> None:
        duplex = self._duplex
        expected = duplex.state is CONNECTING and failure is not None and self._call.expects(failure)
        if failure is not None and not expected:
            report(failure, self._call.scope, f"{self._call.endpoint.label} failed")
        if duplex.state is CONNECTING:
            denying = self._deny(failure)
            del failure
            await denying
        elif duplex.state is not DENIED:
            await duplex.close(FAULT if failure is not None and not is_departure(failure) else NORMAL, "", ended=True)
            with trio.move_on_after(CLOSING_SECONDS):
                await duplex.over()

    def _verdict(self, failure: Exception | None) -> Exception | None:
        """What it failed with, which may be more than what the handler raised."""
        duplex = self._duplex
        if duplex.timed_out:
            return StreamTimeout(
                f"{self._call.endpoint.where}: the peer took nothing for the write_timeout of "
                f"{self._call.policy.limits.write_timeout} s"
            )
        if failure is None and duplex.state is CONNECTING and not duplex.gone:
            return RuntimeError(
                f"{self._call.endpoint.label} returned without an answer to the handshake: write await ws.accept() "
                "first, or raise HTTPError(403) to refuse it"
            )
        return failure

    async def _deny(self, failure: Exception | None) -> None:
        if failure is None or is_departure(failure):
            return
        answering = self._answer(failure)
        del failure
        answer = await answering
        if self._call.scope.get("http_version", "1.1")[0] == "1":
            answer.headers["connection"] = "close"  # since nothing can follow on it
        able = "websocket.http.response" in (self._call.scope.get("extensions") or {})
        with suppress(WebSocketDisconnect):
            await self._duplex.deny(answer.status_code, answer.headers.raw, answer.body or b"", with_response=able)

    async def _answer(self, failure: Exception) -> Response:
        """What a handshake is refused with: by the app's error handler, as a request would be, where there is one."""
        call = self._call
        known = not call.expects(failure)  # to the log
        try:
            while (found := call.policy.handler_for(failure, call.failed)) is not None:
                answer = await self._call_error_handler(*found, failure)
                if isinstance(answer, Response):
                    return answer
                call.failed += (found,)
                known = known and answer is failure
                failure = chained(answer, failure)
                del answer
                if not (known or call.expects(failure)):
                    report(failure, call.scope, f"{found[1]} failed")
                    known = True
            return call.policy.default_answer(failure, call.scope)
        finally:
            forget(failure)
            del failure

    async def _call_error_handler(self, handler: ErrorHandler, label: str, failure: Exception) -> Response | Exception:
        """The answer of an error handler, or what it failed with."""
        try:
            calling = call_error_handler(handler, _handshake(self._call).make_request(), failure)
            del failure  # a handler may raise it, with this frame
            response = to_response(await calling, label, streaming=False)
        except Exception as error:
            return unwrap(error)
        if response.body is None:
            return TypeError(f"{label} answered a handshake with a stream: give it a body in one piece")
        return response


def _handshake(call: Call) -> Call:
    """The request that a handshake is: a GET without a body."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {**call.scope, "type": "http", "method": "GET"}
    return Call(call.policy, call.endpoint, call.params, scope, receive, call.send)
