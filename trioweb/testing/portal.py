"""A trio loop in a thread of its own, for tests that are plain functions."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import TracebackType
from typing import Self, TypeVar

import trio

T = TypeVar("T")


class Portal:
    """Runs a loop while it is entered.

    Args:
        context: is open in the loop, and is entered and left in one task.
    """

    def __init__(self, context: AbstractAsyncContextManager[object]) -> None:
        self._context = context
        self._thread = threading.Thread(target=self._run, name="trioweb.testing", daemon=True)
        self._begun: Future[None] = Future()
        self._failures: list[BaseException] = []
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._over: trio.Event

    def __enter__(self) -> Self:
        """Start the loop.

        Raises:
            Exception: if the context cannot be entered.
            RuntimeError: in a task of trio, which this would block.
        """
        if trio.lowlevel.in_trio_task():
            raise RuntimeError("SyncTestClient blocks the loop of an async test: write `async with TestClient(app)`")
        self._thread.start()
        self._begun.result()
        return self

    def __exit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the context, end the loop, and raise an error of that, unless there is one already.

        What has ended the loop, such as a ``SystemExit`` in the app, is raised in any case: errors only follow from it.
        """
        with suppress(trio.RunFinishedError):  # what has ended it is raised below
            self._token.run_sync_soon(self._over.set)
        self._thread.join()
        if self._failures and (error is None or not isinstance(self._failures[0], Exception)):
            raise self._failures.pop()

    def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Call an async function in the loop, and wait for it. Its error is raised here."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """An async context manager as a plain one, entered and left in one task of the loop."""
        left, ended = trio.Event(), trio.Event()
        breaks = False
        failures: list[Exception] = []

        async def run(*, task_status: trio.TaskStatus[T]) -> None:
            is_open = False
            try:
                async with manager as value:
                    is_open = True
                    task_status.started(value)
                    await left.wait()
                    if breaks:
                        raise _Broken
            except _Broken:
                pass
            except Exception as error:
                if not is_open:
                    raise
                failures.append(error)
            finally:
                ended.set()

        async def leave() -> None:
            left.set()
            await ended.wait()
            if failures:
                raise failures.pop()

        value: T = self.call(self._nursery.start, run)
        try:
            yield value
        except BaseException:
            breaks = True
            raise
        finally:
            self.call(leave)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            if self._begun.done():
                self._failures.append(error)
            else:
                self._begun.set_exception(error)

    async def _main(self) -> None:
        self._token, self._over = trio.lowlevel.current_trio_token(), trio.Event()
        async with self._context, trio.open_nursery() as self._nursery:
            self._begun.set_result(None)
            await self._over.wait()
            self._nursery.cancel_scope.cancel()


class _Broken(Exception):
    """Raised in a context manager for an error of the test."""
