"""psycopg's connection on trio, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import trio
import trio.testing

from tests.contrib.cluster import Cluster
from tests.servers import PATIENCE
from trioweb.contrib.postgres import PostgresConnection


@asynccontextmanager
async def connection_to(postgres: Cluster, name: str) -> AsyncIterator[PostgresConnection]:
    """A connection under a name of its own."""
    with trio.fail_after(PATIENCE):
        async with await PostgresConnection.connect(postgres.conninfo, application_name=name) as connection:
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


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_a_copy_that_is_cancelled(postgres: Cluster, direction: str) -> None:
    """A cancellation in the middle of a COPY ends it on the server: nothing is kept, and the connection is good."""
    async with connection_to(postgres, "z") as connection:
        await connection.execute("CREATE TEMPORARY TABLE half (n int)")
        await connection.commit()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"1\n" * 1000
                await trio.sleep(0)

        with trio.CancelScope() as scope:
            if direction == "in":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(connection.copy_in, "COPY half FROM STDIN", endless())
                    await running(postgres, "z", 1, "COPY half%")
                    scope.cancel()
            else:
                query = "COPY (SELECT generate_series(1, 100000000)) TO STDOUT"
                async with connection.cursor() as cursor, cursor.copy(query) as out:
                    for number in range(1, 20_000):
                        assert await out.read() == f"{number}\n".encode()
                    scope.cancel()
                    while True:
                        await out.read()
        assert scope.cancelled_caught
        await connection.rollback()
        assert await (await connection.execute("SELECT count(*) FROM half")).fetchone() == (0,)


async def test_a_stream_that_fails_is_not_kept(postgres: Cluster) -> None:
    """Where what is copied fails, its own error is raised, and nothing is kept of what came before."""

    async def half() -> AsyncIterator[bytes]:
        yield b"1\n2\n"
        raise ZeroDivisionError

    async with connection_to(postgres, "h") as connection:
        await connection.execute("CREATE TEMPORARY TABLE half (n int)")
        await connection.commit()
        with pytest.raises(ZeroDivisionError):
            await connection.copy_in("COPY half FROM STDIN", half())
        await connection.rollback()
        assert await (await connection.execute("SELECT count(*) FROM half")).fetchone() == (0,)


async def test_transactions_in_a_cancelled_scope(postgres: Cluster) -> None:
    """A transaction whose block is cancelled is rolled back, a savepoint too, and the connection goes on."""
    async with connection_to(postgres, "t") as connection:
        await connection.execute("CREATE TEMPORARY TABLE kept (n int)")
        await connection.commit()
        async with connection.transaction():
            await connection.execute("INSERT INTO kept VALUES (1)")
            with trio.move_on_after(0):
                async with connection.transaction():
                    with trio.CancelScope(shield=True):
                        await connection.execute("INSERT INTO kept VALUES (2)")
                    await trio.sleep(1)
            with trio.CancelScope() as scope:  # cancelled when all is done: rolled back as well
                async with connection.transaction():
                    await connection.execute("INSERT INTO kept VALUES (3)")
                    scope.cancel()
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("INSERT INTO kept VALUES (4)")
                    raise ZeroDivisionError
            async with connection.transaction() as inner:
                await connection.execute("INSERT INTO kept VALUES (5)")
                raise psycopg.Rollback(inner)
            async with connection.transaction():
                await connection.execute("INSERT INTO kept VALUES (6)")
        assert await (await connection.execute("SELECT n FROM kept ORDER BY n")).fetchall() == [(1,), (6,)]


async def test_no_cancellation_hits_the_next_query(postgres: Cluster) -> None:
    """What is cancelled is the query that ran, however short it was, and not what follows it."""
    async with connection_to(postgres, "n") as connection:
        await connection.set_autocommit(True)
        for number in range(200):
            with trio.move_on_after(number * 0.000_01):
                await connection.execute("SELECT pg_sleep(0.001)")
            found = await connection.execute("SELECT count(*) FROM generate_series(1, 1000)")
            assert await found.fetchone() == (1000,)


async def test_a_query_that_is_cancelled_at_once(postgres: Cluster) -> None:
    """A query that the server has not even read when it is cancelled ends as well, and the connection goes on."""
    async with connection_to(postgres, "q") as connection:
        await connection.set_autocommit(True)
        for _ in range(50):
            with trio.CancelScope() as scope:
                scope.cancel()
                await connection.execute("SELECT pg_sleep(3600)")
            assert scope.cancelled_caught
            assert await (await connection.execute("SELECT 7")).fetchone() == (7,)


async def test_a_session_that_is_ended(postgres: Cluster) -> None:
    """A query whose session is ended raises psycopg's error, and the connection is known to be broken."""
    async with connection_to(postgres, "k") as killer, connection_to(postgres, "v") as connection:

        async def wait() -> None:
            with pytest.raises(psycopg.OperationalError, match="terminating connection"):
                await connection.execute("SELECT pg_sleep(3600)")
            assert connection.broken

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await running(postgres, "v", 1, "SELECT pg_sleep%")
            await killer.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'v'")


async def test_closing_wakes_who_waits(postgres: Cluster) -> None:
    """A task that waits on a connection that another one closes is told so, at once."""
    async with connection_to(postgres, "x") as connection:
        await connection.set_autocommit(True)
        await connection.execute("LISTEN anything")

        async def listen() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await anext(connection.notifies())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            await connection.close()


async def test_hosts_are_tried_in_turn(postgres: Cluster, tmp_path: Path) -> None:
    """The first host that answers is taken; where none does, the error tells of each."""
    hosts = f"host={tmp_path},127.0.0.1 port={postgres.port} user=postgres dbname=postgres"
    async with await PostgresConnection.connect(hosts) as connection:
        assert connection.info.hostaddr == "127.0.0.1"
    with pytest.raises(psycopg.OperationalError, match=r"(?s)No such file or directory.*No such file or directory"):
        await PostgresConnection.connect(f"host={tmp_path},{tmp_path}")


async def test_a_host_that_does_not_answer() -> None:
    """A host that accepts and says nothing is given up after ``connect_timeout``, or when cancelled."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            await PostgresConnection.connect("host=127.0.0.1", port=port, connect_timeout=2)
        with trio.move_on_after(0.1) as scope:
            await PostgresConnection.connect("host=127.0.0.1", port=port)
        assert scope.cancelled_caught
