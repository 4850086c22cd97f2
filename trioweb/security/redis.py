"""Sessions in Redis or Valkey, for several workers and machines."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from math import ceil
from typing import TYPE_CHECKING, Final, TypeVar, Unpack

import trio

from trioweb.exchange.debug import log_fault
from trioweb.ground.errors import HTTPError
from trioweb.io.coredis import failures_of_redis, make_client, reason_of
from trioweb.middleware.sessions import CookieOptions
from trioweb.security.sessions import MAX_SIZE, Stored, StoredSessions

if TYPE_CHECKING:
    from coredis import Redis

T = TypeVar("T")
TRYING: Final = 2.0
"""Seconds in which Redis must answer."""


class RedisSessions(StoredSessions):
    """Keeps ``request.state.session``, a dict, in Redis or Valkey; the browser has an id in a cookie.

    ::

        sessions = RedisSessions("redis://localhost")
        app.lifespan(sessions)
        app.middleware(sessions)

    As ``MemorySessions``, for all workers and machines; Redis ends what is not used any more. A request with a cookie
    waits for Redis, and is a 503 if that gives no answer within 2 seconds. Needs ``pip install trioweb[redis]``.

    Args:
        url: where Redis is, such as ``"redis://localhost:6379/0"``, or ``rediss://`` for TLS.
        prefix: of all keys.
        max_size: the most bytes of a session as JSON; a larger one is a ``ValueError`` where it is saved.
        options: the cookie.

    Raises:
        ModuleNotFoundError: if coredis is not installed.
        TypeError: if an argument has a type that cannot be sent.
        ValueError: if a limit is out of range, or browsers would reject the cookie.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "session:",
        max_size: int = MAX_SIZE,
        **options: Unpack[CookieOptions],
    ) -> None:
        super().__init__("RedisSessions", max_size, **options)
        self._failures = failures_of_redis("RedisSessions")
        self._url = url
        self._prefix = prefix
        self._client: Redis[bytes] | None = None

    async def _open(self, stack: AsyncExitStack) -> None:
        self._client = await stack.enter_async_context(make_client(self._url, TRYING))
        stack.callback(self._close)

    def _close(self) -> None:
        self._client = None

    @property
    def _redis(self) -> Redis[bytes]:
        if self._client is None:
            raise RuntimeError("RedisSessions is not connected: write app.lifespan(sessions)")
        return self._client

    async def _read(self, key: str) -> Stored | None:
        found = await self._answer(self._redis.get(self._prefix + key))
        if found is None:
            return None
        written, _, data = found.partition(b" ")
        return Stored(float(written), data)

    async def _write(self, key: str, stored: Stored, *, known: bool) -> bool:
        from coredis import PureToken  # noqa: PLC0415 - an extra

        value = b"%.3f %b" % (stored.written, stored.data)
        setting = self._redis.set(
            self._prefix + key, value, condition=PureToken.XX if known else None, ex=ceil(self._seconds)
        )
        return bool(await self._answer(setting))

    async def _remove(self, key: str) -> None:
        await self._answer(self._redis.delete([self._prefix + key]))

    async def _answer(self, command: Awaitable[T]) -> T:
        """The answer of Redis.

        Raises:
            HTTPError: 503 if there is none.
        """
        try:
            with trio.fail_after(TRYING, shield=True):  # a half-read answer is nobody's
                return await command
        except self._failures as error:
            reason = reason_of(error, TRYING)
            log_fault(logging.ERROR, "RedisSessions: Redis gives no answer: %s", reason, error=None)
        raise HTTPError(503, "Sessions are not available at the moment.")
