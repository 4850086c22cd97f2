"""A table of 200,000 orders in SQLite, exported row by row: memory stays flat however long the table is."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Final

import msgspec

from examples.tour.files import DATA, whole
from examples.tour.visits import Visit
from trioweb import CSVResponse, JSONLinesResponse, Request, Response, Router

PATH: Final = DATA / "orders.sqlite3"
ROWS: Final = 200_000

CITIES: Final = {
    "London": 30, "Paris": 24, "Berlin": 21, "Madrid": 18, "Rome": 16, "Vienna": 13, "Warsaw": 12, "Lisbon": 9,
    "Oslo": 8, "Zagreb": 6, "Tallinn": 4, "Reykjavik": 3,
}  # fmt: skip
"""Where orders come from, and how many of them in proportion; the busiest first."""
GOODS: Final = {"Espresso": 2.4, "Rye bread": 4.9, "Olive oil": 11.5, "Goat cheese": 6.8, "Plum jam": 5.25, "Tea": 7.9}
STREETS: Final = ("Station Road", "Church Lane", "Mill Street", "Harbour View", "Market Square", "Garden Row")
STATES: Final = ("paid", "packed", "shipped", "delivered", "delivered", "delivered", "returned")
PEOPLE: Final = ("Ada", "Björn", "Chloé", "Dana", "Emil", "Fatma", "Grzegorz", "Håkon", "Ines", "Jürgen", "Katya")

router = Router()


class Order(msgspec.Struct):
    """One row; its fields are the columns."""

    id: int
    placed: str
    customer: str
    email: str
    street: str
    city: str
    product: str
    quantity: int
    price: float
    state: str


COLUMNS: Final = ", ".join(Order.__struct_fields__)


def make() -> None:
    """Fill the database at the first start. Blocks for a second or two."""
    if PATH.exists():
        return
    with whole(PATH) as path, closing(sqlite3.connect(path)) as database:
        columns = COLUMNS.replace("id", "id INTEGER PRIMARY KEY", 1)
        database.execute(f"CREATE TABLE orders ({columns})")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _invent())
        database.commit()


def _invent() -> Iterator[tuple[int | float | str, ...]]:
    dice = random.Random(2024)  # noqa: S311 - not for secrets: everyone is to get the same table
    cities, weights = list(CITIES), list(itertools.accumulate(CITIES.values()))
    goods = list(GOODS.items())
    placed = datetime(2024, 1, 1)  # noqa: DTZ001 - a shop's local time
    for number in range(1, ROWS + 1):
        placed += timedelta(seconds=int(dice.expovariate(1 / 150)))
        product, price = dice.choice(goods)
        name, city = dice.choice(PEOPLE), dice.choices(cities, cum_weights=weights)[0]
        street = f"{dice.randint(1, 99)}, {dice.choice(STREETS)}"
        email = f"customer.{dice.randrange(ROWS)}@example.org"
        quantity, state = int(dice.triangular(1, 9, 1)), dice.choice(STATES)
        yield number, placed.isoformat(" "), name, email, street, city, product, quantity, price, state


def orders(visit: Visit) -> Iterator[Order]:
    """All rows, by a plain generator: it runs in one worker thread from its first line to its last, as sqlite3 demands.
    So the tour has a stream of that kind, too; a service takes ``SQLitePool.rows``, as ``examples/sqlite_export`` does.

    It is no further ahead of its client than a buffer's length, and when the client leaves it is closed where it
    stands, so the connection to the database is too.
    """
    with visit, closing(sqlite3.connect(f"{PATH.as_uri()}?mode=ro", uri=True)) as database:
        for row in database.execute(f"SELECT {COLUMNS} FROM orders ORDER BY id"):  # noqa: S608 - names of our own
            visit.step()
            yield Order(*row)


@router.get("/orders.csv")
async def orders_csv(request: Request) -> Response:
    """The table as CSV."""
    visit = Visit(request, "CSV export", "rows", b"\n")
    return CSVResponse(orders(visit), filename="orders.csv", headers=visit.headers | {"x-total": str(ROWS)})


@router.get("/orders.jsonl")
async def orders_jsonl(request: Request) -> Response:
    """The table as JSON lines: the same generator."""
    visit = Visit(request, "JSON lines export", "rows", b"\n")
    return JSONLinesResponse(orders(visit), headers=visit.headers | {"x-total": str(ROWS)})
