"""SQLite's connections in worker threads.

Rules that this module alone enforces:

* A connection is used by one thread at a time. What runs there when its task is cancelled is interrupted, again and
  again until it has ended, and the task waits for that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Final, TypeVar

import trio

from trioweb.contrib.pool import Pool
from trioweb.io.threads import beside, in_thread

T = TypeVar("T")

PAUSE: Final = 0.05
"""Seconds between two interruptions of a thread that goes on."""


class SQLiteConnections(Pool[sqlite3.Connection]):
    """Connections to one file: see ``SQLitePool``."""

    def __init__(self, path: Path, limit: int, timeout: float, *, writes: bool) -> None:
        super().__init__(limit, timeout)
        self._path = path
        self._writes = writes

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, of {self._path}>"

    async def _connect(self) -> sqlite3.Connection:
        return await in_thread(_open, self._path, self._timeout, self._writes)

    async def _is_fit(self, connection: sqlite3.Connection, idle: float) -> bool:  # noqa: ARG002 - a file does not go
        return True

    async def _restore(self, connection: sqlite3.Connection) -> bool:
        return not connection.in_transaction

    async def _disconnect(self, connection: sqlite3.Connection) -> None:
        await in_thread(connection.close)


def _open(path: Path, timeout: float, writes: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        if writes:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
        else:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


async def run(connection: sqlite3.Connection, function: Callable[..., T], *args: object) -> T:
    """Call a function in a thread. A cancellation interrupts the connection, and waits until the function has ended."""
    ended = Event()

    async def work() -> T:
        try:
            return await in_thread(function, *args)
        finally:
            ended.set()

    return await beside(work(), _interrupt_when_cancelled, connection, ended)


async def _interrupt_when_cancelled(connection: sqlite3.Connection, ended: Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            while not ended.is_set():
                connection.interrupt()  # ends a statement that runs, and not the next one
                await trio.to_thread.run_sync(ended.wait, PAUSE, limiter=trio.CapacityLimiter(1))
