"""The adapter ``examples/psycopg_trio.py``, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio
import trio.testing

from examples.psycopg_trio import TrioConnection, open_connection
from tests.examples.cluster import Cluster
from tests.servers import PATIENCE


@asynccontextmanager
async def connection_to(postgres: Cluster, name: str) -> AsyncIterator[TrioConnection]:
    """A connection under a name of its own."""
    with trio.fail_after(PATIENCE):
        async with open_connection(f"{postgres.conninfo} application_name={name}") as connection:
            yield connection


async def running(postgres: Cluster, name: str, count: int, query: str = "%") -> None:
    """Wait until so many sessions are there."""
    await trio.to_thread.run_sync(postgres.wait_for_sessions, name, count, query)


async def test_queries_and_transactions(postgres: Cluster) -> None:
    """What a block did is committed at its end, and forgotten where an error leaves it."""
    async with connection_to(postgres, "t") as connection:
        await connection.execute("CREATE TABLE kept (n int)")
        await connection.execute("INSERT INTO kept VALUES (1)")
    with pytest.raises(ZeroDivisionError):
        async with connection_to(postgres, "t") as connection:
            await connection.execute("INSERT INTO kept VALUES (2)")
            raise ZeroDivisionError
    async with connection_to(postgres, "t") as connection:
        found = await connection.execute("SELECT n FROM kept")
        assert await found.fetchall() == [(1,)]
    await running(postgres, "t", 0)


async def test_an_error_is_psycopgs_own(postgres: Cluster) -> None:
    """A query that fails raises what psycopg raises, and the connection can be used again."""
    async with connection_to(postgres, "e") as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.execute("SELECT 1 / 0")
        await connection.rollback()
        assert await (await connection.execute("SELECT 7")).fetchone() == (7,)
        with pytest.raises(TypeError, match="move_on_after"):
            [_ async for _ in connection.notifies(timeout=1)]


async def test_others_go_on_meanwhile(postgres: Cluster) -> None:
    """While a query runs other tasks run, and those that share its connection take turns."""
    async with connection_to(postgres, "o") as connection, connection_to(postgres, "p") as other:
        got: list[int] = []

        async def ask(number: int, query: str) -> None:
            found = await (await connection.execute(query)).fetchone()
            assert found is not None
            got.append(found[0])
            assert found == (number,)

        await other.execute("SELECT pg_advisory_lock(5)")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 1, "SELECT 1 FROM pg_advisory_xact_lock(5)")
            await running(postgres, "o", 1, "SELECT 1%")
            nursery.start_soon(ask, 2, "SELECT 2")
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            await other.execute("SELECT pg_advisory_unlock(5)")
        assert got == [1, 2]


@pytest.mark.parametrize("query", ["SELECT pg_sleep(3600)", "SELECT count(*) FROM generate_series(1, 1000000000)"])
async def test_a_cancelled_query_ends_on_the_server(postgres: Cluster, query: str) -> None:
    """A cancellation ends the query where it runs; then the connection can be used again."""
    async with connection_to(postgres, "c") as connection:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.execute, query)
                await running(postgres, "c", 1, query)
                scope.cancel()
        assert scope.cancelled_caught
        await connection.rollback()
        assert await (await connection.execute("SELECT 7")).fetchone() == (7,)
    await running(postgres, "c", 0)


async def test_a_block_that_is_cancelled_closes(postgres: Cluster) -> None:
    """A cancellation of the whole block closes the cursor and the connection, whatever was under way."""
    with trio.CancelScope() as scope:
        async with connection_to(postgres, "b") as connection, connection.cursor("all") as cursor:
            assert isinstance(cursor, psycopg.AsyncServerCursor)
            await cursor.execute("SELECT n FROM generate_series(1, 10) AS n")
            assert await cursor.fetchone() == (1,)
            scope.cancel()
            await cursor.fetchone()
    assert scope.cancelled_caught
    assert cursor.closed
    assert connection.closed
    await running(postgres, "b", 0)


async def test_copy(postgres: Cluster) -> None:
    """Rows go in and out by COPY, more of them than a socket takes at once."""
    async with connection_to(postgres, "y") as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TEMPORARY TABLE copied (n int, filler text)")
        async with cursor.copy("COPY copied FROM STDIN") as into:
            for number in range(100_000):
                await into.write_row((number, "x" * 100))
        total = 0
        async with cursor.copy("COPY copied TO STDOUT") as out:
            async for row in out.rows():
                total += int(row[0])
        assert total == sum(range(100_000))


async def test_a_database_that_is_not_there() -> None:
    """A connection that cannot be made is psycopg's error, and says why."""
    with pytest.raises(psycopg.OperationalError, match=r"No such file or directory"):
        async with open_connection("host=/nowhere"):
            pass
