"""psycopg's connection on trio.

psycopg keeps what it says to PostgreSQL in generators, which give what they wait for; whoever runs them does the
waiting. On top of that cursors, transactions and row factories are psycopg's own, and so are its errors.

Rules that this module alone enforces:

* Nothing of asyncio's runs: connecting, waiting, the lock and the cancelling of a query are overridden.
* A query whose task is cancelled is cancelled on the server, and read to its end. A connection on which that fails is
  closed.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import trio

try:
    import psycopg
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "trioweb.contrib.postgres needs psycopg: pip install trioweb[postgres]", name=missing.name, path=missing.path
    ) from None

from psycopg import capabilities
from psycopg.abc import RV, ConnParam, Params, PQGen, PQGenConn, Query
from psycopg.conninfo import conninfo_attempts, conninfo_to_dict, make_conninfo, timeout_from_conninfo
from psycopg.generators import cancel, connect
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Ready, Wait

from trioweb.io.threads import in_thread
from trioweb.streams.closing import close_generator

T = TypeVar("T")

CANCEL_TIMEOUT: Final = 5.0
"""Seconds that a server has to hear that something is not wanted any more, and to say so."""
CANCEL_PAUSE: Final = 0.1
"""Seconds after which it is told again: a query that it has not read yet when it is told runs nevertheless."""


class PostgresConnection(psycopg.AsyncConnection[Any]):
    """A connection of psycopg's on trio: see psycopg's ``AsyncConnection`` for what is not described here.

    Tasks may share it, and then take turns. A cancellation cancels the query on the server, too, and leaves the
    connection as any query does that has failed: after a rollback it can be used again.

    Psycopg's own timeouts are asyncio's, and refused: write ``with trio.move_on_after(seconds):``.
    """

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.lock = _Turns()  # type: ignore[assignment]
        self.cursor_factory, self.server_cursor_factory = _Cursor, ServerCursor
        self.expires = math.inf
        """When a pool closes it, by trio's clock."""
        self.in_pool = False
        """It has been given back to a pool: nobody may use it."""

    @classmethod
    async def connect(cls, conninfo: str = "", **parameters: ConnParam) -> Self:  # type: ignore[override]
        """Connect, to the first host that answers. ``async with`` commits at its end, and closes whatever ends it.

        A cancellation leaves nothing behind.

        Args:
            conninfo: as of ``psql``: a URL, or ``host=... dbname=...``; ``PGHOST`` and the like say the rest.
            parameters: more of it.

        Raises:
            psycopg.OperationalError: if no host can be reached, within its ``connect_timeout``.
        """
        given = conninfo_to_dict(conninfo, **parameters)
        attempts = await in_thread(conninfo_attempts, given)  # looks names up
        errors: list[str] = []
        for attempt in attempts:
            line = make_conninfo("", **attempt)
            with trio.move_on_after(timeout_from_conninfo(given)):
                try:
                    return await cls._connect(line)
                except psycopg.OperationalError as error:
                    errors.append(str(error))
                    continue
            errors.append("connection timeout expired")
        raise psycopg.OperationalError("\n".join(errors) or f"no host in {sorted(given)}")

    @classmethod
    async def _connect(cls, conninfo: str) -> Self:
        gen = connect(conninfo)
        begun = await in_thread(lambda: next(gen))  # it reads files: the password's, certificates
        return cls(await _connected(gen, begun))

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and not self.closed:
                await self.commit()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close it at once. What has not been committed is rolled back by the server. A task that waits on it gets
        ``trio.ClosedResourceError``.
        """
        if not self.closed:
            trio.lowlevel.notify_closing(self.pgconn.socket)
        await super().close()

    async def wait(self, gen: PQGen[RV], *_: object, **limits: object) -> RV:
        """Run one of psycopg's generators to its end: psycopg calls this for all that it does on a connection.

        Raises:
            RuntimeError: if the connection was given back to its pool.
            TypeError: if psycopg is told of a timeout.
        """
        if limits.get("timeout") is not None:
            raise TypeError("psycopg's timeouts are asyncio's: write `with trio.move_on_after(seconds):` around it")
        if self.in_pool:
            raise RuntimeError(
                "this connection was given back to its pool: use it inside of its block; a stream opens its own, by "
                "`async with pool.connection()` in its generator"
            )
        try:
            return await _run(gen, self.pgconn.socket)
        except Exception:
            raise
        except BaseException:  # a cancellation
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self.abandon(gen)
            raise

    async def abandon(self, gen: PQGen[object]) -> None:
        """Cancel the query on the server, and read what that still sends. If it does not answer, close the connection.

        Args:
            gen: reads it; it can be resumed after a wait that was cancelled.
        """
        with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
            try:
                while True:
                    await self._send_cancel()
                    with trio.move_on_after(CANCEL_PAUSE):
                        await _run(gen, self.pgconn.socket)
                        return
            except psycopg.errors.QueryCanceled:
                return
            except psycopg.Error:
                pass
        await self.close()

    async def cancel_safe(self, *, timeout: float = CANCEL_TIMEOUT) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Ask the server to cancel the query that runs. Waits until it has heard that; cannot be cancelled.

        Raises:
            psycopg.OperationalError: if the server cannot be reached.
            psycopg.errors.CancellationTimeout: if it does not answer in time.
        """
        with trio.move_on_after(timeout, shield=True):
            await self._send_cancel()
            return
        raise psycopg.errors.CancellationTimeout(f"the server did not take the cancellation within {timeout:g} s")

    async def _send_cancel(self) -> None:
        """Ask the server to cancel the query, on a connection of its own."""
        if self.closed:
            return
        if not capabilities.has_cancel_safe():  # of a libpq before 17
            await trio.to_thread.run_sync(self.cancel, abandon_on_cancel=True)
            return
        # `cancel` would hold Python's lock until the server answers, and with it the whole worker.
        cancelling = self.pgconn.cancel_conn()
        try:
            cancelling.start()
            await _connected(cancel(cancelling))
        finally:
            cancelling.finish()

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[psycopg.AsyncTransaction]:
        """A block that is committed at its end, and rolled back by an error or a cancellation; a savepoint within
        another. A cancellation that comes while it is committed leaves open whether it was.
        """
        async with _ended(super().transaction(savepoint_name, force_rollback)) as opened:
            yield opened

    async def copy_in(self, statement: Query, chunks: AsyncIterable[bytes | str], params: Params | None = None) -> int:
        """Give a stream to ``COPY ... FROM STDIN``, no faster than the server takes it. Returns the number of rows.

        If the stream raises, or is cancelled, nothing of it is kept.

        Args:
            statement: such as ``COPY orders FROM STDIN WITH (FORMAT csv, HEADER)``.
            chunks: the data, such as ``request.stream()``; its boundaries have no meaning. A generator is closed.
            params: of the statement.
        """
        try:
            async with self.cursor() as cursor:
                async with cursor.copy(statement, params) as copy:
                    async for chunk in chunks:
                        await copy.write(chunk)
                        await trio.lowlevel.checkpoint()  # a write that the system takes at once does not wait
                return cursor.rowcount
        finally:
            if isinstance(chunks, AsyncGenerator):
                await close_generator(chunks)


