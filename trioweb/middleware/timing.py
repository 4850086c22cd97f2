"""How long a request has taken, told to its client (W3C Server Timing): browsers show it in their network panel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import Response

_spans: ContextVar[list[tuple[str, float]]] = ContextVar("trioweb_timing")


@contextmanager
def measure(name: str) -> Iterator[None]:
    """Take the time of a ``with`` block, to be told as a figure of its own.

    Several of one name add up. Where no ``Timing`` is around the request this does nothing; what a stream does after
    its head has left is too late.

    Args:
        name: a token: letters, digits and hyphens.
    """
    begin = time.perf_counter()
    try:
        yield
    finally:
        spans = _spans.get(None)
        if spans is not None:
            spans.append((name, time.perf_counter() - begin))


class Timing:
    """Adds a ``server-timing`` header: the milliseconds until the response began, and those of each ``measure``. Errors
    have it too.

    It tells everybody who asks how long things take here, which may be more than they should know.

    Args:
        name: the name of the whole.
    """

    def __init__(self, name: str = "app") -> None:
        self._name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Go on, and take the time."""
        spans: list[tuple[str, float]] = []
        token = _spans.set(spans)
        mark = partial(self._mark, spans, time.perf_counter())
        request.mark_errors(mark)
        try:
            response = await call_next(request)
        finally:
            _spans.reset(token)
        mark(response)
        return response

    def _mark(self, spans: list[tuple[str, float]], begin: float, response: Response) -> None:
        totals = {self._name: time.perf_counter() - begin}
        for name, seconds in spans:
            totals[name] = totals.get(name, 0.0) + seconds
        figures = ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in totals.items())
        response.headers.append("server-timing", figures)
