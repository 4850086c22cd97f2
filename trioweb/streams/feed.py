"""A source that a publisher gives bytes to, ready to send: no generator runs, and no task waits for each chunk."""

from __future__ import annotations

from collections.abc import AsyncIterator

from trioweb.streams.channel import ByteChannel


class Feed:
    """The source of a stream whose chunks come from outside of it: see ``ByteChannel.push``."""

    __slots__ = ()

    async def open(self) -> None:
        """Called before the head is sent: a client that has it gets all chunks that are published from then on."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Called at the end, used or not. Safe to call twice."""
        raise NotImplementedError

    async def fill(self, channel: ByteChannel) -> bool:
        """Give a channel the chunks that were missed.

        Returns:
            Whether there are more: a publisher then calls ``channel.push``, and ``channel.finish`` at the end.
        """
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The same chunks as an async generator, for functions that map them."""
        raise NotImplementedError

    def end(self) -> bool:
        """The server stops: end the chunks soon. Returns ``False`` to be cancelled instead. Does not block."""
        raise NotImplementedError
