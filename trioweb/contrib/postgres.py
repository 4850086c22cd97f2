"""PostgreSQL on trio: psycopg's connections in a pool. Needs ``trioweb[postgres]``.

Rules that this module alone enforces:

* What a block or a dependency has not committed is rolled back before its connection is lent again.
* A connection that was told something while nobody used it, or has been kept for long, is asked whether it is alive.
"""

from __future__ import annotations

import random
import select
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeVar, overload

import trio

from trioweb.contrib.pool import TIMEOUT, Executed, Pool, PoolExhausted, Row, named
from trioweb.contrib.psycopg_connection import PostgresConnection
from trioweb.messages.limits import check_seconds

import psycopg  # isort: skip - behind the module that says what to install
from psycopg import sql  # isort: skip
from psycopg.abc import Params, Query  # isort: skip
from psycopg.generators import fetch_many  # isort: skip
from psycopg.pq import TransactionStatus  # isort: skip

__all__ = ["Executed", "PoolExhausted", "PostgresConnection", "PostgresPool"]

T = TypeVar("T")

LIMIT: Final = 10
"""Connections of a pool: PostgreSQL accepts 100 unless told otherwise, from all workers together."""
LIFETIME: Final = 3600.0
"""Seconds after which a connection is closed: a server's memory for it grows with what it was used for."""
HEALTH: Final = 30.0
"""Seconds without use after which a connection is asked whether it is alive."""
ANSWERING: Final = 2.0
"""Seconds in which it must answer."""
RESTORING: Final = 5.0
"""Seconds in which it must be rolled back."""
BATCH: Final = 500
"""Rows of a stream that the server gives at a time: some 50 KB."""

