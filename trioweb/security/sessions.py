"""Sessions that are kept on the server: a browser has only an id, which ends when the session does."""

from __future__ import annotations

import hashlib
import re
import secrets
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from time import time as clock
from typing import Final, NamedTuple, Unpack

import msgspec

from trioweb.io.entered import Entered
from trioweb.messages.connection import Connection
from trioweb.middleware.late import TOO_LATE, Session
from trioweb.middleware.sessions import CookieOptions, SessionCookie

MAX_SIZE: Final = 16_384
"""Bytes of a session as JSON unless given: some hundred names and numbers."""
LIMIT: Final = 64 * 1024 * 1024
"""Bytes of all sessions in memory unless given: some 100,000 small ones."""
OVERHEAD: Final = 512
"""Bytes that a session takes in memory beside its JSON: key, entry and objects."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""An id of 32 random bytes."""


async def session(connection: Connection) -> Session:
    """A dependency: the session of a request or a WebSocket, behind a middleware that keeps one.

    Raises:
        RuntimeError: if there is no such middleware around the route.
    """
    found: Session | None = getattr(connection.state, "session", None)
    if found is None:
        raise RuntimeError("session needs its middleware: write app.middleware(MemorySessions()), or Sessions(key)")
    return found


class Stored(NamedTuple):
    """A session as it is kept.

    Attributes:
        written: when it was, in seconds since 1970.
        data: its values, as JSON.
    """

    written: float
    data: bytes


class StoredSessions(Entered, SessionCookie):
    """Sessions whose cookie is an id. What is kept has the id's digest as its key: who reads it can use no session.

    All of them may be lifespans, as ``RedisSessions`` has to be: a setting may choose between them.
    """

    def __init__(self, kind: str, max_size: int, **options: Unpack[CookieOptions]) -> None:
        super().__init__(kind, **options)
        if isinstance(max_size, bool) or not isinstance(max_size, int) or max_size < 1:
            raise ValueError(f"{kind}: max_size is a number of bytes, got {max_size!r}")
        self._max_size = max_size

    async def _load(self, value: str) -> tuple[Session, bool] | None:
        stored = await self._read(_key_of(value)) if _ID.fullmatch(value) else None
        age = 0.0 if stored is None else clock() - stored.written
        if stored is None or age > self._seconds:
            return None
        return Session(msgspec.json.decode(stored.data)), age > self._seconds / 2

    async def _save(self, data: bytes, value: str | None) -> str | None:
        if len(data) > self._max_size:
            raise ValueError(
                f"the session has {len(data)} bytes, and its max_size is {self._max_size}: keep the rest in a database"
            )
        stored = Stored(clock(), data)
        if value is None:  # never an id that a client has made up
            value = secrets.token_urlsafe(32)
            await self._write(_key_of(value), stored, known=False)
        elif not await self._write(_key_of(value), stored, known=True):
            return None
        return value

    async def _end(self, value: str) -> None:
        await self._remove(_key_of(value))

    def _refuse_late(self, *, has_one: bool) -> None:
        if not has_one:
            raise RuntimeError(
                f"the session was changed {TOO_LATE}, and the browser has none that is kept: change it before, so that "
                "the response has its cookie"
            )

    async def _save_late(self, known: str, data: bytes, kept: Mapping[str, object]) -> None:
        loaded = await self._load(known)
        if loaded is None:
            return
        fresh, before = loaded[0], msgspec.json.decode(data)  # of long ones: others may have changed it meanwhile
        for name in before.keys() | kept.keys():
            if name not in kept:
                fresh.pop(name, None)
            elif name not in before or kept[name] != before[name]:
                fresh[name] = kept[name]
        if fresh:
            await self._save(msgspec.json.encode(fresh), known)
        else:
            await self._end(known)

    @abstractmethod
    async def _read(self, key: str) -> Stored | None:
        """What is kept."""

    @abstractmethod
    async def _write(self, key: str, stored: Stored, *, known: bool) -> bool:
        """Keep a session for its lifetime; ``known``: only if there is one. Returns whether it is kept."""

    @abstractmethod
    async def _remove(self, key: str) -> None:
        """Keep it no longer."""


class MemorySessions(StoredSessions):
    """Keeps ``request.state.session``, a dict, in the memory of the process; the browser has an id in a cookie.

    ::

        app.middleware(MemorySessions())

        @app.post("/login")
        async def login(session: Annotated[Session, Provide(session)], name: Annotated[str, Form]):
            session.renew()
            session["user"] = name

    For one worker: with several, or across restarts, take ``RedisSessions``. Unlike one of ``Sessions``, a session ends
    when it is emptied, whoever has copied its cookie, and the browser cannot read it. It is saved when the response
    begins, if it has changed, and renewed when half of its lifetime is over; what a stream changes later, or a
    WebSocket that was accepted, is saved value by value at its end. Of two requests at the same time the last one
    counts, and one that is under way does not revive a session that has ended.

    Args:
        max_size: the most bytes of a session as JSON; a larger one is a ``ValueError`` where it is saved.
        limit: the most bytes of all sessions together; beyond it those that were not used for longest end.
        options: the cookie.

    Raises:
        TypeError: if an argument has a type that cannot be sent.
        ValueError: if a limit is out of range, or browsers would reject the cookie.
    """

    def __init__(self, *, max_size: int = MAX_SIZE, limit: int = LIMIT, **options: Unpack[CookieOptions]) -> None:
        super().__init__("MemorySessions", max_size, **options)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < max_size + OVERHEAD:
            raise ValueError(f"MemorySessions: limit is a number of bytes, and more than max_size, got {limit!r}")
        self._limit = limit
        self._kept: OrderedDict[str, Stored] = OrderedDict()  # what was used last is last
        self._size = 0

    async def _read(self, key: str) -> Stored | None:
        stored = self._kept.get(key)
        if stored is None:
            return None
        if clock() - stored.written > self._seconds:
            self._take(key)
            return None
        self._kept.move_to_end(key)
        return stored

    async def _write(self, key: str, stored: Stored, *, known: bool) -> bool:
        if self._take(key) is None and known:
            return False
        self._kept[key] = stored
        self._size += len(stored.data) + OVERHEAD
        while self._size > self._limit:
            self._take(next(iter(self._kept)))
        return True

    async def _remove(self, key: str) -> None:
        self._take(key)

    def _take(self, key: str) -> Stored | None:
        stored = self._kept.pop(key, None)
        if stored is not None:
            self._size -= len(stored.data) + OVERHEAD
        return stored


def _key_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
