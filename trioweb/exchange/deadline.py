"""A route's ``timeout``: the seconds from its handler's start to the end of its response."""

from __future__ import annotations

import logging
import math

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.policy import log
from trioweb.ground.errors import HTTPError, StreamTimeout
from trioweb.streams.producer import Stream


class Deadline:
    """When a request must be answered, and what becomes of one that is not.

    Args:
        call: whose timeout it is.
    """

    __slots__ = ("_call", "_due", "_limit")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._due = math.inf
        self._limit: trio.CancelScope | None = None

    def around(self) -> trio.CancelScope | None:
        """What the handler and its response are to run in, where they have a time."""
        self._limit = None if self._call.endpoint.timeout is None else trio.CancelScope()
        return self._limit

    def begin(self) -> None:
        """The handler is about to start."""
        seconds = self._call.endpoint.timeout
        if self._limit is not None and seconds is not None:
            self._due = self._limit.deadline = trio.current_time() + seconds

    def met(self) -> None:
        """The handler has returned; what is left of the time is its response's.

        Raises:
            HTTPError: it has returned too late.
        """
        if self._limit is not None:
            if self._limit.cancel_called:
                raise self.outlasted(started=False)
            self._limit.deadline = math.inf

    def check(self, *, started: bool) -> None:
        """After what ``around`` was around: raise where that was cut short."""
        if self._limit is not None and self._limit.cancelled_caught:
            raise self.outlasted(started=started)

    def lift(self) -> None:
        """What comes next may take its time."""
        self._due = math.inf

    def cap(self, stream: Stream) -> None:
        """Leave a stream no more than what is left."""
        if self._due < math.inf:
            left = self._due - trio.current_time()
            stream.max_duration = left if stream.max_duration is None else min(left, stream.max_duration)

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return trio.current_time() >= self._due

    def outlasted(self, *, started: bool) -> HTTPError | StreamTimeout:
        """The error of a request that has outlasted its time, before or after its response has started."""
        endpoint = self._call.endpoint
        if started:
            return StreamTimeout(f"{endpoint.where} took longer than its timeout of {endpoint.timeout} s")
        text = f"{endpoint.label} took longer than its timeout of {endpoint.timeout} s"
        log(logging.WARNING, self._call.scope, text)
        return HTTPError(503, "It took too long to answer this request.")
