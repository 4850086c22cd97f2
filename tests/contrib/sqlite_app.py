"""An app on a file of SQLite's, in the directory where it runs."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator

from trioweb import App, CSVResponse, JSONLinesResponse
from trioweb.contrib.sqlite import SQLitePool

app = App()
pool = SQLitePool("numbers.sqlite3", readers=2, timeout=0.5)
app.lifespan(pool)
NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT ?) SELECT n FROM numbers"


@app.lifespan
async def make(_: App) -> AsyncIterator[None]:
    """Make the table."""

    def create(database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE IF NOT EXISTS kept (n INTEGER)")

    await pool.write(create)
    yield


@app.get("/numbers.csv")
async def numbers(count: int = 10) -> CSVResponse:
    """Numbers as CSV."""
    return CSVResponse(pool.rows(NUMBERS, [count]))


@app.get("/numbers.jsonl")
async def lines(count: int = 10) -> JSONLinesResponse:
    """Numbers as JSON lines."""
    return JSONLinesResponse(pool.rows(NUMBERS, [count]))


@app.get("/never")
async def never() -> JSONLinesResponse:
    """A query that sorts for hours before it has a row."""
    return JSONLinesResponse(pool.rows(f"{NUMBERS} ORDER BY -n", [10**12]))


@app.get("/state")
async def state() -> str:
    """How many connections are in use."""
    return repr(pool)
