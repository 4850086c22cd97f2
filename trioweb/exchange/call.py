"""One call of the app: what is asked, who asks, and what is to answer. All who serve it hand on this one thing."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar, cast

import trio

from trioweb.exchange.policy import Policy, Registered, report
from trioweb.ground.errors import HTTPError
from trioweb.ground.http.asgi import PathParams, Receive, Scope, Send
from trioweb.ground.pace import AUTO, MIN_RATE
from trioweb.handlers.endpoint import Endpoint
from trioweb.handlers.signatures import Kind
from trioweb.io.hypercorn import find_transport
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import GIVEN_RATE, Transport, own_transport
from trioweb.messages.request import Request
from trioweb.messages.response import Response

T = TypeVar("T")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose handlers are cancelled when the client leaves: nobody is there for what they would have found."""

_NOTHING: Final[dict[object, object]] = {}
NO_ROUTE: Final = Endpoint(lambda: None, "the app", "no route", Kind.COROUTINE)
"""What stands for a handler where there is none."""


class Call:
    """A request, or a WebSocket, and the handler that is to answer it.

    Attributes:
        policy: of the app.
        endpoint: the handler, with what its route says of it.
        params: the path's.
        scope: ASGI's.
        receive: of the server.
        send: of the server.
        found: what the lack of a handler has led to already, in place of one.
        values: what dependencies have provided so far, by who provides it: each is asked once.
        reported: the fault that was reported last.
        failed: the error handlers that have failed: none of them is asked again.
    """

    __slots__ = (
        "_inbox", "endpoint", "failed", "found", "params", "policy", "receive", "reported", "scope", "send", "values",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        endpoint: Endpoint,
        params: PathParams,
        scope: Scope,
        receive: Receive,
        send: Send,
        found: Response | Exception | None = None,
    ) -> None:
        self.policy = policy
        self.endpoint = endpoint
        self.params = params
        self.scope = scope
        self.receive = receive
        self.send = send
        self.found = found
        self.reported: Exception | None = None
        self.failed: tuple[Registered, ...] = ()
        self.values: dict[object, object] = _NOTHING
        self._inbox: Inbox | None = None

    @property
    def inbox(self) -> Inbox:
        """Who calls ``receive``, of a request: see ``Origin``."""
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = Inbox(self.receive)
            inbox.timeout = self.policy.limits.body_timeout
            inbox.min_rate = self.rate_for(inbox.timeout)
            own = own_transport(self.scope)
            if own is not None:
                inbox.at_hand = own.receive_nowait
                own.paces_body()
        return inbox

    def rate_for(self, timeout: float | None) -> float | None:
        """Bytes a second that the client must send or take: as its route says, who runs the server, or the app.

        Args:
            timeout: for how long it may give or take nothing; without that it may be as slow as it likes, unless
                somebody has said otherwise.
        """
        given = (self.scope.get("extensions") or {}).get(GIVEN_RATE, AUTO)
        for rate in (self.endpoint.min_rate, given, self.policy.limits.min_rate):
            if rate != AUTO:
                return cast("float | None", rate)
        return None if timeout is None else MIN_RATE

    def make_request(self) -> Request:
        """The request as its handler sees it, with the limits of its route, else of its app."""
        limit = self.endpoint.max_body_size
        most = self.policy.limits.max_body_size if limit is None else limit
        return Request(self.scope, self.policy.app, self.params, self, most)

    @property
    def nursery(self) -> trio.Nursery:
        """See ``Origin``: what is no request has none."""
        raise RuntimeError("the request's nursery is not open: use app.nursery for work that outlives the request")

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """See ``Provider``: what is no request holds nothing."""
        raise NotImplementedError

    def find_transport(self) -> Transport:
        """See ``Origin``."""
        return find_transport(self.scope, self.send)

    @property
    def may_have_body(self) -> bool:
        """Whether a request body can come. HTTP/1 announces it (RFC 9112, section 6.3); HTTP/2 need not."""
        if self.scope["http_version"][0] != "1":
            return True
        for name, value in self.scope["headers"]:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                return True
        return False

    @property
    def cancels_handler(self) -> bool:
        """Whether a client that leaves before the response starts cancels the handler."""
        chosen = self.endpoint.cancel_on_disconnect
        return self.scope["method"] in SAFE if chosen is None else chosen

    def expects(self, error: Exception) -> bool:
        """Whether an exception is an answer, rather than a fault: see ``Policy.is_expected``."""
        return self.policy.is_expected(error, self.failed)

    def report(self, outbox: Outbox | None, failure: Exception) -> None:
        """Log a fault of a request once, and how far its response has come. An answer is none, nor is a departure."""
        if failure is self.reported:
            return
        self.reported = failure
        if outbox is None or not outbox.started:
            if not isinstance(failure, HTTPError):
                report(failure, self.scope, f"{self.endpoint.label} failed")
        elif outbox.state is ENDED:
            report(failure, self.scope, f"failed after its response of {outbox.sent} bytes was sent")
        else:
            report(failure, self.scope, f"the response was broken off after {outbox.sent} bytes")
