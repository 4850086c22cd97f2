"""How long a request has taken, as a response header (W3C Server Timing): browsers show it in the network panel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from trioweb.ground.http.headers import is_token
from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import Response


class _Measured:
    """Names and seconds for the head of a response; ``None`` when it is made: a stream may go on measuring for days."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        self.spans: list[tuple[str, float]] | None = []


_measured: ContextVar[_Measured] = ContextVar("trioweb_timing")


@contextmanager
def measure(name: str) -> Iterator[None]:
    """Measure a ``with`` block, as a metric of its own.

    Several of the same name are added up. It does nothing without a ``Timing`` around the request, or after the head of
    the response is sent.

    Args:
        name: a token: letters, digits and hyphens.

    Raises:
        ValueError: if the name cannot stand in the header.
    """
    _check(name)
    begin = time.perf_counter()
    try:
        yield
    finally:
        measured = _measured.get(None)
        if measured is not None and (spans := measured.spans) is not None:
            spans.append((name, time.perf_counter() - begin))


def _check(name: str) -> None:
    if not is_token(name):
        raise ValueError(f"the name of a metric is letters, digits and hyphens, got {name!r}")


class Timing:
    """Adds a ``server-timing`` header: the milliseconds until the response began, and those of each ``measure``. Error
    responses have it too.

    Every client can read these durations: decide whether they are meant for the public.

    Args:
        name: the name of the total.

    Raises:
        ValueError: if the name cannot stand in the header.
    """

    def __init__(self, name: str = "app") -> None:
        _check(name)
        self._name = name

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next, and measure it."""
        measured = _Measured()
        token = _measured.set(measured)
        mark = partial(self._mark, measured, time.perf_counter())
        request.mark_errors(mark)
        try:
            response = await call_next(request)
        finally:
            _measured.reset(token)
        mark(response)
        return response

    def _mark(self, measured: _Measured, begin: float, response: Response) -> None:
        totals = {self._name: time.perf_counter() - begin}
        spans, measured.spans = measured.spans or (), None
        for name, seconds in spans:
            totals[name] = totals.get(name, 0.0) + seconds
        figures = ", ".join(f"{name};dur={seconds * 1000:.1f}" for name, seconds in totals.items())
        response.headers.append("server-timing", figures)
