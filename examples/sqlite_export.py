"""A table out of SQLite, row by row: in constant memory, however long it is.

::

    hypercorn -k trio examples.sqlite_export:app
    curl -o orders.csv localhost:8000/orders.csv
    curl -o orders.jsonl localhost:8000/orders.jsonl

A client that reads slowly slows the query down, and one that leaves closes the database.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import trio

from trioweb import App, CSVResponse, JSONLinesResponse

DATABASE = Path("orders.sqlite3")
TABLE = """
    CREATE TABLE IF NOT EXISTS orders AS
    WITH RECURSIVE numbers(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 200000)
    SELECT id, 'product ' || (id % 100) AS product, id % 1000 / 10.0 AS price FROM numbers
"""

app = App()


class Order(msgspec.Struct):
    """A row; its fields are the columns."""

    id: int
    product: str
    price: float


def orders() -> Iterator[Order]:
    """All rows. A plain generator runs in one worker thread from its start to its end, which is what sqlite3 wants."""
    with closing(sqlite3.connect(DATABASE)) as database:
        for row in database.execute("SELECT id, product, price FROM orders ORDER BY rowid"):
            yield Order(*row)


@app.get("/orders.csv")
async def orders_as_csv() -> CSVResponse:
    """The table as CSV."""
    return CSVResponse(orders(), filename="orders.csv")


@app.get("/orders.jsonl")
async def orders_as_json_lines() -> JSONLinesResponse:
    """The table as JSON lines: the same generator."""
    return JSONLinesResponse(orders())


@app.lifespan
async def make_table(_: App) -> AsyncIterator[None]:
    """Make the table before the first request; in a thread, since it takes a moment."""

    def make() -> None:
        with closing(sqlite3.connect(DATABASE)) as database, database:
            database.execute(TABLE)

    await trio.to_thread.run_sync(make)
    yield
