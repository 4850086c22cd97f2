"""The connection of a process to its Redis or Valkey."""

from __future__ import annotations

import logging
import secrets
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from trioweb.hub import scripts
from trioweb.hub.engine import CUT, HubUnavailable
from trioweb.hub.topics import Retention
from trioweb.io.coredis import failures_of_redis, make_client, reason_of

if TYPE_CHECKING:
    from coredis import Redis
    from coredis.commands.script import Script

PUBLISHING: Final = 4.0
"""Seconds in which what users have asked for is tried again: they are told within 5."""
TRYING: Final = 2.0
"""Seconds of one try."""
PAUSE: Final = 0.05
"""Seconds between two tries."""

_logger: Final = logging.getLogger("trioweb")


class RedisLink:
    """Runs the scripts of a hub. A process has one.

    Args:
        url: where it is.
        prefix: of all keys.
        kept: how much of each topic is kept.

    Raises:
        ModuleNotFoundError: if coredis is not installed.
    """

    def __init__(self, url: str, prefix: str, kept: Retention) -> None:
        self.failures = failures_of_redis("RedisHub")
        """What is raised while it is away."""
        self.away_since: float | None = None
        """When it was found to be away, by trio's clock."""
        self.is_cut = False
        """A test has cut it off."""
        self.prefix = prefix
        self._url = url
        self._limits = [
            kept.count,
            -1 if kept.seconds is None else kept.seconds,
            -1 if kept.size is None else kept.size,
        ]
        self._client: Redis[bytes] | None = None
        self._scripts: dict[str, Script[bytes]] = {}

    def __repr__(self) -> str:
        scheme, _, rest = self._url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"  # without the password

    @property
    def client(self) -> Redis[bytes]:
        """The client.

        Raises:
            OSError: if it was cut off, or is not connected.
        """
        if self.is_cut or self._client is None:
            raise OSError(CUT if self.is_cut else "the hub is closed")
        return self._client

    def lose(self, error: Exception) -> None:
        """It is away. Does not block."""
        if self.away_since is None:
            self.away_since = trio.current_time()
            _logger.warning("%r cannot be reached, and its subscribers wait: %s", self, reason_of(error, TRYING))

    def find(self) -> None:
        """It is not, or not any more. Does not block."""
        if self.away_since is not None:
            self.away_since = None
            _logger.warning("%r can be reached again", self)

    async def connect(self, stack: AsyncExitStack) -> None:
        """Reach it, until ``stack`` is closed.

        Raises:
            HubUnavailable: if that is not possible.
        """
        client = make_client(self._url, TRYING)
        self._scripts = {each: client.register_script(scripts.COMMON + each) for each in scripts.ALL}
        async with AsyncExitStack() as own:
            self._client = await own.enter_async_context(client)
            own.callback(self._close)
            try:
                with trio.fail_after(TRYING):
                    await client.ping()
            except self.failures as error:
                reason = reason_of(error, TRYING)
            else:
                stack.push_async_exit(own.pop_all())
                return
        raise self.unavailable(reason)  # outside of the client, which would make a group of it

    def _close(self) -> None:
        self._client = None

    def unavailable(self, reason: str) -> HubUnavailable:
        """The error for users."""
        return HubUnavailable(f"{self!r} cannot be reached: {reason}")

    async def process(self) -> object:
        """What is another if it has started anew."""
        with trio.fail_after(TRYING):
            return (await self.client.info("server"))["run_id"]

    async def run(self, script: str, *arguments: str | bytes | float) -> Any:
        """Run a script, once."""
        client, common = self.client, [self.prefix, secrets.token_hex(4), *self._limits]
        with trio.fail_after(TRYING):
            return await self._scripts[script]([], [*common, *arguments], client)

    async def ask(self, script: str, *arguments: str | bytes | float) -> Any:
        """Run a script for a user: again and again for a while if it is away.

        Raises:
            HubUnavailable: if it stays away.
        """
        since = trio.current_time() if self.away_since is None else self.away_since
        while True:
            reason = ""
            try:
                with trio.CancelScope(shield=True):  # or nobody would know whether it has run
                    return await self.run(script, *arguments)
            except self.failures as error:
                reason = reason_of(error, TRYING)
            if trio.current_time() + PAUSE > since + PUBLISHING - TRYING:
                raise self.unavailable(reason)
            await trio.sleep(PAUSE)

    async def tell(self, script: str, *arguments: str | float) -> None:
        """Run a script if it is not away."""
        with suppress(*self.failures):
            await self.run(script, *arguments)


def as_bytes(value: str | bytes) -> bytes:
    """A value of coredis, whose types allow text too."""
    return value if isinstance(value, bytes) else value.encode()
