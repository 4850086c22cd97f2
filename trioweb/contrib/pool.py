"""Connections that tasks share: each is lent to one at a time, in the order in which they have asked.

Rules that this module alone enforces:

* At most ``limit`` connections are open, and nobody waits longer than ``timeout`` for one.
* A connection is lent only if it is fit, and kept only if it could be restored to what it was; any other is closed,
  and opened anew for whoever comes next.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import trio

from trioweb.io.entered import Entered
from trioweb.messages.limits import check_seconds

T = TypeVar("T")
Row: TypeAlias = dict[str, Any]
"""The values of a row by the names of its columns."""

TIMEOUT: Final = 5.0
"""Seconds that a task waits for a connection unless a pool says otherwise: a client still waits, too."""


class Executed(NamedTuple):
    """What a statement has done.

    Attributes:
        rowcount: the rows that it has changed; -1 if it changes none, such as ``CREATE TABLE``.
        lastrowid: the id of the row that SQLite has inserted last; ``None`` with PostgreSQL, where
            ``fetch_one("INSERT ... RETURNING id")`` says it.
    """

    rowcount: int
    lastrowid: int | None = None


class PoolExhausted(Exception):
    """All connections of a pool were in use for its whole timeout."""


class Pool(Entered, ABC, Generic[T]):
    """Opens, lends, keeps and closes connections. An async context manager; it can be entered again after it was left.

    Args:
        limit: the most connections that are open.
        timeout: seconds to wait for one, in the order of asking.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        if timeout is None:
            raise ValueError("timeout is a number of seconds, got None: nobody waits for ever while a client waits")
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit is the most connections, at least 1, got {limit!r}")
        check_seconds("timeout", timeout)
        self._limit = limit
        self._timeout = timeout
        self._slots: trio.Semaphore | None = None
        self._idle: list[tuple[T, float]] = []  # with the times since when; the last one is lent next

    @abstractmethod
    async def _connect(self) -> T:
        """Open a connection, within the timeout."""

    @abstractmethod
    async def _is_fit(self, connection: T, idle: float) -> bool:
        """Whether a connection that was kept for so many seconds can be lent."""

    @abstractmethod
    async def _restore(self, connection: T) -> bool:
        """Undo what its user has left. Whether it can be kept; never raises, and ends soon."""

    @abstractmethod
    async def _disconnect(self, connection: T) -> None:
        """Close a connection; never raises, and ends soon."""

    async def _open(self, stack: AsyncExitStack) -> None:
        self._idle.append((await self._connect(), trio.current_time()))
        self._slots = trio.Semaphore(self._limit)
        stack.push_async_callback(self._close)

    async def _close(self) -> None:
        self._slots = None  # connections that are in use are closed when they come back
        with trio.CancelScope(shield=True):
            while self._idle:
                await self._disconnect(self._idle.pop()[0])

    def __repr__(self) -> str:
        name, slots = type(self).__name__, self._slots
        if slots is None:
            return f"<{name}, not open>"
        waiting = slots.statistics().tasks_waiting
        return f"<{name}, {self._limit - slots.value} of {self._limit} connections in use, {waiting} tasks waiting>"

    @asynccontextmanager
    async def _lend(self, *, keep: bool = True) -> AsyncIterator[T]:
        """A connection for a block. A cancellation while it waits leaves nothing behind.

        Args:
            keep: whether it may be lent again after the block.

        Raises:
            RuntimeError: if the pool is not open.
            PoolExhausted: if none is free within the timeout.
            Exception: if none can be opened.
        """
        slots = self._slots
        if slots is None:
            raise RuntimeError(f"{self!r}: write app.lifespan(pool), or use it within `async with pool:`")
        with trio.move_on_after(self._timeout) as waiting:
            await slots.acquire()
        if waiting.cancelled_caught:
            raise PoolExhausted(
                f"{self!r}: none was free for {self._timeout:g} s: hold each one shorter, without waiting for anything "
                "else in its block, or open the pool with a higher limit="
            )
        try:
            connection = await self._take()
            try:
                yield connection
            finally:
                with trio.CancelScope(shield=True):
                    if keep and await self._restore(connection) and self._slots is slots:
                        self._idle.append((connection, trio.current_time()))
                    else:
                        await self._disconnect(connection)
        finally:
            slots.release()

    async def _take(self) -> T:
        while self._idle:
            connection, since = self._idle.pop()
            fit = False
            try:
                fit = await self._is_fit(connection, trio.current_time() - since)
            finally:
                if not fit:
                    with trio.CancelScope(shield=True):
                        await self._disconnect(connection)
            if fit:
                return connection
        return await self._connect()


def named(columns: Sequence[str]) -> Callable[..., Row]:
    """Makes a dictionary of the values of a row.

    Raises:
        ValueError: if two columns have the same name.
    """
    if len(set(columns)) < len(columns):
        raise ValueError(f"two columns have the same name, of {list(columns)}: rename one by AS, or say make=")
    return lambda *values: dict(zip(columns, values, strict=True))
