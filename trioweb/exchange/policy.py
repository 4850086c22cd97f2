"""What all requests of an app have in common: its error handlers, and what an error is to the client and to the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import trio

from trioweb.exchange.debug import log_fault
from trioweb.exchange.lifespan import AppNursery
from trioweb.ground.errors import ClientDisconnected, HTTPError, InputError, RouteError, unwrap
from trioweb.ground.escapes import escape
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.headers import Headers
from trioweb.ground.problems import render_problem, wants_page
from trioweb.ground.traces import format_trace
from trioweb.handlers.layers import Middleware
from trioweb.handlers.signatures import Kind, call_in_thread, kind_of, label_of, takes
from trioweb.handlers.sweep import WritesInFlight
from trioweb.io.transport import PLAIN, own_transport
from trioweb.messages.connection import Application
from trioweb.messages.limits import Limits
from trioweb.messages.request import Request
from trioweb.messages.response import Response

ErrorHandler = Callable[[Request, Any], Any]
Registered = tuple[ErrorHandler, str]
"""An error handler, and its name for messages."""
H = TypeVar("H", bound=Callable[..., object])


class Ends(Protocol):
    """What is told when the server stops."""

    def end(self) -> None:
        """Come to an end. Does not block."""
        ...


@dataclass(slots=True)
class Policy:
    """What all requests of an app have in common.

    Attributes:
        app: what requests show as their app.
        debug: errors show their traceback to the client.
        limits: of all requests that do not say otherwise.
        to_end: what is ended when the server stops: event streams and WebSockets.
        stopping: the server was told to stop.
        writes: the small responses that are being sent.
        by_status: error handlers for statuses.
        by_class: error handlers for classes of exceptions.
        middleware: what all requests go through, outermost first.
        nursery: the app's, while its lifespan runs.
    """

    app: Application
    debug: bool
    limits: Limits
    to_end: set[Ends] = field(default_factory=set)
    stopping: bool = False
    writes: WritesInFlight = field(init=False)
    by_status: dict[int, Registered] = field(default_factory=dict)
    by_class: dict[type[Exception], Registered] = field(default_factory=dict)
    middleware: tuple[Middleware, ...] = ()
    nursery: AppNursery | None = None

    def __post_init__(self) -> None:
        self.writes = WritesInFlight(self.limits.write_timeout)

    def end_on_stop(self, what: Ends) -> None:
        """Have it end when the server stops, or now where that has come. Who calls this takes it out of ``to_end``."""
        self.to_end.add(what)
        if self.stopping:
            what.end()

    def register(self, error: int | type[Exception]) -> Callable[[H], H]:
        """A decorator for an error handler.

        Raises:
            TypeError: ``error`` is neither a status nor a class of exceptions.
            ValueError: it is a status, and not of an error.
            RouteError: what it decorates does not take ``(request, exc)``.
        """
        is_class = isinstance(error, type) and issubclass(error, Exception)
        if not is_class and not isinstance(error, int):
            raise TypeError(
                f"error_handler takes a status or an exception class, got {error!r}: write @app.error_handler(404)"
            )
        if isinstance(error, int) and not 400 <= error <= 599:
            raise ValueError(f"error_handler is for statuses 400 to 599, got {error!r}: others are no errors")

        def register(function: H) -> H:
            if not callable(function) or not takes(function, 2):
                raise RouteError(
                    f"the error handler {getattr(function, '__qualname__', repr(function))} must take (request, exc): "
                    "write `async def on_error(request, exc): return ...`"
                )
            entry = (function, label_of(function))
            if isinstance(error, int):
                self.by_status[error] = entry
            else:
                self.by_class[error] = entry
            return function

        return register

    def handler_for(self, error: Exception, failed: Collection[Registered] = ()) -> Registered | None:
        """The error handler for an exception: its status first, then the nearest of its classes. That of ``Exception``
        is for faults, which an ``HTTPError`` is not.

        Args:
            error: the exception.
            failed: the handlers that have failed with this request: the next one is looked for.
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
        """Whether an exception is an answer, rather than a fault to log: its own class has a handler, or it is one."""
        if isinstance(error, HTTPError):
            return True
        if not self.by_class:
            return False
        found = (self.by_class.get(cls) for cls in type(error).__mro__ if cls is not Exception)
        return any(entry is not None and entry not in failed for entry in found)

    def default_answer(self, failure: Exception, scope: Scope) -> Response:
        """The answer to an error that has no handler: a problem document, or a page for a browser."""
        page = wants_page(Headers.from_raw(scope["headers"]).get("accept", ""))
        if isinstance(failure, HTTPError):
            errors = failure.errors if isinstance(failure, InputError) else ()
            body, media_type = render_problem(failure.status, failure.detail, None, page, errors)
            try:
                return Response(body, failure.status, failure.headers, media_type)
            except (TypeError, ValueError) as error:
                report(error, scope, f"an HTTPError({failure.status}) has headers that cannot be sent")
        trace = format_trace(failure) if self.debug else None
        body, media_type = render_problem(500, None, trace, page)
        return Response(body, 500, None, media_type)


def is_departure(failure: Exception) -> bool:
    """Whether it is only the news that the client has left, for one task or for several."""
    if isinstance(failure, ExceptionGroup):
        return failure.split(ClientDisconnected)[1] is None
    return isinstance(failure, ClientDisconnected)


def together(failure: Exception | None, others: Exception | None) -> Exception | None:
    """What a request has failed with, and what its nursery has raised besides, as one exception, unwrapped."""
    if failure is None or others is None:
        one = failure or others
        return None if one is None else unwrap(one)
    members = others.exceptions if isinstance(others, ExceptionGroup) else (others,)
    return ExceptionGroup("a handler and tasks in its nursery have failed", [failure, *members])


def split_cancelled(ended: BaseException, failure: Exception | None = None) -> tuple[BaseException, Exception | None]:
    """What ends a request from outside, to be raised on, and the faults beside it, to be reported."""
    if isinstance(ended, BaseExceptionGroup):
        cancelled, rest = ended.split(trio.Cancelled)
        if cancelled is not None and isinstance(rest, Exception):
            return cancelled, together(failure, rest)
    return ended, failure


def report(failure: Exception, scope: Scope, text: str) -> None:
    """Log a fault with its request. A client that left is none."""
    if not is_departure(failure):
        log(logging.ERROR, scope, text, failure)
        (own_transport(scope) or PLAIN).failed(failure)


def log(level: int, scope: Scope, text: str, failure: Exception | None = None) -> None:
    """Log something about a request."""
    target = escape((scope.get("raw_path") or quote(scope["path"]).encode()).decode("latin-1"))
    log_fault(level, "%s %s: %s", escape(scope.get("method", "WEBSOCKET")), target, text, error=failure)


def mark_error(request: Request, response: Response) -> None:
    """Have the middlewares add what they would to an answer that they do not see: see ``Request.mark_errors``."""
    for mark in reversed(request._marks or ()):
        try:
            mark(response)
        except Exception as error:
            report(error, request.scope, f"{label_of(mark)}, which marks errors, failed")


async def call_error_handler(handler: ErrorHandler, request: Request, error: Exception) -> Any:
    """Call an error handler: an ``async def`` or generator function here, a plain ``def`` in a worker thread."""
    kind = kind_of(handler)
    held = [error]  # to be taken out: a handler may raise it, and this frame would be in a cycle with it
    del error
    if kind is Kind.COROUTINE:
        return await handler(request, held.pop())
    if kind is Kind.GENERATOR:
        return handler(request, held.pop())
    return await call_in_thread(lambda: handler(request, held.pop()))
