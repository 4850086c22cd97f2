"""SQLite in worker threads: connections that read, and one that writes.

Rules that this module alone enforces:

* There is one writer. What it does is a transaction.
"""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Concatenate, Final, ParamSpec, TypeVar, overload

from trioweb.contrib.pool import TIMEOUT, Executed, PoolExhausted, Row, named
from trioweb.contrib.sqlite_connections import SQLiteConnections, run
from trioweb.io.entered import Entered

__all__ = ["Executed", "PoolExhausted", "SQLitePool"]

T = TypeVar("T")
P = ParamSpec("P")
Params = Sequence[object] | Mapping[str, object]

READERS: Final = 4
"""Connections that read at the same time, each in a thread of its own: more do not read faster from one disk."""
BATCH: Final = 500
"""Rows that a thread reads at a time: some 50 KB. A change of threads takes 0.1 ms, as long as reading a hundred."""
BATCH_TIME: Final = 0.05
"""Seconds after which a batch is given, however few rows it has."""


class SQLitePool(Entered):
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
        self._writer = SQLiteConnections(Path(path), 1, timeout, writes=True)
        self._readers = SQLiteConnections(Path(path), readers, timeout, writes=False)

    async def _open(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self._writer)  # which makes the file
        await stack.enter_async_context(self._readers)

    def __repr__(self) -> str:
        return f"<SQLitePool, readers: {self._readers!r}, writer: {self._writer!r}>"

    async def execute(self, statement: str, params: Params = ()) -> Executed:
        """Run one statement that writes, in a transaction of its own; ``write`` is for several.

        Raises:
            Exception: as ``write`` does.
        """
        return await self.write(_execute, statement, params)

    @overload
    async def fetch_one(self, query: str, params: Params = ()) -> Row | None: ...
    @overload
    async def fetch_one(self, query: str, params: Params = (), *, make: Callable[..., T]) -> T | None: ...
    async def fetch_one(self, query: str, params: Params = (), *, make: Callable[..., object] | None = None) -> object:
        """The first row of a query, or ``None``. Waits as ``read``; arguments and errors are those of ``rows``."""
        found = await self.read(_fetch, query, params, make, 1)
        return found[0] if found else None

    @overload
    async def fetch_all(self, query: str, params: Params = ()) -> list[Row]: ...
    @overload
    async def fetch_all(self, query: str, params: Params = (), *, make: Callable[..., T]) -> list[T]: ...
    async def fetch_all(self, query: str, params: Params = (), *, make: Callable[..., object] | None = None) -> object:
        """All rows of a query, in memory; ``rows`` streams them. Waits as ``read``; arguments are those of ``rows``."""
        return await self.read(_fetch, query, params, make, None)

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
            return await run(connection, lambda: _call(partial(function, connection, *args, **kwargs)))

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
            return await run(connection, lambda: _transact(connection, partial(function, connection, *args, **kwargs)))

    @overload
    def rows(self, query: str, params: Params = ()) -> AsyncGenerator[Row, None]: ...
    @overload
    def rows(self, query: str, params: Params = (), *, make: Callable[..., T]) -> AsyncGenerator[T, None]: ...
    async def rows(
        self, query: str, params: Params = (), *, make: Callable[..., object] | None = None
    ) -> AsyncGenerator[object, None]:
        """The rows of a query, to be streamed. A thread reads some hundred at a time, which leave in large messages. A
        client that reads slowly slows the query down, and one that leaves interrupts it.

        Args:
            query: a ``SELECT``.
            params: for its placeholders.
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
                await run(connection, cursor.execute, query, params)
                made = make or _names_of(cursor)
                while batch := await run(connection, _fetch_batch, cursor, made):
                    for row in batch:
                        yield row
            finally:
                cursor.close()


def _check(function: Callable[..., object]) -> None:
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} runs in a thread: write `def`, without async")


def _call(call: Callable[[], T]) -> T:
    try:
        value = call()
    except sqlite3.OperationalError as error:
        if "readonly database" in str(error):
            error.add_note(
                "this only reads: write `await pool.execute(statement)` or `await pool.write(function)` instead"
            )
        raise
    if isinstance(value, sqlite3.Cursor):
        raise TypeError(
            "a cursor ends with its connection's block: write `await pool.execute(statement, params)` for one "
            "statement, or return what it has found, by .fetchall()"
        )
    return value


def _transact(connection: sqlite3.Connection, call: Callable[[], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        value = _call(call)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return value


def _execute(connection: sqlite3.Connection, statement: str, params: Params) -> Executed:
    cursor = connection.execute(statement, params)
    return Executed(cursor.rowcount, cursor.lastrowid)


def _fetch(
    connection: sqlite3.Connection, query: str, params: Params, make: Callable[..., T] | None, most: int | None
) -> list[T | Row]:
    cursor = connection.execute(query, params)
    made = make or _names_of(cursor)
    return [made(*values) for values in islice(cursor, most)]


def _names_of(cursor: sqlite3.Cursor) -> Callable[..., Row]:
    return named([column[0] for column in cursor.description or ()])


def _fetch_batch(cursor: sqlite3.Cursor, make: Callable[..., T]) -> list[T]:
    """The next rows, until they are many, or took long."""
    end = monotonic() + BATCH_TIME
    rows = []
    for values in islice(cursor, BATCH):
        rows.append(make(*values))
        if monotonic() > end:
            break
    return rows
