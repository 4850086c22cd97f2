"""A table out of SQLite, row by row: in constant memory, however long it is.

::

    hypercorn -k trio examples.sqlite_export:app
    curl -o orders.csv localhost:8000/orders.csv
    curl -o orders.jsonl localhost:8000/orders.jsonl

A client that reads slowly slows the query down, and one that leaves interrupts it.
"""

from collections.abc import AsyncIterator

import msgspec

from trioweb import App, CSVResponse, JSONLinesResponse
from trioweb.contrib.sqlite import SQLitePool

TABLE = """
    CREATE TABLE IF NOT EXISTS orders AS
    WITH RECURSIVE numbers(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 200000)
    SELECT id, 'product ' || (id % 100) AS product, id % 1000 / 10.0 AS price FROM numbers
"""
QUERY = "SELECT id, product, price FROM orders ORDER BY rowid"

app = App()
pool = SQLitePool("orders.sqlite3")
app.lifespan(pool)


class Order(msgspec.Struct):
    """A row; its fields are the columns."""

    id: int
    product: str
    price: float


@app.get("/orders.csv")
async def orders_as_csv() -> CSVResponse:
    """The table as CSV."""
    return CSVResponse(pool.rows(QUERY, make=Order), filename="orders.csv")


@app.get("/orders.jsonl")
async def orders_as_json_lines() -> JSONLinesResponse:
    """The table as JSON lines: the same rows."""
    return JSONLinesResponse(pool.rows(QUERY, make=Order))


@app.lifespan
async def make_table(_: App) -> AsyncIterator[None]:
    """Make the table before the first request."""
    await pool.execute(TABLE)
    yield
