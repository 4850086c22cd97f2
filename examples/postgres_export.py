"""A query's result out of PostgreSQL, row by row, natively on trio: a server-side cursor keeps memory flat.

::

    hypercorn -k trio examples.postgres_export:app
    curl -o orders.csv localhost:8000/orders.csv
    curl "localhost:8000/orders.csv?rows=3"

``PGHOST``, ``PGUSER`` and the like say where the database is, as they do for ``psql``. A client that reads slowly slows
the cursor down; one that leaves ends the query on the server, wherever it stands. Needs ``trioweb[postgres]``.
"""

from decimal import Decimal
from typing import Final

import msgspec

from trioweb import App, CSVResponse
from trioweb.contrib.postgres import PostgresPool

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
    """The result as CSV. What goes wrong before its first row is an ordinary 500."""
    return CSVResponse(pool.rows(QUERY, [rows], make=Order), filename="orders.csv")
