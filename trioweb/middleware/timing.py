"""How long a request has taken, as a response header (W3C Server Timing): browsers show it in the network panel."""

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
    """Measure a ``with`` block, as a metric of its own.

    Several of the same name are added up. It does nothing without a ``Timing`` around the request, or after the head of
    the response is sent.

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
    """Adds a ``server-timing`` header: the milliseconds until the response began, and those of each ``measure``. Error
    responses have it too.

    Every client can read these durations: decide whether they are meant for the public.

    Args:
        name: the name of the total.
    """

    def __init__(self, name: str = "app") -> None:
        self._name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next, and measure it."""
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
