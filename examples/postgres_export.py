"""A query's result out of PostgreSQL, row by row, natively on trio: a server-side cursor keeps memory flat.

::

    hypercorn -k trio examples.postgres_export:app
    curl -o orders.csv localhost:8000/orders.csv
    curl "localhost:8000/orders.csv?rows=3"

``PGHOST``, ``PGUSER`` and the like say where the database is, as they do for ``psql``. A client that reads slowly slows
the cursor down; one that leaves ends the query on the server, wherever it stands. Needs ``trioweb[postgres]``.
"""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Final

import msgspec
from psycopg.rows import class_row

from trioweb import App, CSVResponse
from trioweb.contrib.postgres import PostgresPool

FETCHED: Final = 1000
"""Rows that come from the database at a time: what is in memory, besides a buffer's length of CSV."""
QUERY: Final = """
    SELECT id, 'product ' || mod(id, 100) AS product, round(mod(id, 1000) / 10.0, 2) AS price
    FROM generate_series(1, %s) AS id
"""

app = App()
pool = PostgresPool()
app.lifespan(pool)


class Order(msgspec.Struct):
    """A row; its fields are the columns."""

    id: int
    product: str
    price: Decimal


@app.get("/orders.csv")
async def orders_as_csv(rows: int = 200_000) -> CSVResponse:
    """The result as CSV."""
    return CSVResponse(orders(rows), filename="orders.csv")


async def orders(rows: int) -> AsyncIterator[Order]:
    """The rows of the query. What goes wrong before the first of them is an ordinary 500."""
    async with (
        pool.connection() as connection,
        connection.cursor("orders", row_factory=class_row(Order)) as cursor,
    ):
        cursor.itersize = FETCHED
        await cursor.execute(QUERY, [rows])
        async for order in cursor:
            yield order
