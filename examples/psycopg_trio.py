"""psycopg 3 on trio: its connection class, with waits and a lock of trio's. Copy it into your project.

psycopg keeps what it says to PostgreSQL in generators, which give what they wait for; whoever runs them does the
waiting. On top of that cursors, transactions, row factories and ``COPY`` are psycopg's own. What remains asyncio's:
``connect``, ``cancel_safe`` and the pools.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import psycopg
import trio
from psycopg.abc import RV, PQGen
from psycopg.generators import connect
from psycopg.pq import TransactionStatus
from psycopg.waiting import Ready, Wait

CANCEL_TIMEOUT: Final = 5.0
"""Seconds that a server has to hear that something is not wanted any more."""


class TrioConnection(psycopg.AsyncConnection[Any]):
    """A connection. Tasks may share it, and then take turns. A query that is cancelled ends on the server too, and
    leaves the connection as any query does that has failed: ``rollback``, and go on.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lock = trio.Lock()  # type: ignore[assignment]
        self.server_cursor_factory = ServerCursor

    async def wait(self, gen: PQGen[RV], *_: Any, **limits: Any) -> RV:
        """Run one of psycopg's generators to its end: psycopg calls this for all that it does on a connection."""
        if limits.get("timeout") is not None:
            raise TypeError("psycopg's timeouts are asyncio's: write `with trio.move_on_after(seconds):`")
        try:
            return await run(gen, self.pgconn.socket)
        except BaseException:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                with trio.move_on_after(CANCEL_TIMEOUT, shield=True), suppress(psycopg.errors.QueryCanceled):
                    await trio.to_thread.run_sync(self.cancel, abandon_on_cancel=True)
                    await run(gen, self.pgconn.socket)
            raise


class ServerCursor(psycopg.AsyncServerCursor[Any]):
    """A cursor on the server, from ``connection.cursor("name")``."""

    async def close(self) -> None:
        """Close it, also where what it was for is cancelled."""
        with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
            await super().close()


@asynccontextmanager
async def open_connection(conninfo: str = "") -> AsyncIterator[TrioConnection]:
    """A connection for a block: committed at its end, closed whatever ends it. ``PGHOST`` and the like say the rest."""
    gen = connect(conninfo)
    fd, want = await trio.to_thread.run_sync(next, gen)  # in a thread: it looks the host's name up
    try:
        while True:
            fd, want = gen.send(await ready(fd, want))
    except StopIteration as end:
        connection = TrioConnection(end.value)
    try:
        yield connection
        await connection.commit()
    finally:
        await connection.close()


async def run(gen: PQGen[RV], fd: int) -> RV:
    """Wait for what a generator waits for, until it returns."""
    try:
        want = next(gen)
        while True:
            want = gen.send(await ready(fd, want))
    except StopIteration as end:
        result: RV = end.value
        return result


async def ready(fd: int, want: Wait) -> Ready:
    """Wait until a socket can be read, written, or one of both, as is wanted. Returns what it can."""
    can = Ready.NONE

    async def watch(wait: Callable[[int], Awaitable[None]], what: Ready) -> None:
        nonlocal can
        await wait(fd)
        can = Ready(can | what)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        if want & Wait.R:
            nursery.start_soon(watch, trio.lowlevel.wait_readable, Ready.R)
        if want & Wait.W:
            nursery.start_soon(watch, trio.lowlevel.wait_writable, Ready.W)
    return can
