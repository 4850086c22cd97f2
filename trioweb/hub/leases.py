"""Who is there, across processes: each process has leases for its members, and renews them while it lives."""

from __future__ import annotations

import secrets

import trio

from trioweb.hub import scripts
from trioweb.hub.link import RedisLink
from trioweb.messages.limits import check_seconds

AT_ONCE = 1000
"""Leases that are renewed by one script."""


class Leases:
    """The leases of this process.

    Args:
        link: where they are kept.
        seconds: after which one ends that is not renewed.

    Raises:
        ValueError: if that is no number above zero.
    """

    def __init__(self, link: RedisLink, seconds: float | None) -> None:
        if seconds is None:
            raise ValueError("lease=None would keep the members of a worker that has crashed: write seconds")
        check_seconds("lease", seconds)
        self._link = link
        self._seconds = seconds
        self._held: dict[tuple[str, str], tuple[str, int]] = {}  # by topic and member: the lease, and its subscriptions

    async def join(self, topic: str, member: str) -> None:
        """A subscriber joins a topic. While the engine is away the lease begins later, with its renewal."""
        lease, held = self._held.get((topic, member), ("", 0))
        if not held:  # a new one, so that a leave which is under way ends another
            lease = f"{secrets.token_hex(6)} {member}"
        self._held[topic, member] = lease, held + 1
        if not held:
            await self._link.tell(scripts.ENTER, self._seconds, topic, lease)

    async def leave(self, topic: str, member: str) -> None:
        """A subscriber leaves a topic. While the engine is away the lease ends by itself."""
        lease, held = self._held.pop((topic, member), ("", 0))
        if held > 1:
            self._held[topic, member] = lease, held - 1
        elif held:
            await self._link.tell(scripts.LEAVE, topic, lease)

    async def renew(self) -> None:
        """Renew them until cancelled."""
        while True:
            await trio.sleep(self._seconds / 3)
            leases = [text for (topic, _), (lease, _) in self._held.items() for text in (topic, lease)]
            for begin in range(0, len(leases), 2 * AT_ONCE):
                await self._link.tell(scripts.ENTER, self._seconds, *leases[begin : begin + 2 * AT_ONCE])
