"""SQLite in worker threads: connections that read, and one that writes.

Rules that this module alone enforces:

* A connection is used by one thread at a time. What runs there when its task is cancelled is interrupted, again and
  again until it has ended, and the task waits for that.
* There is one writer. What it does is a transaction.
"""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from threading import Event
from time import monotonic
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, overload

import trio

from trioweb.contrib.pool import TIMEOUT, Pool, PoolExhausted
from trioweb.io.threads import beside, in_thread

__all__ = ["PoolExhausted", "SQLitePool"]

T = TypeVar("T")
P = ParamSpec("P")
Parameters = Sequence[object] | Mapping[str, object]

READERS: Final = 4
"""Connections that read at the same time, each in a thread of its own: more do not read faster from one disk."""
BATCH: Final = 500
"""Rows that a thread reads at a time: some 50 KB. A change of threads takes 0.1 ms, as long as reading a hundred."""
BATCH_TIME: Final = 0.05
"""Seconds after which a batch is given, however few rows it has."""
PAUSE: Final = 0.05
"""Seconds between two interruptions of a thread that goes on."""


class SQLitePool:
    """A database file, shared by the requests of a worker. Other workers and programs may use it as well.

    ::

        pool = SQLitePool("shop.sqlite3")
        app.lifespan(pool)

        @app.get("/orders.csv")
        async def orders():
            return CSVResponse(pool.rows("SELECT id, product, price FROM orders"))

    It is an async context manager. The file is made if it is not there, and put into WAL mode: then who reads waits for
    nobody who writes. Foreign keys are enforced.

    Args:
        path: of the file.
        readers: the most connections that read at the same time. Each stream has one as long as it runs.
        timeout: seconds to wait for a connection, in the order of asking, and for another program that writes.

    Raises:
        ValueError: if an argument is out of range, or the path is ``:memory:``, of which each connection has its own.
    """

    def __init__(self, path: str | Path, *, readers: int = READERS, timeout: float = TIMEOUT) -> None:
        if not str(path) or ":memory:" in str(path) or str(path).startswith("file:"):
            raise ValueError(f"a pool shares a file between connections, got {str(path)!r}: write the path of a file")
        self._writer = _Connections(Path(path), 1, timeout, writes=True)
        self._readers = _Connections(Path(path), readers, timeout, writes=False)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._writer)  # which makes the file
            await stack.enter_async_context(self._readers)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def __repr__(self) -> str:
        return f"<SQLitePool, readers: {self._readers!r}, writer: {self._writer!r}>"

    async def read(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function(connection, ...)`` in a worker thread, and return what it returns.

        A cancellation interrupts its query, and waits until the function has ended.

        Raises:
            PoolExhausted: if no connection is free within the pool's timeout.
            sqlite3.OperationalError: if it writes; and whatever the function raises.
            TypeError: if it is an ``async def``, or returns a cursor.
        """
        _check(function)
        async with self._readers._lend() as connection:
            return await _run(connection, _call, function, connection, args, kwargs)

    async def write(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function(connection, ...)`` in a worker thread and a transaction, which is committed when it returns
        and rolled back if it raises. One at a time.

        A cancellation interrupts and rolls back; if it comes too late for that, what was written is kept.

        Raises:
            Exception: as ``read`` does.
        """
        _check(function)
        async with self._writer._lend() as connection:
            return await _run(connection, _transact, function, connection, args, kwargs)

    @overload
    def rows(self, query: str, parameters: Parameters = ()) -> AsyncGenerator[dict[str, Any], None]: ...
    @overload
    def rows(self, query: str, parameters: Parameters = (), *, make: Callable[..., T]) -> AsyncGenerator[T, None]: ...
    async def rows(
        self, query: str, parameters: Parameters = (), *, make: Callable[..., object] | None = None
    ) -> AsyncGenerator[object, None]:
        """The rows of a query, to be streamed. A thread reads some hundred at a time, which leave in large messages. A
        client that reads slowly slows the query down, and one that leaves interrupts it.

        Args:
            query: a ``SELECT``.
            parameters: for its placeholders.
            make: called with the values of each row, such as a class whose fields are the columns. Unless given, rows
                are dictionaries.

        Raises:
            PoolExhausted: if no connection is free within the pool's timeout.
            ValueError: if there is no ``make``, and two columns have the same name.
            sqlite3.Error: if the query fails.
        """
        async with self._readers._lend() as connection:
            cursor = connection.cursor()
            try:
                await _run(connection, cursor.execute, query, parameters)
                made = make or _names_of(cursor)
                while batch := await _run(connection, _fetch, cursor, made):
                    for row in batch:
                        yield row
            finally:
                cursor.close()


class _Connections(Pool[sqlite3.Connection]):
    def __init__(self, path: Path, limit: int, timeout: float, *, writes: bool) -> None:
        super().__init__(limit, timeout)
        self._path = path
        self._writes = writes

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, of {self._path}>"

    async def _connect(self) -> sqlite3.Connection:
        return await in_thread(_open, self._path, self._timeout, self._writes)

    async def _is_fit(self, connection: sqlite3.Connection, idle: float) -> bool:  # noqa: ARG002 - a file does not go
        return True

    async def _restore(self, connection: sqlite3.Connection) -> bool:
        return not connection.in_transaction

    async def _disconnect(self, connection: sqlite3.Connection) -> None:
        await in_thread(connection.close)


def _open(path: Path, timeout: float, writes: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        if writes:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
        else:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(function: Any) -> None:
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} runs in a thread: write `def`, without async")


def _call(function: Callable[..., T], connection: sqlite3.Connection, args: Any, kwargs: Any) -> T:
    try:
        value = function(connection, *args, **kwargs)
    except sqlite3.OperationalError as error:
        if "readonly database" in str(error):
            error.add_note("pool.read only reads: write `await pool.write(function)` instead")
        raise
    if isinstance(value, sqlite3.Cursor):
        raise TypeError("a cursor ends with its connection's block: return what it has found, by .fetchall()")
    return value


def _transact(function: Callable[..., T], connection: sqlite3.Connection, args: Any, kwargs: Any) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        value = _call(function, connection, args, kwargs)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return value


def _names_of(cursor: sqlite3.Cursor) -> Callable[..., object]:
    names = [column[0] for column in cursor.description or ()]
    if len(set(names)) < len(names):
        raise ValueError(f"two columns have the same name, of {names}: rename one by AS, or say make=")
    return lambda *values: dict(zip(names, values, strict=True))


def _fetch(cursor: sqlite3.Cursor, make: Callable[..., T]) -> list[T]:
    """The next rows, until they are many, or took long."""
    end = monotonic() + BATCH_TIME
    rows = []
    for values in islice(cursor, BATCH):
        rows.append(make(*values))
        if monotonic() > end:
            break
    return rows


async def _run(connection: sqlite3.Connection, function: Callable[..., T], *args: object) -> T:
    """Call a function in a thread. A cancellation interrupts the connection, and waits until the function has ended."""
    ended = Event()

    async def work() -> T:
        try:
            return await in_thread(function, *args)
        finally:
            ended.set()

    return await beside(work(), _interrupt_when_cancelled, connection, ended)


async def _interrupt_when_cancelled(connection: sqlite3.Connection, ended: Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            while not ended.is_set():
                connection.interrupt()  # ends a statement that runs, and not the next one
                await trio.to_thread.run_sync(ended.wait, PAUSE, limiter=trio.CapacityLimiter(1))
