"""What the requests of an app share: limits, middleware and error handlers, and how errors are answered and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar
from urllib.parse import quote

import msgspec
import trio

from trioweb.exchange.clock import WritesInFlight
from trioweb.exchange.debug import describe, log_fault
from trioweb.exchange.lifespan import AppNursery
from trioweb.ground.chunks import HTML_TYPE
from trioweb.ground.errors import ClientDisconnected, HTTPError, InputError, RouteError, unwrap
from trioweb.ground.escapes import escape
from trioweb.ground.http.asgi import LifespanState, Scope
from trioweb.ground.http.headers import Headers
from trioweb.ground.problems import render_problem, wants_page
from trioweb.handlers.layers import Middleware
from trioweb.handlers.mistakes import written_for
from trioweb.handlers.signatures import Function, label_of, takes
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import LISTENERS, PLAIN, own_transport
from trioweb.messages.connection import Application
from trioweb.messages.limits import Limits
from trioweb.messages.response import Response

Registered = tuple[Function, str]
"""An error handler, and its name in messages."""
H = TypeVar("H", bound=Callable[..., object])


class Ends(Protocol):
    """Something that ends when the server stops: an event stream or a WebSocket."""

    def end(self) -> None:
        """End cleanly. Does not block."""
        ...


class Policy(msgspec.Struct, eq=False):
    """What the requests of an app share.

    Attributes:
        app: the app, for ``Request.app``.
        debug: show tracebacks to clients.
        limits: the defaults for all routes.
        writes: the small responses that are being sent.
        to_end: what ends when the server stops.
        stopping: the server stops.
        by_status: the error handlers for statuses.
        by_class: the error handlers for classes of exceptions.
        middleware: that of all routes, outermost first.
        nursery: the app's, while its lifespan runs.
        state: what the lifespan leaves to requests.
    """

    app: Application
    debug: bool
    limits: Limits
    writes: WritesInFlight
    to_end: set[Ends] = msgspec.field(default_factory=set)
    stopping: bool = False
    by_status: dict[int, Registered] = msgspec.field(default_factory=dict)
    by_class: dict[type[Exception], Registered] = msgspec.field(default_factory=dict)
    middleware: tuple[Middleware, ...] = ()
    nursery: AppNursery | None = None
    state: LifespanState = msgspec.field(default_factory=dict)

    def end_on_stop(self, what: Ends) -> None:
        """End something when the server stops, or now if it has. The caller removes it from ``to_end``."""
        self.to_end.add(what)
        if self.stopping:
            what.end()

    def register(self, error: int | type[Exception]) -> Callable[[H], H]:
        """A decorator for an error handler.

        Raises:
            TypeError: if ``error`` is neither a status nor a class of exceptions.
            ValueError: if it is not the status of an error.
            RouteError: if the function does not take ``(request, exc)``.
        """
        is_class = isinstance(error, type) and issubclass(error, Exception)
        if not is_class and not isinstance(error, int):
            raise TypeError(
                f"error_handler takes a status or an exception class, got {error!r}: write @app.error_handler(404)"
            )
        if isinstance(error, int) and not 400 <= error <= 599:
            raise ValueError(f"error_handler is for statuses 400 to 599, got {error!r}: others are no errors")

        def register(function: H) -> H:
            instead = written_for(function)
            if instead.startswith("write app.") or not callable(function) or not takes(function, 2):
                raise RouteError(
                    f"the error handler {getattr(function, '__qualname__', repr(function))} must take (request, exc): "
                    f"{instead or 'write `async def on_error(request, exc): return ...`'}"
                )
            entry = (function, label_of(function))
            if isinstance(error, int):
                self.by_status[error] = entry
            else:
                self.by_class[error] = entry
            return function

        return register

    def handler_for(self, error: Exception, failed: Collection[Registered] = ()) -> Registered | None:
        """The error handler for an exception: by its status, then by the nearest of its classes.

        That of ``Exception`` is for faults, so it is not called for an ``HTTPError``.

        Args:
            error: the exception.
            failed: the handlers that are left out, since they have failed for this request.
        """
        found: list[Registered | None] = []
        is_deliberate = isinstance(error, HTTPError)
        if isinstance(error, HTTPError):
            found.append(self.by_status.get(error.status))
        found += [self.by_class.get(cls) for cls in type(error).__mro__ if not (cls is Exception and is_deliberate)]
        if not is_deliberate:
            found.append(self.by_status.get(500))
        return next((entry for entry in found if entry is not None and entry not in failed), None)

    def is_expected(self, error: Exception, failed: Collection[Registered] = ()) -> bool:
        """Whether an exception is a response, not a fault: an ``HTTPError``, or its class has an error handler."""
        if isinstance(error, HTTPError):
            return True
        if not self.by_class:
            return False
        found = (self.by_class.get(cls) for cls in type(error).__mro__ if cls is not Exception)
        return any(entry is not None and entry not in failed for entry in found)

    def default_answer(self, failure: Exception, scope: Scope) -> Response:
        """The response to an error without a handler: a problem document, or a page for a browser."""
        page = wants_page(Headers.from_raw(scope["headers"]).get("accept", ""))
        if isinstance(failure, HTTPError):
            errors = failure.errors if isinstance(failure, InputError) else ()
            try:
                body, media_type = render_problem(failure.status, failure.detail, None, page, errors)
                return Response(body, failure.status, failure.headers, media_type)
            except (TypeError, ValueError) as error:
                report(error, scope, f"an HTTPError({failure.status}) has a detail or headers that cannot be sent")
        trace = None
        if self.debug and page:
            from trioweb.ground.faultpage import render_fault  # noqa: PLC0415 - only in debug mode

            return Response(render_fault(failure, *describe(scope)), 500, {"cache-control": "no-store"}, HTML_TYPE)
        if self.debug:
            from trioweb.ground.traces import format_trace  # noqa: PLC0415 - as above

            trace = format_trace(failure)
        body, media_type = render_problem(500, None, trace, page)
        return Response(body, 500, None, media_type)


def is_departure(failure: Exception) -> bool:
    """Whether an exception, or each of a group, says only that the client has disconnected."""
    if isinstance(failure, ExceptionGroup):
        return failure.split(ClientDisconnected)[1] is None
    return isinstance(failure, ClientDisconnected)


def together(failure: Exception | None, others: Exception | None) -> Exception | None:
    """The failure of a request and the other failures of its nursery, as one exception, unwrapped."""
    if failure is None or others is None:
        one = failure or others
        return None if one is None else unwrap(one)
    members = others.exceptions if isinstance(others, ExceptionGroup) else (others,)
    return ExceptionGroup("a handler and tasks in its nursery have failed", [failure, *members])


def split_cancelled(ended: BaseException) -> tuple[BaseException, Exception | None]:
    """Split what has ended a request into the cancellation, to raise, and the failure, to report."""
    if isinstance(ended, BaseExceptionGroup):
        cancelled, rest = ended.split(trio.Cancelled)
        if cancelled is not None and isinstance(rest, Exception):
            return cancelled, unwrap(rest)
    return ended, None


def report(failure: Exception, scope: Scope, text: str) -> None:
    """Log a fault with its request, and tell the server; a disconnect is not a fault."""
    if not is_departure(failure):
        log(logging.ERROR, scope, text, failure)
        (own_transport(scope) or PLAIN).failed(failure)
        for listener in (scope.get("extensions") or {}).get(LISTENERS, ()):
            listener(failure)


def report_sent(failure: Exception, scope: Scope, outbox: Outbox) -> None:
    """As ``report``, after the response has started."""
    if outbox.state is ENDED:
        report(failure, scope, f"failed after its response of {outbox.sent} bytes was sent")
    else:
        report(failure, scope, f"the response was broken off after {outbox.sent} bytes")


def log(level: int, scope: Scope, text: str, failure: Exception | None = None) -> None:
    """Log a text with the method and target of a request."""
    target = escape((scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1"))
    log_fault(level, "%s %s: %s", escape(scope.get("method", "WEBSOCKET")), target, text, error=failure)
