"""What a request asks of the call that it belongs to, which is in a folder above this one."""

from __future__ import annotations

from typing import Protocol

import trio

from trioweb.io.inbox import Inbox
from trioweb.io.transport import Transport
from trioweb.messages.resources import Provider


class Origin(Provider, Protocol):
    """The ``Call`` of a request. Inbox and nursery are made on first use."""

    @property
    def inbox(self) -> Inbox:
        """Receives the body."""
        ...

    @property
    def nursery(self) -> trio.Nursery:
        """The request's nursery."""
        ...

    def find_transport(self) -> Transport:
        """The server's extensions of ASGI."""
        ...

    async def hint(self, links: list[bytes]) -> None:
        """Send a 103 with links."""
        ...
