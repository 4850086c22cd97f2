"""One call of the app: a request or WebSocket, its endpoint, and what their parts share.

Rules that this module alone enforces:

* The nursery is made on first use: most handlers have none.
* A failure in the nursery ends what runs: ``Call.interruptible`` says how.
* A timeout of the handler covers the stream that it returns.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from typing import Final, TypeVar

import trio

from trioweb.exchange.clock import Start
from trioweb.exchange.debug import note_tasks, watched_nursery
from trioweb.exchange.policy import Policy, Registered, log, report, report_sent
from trioweb.exchange.room import Room, close_rooms
from trioweb.ground.errors import HTTPError, StreamTimeout, forget
from trioweb.ground.http.asgi import PathParams, Receive, Scope, Send
from trioweb.ground.pace import AUTO, MIN_RATE
from trioweb.handlers.endpoint import Endpoint
from trioweb.io.hypercorn import find_transport
from trioweb.io.inbox import Inbox, in_channel
from trioweb.io.outbox import Outbox
from trioweb.io.transport import GIVEN_RATE, PLAIN, Transport, Watcher, own_transport
from trioweb.messages.prepared import PreparedResponse
from trioweb.messages.request import Request
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused
from trioweb.streams.stream import Stream

T = TypeVar("T")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose handlers are cancelled if the client disconnects: they change nothing (RFC 9110, section 9.2.1)."""
EARLY_HINT: Final = "http.response.early_hint"
"""The extension of an ASGI scope in which a server says that it can send a 103."""
_NOTHING: Final[dict[object, object]] = {}


