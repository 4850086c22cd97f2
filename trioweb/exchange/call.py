"""One call of the app: a request or WebSocket, its endpoint, and what their parts share."""

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
"""Methods whose handlers are cancelled if the client disconnects: they change nothing (RFC 9110, section 9.2.1)."""

_NOTHING: Final[dict[object, object]] = {}
NO_ROUTE: Final = Endpoint(lambda: None, "the app", "no route", Kind.COROUTINE)
"""The endpoint of a request without a route."""


class Call:
    """A request, or a WebSocket, and the endpoint that answers it.

    Attributes:
        policy: the app's.
        endpoint: the handler, with the options of its route.
        params: the path parameters.
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.
        found: without a route, the response or error to answer with: a redirect, or a 404 for instance.
        values: the values of the dependencies so far, by their keys: each dependency is called once.
        reported: the error that was reported last.
        failed: the error handlers that have failed: none of them is called again.
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
        """The owner of a request's ``receive``, made on first use: see ``Origin``."""
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
        """The least bytes per second from or to the client: that of the route, the server, the app, or the default.

        Args:
            timeout: seconds without progress that the client may take; if ``None``, there is no default.
        """
        given = (self.scope.get("extensions") or {}).get(GIVEN_RATE, AUTO)
        for rate in (self.endpoint.min_rate, given, self.policy.limits.min_rate):
            if rate != AUTO:
                return cast("float | None", rate)
        return None if timeout is None else MIN_RATE

    def make_request(self) -> Request:
        """Make the request for the handler, with the body limit of its route, else of its app."""
        limit = self.endpoint.max_body_size
        most = self.policy.limits.max_body_size if limit is None else limit
        return Request(self.scope, self.policy.app, self.params, self, most)

    @property
    def nursery(self) -> trio.Nursery:
        """See ``Origin``. A ``Call`` that is not handled has no nursery."""
        raise RuntimeError("the request's nursery is not open: use app.nursery for work that outlives the request")

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """See ``Provider``. A ``Call`` that is not handled has no dependencies."""
        raise NotImplementedError

    def find_transport(self) -> Transport:
        """See ``Origin``."""
        return find_transport(self.scope, self.send)

    @property
    def may_have_body(self) -> bool:
        """Whether the request may have a body. HTTP/1 announces it (RFC 9112, section 6.3); HTTP/2 need not."""
        if self.scope["http_version"][0] != "1":
            return True
        for name, value in self.scope["headers"]:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                return True
        return False

    @property
    def cancels_handler(self) -> bool:
        """Whether the handler is cancelled if the client disconnects before the response starts."""
        chosen = self.endpoint.cancel_on_disconnect
        return self.scope["method"] in SAFE if chosen is None else chosen

    def expects(self, error: Exception) -> bool:
        """Whether an exception is a response rather than a fault: see ``Policy.is_expected``."""
        return self.policy.is_expected(error, self.failed)

    def report(self, outbox: Outbox | None, failure: Exception) -> None:
        """Log an error once, with how much of the response was sent; no disconnect, and before that no HTTP error."""
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
