"""Single statements by a pool: they read alike with PostgreSQL and SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import psycopg
import pytest
import trio

from tests.contrib.cluster import Cluster
from tests.servers import PATIENCE
from trioweb.contrib.postgres import PostgresPool
from trioweb.contrib.sqlite import PoolExhausted, SQLitePool

AnyPool = PostgresPool | SQLitePool
ERRORS = (psycopg.Error, sqlite3.Error)
SLOW = {
    PostgresPool: "SELECT pg_sleep(3600)",
    SQLitePool: "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n",
}
"""Queries that take hours."""


class Row(msgspec.Struct):
    """A row of the table."""

    n: int
    name: str


@pytest.fixture(params=["postgres", "sqlite"])
async def pool(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyPool]:
    """Each of the two, with a table and nothing in it."""
    made: AnyPool
    if request.param == "postgres":
        cluster: Cluster = request.getfixturevalue("postgres")
        made = PostgresPool(cluster.conninfo, limit=2, timeout=PATIENCE)
    else:
        made = SQLitePool(tmp_path / "a.sqlite3", readers=1, timeout=PATIENCE)
    async with made:
        await made.execute("CREATE TABLE things (n INTEGER PRIMARY KEY, name TEXT)")
        try:
            yield made
        finally:
            await made.execute("DROP TABLE things")


def marked(pool: AnyPool, text: str) -> str:
    """A statement with the pool's own placeholders."""
    return text.replace("?", "%s") if isinstance(pool, PostgresPool) else text


async def fill(pool: AnyPool, count: int) -> None:
    """Add rows."""
    for n in range(1, count + 1):
        await pool.execute(marked(pool, "INSERT INTO things VALUES (?, ?)"), [n, f"name {n}"])


async def test_a_statement_is_kept_and_counted(pool: AnyPool) -> None:
    """``execute`` says how many rows it has changed, and what it has done is there for the next."""
    await fill(pool, 3)
    done = await pool.execute(marked(pool, "UPDATE things SET name = 'x' WHERE n > ?"), [1])
    assert done.rowcount == 2
    assert (await pool.execute("DELETE FROM things WHERE n = 99")).rowcount == 0
    assert await pool.fetch_all("SELECT name FROM things ORDER BY n") == [
        {"name": "name 1"}, {"name": "x"}, {"name": "x"}]  # fmt: skip


async def test_the_id_of_a_new_row(pool: AnyPool) -> None:
    """SQLite says the id of what was inserted; PostgreSQL gives what is asked for by RETURNING, and keeps the row."""
    if isinstance(pool, SQLitePool):
        assert (await pool.execute("INSERT INTO things (name) VALUES ('a')")).lastrowid == 1
    else:
        assert (await pool.execute("INSERT INTO things VALUES (0, 'x')")).lastrowid is None
        assert await pool.fetch_one("INSERT INTO things VALUES (1, 'a') RETURNING n") == {"n": 1}
    assert await pool.fetch_one("SELECT name FROM things WHERE n = 1") == {"name": "a"}


async def test_rows_are_dictionaries_or_made(pool: AnyPool) -> None:
    """Rows are dictionaries, or what ``make`` makes of their values; a row that is not there is ``None``."""
    await fill(pool, 3)
    query, one = "SELECT n, name FROM things ORDER BY n", marked(pool, "SELECT n, name FROM things WHERE n = ?")
    dictionaries = [{"n": n, "name": f"name {n}"} for n in (1, 2, 3)]
    rows = [Row(n, f"name {n}") for n in (1, 2, 3)]
    assert await pool.fetch_one(one, [2]) == dictionaries[1]
    assert await pool.fetch_one(one, [2], make=Row) == rows[1]
    assert await pool.fetch_one(one, [9]) is None
    assert await pool.fetch_one(one, [9], make=Row) is None
    assert await pool.fetch_all(query) == dictionaries == [row async for row in pool.rows(query)]
    assert await pool.fetch_all(query, make=Row) == rows == [row async for row in pool.rows(query, make=Row)]
    assert await pool.fetch_all(one, [9]) == []
    assert [row async for row in pool.rows(one, [9])] == []


async def test_names_of_columns(pool: AnyPool) -> None:
    """Placeholders may have names. Two columns of one name would lose one: that is an error without ``make``."""
    named = "SELECT %(a)s::int AS n" if isinstance(pool, PostgresPool) else "SELECT :a AS n"
    assert await pool.fetch_one(named, {"a": 5}) == {"n": 5}
    twice = "SELECT 1 AS a, 2 AS a"
    for fetch in (pool.fetch_one, pool.fetch_all):
        with pytest.raises(ValueError, match=r"same name.*AS.*make="):
            await fetch(twice)
    with pytest.raises(ValueError, match=r"same name.*AS.*make="):
        _ = [row async for row in pool.rows(twice)]
    assert await pool.fetch_all(twice, make=lambda *row: row) == [(1, 2)]