class _Cursor(psycopg.AsyncCursor[Any]):
    @asynccontextmanager
    async def copy(self, *args: Any, **options: Any) -> AsyncIterator[psycopg.AsyncCopy]:
        """See psycopg."""
        async with _ended(super().copy(*args, **options)) as copy:
            yield copy


class ServerCursor(psycopg.AsyncServerCursor[Any]):
    """A cursor on the server, from ``connection.cursor("name")``."""

    async def close(self) -> None:
        """Close it, also where what it was for is cancelled."""
        with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
            await super().close()


@asynccontextmanager
async def _ended(manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """A block of psycopg's, whose end is not interrupted where an error or a cancellation leaves it.

    Else another cancellation would replace the first, and its frames would be in a reference cycle with that.
    """
    value = await manager.__aenter__()
    try:
        yield value
        await trio.lowlevel.checkpoint_if_cancelled()
    except BaseException as error:
        with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
            if await manager.__aexit__(type(error), error, error.__traceback__):
                return  # psycopg.Rollback
        raise
    await manager.__aexit__(None, None, None)


class _Turns:
    """A lock that a cancelled task can take if it is free: what psycopg does at the end of a block is then done."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


async def _connected(gen: PQGenConn[RV], begun: tuple[int, Wait] | None = None) -> RV:
    """Wait for what a generator waits for that connects, until it returns.

    Args:
        gen: the generator.
        begun: what it waits for first, if it has begun.
    """
    try:
        fd, want = begun or next(gen)
        while True:
            fd, want = gen.send(await _ready(fd, want))
    except StopIteration as end:
        result: RV = end.value
        return result


async def _run(gen: PQGen[RV], fd: int) -> RV:
    """Wait for what a generator waits for, until it returns."""
    try:
        want = next(gen)
        while True:
            want = gen.send(await _ready(fd, want))
    except StopIteration as end:
        result: RV = end.value
        return result


async def _ready(fd: int, want: Wait) -> Ready:
    """Wait until a socket can be read, written, or one of both, as is wanted. Returns what it can."""
    if want == Wait.R:
        await trio.lowlevel.wait_readable(fd)
        return Ready.R
    if want == Wait.W:
        await trio.lowlevel.wait_writable(fd)
        return Ready.W
    can = Ready.NONE

    async def watch(wait: Callable[[int], Awaitable[None]], what: Ready) -> None:
        nonlocal can
        await wait(fd)
        can = Ready(can | what)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, trio.lowlevel.wait_readable, Ready.R)
        nursery.start_soon(watch, trio.lowlevel.wait_writable, Ready.W)
    return can