class Call(Watcher):
    """A request, or a WebSocket, and the endpoint that answers it.

    Attributes:
        policy: the app's.
        endpoint: the handler, with the options of its route.
        params: the path parameters.
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
        own: the transport of trioweb's server, the test kit, or a mounting app; for other servers that of plain ASGI.
        request: the request; ``None`` until it is asked for.
        values: the values of the dependencies so far, by their keys: each dependency is called once.
        host: starts tasks that may outlive the request; ``None`` for the app's nursery.
        room: hosts the nursery; ``None`` until that is asked for.
        kept: hosts what dependencies have opened, and is closed after the nursery, whose tasks may use that; ``None``
            if there is nothing.
        interrupted: the nursery has failed, or the user has cancelled it: then it has ended early.
        open: the nursery may be used: a handler, an error handler or a stream runs.
        interruptible: ends the current handler, middleware or stream if the nursery fails. Must not block.
        cancel_scope: around middleware and handler, or an error handler: a disconnect cancels it.
        due: when the route's timeout expires, by trio's clock.
        opened: the responses with open files, closed when the request ends.
        reported: the error that was reported last.
        failed: the error handlers that have failed, or that have answered last: none of them is called again.
    """

    # Defaults in the class: most requests set none of these, and setting each in `__init__` takes time.
    request: Request | None = None
    values = _NOTHING
    host: Start | None = None
    room: Room | None = None
    kept: Room | None = None
    interrupted = False
    open = False
    interruptible: Callable[[], object] | None = None
    cancel_scope: trio.CancelScope
    due = math.inf
    opened: tuple[PreparedResponse, ...] = ()
    reported: Exception | None = None
    failed: tuple[Registered, ...] = ()
    _inbox: Inbox | None = None

    def __init__(
        self, policy: Policy, endpoint: Endpoint, params: PathParams, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.policy = policy
        self.endpoint = endpoint
        self.params = params
        self.scope = scope
        self.receive = receive
        self.send = send
        self.own = own_transport(scope) or PLAIN

    # The client

    @property
    def inbox(self) -> Inbox:
        """The owner of a request's ``receive``, made on first use: see ``Origin``."""
        inbox = self._inbox
        if inbox is None:
            own, timeout = self.own, self.policy.limits.body_timeout
            at_hand = in_channel if own is PLAIN else own.receive_nowait
            inbox = self._inbox = Inbox(self.receive, at_hand, timeout, self.rate_for(timeout))
            own.paces_body()
        return inbox

    def rate_for(self, timeout: float | None) -> float | None:
        """The least bytes per second from or to the client: that of the route, the server, the app, or the default.

        Args:
            timeout: seconds without progress that the client may take; if ``None``, there is no default.
        """
        rate = self.endpoint.min_rate
        if rate == AUTO:
            rate = (self.scope.get("extensions") or {}).get(GIVEN_RATE, AUTO)
        if rate == AUTO:
            rate = self.policy.limits.min_rate
        if rate == AUTO:
            rate = None if timeout is None else MIN_RATE
        return rate

    def find_transport(self) -> Transport:
        """See ``Origin``."""
        return find_transport(self.scope, self.send)

    async def hint(self, links: list[bytes]) -> None:
        """See ``Origin``."""
        await trio.lowlevel.checkpoint()
        if links and EARLY_HINT in (self.scope.get("extensions") or {}):
            outbox = Outbox(self.send, self.scope["http_version"])
            outbox.transport = self.find_transport()
            with outbox.shield():
                await outbox.hint(links)

    @property
    def may_have_body(self) -> bool:
        """Whether the request may have a body. HTTP/1 announces it (RFC 9112, section 6.3); HTTP/2 need not."""
        if self.scope["http_version"][0] != "1":
            return not self.own.empty
        for name, value in self.scope["headers"]:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                return True
        return False

    @property
    def cancels_handler(self) -> bool:
        """Whether the handler is cancelled if the client disconnects before the response starts."""
        chosen = self.endpoint.cancel_on_disconnect
        return self.scope["method"] in SAFE if chosen is None else chosen

    def make_scope(self, *, shield: bool = False) -> AbstractContextManager[trio.CancelScope]:
        """A scope that a disconnect can cancel; if the server has one around the request, that: a scope takes 9 us."""
        return trio.CancelScope(shield=shield) if self.own.cancels is None else nullcontext(self.own.cancels)

    def left(self) -> None:
        """See ``Watcher``: cancel what runs."""
        self.cancel_scope.cancel()

    # The request

    def the_request(self) -> Request:
        """The request, made on first use, with the body limit of its route, else of its app."""
        if self.request is None:
            limit = self.endpoint.max_body_size
            most = self.policy.limits.max_body_size if limit is None else limit
            self.request = Request(self.scope, self.policy.app, self.params, self, most)
        return self.request

    def timed_out(self, *, started: bool) -> HTTPError | StreamTimeout:
        """The error of a request that exceeds its route's timeout, before or after its response has started."""
        endpoint = self.endpoint
        if started:
            return StreamTimeout(f"{endpoint.where} took longer than its timeout of {endpoint.timeout} s")
        log(logging.WARNING, self.scope, f"{endpoint.label} took longer than its timeout of {endpoint.timeout} s")
        return HTTPError(503, "It took too long to answer this request.")

    def cap(self, stream: Stream) -> None:
        """Limit a stream to the rest of the route's timeout."""
        if self.due < math.inf:
            left = self.due - trio.current_time()
            stream.max_duration = left if stream.max_duration is None else min(left, stream.max_duration)

    def judged(self, failure: Exception, *, started: bool) -> Exception:
        """The failure of a stream: the route's timeout if the stream was limited by it."""
        late = isinstance(failure, StreamTimeout) and failure is not self.reported and trio.current_time() >= self.due
        return self.timed_out(started=started) if late else failure

    async def prepared(self, response: Response) -> Response:
        """Prepare a file or range for its request, once; any other response is ready.

        Raises:
            HTTPError: if the request's conditions do not hold, or the file does not exist.
            OSError: if the file cannot be opened.
        """
        if isinstance(response, PreparedResponse) and not any(response is each for each in self.opened):
            request = self.the_request()
            response = await response.prepare(request.method, request.headers)
            self.opened += (response,)
        return response

    async def close_files(self, spared: Response | None = None) -> None:
        """Close the files of the responses that were prepared, but for one response."""
        opened, self.opened = self.opened, tuple(each for each in self.opened if each is spared)
        for each in opened:
            if each is not spared:
                await each.aclose()

    # The nursery

    @property
    def start(self) -> Start:
        """Starts a task that may outlive the request."""
        if self.host is not None:
            return self.host
        nursery = self.policy.nursery
        if nursery is None:
            raise RuntimeError("the app's lifespan has ended")
        return nursery.start_own

    @property
    def nursery(self) -> trio.Nursery:
        """See ``Request.nursery``."""
        if not self.open:
            raise RuntimeError("the request's nursery is not open: use app.nursery for work that outlives the request")
        nursery = self.open_room().nursery
        return watched_nursery(nursery) if self.policy.debug else nursery

    def open_room(self) -> Room:
        """The host of the nursery, made on first use. Does not block."""
        if self.room is None:
            self.room = Room(self.start, self._interrupt)
        return self.room

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to exit after the response: see ``Room.enter``."""
        if self.kept is None:
            self.kept = Room(self.start, self._interrupt)
        return await self.kept.enter(manager)

    def _interrupt(self) -> None:
        self.interrupted = True
        if self.interruptible is not None:
            self.interruptible()

    async def cut_short(self, response: Response | None) -> Exception | None:
        """Close a nursery that has ended early under a handler, or before its response was sent.

        Returns:
            The failure of the nursery, or an error if it was cancelled under a handler or stream: then the response is
            closed. ``None`` for a response in one piece, which can be sent.
        """
        failure = await self.close_room(None)
        if failure is None and response is not None and response.body is not None:
            return None
        try:
            await close_unsent(response)
            return failure or self.endpoint.cut_short()
        finally:
            del failure

    async def close_room(self, failure: Exception | None) -> Exception | None:
        """Close the nursery, if there is one, and what dependencies have opened: see ``close_rooms``."""
        rooms, self.room, self.kept, self.interrupted = (self.room, self.kept), None, None, False
        if rooms == (None, None):
            return failure
        if self.policy.debug and failure is not None and rooms[0] is not None:
            note_tasks(rooms[0].child_tasks)
        closing = close_rooms(*rooms, failure)
        del failure
        return await closing

    async def cancel_room(self, outbox: Outbox | None = None) -> None:
        """Cancel the nursery, and close it; a failure of its tasks is reported. The caller holds a shield."""
        self.dismiss()
        failure = await self.close_room(None)
        if failure is not None:
            self.report(outbox, failure)
        forget(failure)

    def dismiss(self) -> None:
        """Cancel the nursery without interrupting the request. Does not block."""
        for each in (self.room, self.kept):
            if each is not None:
                each.dismiss()

    # Errors

    def expects(self, error: Exception) -> bool:
        """Whether an exception is a response rather than a fault: see ``Policy.is_expected``."""
        return self.policy.is_expected(error, self.failed)

    def report(self, outbox: Outbox | None, failure: Exception, label: str | None = None) -> None:
        """Log an error once; no disconnect, and before the response has started no HTTP error.

        Args:
            outbox: knows how much of the response was sent; ``None`` if none of it was.
            failure: the error.
            label: what has failed, if it is not the handler.
        """
        if failure is self.reported:
            return
        self.reported = failure
        if outbox is None or not outbox.started:
            if not isinstance(failure, HTTPError):
                report(failure, self.scope, f"{label or self.endpoint.label} failed")
        else:
            report_sent(failure, self.scope, outbox)


async def close_unsent(response: Response | None) -> None:
    """Close the stream of a response that is not sent, unless it has begun."""
    stream = None if response is None else stream_of(response)
    if stream is not None and not stream.begun:
        await close_unused(stream.source)
