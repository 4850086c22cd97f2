"""A pool of SQLite's connections: alone, and in an app on both servers."""

from __future__ import annotations

import sqlite3
import time
from contextlib import aclosing, closing
from pathlib import Path
from threading import Event, get_ident

import msgspec
import pytest
import trio
import trio.testing

from tests.conftest import StartServer
from tests.servers import PATIENCE, RUNNERS, Server, read_until
from trioweb.contrib.sqlite import PoolExhausted, SQLitePool

COUNT = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ?) SELECT {} FROM numbers"
HOURS = COUNT.format("count(*)")
"""A query that takes hours."""


class Number(msgspec.Struct):
    """A row."""

    n: int


def create(database: sqlite3.Connection) -> None:
    """Make a table."""
    database.execute("CREATE TABLE kept (n INTEGER PRIMARY KEY)")


def insert(database: sqlite3.Connection, *numbers: int) -> int:
    """Add rows."""
    for number in numbers:
        database.execute("INSERT INTO kept VALUES (?)", [number])
    return len(numbers)


def everything(database: sqlite3.Connection) -> list[int]:
    """All rows."""
    return [row[0] for row in database.execute("SELECT n FROM kept ORDER BY n")]


async def test_reads_and_writes(tmp_path: Path) -> None:
    """What a function has written is there when it has returned; of one that raises nothing is."""
    async with SQLitePool(tmp_path / "a.sqlite3") as pool:
        await pool.write(create)
        assert await pool.write(insert, 1, 2) == 2
        with pytest.raises(sqlite3.IntegrityError):
            await pool.write(insert, 3, 1)
        assert await pool.read(everything) == [1, 2]
        await pool.write(insert, 4)
        assert [row async for row in pool.rows("SELECT n FROM kept WHERE n > :n", {"n": 1})] == [{"n": 2}, {"n": 4}]


async def test_one_thread_at_a_time(tmp_path: Path) -> None:
    """No connection is used by two threads at a time, reads run beside each other, and writes one after the other."""
    running: set[int] = set()
    most = {"read": 0, "write": 0}

    def work(database: sqlite3.Connection, kind: str) -> int:
        assert id(database) not in running
        running.add(id(database))
        most[kind] = max(most[kind], len(running) if kind == "read" else 1)
        time.sleep(0.02)
        database.execute("SELECT 1").fetchone()
        running.remove(id(database))
        return get_ident()

    async with SQLitePool(tmp_path / "a.sqlite3", readers=3, timeout=PATIENCE) as pool:
        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(pool.read, work, "read")
        assert 1 < most["read"] <= 3
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(pool.write, work, "write")


async def test_rows_of_a_class(tmp_path: Path) -> None:
    """Rows are dictionaries, or what ``make`` makes of their values."""
    async with SQLitePool(tmp_path / "a.sqlite3") as pool:
        query = COUNT.format("n")
        assert [row async for row in pool.rows(query, [1200], make=Number)] == [Number(n) for n in range(1, 1201)]
        assert [row async for row in pool.rows("SELECT 1 AS a, 2 AS b")] == [{"a": 1, "b": 2}]
        with pytest.raises(ValueError, match=r"same name.*AS.*make="):
            _ = [row async for row in pool.rows("SELECT 1 AS a, 2 AS a")]
        assert [row async for row in pool.rows("SELECT 1 AS a, 2 AS a", make=lambda *row: row)] == [(1, 2)]
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            _ = [row async for row in pool.rows("SELECT * FROM missing")]


async def test_rows_that_come_slowly(tmp_path: Path) -> None:
    """A row that is there is given, and does not wait until there are hundreds."""
    async with SQLitePool(tmp_path / "a.sqlite3") as pool:
        inner = COUNT.format("count(*)").replace("numbers", "others").replace("?", "300000")
        slow = f"SELECT n, ({inner} WHERE others.n <> outside.n) FROM ({COUNT.format('n')}) AS outside"
        async with aclosing(pool.rows(slow, [10**9])) as rows:
            assert (await anext(rows))["n"] == 1


@pytest.mark.parametrize("kind", ["read", "write", "rows", "between"])
async def test_a_cancellation_interrupts(tmp_path: Path, kind: str) -> None:
    """What runs for hours ends when its task is cancelled, and the connection serves the next."""

    def begun(database: sqlite3.Connection) -> None:
        database.execute("INSERT INTO kept VALUES (1)")
        database.execute(HOURS, [10**12]).fetchone()

    def again_and_again(database: sqlite3.Connection) -> None:
        while True:
            database.execute(HOURS, [10**5]).fetchone()

    async with SQLitePool(tmp_path / "a.sqlite3", readers=1) as pool:
        await pool.write(create)
        with trio.fail_after(PATIENCE):
            with trio.move_on_after(0.1) as scope:
                if kind == "read":
                    await pool.read(lambda database: database.execute(HOURS, [10**12]).fetchone())
                elif kind == "between":
                    await pool.read(again_and_again)
                elif kind == "write":
                    await pool.write(begun)
                else:
                    async with aclosing(pool.rows(f"{COUNT.format('n')} ORDER BY -n", [10**12])) as rows:
                        await anext(rows)
            assert scope.cancelled_caught
            assert await pool.read(everything) == []
            await pool.write(insert, 2)
            assert await pool.read(everything) == [2]


