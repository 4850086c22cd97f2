"""A subscription as the source of an event stream."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from typing import Final

from trioweb.hub.subscription import Subscription
from trioweb.streams.channel import ByteChannel
from trioweb.streams.feed import Feed

SPREAD: Final = (500, 2000)
"""Milliseconds after which clients reconnect when a server stops: not all of them at once."""


class EventFeed(Feed):
    """Sends the events of a subscription: at the end of the stream, when to reconnect."""

    __slots__ = ("_over", "_subscription")

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._over = False

    async def open(self) -> None:
        """See ``Feed``."""
        await self._subscription.__aenter__()
        if self._over:  # the client has left meanwhile
            await self.aclose()
        self._subscription.rouse()

    async def aclose(self) -> None:
        """See ``Feed``."""
        self._over = True
        await self._subscription.__aexit__(None, None, None)

    async def fill(self, channel: ByteChannel) -> None:
        """See ``Feed``: what the subscriber has missed is given as it has room, and then the hub pushes."""
        subscription = self._subscription
        subscription.channel, channel.on_room = channel, subscription.refill
        try:
            while not subscription.ended:
                entry = subscription.take()
                if entry is not None:
                    channel.append(entry.frame)
                    if channel.waiting > channel.mark:
                        await channel.settle()
                elif not subscription.is_open or subscription.must_wait():
                    await subscription.sleep()  # thousands wait here: not in a method, to save its frame
                else:
                    await subscription.catch_up()
        finally:
            subscription.channel = channel.on_room = None
            if subscription.ended:
                channel.append(_retry())
            await self.aclose()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """See ``Feed``."""
        subscription = self._subscription
        try:
            while not subscription.is_open and not subscription.ended:
                await subscription.sleep()
            while not subscription.ended and (entry := await subscription.next()) is not None:
                yield entry.frame
            yield _retry()
        finally:
            await self.aclose()

    def end(self) -> bool:
        """See ``Feed``."""
        self._subscription.end()
        return self._subscription.live


def _retry() -> bytes:
    return b"retry: %d\n\n" % random.randint(*SPREAD)  # noqa: S311 - no secret
