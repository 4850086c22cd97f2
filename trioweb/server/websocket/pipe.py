"""What a protocol gives to a WebSocket: bytes in both directions, and an answer to its handshake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from trioweb.ground.http.headers import RawHeaders


class Pipe(Protocol):
    """The bytes of one WebSocket: the rest of a connection of HTTP/1.1, or a stream of HTTP/2.

    What the client sends is passed to ``ServedSocket.take``. The methods that write return whether all is written; if
    not, ``flushed`` must be awaited before the next one.
    """

    def accept(self, headers: RawHeaders) -> bool:
        """Write the head of an accepted handshake.

        Raises:
            ValueError: if one of these headers cannot be sent: then nothing was.
        """
        ...

    def respond(self, status: int | None, headers: RawHeaders, body: bytes, *, more: bool) -> bool:
        """Write a part of a response that refuses the handshake.

        Args:
            status: ``None`` for a later part.
            headers: of the first part.
            body: the part.
            more: others follow.

        Raises:
            ValueError: if a header cannot be sent, or the body does not match its length.
        """
        ...

    def write_nowait(self, parts: Sequence[bytes]) -> bool:
        """Write whole frames. Does not block.

        Raises:
            ClientLeftError: if the client has left.
        """
        ...

    async def flushed(self) -> None:
        """Wait until the rest is written. A cancellation loses nothing.

        Raises:
            ClientLeftError: if the client has left, or is too slow.
        """
        ...

    def end(self) -> None:
        """Nothing more will be written; what was is still delivered. Safe to call twice. Does not block."""
        ...

    def cut(self) -> None:
        """Abort: ``flushed`` raises. Safe to call twice. Does not block."""
        ...

    def has_left(self) -> bool:
        """Whether the client is known to have left. Does not block."""
        ...

    def resume(self) -> None:
        """Read on, after ``take`` has returned ``False``. Does not call it. Does not block."""
        ...

    def start_task(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Run a function in a task of its own, which may outlive the app's call. Does not block."""
        ...
