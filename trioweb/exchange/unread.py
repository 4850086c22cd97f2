"""The rest of a request body that the handler has not read.

Some clients stop sending when they have the whole response; others lose it, if the connection is reset while they send.
"""

from __future__ import annotations

from trioweb.io.inbox import Inbox


class UnreadBody:
    """The rest of a request's body when its response is sent, if one is ``expected`` at all."""

    __slots__ = ("_inbox", "_waited", "expected")

    def __init__(self, inbox: Inbox, *, expected: bool) -> None:
        self._inbox = inbox
        self._waited = False  # `read_rest` has
        self.expected = expected

    async def read_rest(self) -> bool:
        """Read and drop the rest before the end of a response, for a limited time, so that the client is not reset.

        Returns whether all of it was read, or the client has disconnected.
        """
        inbox = self._inbox
        if self.expected and not (inbox.complete or self._waited):
            self._waited = True
            inbox.discard()
            await inbox.discarded()
            inbox.discard(unbounded=True)
        return inbox.complete or inbox.gone

    async def stop(self) -> None:
        """After the end of a response: let the server stop reading the body."""
        if self.expected and not self._inbox.complete:
            await self._inbox.over()
