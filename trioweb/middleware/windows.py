"""Counts of requests in windows of time, in memory and in Redis.

Rules that this module alone enforces:

* A window begins with the first request that is counted in it, and all windows of a counter have the same length.
* Memory is bounded by the number of windows: beyond that the oldest is forgotten.
* A request waits for Redis at most ``TRYING`` seconds, and not at all for ``PAUSE`` seconds after a failure.
"""

from __future__ import annotations

import logging
import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, cast

import trio

from trioweb.io.coredis import failures_of_redis, make_client, reason_of

if TYPE_CHECKING:
    from coredis.commands.script import Script

TRYING: Final = 0.5
"""Seconds in which Redis must have answered."""
PAUSE: Final = 1.0
"""Seconds in which Redis is not asked again after it has failed."""
_COUNT: Final = """
local count, left = redis.call('INCR', KEYS[1]), redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[1]) then
    left = tonumber(ARGV[1])
    redis.call('PEXPIRE', KEYS[1], left)
end
return {count, left}
"""
"""A key without an end, or with that of a longer window of old, gets one: its client would be refused as long."""
_logger: Final = logging.getLogger("trioweb")


class Windows:
    """Counts in this process.

    Args:
        seconds: the length of a window.
        most: how many windows are kept.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._begun: dict[bytes, tuple[float, int]] = {}  # in the order of their ends

    def __len__(self) -> int:
        return len(self._begun)

    def count(self, key: bytes) -> tuple[int, float]:
        """Count a request. Returns how many there are in its window, and the seconds that are left of that."""
        now = trio.current_time()
        self._forget(now)
        begin, count = self._begun.get(key, (now, 0))
        self._begun[key] = begin, count + 1
        if len(self._begun) > self._most:
            del self._begun[next(iter(self._begun))]
        return count + 1, begin + self._seconds - now

    def _forget(self, now: float) -> None:
        """Forget the windows that are over, and those of another run of trio, whose clock was another."""
        while self._begun:
            key = next(iter(self._begun))
            if self._begun[key][0] <= now < self._begun[key][0] + self._seconds:
                return
            del self._begun[key]


class SharedWindows:
    """Counts that all processes with the same Redis, or Valkey, and the same prefix share.

    Args:
        url: where it is.
        prefix: of the keys.
        seconds: the length of a window.

    Raises:
        ModuleNotFoundError: if coredis is not installed.
    """

    def __init__(self, url: str, prefix: str, seconds: float) -> None:
        self._failures = failures_of_redis("RateLimit(redis=...)")
        self._url = url
        self._prefix = prefix
        self._milliseconds = math.ceil(seconds * 1000)
        self._script: Script[bytes] | None = None
        self._away_until = -math.inf

    async def connect(self, stack: AsyncExitStack) -> None:
        """Open the client until ``stack`` is closed. Redis may be away."""
        client = await stack.enter_async_context(make_client(self._url, TRYING))
        self._script = client.register_script(_COUNT)
        self._away_until = -math.inf
        stack.callback(self._close)

    def _close(self) -> None:
        self._script = None

    async def count(self, key: bytes) -> tuple[int, float] | None:
        """As ``Windows.count``; ``None`` while Redis is away. A cancellation waits until it has answered.

        Raises:
            RuntimeError: if it is not connected.
        """
        if self._script is None:
            raise RuntimeError("RateLimit(redis=...) is not connected: write app.lifespan(limit) beside app.middleware")
        if trio.current_time() < self._away_until:
            return None
        try:
            with trio.fail_after(TRYING, shield=True):
                name = self._prefix + key.hex()
                found = cast("tuple[int, int]", await self._script([name], [self._milliseconds]))
        except self._failures as error:
            if self._away_until == -math.inf:
                reason = reason_of(error, TRYING)
                _logger.warning("RateLimit: Redis is away (%s): each process counts by itself meanwhile", reason)
            self._away_until = trio.current_time() + PAUSE
            return None
        if self._away_until != -math.inf:
            self._away_until = -math.inf
            _logger.warning("RateLimit: Redis is back")
        count, left = found
        return count, left / 1000