_OPEN: Final = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class PostgresPool(Pool[PostgresConnection]):
    """Connections to a PostgreSQL, shared by the requests of a worker.

    ::

        pool = PostgresPool("dbname=shop")
        app.lifespan(pool)

        @app.get("/price/{product}")
        async def price(product: str):
            return await pool.fetch_one("SELECT price FROM products WHERE name = %s", [product])

    It is an async context manager, and connects once when it is entered: if that fails, the app does not start.
    Connections that a server has closed, in a restart for instance, are replaced when they are asked for.

    Args:
        conninfo: as of ``psql``: a URL, or ``host=... dbname=...``; ``PGHOST`` and the like say the rest.
        limit: the most connections. Each worker has a pool of its own.
        timeout: seconds to wait for one, in the order of asking, and for the server to answer.
        lifetime: seconds after which one is replaced by a new one; up to a tenth less, so that not all are at once.
        configure: an async function that is called with each new connection; what it does is committed.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        conninfo: str = "",
        *,
        limit: int = LIMIT,
        timeout: float = TIMEOUT,
        lifetime: float = LIFETIME,
        configure: Callable[[PostgresConnection], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(limit, timeout)
        check_seconds("lifetime", lifetime)
        self._conninfo = conninfo
        self._lifetime = lifetime
        self._configure = configure

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[PostgresConnection]:
        """A connection for a block, whose changes are committed at its end, or rolled back by an error.

        Waits for one at most the pool's timeout. A cancellation rolls back.

        Raises:
            PoolExhausted: if none is free within that.
            psycopg.OperationalError: if the server cannot be reached.
            RuntimeError: if the pool is not open.
        """
        async with self._lend() as connection:
            yield connection
            await trio.lowlevel.checkpoint_if_cancelled()
            await connection.commit()

    async def transaction(self) -> AsyncGenerator[PostgresConnection, None]:
        """A dependency: ``connection: Annotated[PostgresConnection, Provide(pool.transaction)]``.

        A dependency is closed after the response was sent, which is too late to find out that a commit fails. So the
        handler commits: ``await connection.commit()``, before it returns. What it has not committed is rolled back.

        Raises:
            RuntimeError: after the response, if the handler has changed something and not committed it.
            Exception: as ``connection`` does.
        """
        async with self._lend() as connection:
            yield connection
            if connection.pgconn.transaction_status == TransactionStatus.INTRANS:
                found = await (await connection.execute("SELECT txid_current_if_assigned()")).fetchone()
                if found != (None,):
                    raise RuntimeError(
                        "what this request has changed by pool.transaction is rolled back: write `await "
                        "connection.commit()` before its handler returns"
                    )

    async def execute(self, statement: Query, params: Params | None = None) -> Executed:
        """Run one statement, and commit it; ``connection`` is for several.

        Raises:
            Exception: as ``connection`` does; ``psycopg.Error`` if the statement fails.
        """
        async with self._ran(statement, params, None) as cursor:
            return Executed(cursor.rowcount)

    @overload
    async def fetch_one(self, query: Query, params: Params | None = None) -> Row | None: ...
    @overload
    async def fetch_one(self, query: Query, params: Params | None = None, *, make: Callable[..., T]) -> T | None: ...
    async def fetch_one(
        self, query: Query, params: Params | None = None, *, make: Callable[..., object] | None = None
    ) -> object:
        """The first row of a query, or ``None``; also of ``INSERT ... RETURNING``, which is committed. Waits as
        ``connection``, and a cancellation cancels the query. Arguments and errors are those of ``rows``.
        """
        async with self._ran(query, params, make) as cursor:
            return await cursor.fetchone()

    @overload
    async def fetch_all(self, query: Query, params: Params | None = None) -> list[Row]: ...
    @overload
    async def fetch_all(self, query: Query, params: Params | None = None, *, make: Callable[..., T]) -> list[T]: ...
    async def fetch_all(
        self, query: Query, params: Params | None = None, *, make: Callable[..., object] | None = None
    ) -> object:
        """All rows of a query, in memory; ``rows`` streams them. Waits, and takes arguments, as ``fetch_one``."""
        async with self._ran(query, params, make) as cursor:
            return await cursor.fetchall()

    @overload
    def rows(self, query: Query, params: Params | None = None) -> AsyncGenerator[Row, None]: ...
    @overload
    def rows(
        self, query: Query, params: Params | None = None, *, make: Callable[..., T]
    ) -> AsyncGenerator[T, None]: ...
    async def rows(
        self, query: Query, params: Params | None = None, *, make: Callable[..., object] | None = None
    ) -> AsyncGenerator[object, None]:
        """The rows of a query, to be streamed. The server gives some hundred at a time, by a cursor of its own. A
        client that reads slowly slows the query down, and one that leaves cancels it.

        Has one of the pool's connections as long as it runs.

        Args:
            query: a ``SELECT``.
            params: for its placeholders.
            make: called with the values of each row, such as a class whose fields are the columns. Unless given, rows
                are dictionaries.

        Raises:
            ValueError: if there is no ``make``, and two columns have the same name.
            Exception: as ``connection`` does; ``psycopg.Error`` if the query fails.
        """
        async with self._lend() as connection, connection.cursor("rows", row_factory=_rows_of(make)) as cursor:
            cursor.itersize = BATCH
            await cursor.execute(query, params)
            async for row in cursor:
                yield row

    async def copy_out(self, statement: Query, params: Params | None = None) -> AsyncGenerator[bytes, None]:
        """What ``COPY ... TO STDOUT`` gives, row by row, to be streamed as it is. Ending it early cancels the query.

        Has one of the pool's connections as long as it runs. See also ``PostgresConnection.copy_in``.

        Args:
            statement: such as ``COPY (SELECT ...) TO STDOUT WITH (FORMAT csv, HEADER)``.
            params: for its placeholders.

        Raises:
            Exception: as ``connection`` does; ``psycopg.Error`` if the statement fails.
        """
        async with self._lend() as connection, connection.cursor() as cursor, cursor.copy(statement, params) as copy:
            while data := await copy.read():
                yield bytes(data)

    @asynccontextmanager
    async def listen(self, *channels: str) -> AsyncIterator[AsyncGenerator[psycopg.Notify, None]]:
        """The notifications of channels, from now on, for ``async for``; each has ``channel``, ``payload``, ``pid``.

        It has one of the pool's connections as long as its block runs, and that is closed with it: one block for a
        worker, which publishes to a hub, serves any number of clients. If the connection is lost the iteration raises;
        what was notified until it listens again is lost, so read the table then.

        Raises:
            TypeError: if there is no channel.
            Exception: as ``connection`` does; in the iteration ``psycopg.OperationalError`` if the connection is lost.
        """
        if not channels:
            raise TypeError('listen takes the names of channels: write pool.listen("orders")')
        async with self._lend(keep=False) as connection:
            await connection.set_autocommit(True)
            for channel in channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            async with aclosing(connection.notifies()) as notifications:
                yield notifications

    @asynccontextmanager
    async def _ran(
        self, query: Query, params: Params | None, make: Callable[..., object] | None
    ) -> AsyncIterator[psycopg.AsyncCursor[Any]]:
        async with self.connection() as connection, connection.cursor(row_factory=_rows_of(make)) as cursor:
            await cursor.execute(query, params)  # type: ignore[arg-type]  # psycopg has a signature for each kind
            yield cursor

    # The pool

    async def _connect(self) -> PostgresConnection:
        connection = None
        try:
            with trio.move_on_after(self._timeout):
                connection = await PostgresConnection.connect(self._conninfo)
            if connection is None:
                raise psycopg.errors.ConnectionTimeout(f"PostgreSQL did not answer within {self._timeout:g} s")
            if self._configure is not None:
                await self._configure(connection)
                await connection.commit()
        except BaseException:
            if connection is not None:
                await connection.close()
            raise
        connection.expires = trio.current_time() + self._lifetime * random.uniform(0.9, 1)  # noqa: S311 - no secret
        return connection

    async def _is_fit(self, connection: PostgresConnection, idle: float) -> bool:
        if connection.closed or trio.current_time() >= connection.expires:
            return False
        connection.in_pool = False
        if idle < HEALTH and not _has_news(connection.pgconn.socket):
            return True
        with trio.move_on_after(ANSWERING):
            try:
                await connection.set_autocommit(True)  # or the empty query would begin a transaction
                await connection.execute("")
                await connection.set_autocommit(False)
            except psycopg.Error:
                return False
            return True
        return False

    async def _restore(self, connection: PostgresConnection) -> bool:
        if connection.closed:
            return False
        try:
            if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:  # a query that nobody has ended
                await connection.abandon(fetch_many(connection.pgconn))
            if connection.pgconn.transaction_status in _OPEN:
                with trio.move_on_after(RESTORING):
                    await connection.rollback()
        except psycopg.Error:
            return False
        connection.in_pool = True
        return connection.pgconn.transaction_status == TransactionStatus.IDLE

    async def _disconnect(self, connection: PostgresConnection) -> None:
        await connection.close()


def _rows_of(make: Callable[..., object] | None) -> Callable[[Any], Callable[[Sequence[Any]], Any]]:
    """What psycopg makes rows by."""

    def maker(cursor: Any) -> Callable[[Sequence[Any]], Any]:
        made = make or named([column.name for column in cursor.description or ()])
        return lambda values: made(*values)

    return maker


def _has_news(fd: int) -> bool:
    """Whether there is something to read: that the server has ended the session, for instance."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
