"""A request body that nobody reads: some clients stop sending, and wait, once they have the whole response; others are
reset while they send, and lose it.
"""

from __future__ import annotations

from trioweb.io.inbox import Inbox


class UnreadBody:
    """What is left of a request's body when its response is sent. Each step costs nothing where nothing is left.

    Args:
        inbox: where it comes.
        expected: there may be a body at all.
    """

    __slots__ = ("_inbox", "_waited", "expected")

    def __init__(self, inbox: Inbox, *, expected: bool) -> None:
        self._inbox = inbox
        self._waited = False
        self.expected = expected

    async def take(self) -> bool:
        """Before the end of a response: take in what the client still sends, for a while, so that it is not reset.

        Returns:
            Whether that was all of it.
        """
        inbox = self._inbox
        if self.expected and not (inbox.complete or self._waited):
            self._waited = True
            inbox.discard()
            await inbox.discarded()
            inbox.discard(unbounded=True)
        return inbox.complete or inbox.gone

    async def let_go(self) -> None:
        """After the end of a response: let the server stop reading a body that went on."""
        if self.expected and not self._inbox.complete:
            await self._inbox.over()

    async def abandon(self) -> None:
        """After a response that did not end, on a connection that is gone: take what the server has for us.

        It may wait for room in its queue, and everything else on that connection behind it.
        """
        if self.expected:
            await self._inbox.drain()
