"""An app on a pool of PostgreSQL's connections: ``PGHOST`` and the like say where that is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import trio

from tests.notes import note
from trioweb import (
    App,
    EventStreamResponse,
    HTTPError,
    JSONLinesResponse,
    Provide,
    Request,
    Response,
    ServerSentEvent,
    StreamingResponse,
)
from trioweb.contrib.postgres import PoolExhausted, PostgresConnection, PostgresPool

app = App()
pool = PostgresPool(limit=2, timeout=2)
app.lifespan(pool)

Transaction = Annotated[PostgresConnection, Provide(pool.transaction)]


@app.error_handler(PoolExhausted)
async def busy(request: Request, error: PoolExhausted) -> Response:
    """The database is busy."""
    note("exhausted", error)
    return Response("busy", 503, {"retry-after": "1"})


@app.get("/pid")
async def pid() -> int:
    """The process of a session."""
    async with pool.connection() as connection:
        return connection.info.backend_pid


@app.get("/rows")
async def rows() -> JSONLinesResponse:
    """A long result, by a cursor of the server's."""
    return JSONLinesResponse(pool.rows("SELECT generate_series(1, %s) AS n", [100_000_000]))


@app.get("/export")
async def export() -> StreamingResponse:
    """A long result, by COPY."""
    rows = pool.copy_out("COPY (SELECT generate_series(1, %s)) TO STDOUT", [100_000_000])
    return StreamingResponse(rows, media_type="text/csv")


@app.get("/abandoned")
async def abandoned() -> str:
    """A query that is sent by hand, and whose result nobody waits for."""
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")
        connection.pgconn.send_query(b"SELECT pg_sleep(3600)")
        raise HTTPError(418)


@app.get("/sleep")
async def sleep() -> str:
    """A query that takes a while, by the hands of its handler."""
    async with pool.connection() as connection:
        with trio.move_on_after(0.2) as scope:
            await connection.execute("SELECT pg_sleep(3600)")
        await connection.rollback()
        await connection.execute("SELECT 1")
    return f"cancelled: {scope.cancelled_caught}"


@app.post("/import")
async def take(request: Request, connection: Transaction) -> int:
    """Rows out of the body."""
    count = await connection.copy_in("COPY taken FROM STDIN", request.stream())
    if count > 100:
        raise HTTPError(413, "too many rows")
    await connection.commit()
    return count


@app.post("/forgotten")
async def forgotten(connection: Transaction) -> str:
    """A handler that does not commit."""
    await connection.execute("INSERT INTO taken VALUES (1000)")
    return "done"


@app.get("/count")
async def count(connection: Transaction) -> int:
    """How many rows there are."""
    found = await (await connection.execute("SELECT count(*) FROM taken")).fetchone()
    return int(found[0]) if found else -1


@app.get("/news")
async def news() -> EventStreamResponse:
    """Notifications as events."""

    async def events() -> AsyncIterator[ServerSentEvent]:
        async with pool.listen("news") as notifications:
            yield ServerSentEvent(event="ready")
            async for notification in notifications:
                yield ServerSentEvent(notification.payload)

    return EventStreamResponse(events())


@app.lifespan
async def make(_: App) -> AsyncIterator[None]:
    """Make the table."""
    async with pool.connection() as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS taken (n int)")
        await connection.execute("TRUNCATE taken")
    yield