async def test_what_fails_leaves_nothing(pool: AnyPool) -> None:
    """A statement that fails raises the database's own error, and the next one works."""
    await fill(pool, 1)
    for statement in ("INSERT INTO things VALUES (2, 'a'), (1, 'b')", "no SQL", "DELETE FROM missing"):
        with pytest.raises(ERRORS):
            await pool.execute(statement)
    for fetch in (pool.fetch_one, pool.fetch_all):
        with pytest.raises(ERRORS):
            await fetch("SELECT * FROM missing")
        with pytest.raises(ZeroDivisionError):
            await fetch("SELECT 1", make=lambda value: value / 0)
    assert await pool.fetch_all("SELECT n FROM things") == [{"n": 1}]


@pytest.mark.parametrize("kind", ["execute", "fetch_one", "fetch_all", "rows"])
async def test_a_cancellation_ends_the_query(pool: AnyPool, kind: str) -> None:
    """What runs for hours ends when its task is cancelled, and its connection serves the next."""
    slow = SLOW[type(pool)]
    with trio.fail_after(PATIENCE):
        with trio.move_on_after(0.1) as scope:
            if kind == "rows":
                async with aclosing(pool.rows(slow)) as rows:
                    await anext(rows)
            elif kind == "execute":
                await pool.execute(f"INSERT INTO things SELECT 1, 'x' FROM ({slow}) AS slow")
            else:
                await getattr(pool, kind)(slow)
        assert scope.cancelled_caught
        assert await pool.fetch_all("SELECT n FROM things") == []


async def test_rows_come_in_batches_of_flat_memory(pool: AnyPool) -> None:
    """A stream of rows has one connection, which leaving it early gives back at once."""
    many = (
        "SELECT generate_series(1, 100000000) AS n"
        if isinstance(pool, PostgresPool)
        else "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT n FROM n"
    )
    for _ in range(3):
        async with aclosing(pool.rows(many, make=int)) as rows:
            for number in range(1, 1500):
                assert await anext(rows) == number
            assert await pool.execute("DELETE FROM things")  # beside it


async def test_what_only_reads(tmp_path: Path) -> None:
    """SQLite's readers cannot write, and say what to write instead; so does a cursor that would leave its thread."""
    async with SQLitePool(tmp_path / "a.sqlite3", readers=1, timeout=0.05) as pool:
        await pool.execute("CREATE TABLE things (n INTEGER PRIMARY KEY)")
        with pytest.raises(sqlite3.OperationalError) as caught:
            await pool.fetch_one("INSERT INTO things VALUES (1) RETURNING n")
        assert "pool.execute(statement)" in caught.value.__notes__[0]
        with pytest.raises(TypeError, match=r"await pool\.execute\(statement, params\)"):
            await pool.write(lambda database: database.execute("INSERT INTO things VALUES (1)"))
        assert await pool.fetch_all("SELECT * FROM things") == []
        async with aclosing(pool.rows("SELECT 1 UNION SELECT 2")) as rows:
            await anext(rows)
            with pytest.raises(PoolExhausted):
                await pool.fetch_one("SELECT 1")


async def test_foreign_keys(pool: AnyPool) -> None:
    """A row that refers to one that is not there is refused, with SQLite too."""
    await pool.execute("CREATE TABLE parts (thing INTEGER REFERENCES things (n))")
    try:
        await fill(pool, 1)
        await pool.execute("INSERT INTO parts VALUES (1)")
        with pytest.raises((psycopg.IntegrityError, sqlite3.IntegrityError)):
            await pool.execute("INSERT INTO parts VALUES (2)")
    finally:
        await pool.execute("DROP TABLE parts")


async def test_who_streams_and_who_writes(pool: AnyPool) -> None:
    """A stream that is under way holds up nobody who writes, and does not see what it has written."""
    many = "generate_series(1, 2000)" if isinstance(pool, PostgresPool) else "(SELECT value FROM json_each(?))"
    values = [] if isinstance(pool, PostgresPool) else [json.dumps(list(range(1, 2001)))]
    await pool.execute(f"INSERT INTO things (n) SELECT * FROM {many} AS numbers", values)
    async with aclosing(pool.rows("SELECT n FROM things ORDER BY n", make=int)) as rows:
        seen = [await anext(rows)]
        assert (await pool.execute("UPDATE things SET n = -n")).rowcount == 2000
        seen += [number async for number in rows]
    assert seen == list(range(1, 2001))


async def test_rows_come_before_the_last_is_known(postgres: Cluster) -> None:
    """The server computes some hundred rows at a time: what fails later fails when it is its turn."""
    async with PostgresPool(postgres.conninfo) as pool:
        rows = pool.rows("SELECT 1 / (2000 - n) AS share FROM generate_series(1, 3000) AS n")
        seen = 0
        with pytest.raises(psycopg.errors.DivisionByZero):
            async for _ in rows:
                seen += 1
        assert 0 < seen < 2000
