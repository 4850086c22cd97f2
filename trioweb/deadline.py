"""A route's ``timeout``: the seconds from its handler's start to the end of its response."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import trio

from trioweb.ground.asgi import Scope
from trioweb.ground.errors import StreamTimeout
from trioweb.handlers import Endpoint
from trioweb.policy import overdue
from trioweb.wire.producer import Stream


class Deadline:
    """When a request must be answered, and what becomes of one that is not.

    Args:
        endpoint: whose timeout it is.
        scope: the request's.
    """

    __slots__ = ("_due", "_endpoint", "_limit", "_scope")

    def __init__(self, endpoint: Endpoint, scope: Scope) -> None:
        self._endpoint = endpoint
        self._scope = scope
        self._due = math.inf
        self._limit: trio.CancelScope | None = None

    def around(self) -> AbstractContextManager[object]:
        """What the handler and its response are to run in."""
        self._limit = None if self._endpoint.timeout is None else trio.CancelScope()
        return self._limit or nullcontext()

    def begin(self) -> None:
        """The handler is about to start."""
        if self._limit is not None and self._endpoint.timeout is not None:
            self._due = self._limit.deadline = trio.current_time() + self._endpoint.timeout

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

    def outlasted(self, *, started: bool) -> Exception:
        """The error of a request that has outlasted its time, before or after its response has started."""
        if started:
            return StreamTimeout(f"{self._endpoint.where} took longer than its timeout of {self._endpoint.timeout} s")
        return overdue(self._endpoint, self._scope)
