"""A subscription as the source of an event stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from trioweb.hub.entries import farewell
from trioweb.hub.subscription import Subscription
from trioweb.streams.channel import ByteChannel
from trioweb.streams.feed import Feed


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
        channel = self._subscription.channel
        if channel is not None:
            self._subscription.channel = channel.on_room = None  # no reference cycle may be left
        await self._subscription.__aexit__(None, None, None)

    async def fill(self, channel: ByteChannel) -> bool:
        """See ``Feed``: what the subscriber has missed is given as it has room, and then the hub pushes."""
        subscription = self._subscription
        try:
            while not subscription.ended:
                entry = subscription.take()
                if entry is not None:
                    channel.append(entry.frame)
                    if channel.waiting > channel.mark:
                        await channel.settle()
                elif not subscription.is_open:
                    await subscription.sleep()
                elif subscription.must_wait():
                    subscription.channel = channel
                    return True
                else:
                    await subscription.catch_up()
        finally:
            if subscription.ended:
                channel.append(farewell())
        return False

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """See ``Feed``."""
        subscription = self._subscription
        try:
            while not subscription.is_open and not subscription.ended:
                await subscription.sleep()
            while not subscription.ended and (entry := await subscription.next()) is not None:
                yield entry.frame
            yield farewell()
        finally:
            await self.aclose()

    def end(self) -> bool:
        """See ``Feed``."""
        self._subscription.end()
        return self._subscription.live
