"""A trio loop in a thread of its own, for tests that are plain functions."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

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
        self._token.run_sync_soon(self._over.set)
        self._thread.join()
        if self._failures and (error is None or not isinstance(self._failures[0], Exception)):
            raise self._failures.pop()

    def call(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Call an async function in the loop, and wait for it. Its error is raised here."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def hold(self, manager: AbstractAsyncContextManager[T]) -> Held[T]:
        """An async context manager as a plain one, entered and left in one task of the loop."""
        return Held(self, manager)

    def start_soon(self, function: Callable[[], Awaitable[object]]) -> None:
        """Start a task, from the loop; it is cancelled before the context is left."""
        self._nursery.start_soon(function)

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


class Held(Generic[T]):
    """See ``Portal.hold``."""

    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[T]) -> None:
        self._portal = portal
        self._manager = manager
        self._value: list[T] = []
        self._failures: list[Exception] = []
        self._opened, self._left, self._ended = trio.Event(), trio.Event(), trio.Event()
        self._breaks = False

    def __enter__(self) -> T:
        self._portal.call(self._open)
        return self._value.pop()

    def __exit__(self, cls: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        self._breaks = error is not None
        self._portal.call(self._close)

    async def _open(self) -> None:
        self._portal.start_soon(self._run)
        await self._opened.wait()
        self._raise()

    async def _close(self) -> None:
        self._left.set()
        await self._ended.wait()
        self._raise()

    def _raise(self) -> None:
        if self._failures:
            raise self._failures.pop()

    async def _run(self) -> None:
        try:
            async with self._manager as value:
                self._value.append(value)
                self._opened.set()
                await self._left.wait()
                if self._breaks:
                    raise _Broken
        except _Broken:
            pass
        except Exception as error:
            self._failures.append(error)
        finally:
            self._opened.set()
            self._ended.set()
