"""What streams need from a server beyond ASGI, as one small interface.

Plain ASGI has no words for "this response is broken", "has the client taken it?" and "wake up that write".
``Transport`` is what remains without them; a server that can do more has a subclass (``trioweb.io.hypercorn``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from trioweb.ground.http.asgi import Message, Receive, Scope, Send
from trioweb.ground.http.headers import RawHeaders

GIVEN_RATE: Final = "trioweb.min_rate"
"""The extension of an ASGI scope by which whoever runs the server says a rate, in place of the app."""

READ_AHEAD: Final = 65536
"""Bytes held for a reader that has not asked yet, besides one message of the server: of a request's body, of a
WebSocket's messages (of text: characters), of what comes behind a request. Then the client has to wait.

Under Hypercorn the server holds ten more messages, each of at most ``websocket_max_message_size`` (16 MiB unless set).
"""
COUNTED: Final = 1024
"""Bytes that a message of a WebSocket counts at least, however short: so many are held for it."""


class Transport:
    """The connection of one request, as far as plain ASGI shows it."""

    __slots__ = ()

    cancels: trio.CancelScope | None = None
    """A scope around all of a request, for who would cancel it because its client has left: after that the connection
    ends. A server that has one lets its writes be cancelled: they need no shield. ``None`` for one that has not.
    """

    tells_departure = True
    """``receive`` says that the client has left, whatever it has sent behind its request; else ``has_left`` knows."""

    def __deepcopy__(self, memo: object) -> Transport:
        return self  # it goes with a scope, and some middleware copies that to its depth

    def receive_nowait(self, receive: Receive) -> Message | None:  # noqa: ARG002
        """The message that ``receive`` would return without waiting. Does not block.

        Args:
            receive: what the app was given. Where that is not the server's own, somebody stands between.

        Returns:
            The message, which is then taken; ``None`` where there is none, or nobody knows.
        """
        return None

    async def respond(self, send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
        """Send a whole small response, over HTTP/1: what an ``Outbox`` would send, without the cost of one.

        The caller has checked the headers, and holds a shield where ``cancels`` is ``None``.

        Args:
            send: what the app was given.
            status: from 200 to 999.
            headers: those that an app may set.
            body: all of it.
        """
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def drained(self) -> None:
        """Wait until the server has passed on what it was sent, where its ``send`` returns before that."""

    async def send_file(self, send: Send, file: int, position: int, count: int) -> int:  # noqa: ARG002
        """Have the system send a part of a file as a piece of a body that is under way, and of a declared length.

        Args:
            send: what the app was given. Where that is not the server's own, somebody stands between, who may have
                something else in mind for the body; nothing is sent then.
            file: a descriptor.
            position: where the part begins.
            count: its bytes.

        Returns:
            How many bytes were sent; none where that cannot be done, and ``send`` is the way.
        """
        return 0

    async def end_unread(self) -> bool:
        """End a response, all of its body sent, to a client that still sends a request body which nobody will read.

        Returns:
            Whether it is done; if not, the closing message is the way.
        """
        return False

    async def abort(self) -> None:
        """Make it plain to the client that the response is broken. Call it once, after the last ``send``.

        A server that sees an app return without the closing message does what it can by itself.
        """

    def release(self, shield: trio.CancelScope | None) -> None:
        """Make a ``send`` that waits for a client who left, or takes nothing, return. Does not block.

        Args:
            shield: the scope around a ``send`` of a body, for a server on which cancelling that leaves the connection
                whole; ``None`` during the ``send`` of a head.
        """

    async def drop(self) -> bool:
        """Let go of a connection on which no other response can follow, since the one of this request did not end.

        Returns:
            Whether it is closed now.
        """
        return False

    def hold_to(self, min_rate: float | None) -> None:
        """Hold the client to a rate of the app's own while it takes the response to this request. Does not block."""

    def paces_body(self) -> None:
        """The app itself sees to the rate at which the request's body comes: it knows when it waits for that."""

    def progress(self, handed: int) -> int | None:  # noqa: ARG002
        """How much of a response its client has taken, for who holds it to a rate. Does not block.

        Args:
            handed: bytes of the body that the server was given.

        Returns:
            Any number that grows with each byte; ``None`` where nobody knows, or the server sees to it.
        """
        return None

    def has_left(self) -> bool:
        """Whether the server knows that the client has left, though it has not said so. Does not block."""
        return False

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """Call ``on_stop`` when the server is told to stop, with the seconds that it leaves to what is in flight.

        Runs until it is cancelled; plain ASGI never tells.
        """
        del on_stop
        await trio.sleep_forever()

    def failed(self, error: Exception) -> None:
        """Hear of an error that is logged. A server has the log for that; a test wants it raised."""


class Watcher(Protocol):
    """Who is told of a client."""

    def left(self) -> None:
        """Hear that it has left. Does not block."""
        ...

    def look(self) -> float:
        """See to what is due: called soon, and when it is time again, which it says by trio's clock. Does not block."""
        ...


class DirectTransport(Transport):
    """The connection of one request, on a server that needs no task to write to its client, nor one to watch it."""

    __slots__ = ()

    def is_direct(self, send: Send) -> bool:  # noqa: ARG002
        """Whether this connection can do what is below, with the request as it stands.

        Args:
            send: what the app was given. Where that is not the server's own, somebody stands between, who would miss
                what is sent.
        """
        return False

    @property
    def pending(self) -> bool:
        """Something that was offered has not left."""
        return False

    def offer(self, parts: list[bytes]) -> bool:
        """Send parts of the body as one, as far as the client takes it now. Does not block.

        Returns:
            Whether all of it has left; if not, ``flushed`` comes next.

        Raises:
            ClientDisconnected: the client has left.
        """
        raise NotImplementedError

    def flushed(self) -> Awaitable[None]:
        """Wait until all that was offered has left. A cancellation loses nothing: it can be called again.

        Raises:
            ClientDisconnected: the client has left.
        """
        raise NotImplementedError

    def watch(self, watcher: Watcher | None) -> None:
        """Have the client watched by somebody; or, with ``None``, no more. Does not block."""

    def start(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Run something in a task of its own, which lives as long as it takes; at most as long as the server does."""
        raise NotImplementedError


PLAIN = Transport()
"""For every server that this project knows nothing about."""


def own_transport(scope: Scope) -> Transport | None:
    """What a server, or the test kit, offers of itself: ``"trioweb"`` in the extensions of an ASGI scope."""
    own = (scope.get("extensions") or {}).get("trioweb")
    return own if isinstance(own, Transport) else None
