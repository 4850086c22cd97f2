"""Hosts a request's nursery and its dependencies in a task beside the request's, made on first use.

Rules that this module alone enforces:

* The nursery opens and closes in ``Room._host``. Its failure is a value, which ``close`` returns.
* Dependencies are entered and exited in a task of a second one, in reverse order, so that they may outlive what
  middleware opens around the handler, and are open until the tasks in the nursery have ended.
* If the nursery is cancelled, by a failed task or the user, the request is interrupted first, and the dependencies are
  exited after the request has called ``close``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from typing import TypeVar, cast

import trio

from trioweb.exchange.clock import Start
from trioweb.exchange.lifespan import AsyncFunction
from trioweb.exchange.policy import together
from trioweb.ground.errors import taken
from trioweb.messages.resources import Resources

T = TypeVar("T")

_MISSING = object()


class Room:
    """Has the interface of a ``trio.Nursery``; tasks that are started before it is open start when it is.

    Args:
        start: starts the task that hosts it.
        interrupt: called if the nursery ends before ``close``. Must not block.
    """

    __slots__ = (
        "_changed", "_ended", "_entered", "_entering", "_failure", "_interrupt", "_nursery", "_raises", "_released",
        "_resources", "_waiting", "cancel_scope", "interrupted",
    )  # fmt: skip

    def __init__(self, start: Start, interrupt: Callable[[], None]) -> None:
        self.cancel_scope = trio.CancelScope()
        self._interrupt: Callable[[], None] | None = interrupt
        self.interrupted = False
        """The nursery has ended, or is about to, before ``close``."""
        self._nursery: trio.Nursery | None = None
        self._resources = Resources()
        self._waiting: list[tuple[Context, AsyncFunction, tuple[object, ...], object]] = []
        self._entering: tuple[Context, AbstractAsyncContextManager[object]] | None = None
        self._entered: tuple[Context, object, Exception | None] | None = None
        self._raises: Exception | None = None  # the request's failure, to be raised in the dependencies
        self._failure: Exception | None = None  # the nursery's
        self._released = trio.Event()  # by `close`
        self._ended = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
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

    async def start(self, async_fn: AsyncFunction, *args: object, name: object = None) -> object:
        """Start a task and wait until it calls ``task_status.started()``. An error before that is raised here."""
        return await (await self.opened()).start(async_fn, *args, name=name)

    @property
    def child_tasks(self) -> frozenset[trio.lowlevel.Task]:
        """The tasks that run in it."""
        return frozenset() if self._nursery is None else self._nursery.child_tasks

    # For the request

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery if it is open, else this object in its place."""
        return self._nursery or self  # type: ignore[return-value]

    async def opened(self) -> trio.Nursery:
        """Wait until the nursery is open. A cancellation does not affect it."""
        while self._nursery is None:
            if self._ended.is_set():
                raise RuntimeError("the request's nursery is closed")
            await self._changed.park()
        return self._nursery

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager in the hosting task, to exit after the response. Context variables are set in both.

        A cancellation cancels the nursery.

        Raises:
            Exception: if the manager raises.
        """
        self._entering = (copy_context(), manager)
        del manager
        self._changed.unpark_all()
        try:
            while self._entered is None:
                if self._ended.is_set():
                    await trio.lowlevel.checkpoint()
                    raise RuntimeError("the request's nursery was cancelled while a dependency was set up")
                await self._changed.park()
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
        return cast("T", value)

    async def close(self, failure: Exception | None) -> Exception | None:
        """Exit the dependencies, then close the nursery, after the request's response was sent or aborted.

        Waits for the tasks in the nursery, which a failure of the request cancels. A cancellation cancels them too, and
        waits for their end.

        Args:
            failure: the request's, which is raised in the dependencies.

        Returns:
            The failure, or the exception that replaces it, grouped with the failures of tasks.
        """
        self._raises = failure
        failed = failure is not None
        del failure
        self._released.set()
        self._changed.unpark_all()
        try:
            if not failed:
                await self._ended.wait()
        except trio.Cancelled:
            self.cancel_scope.cancel()
            raise
        finally:
            if not self._ended.is_set():
                # The tasks of a failed request are cancelled and end soon: a cancellation must not replace its failure.
                with trio.CancelScope(shield=True):
                    await self._ended.wait()
            unraised, self._raises = self._raises, None  # if `_serve` was cancelled before it could raise it
            failures, self._failure = (unraised, self._failure), None
            del unraised
        try:
            return together(*failures)
        finally:
            del failures  # their tracebacks may refer to this frame

    def dismiss(self) -> None:
        """Cancel the tasks without interrupting the request; dependencies are exited after ``close``."""
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
                    self._changed.unpark_all()
                    for context, async_fn, args, name in self._waiting:  # with the context variables of their starters
                        context.run(nursery.start_soon, async_fn, *args, name=name)
                    self._waiting.clear()
                    try:
                        async with self._resources:
                            await self._serve()
                    except Exception as error:
                        failure = taken(error)
                        nursery.cancel_scope.cancel()  # the request has failed, or a dependency on exit: end its tasks
        except Exception as error:
            others = taken(error)
        finally:
            self._nursery = None
            self._failure = together(failure, others)
            failure = others = None
            self._waiting.clear()
            self._interrupted()
            self._ended.set()
            self._changed.unpark_all()

    async def _serve(self) -> None:
        """Enter dependencies as requested, until ``close``; then raise the request's failure for them to see."""
        try:
            while not self._released.is_set():
                if self._entering is None:
                    await self._changed.park()
                    continue
                (context, manager), self._entering = self._entering, None
                _adopt(context)  # the manager sees the context variables of the request's task
                failure: Exception | None = None
                value: object = None
                try:
                    value = await self._resources.enter(manager)
                except Exception as error:
                    failure = taken(error)
                del manager
                self._entered = (copy_context(), value, failure)
                del value, failure
                self._changed.unpark_all()
        except trio.Cancelled:
            self._interrupted()
            # The handler may use its dependencies until it has ended.
            with trio.CancelScope(shield=True):
                await self._released.wait()
            raise
        if self._raises is not None:  # inside the block of `_resources`, whose managers see it
            failure, self._raises = self._raises, None
            try:
                raise failure
            finally:
                del failure  # its traceback refers to this frame

    def _interrupted(self) -> None:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None and not self._released.is_set():
            self.interrupted = True
            interrupt()


async def close_rooms(nursery: Room | None, kept: Room | None, failure: Exception | None) -> Exception | None:
    """Close a request's nursery, and then what dependencies have opened, for a request with this failure.

    They are told of the failure with which the nursery ends, or that it was cancelled. See ``Room.close``.
    """
    try:
        if nursery is not None:
            closing = nursery.close(failure)
            failure = None
            failure = await closing
            if kept is not None and failure is None and nursery.interrupted:
                kept.dismiss()
        if kept is None:
            return failure
        closing, kept = kept.close(failure), None
        failure = None
        return await closing
    finally:
        del failure
        if kept is not None:  # a cancellation has ended the nursery
            kept.dismiss()
            with trio.CancelScope(shield=True):
                await kept.close(None)


def _adopt(context: Context) -> None:
    """Set the context variables of another task here, if they differ."""
    for variable, value in context.items():
        if variable.get(_MISSING) is not value:
            variable.set(value)
