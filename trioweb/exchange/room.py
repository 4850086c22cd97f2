"""A request's nursery, and what its dependencies hold: hosted in a task beside the request's, and made on first use.

Rules that this module alone enforces:

* The nursery opens and closes in ``Room._host``. What fails in it is kept as a value until ``close`` hands it over.
* What dependencies hold is entered and left in that task too, in reverse order, so that it may outlive what middleware
  opens around the handler.
* When the nursery is cancelled, by a task of its that fails or by the user, the request is interrupted first; what its
  dependencies hold is left when the request has let go of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from typing import Any, TypeVar

import trio

from trioweb.exchange.policy import together
from trioweb.ground.errors import taken
from trioweb.messages.resources import Resources

T = TypeVar("T")
AsyncFunction = Callable[..., Awaitable[object]]
Start = Callable[..., None]
"""Starts a task that outlives the request if it must: ``start(async_fn)``."""

_MISSING = object()


class Room:
    """Has the interface of a ``trio.Nursery``; tasks that are started before it is open start when it is.

    Args:
        start: starts the task that hosts it.
        interrupt: called where it ends before it is told to. Does not block.
    """

    __slots__ = (
        "_ended", "_entered", "_entering", "_failure", "_interrupt", "_news", "_nursery", "_released", "_resources",
        "_told", "_waiting", "cancel_scope", "interrupted",
    )  # fmt: skip

    def __init__(self, start: Start, interrupt: Callable[[], None]) -> None:
        self.cancel_scope = trio.CancelScope()
        self._interrupt: Callable[[], None] | None = interrupt
        self.interrupted = False
        """It has ended, or is about to, and was not told to."""
        self._nursery: trio.Nursery | None = None
        self._resources = Resources()
        self._waiting: list[tuple[Context, AsyncFunction, tuple[object, ...], object]] = []
        self._entering: tuple[Context, AbstractAsyncContextManager[object]] | None = None
        self._entered: tuple[Context, Any, Exception | None] | None = None
        self._told: Exception | None = None  # what the request has failed with
        self._failure: Exception | None = None  # what the nursery has
        self._released = trio.Event()  # the request uses nothing of it any more
        self._ended = trio.Event()
        self._news = trio.lowlevel.ParkingLot()
        start(self._host)

    # For the user

    def start_soon(self, async_fn: AsyncFunction, *args: object, name: object = None) -> None:
        """Start a task. Does not block."""
        if self._nursery is not None:
            self._nursery.start_soon(async_fn, *args, name=name)
        elif self._ended.is_set():
            raise RuntimeError("the request's nursery is closed: use app.nursery for work that outlives the request")
        else:
            self._waiting.append((copy_context(), async_fn, args, name))

    async def start(self, async_fn: AsyncFunction, *args: object, name: object = None) -> Any:
        """Start a task and wait until it calls ``task_status.started()``. An error before that is raised here."""
        return await (await self.opened()).start(async_fn, *args, name=name)

    @property
    def child_tasks(self) -> frozenset[trio.lowlevel.Task]:
        """The tasks that run in it."""
        return frozenset() if self._nursery is None else self._nursery.child_tasks

    # For the request

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery: itself where it is open already, else what stands for it."""
        return self._nursery or self  # type: ignore[return-value]

    async def opened(self) -> trio.Nursery:
        """Wait until the nursery is open. A cancellation leaves it as it is."""
        while self._nursery is None:
            if self._ended.is_set():
                raise RuntimeError("the request's nursery is closed")
            await self._news.park()
        return self._nursery

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to be left after the response. Context variables that it sets are set here too.

        A cancellation cancels all that is hosted.

        Raises:
            Exception: whatever it raised.
        """
        self._entering = (copy_context(), manager)
        del manager
        self._news.unpark_all()
        try:
            while self._entered is None:
                if self._ended.is_set():
                    await trio.lowlevel.checkpoint()
                    raise RuntimeError("the request's nursery was cancelled while a dependency was set up")
                await self._news.park()
        except trio.Cancelled:
            self.cancel_scope.cancel()
            raise
        (context, value, failure), self._entered = self._entered, None
        _adopt(context)
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
        return value  # type: ignore[no-any-return]

    async def close(self, told: BaseException | None) -> BaseException | None:
        """The request has ended, and its response is sent or given up: leave what is held, then close the nursery.

        Waits for the tasks in it; where something has failed they are cancelled. A cancellation cancels them too, and
        waits for their end.

        Args:
            told: what the request has failed with: raised in what dependencies hold.

        Returns:
            The same, or what it has led to; with what tasks have failed with meanwhile.
        """
        if isinstance(told, Exception):
            self._told = told
        elif told is not None:
            self.cancel_scope.cancel()
        self._released.set()
        self._news.unpark_all()
        try:
            with trio.CancelScope(shield=told is not None):
                await self._ended.wait()
        except trio.Cancelled:
            self.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await self._ended.wait()
            raise
        finally:
            self._interrupt = None
            untold, self._told = self._told, None  # where it was cancelled before it could be raised
            failure, self._failure = together(untold, self._failure), None
            del untold
        try:
            return failure if told is None or isinstance(told, Exception) else told
        finally:
            del told, failure

    def dismiss(self) -> None:
        """Cancel the tasks in it, without interrupting the request; what dependencies hold waits for ``close``."""
        self._interrupt = None
        self.cancel_scope.cancel()

    # The task

    async def _host(self) -> None:
        failure: Exception | None = None
        others: Exception | None = None
        try:
            with self.cancel_scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self._news.unpark_all()
                    for context, async_fn, args, name in self._waiting:
                        context.run(self._begin, nursery, async_fn, args, name)
                    self._waiting.clear()
                    try:
                        async with self._resources:
                            await self._serve()
                    except Exception as error:
                        failure = taken(error)
                        nursery.cancel_scope.cancel()
        except Exception as error:
            others = taken(error)
        finally:
            self._nursery = None
            self._failure = together(failure, others)
            failure = others = None
            self._waiting.clear()
            if self._interrupt is not None and not self._released.is_set():
                self._interrupted()
            self._ended.set()
            self._news.unpark_all()

    @staticmethod
    def _begin(nursery: trio.Nursery, async_fn: AsyncFunction, args: tuple[object, ...], name: object) -> None:
        nursery.start_soon(async_fn, *args, name=name)

    async def _serve(self) -> None:
        """Enter what dependencies hold, as it is asked for, until the request is over."""
        try:
            while not self._released.is_set():
                if self._entering is None:
                    await self._news.park()
                    continue
                (context, manager), self._entering = self._entering, None
                _adopt(context)
                failure: Exception | None = None
                value: object = None
                try:
                    value = await self._resources.enter(manager)
                except Exception as error:
                    failure = taken(error)
                del manager
                self._entered = (copy_context(), value, failure)
                del value, failure
                self._news.unpark_all()
        except trio.Cancelled:
            self._interrupted()
            with trio.CancelScope(shield=True):
                await self._released.wait()
            raise
        if self._told is not None:
            told, self._told = self._told, None
            try:
                raise told
            finally:
                del told

    def _interrupted(self) -> None:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None and not self._released.is_set():
            self.interrupted = True
            interrupt()


def _adopt(context: Context) -> None:
    """Set the context variables of another task here, where they differ."""
    for variable, value in context.items():
        if variable.get(_MISSING) is not value:
            variable.set(value)