async def test_a_cancelled_scope_runs_nothing(tmp_path: Path) -> None:
    """Where a task is cancelled already, no function is called, and nothing waits."""
    called: list[str] = []
    async with SQLitePool(tmp_path / "a.sqlite3") as pool:
        with trio.move_on_after(0) as scope:
            await pool.read(lambda _: called.append("x"))
        assert scope.cancelled_caught
        assert called == []


async def test_under_a_mock_clock(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Time stands still while a thread works, as for every thread of the test kit's, and a cancellation ends it."""
    async with SQLitePool(tmp_path / "a.sqlite3", timeout=1e6) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.read, lambda database: database.execute(HOURS, [10**12]).fetchone())
        await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def test_mistakes_are_told(tmp_path: Path) -> None:
    """What cannot work says what to write instead."""
    with pytest.raises(ValueError, match="the path of a file"):
        SQLitePool(":memory:")
    with pytest.raises(ValueError, match="limit"):
        SQLitePool("a", readers=0)
    pool = SQLitePool(tmp_path / "a.sqlite3", readers=1, timeout=0.05)
    with pytest.raises(RuntimeError, match=r"not open.*app\.lifespan\(pool\)"):
        await pool.read(everything)

    async def wrong(database: sqlite3.Connection) -> None: ...

    async with pool:
        await pool.write(create)
        with pytest.raises(sqlite3.OperationalError) as caught:
            await pool.read(insert, 1)
        assert "pool.write" in caught.value.__notes__[0]
        with pytest.raises(TypeError, match="write `def`"):
            await pool.write(wrong)  # type: ignore[unused-coroutine]
        with pytest.raises(TypeError, match=r"\.fetchall\(\)"):
            await pool.read(lambda database: database.execute("SELECT 1"))
        async with aclosing(pool.rows(COUNT.format("n"), [10**6])) as rows:
            await anext(rows)
            with pytest.raises(PoolExhausted, match="1 of 1 connections in use"):
                await pool.read(everything)
        await pool.read(everything)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        async with SQLitePool(tmp_path / "no" / "a.sqlite3"):
            pass


async def test_writers_wait_in_the_pool(tmp_path: Path) -> None:
    """There is one writer: the next one waits without a thread, and is told by the pool when that takes too long."""
    begun, over = trio.Event(), Event()
    token = trio.lowlevel.current_trio_token()

    def hold(database: sqlite3.Connection) -> None:
        token.run_sync_soon(begun.set)
        over.wait(PATIENCE)
        insert(database, 1)

    async with SQLitePool(tmp_path / "a.sqlite3", timeout=0.1) as pool:
        await pool.write(create)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.write, hold)
            await begun.wait()
            try:
                with pytest.raises(PoolExhausted, match="1 of 1 connections in use"):
                    await pool.execute("INSERT INTO kept VALUES (2)")
            finally:
                over.set()
        assert await pool.read(everything) == [1]


async def test_another_program_writes(tmp_path: Path) -> None:
    """A pool waits for another writer, up to its timeout, and reads meanwhile."""
    path = tmp_path / "a.sqlite3"
    async with SQLitePool(path, timeout=0.1) as pool:
        await pool.write(create)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                await pool.write(insert, 1)
            assert await pool.read(everything) == []
            other.execute("ROLLBACK")
        await pool.write(insert, 1)


@pytest.fixture(scope="module", params=RUNNERS)
def server(
    request: pytest.FixtureRequest, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """The app of these tests, on each server."""
    return start_server("tests.contrib.sqlite_app:app", runner=request.param, directory=tmp_path_factory.mktemp("run"))


def wait_until_free(server: Server) -> None:
    """Wait until no connection is in use."""
    end = time.monotonic() + PATIENCE
    while b"0 of 2 connections in use" not in (text := server.curl("/state")[1]):
        assert time.monotonic() < end, text
        time.sleep(0.01)


def test_an_export_in_flat_memory(server: Server) -> None:
    """All rows come, and the server holds no more of them than at the start."""
    server.curl("/numbers.csv?count=1000")
    before = server.memory
    text = server.curl("/numbers.csv?count=1000000", "-m", "60")[1]
    assert text.split() == [b"n", *(str(number).encode() for number in range(1, 1_000_001))]
    assert server.memory - before < 16_000


def test_rows_leave_in_large_messages(server: Server) -> None:
    """Rows that are there together leave together: a chunk has hundreds of them."""
    with server.request("/numbers.jsonl?count=100000") as client:
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += client.recv(65536)
    body = data.partition(b"\r\n\r\n")[2]
    assert body.count(b"\n{") > 90_000
    assert sum(line.endswith(b"\r") for line in body.split(b"\n")) < 2 * 100_000 / 100


@pytest.mark.parametrize("path", ["/numbers.jsonl?count=1000000000", "/never"])
def test_a_client_that_leaves(server: Server, path: str) -> None:
    """The query is interrupted where it is, between two rows or before the first, and its connection is free."""
    for _ in range(3):
        with server.request(path) as client:
            if path != "/never":
                read_until(client, b'{"n":1000}')
        wait_until_free(server)
