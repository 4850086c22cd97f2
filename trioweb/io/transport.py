"""What streams need from a server beyond ASGI, as one small interface.

ASGI cannot abort a response, tell whether the client has received it, or wake a blocked ``send``. ``Transport`` is what
a plain server can do; one that can do more has a subclass (``trioweb.io.hypercorn``).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioweb.ground.http.asgi import Message, Receive, Scope, Send
from trioweb.ground.http.headers import RawHeaders

GIVEN_RATE: Final = "trioweb.min_rate"
"""The extension of an ASGI scope in which a server gives the least rate of its clients, in place of the app."""
LISTENERS: Final = "trioweb.listeners"
"""The extension of an ASGI scope with functions that are called with each error that is logged of a request: middleware
hears there why a response was broken off, since no exception need pass it.
"""

READ_AHEAD: Final = 65536
"""Bytes that are read ahead, besides one message of the server: of a request's body, a WebSocket's messages (characters
of text), or pipelined requests. Then the client has to wait.

Hypercorn buffers ten more messages, each of at most ``websocket_max_message_size`` (16 MiB by default).
"""
LOOK_SECONDS: Final = 0.5
"""Seconds between looks at a client, where nothing tells that it has disconnected, or receives too slowly."""
COUNTED: Final = 1024
"""The least bytes that a WebSocket's message counts: at most 64 messages are read ahead, however short they are."""


class Watcher:
    """Is told of a client, and has time limits. No method blocks."""

    __slots__ = ()

    def left(self) -> None:
        """The client has disconnected."""

    def received(self) -> None:
        """A message of a WebSocket has come: ``receive_nowait`` takes it."""

    def look(self) -> float:
        """Check the time limits. Called soon, and then at the returned times, by trio's clock."""
        return math.inf

    # For a task that watches

    @property
    def over(self) -> bool:
        """It has failed, or a time limit has ended it."""
        return False

    @property
    def stuck(self) -> bool:
        """A ``send`` has not returned. In it the server may be blocked on its full queue of messages."""
        return False

    def cancelled(self) -> None:
        """A cancellation from outside: end it, and a ``send`` that is shielded from that."""


def size_of(message: Message) -> int:
    """What a message of a WebSocket counts."""
    return max(COUNTED, len(message.get("bytes") or message.get("text") or ""))


async def send_whole(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """Send a response as two messages of ASGI."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Transport:
    """The connection of one request, on a plain ASGI server."""

    __slots__ = ()

    cancels: trio.CancelScope | None = None
    """A scope around the whole request, to be cancelled after a disconnect of the client: the connection then ends. The
    writes of such a server may be cancelled, and need no shield. ``None`` for other servers.
    """

    empty = False
    """The request has no body: the server knows that over HTTP/2, where no header says so."""

    wakes_writes = False
    """A disconnect ends a ``send`` that waits, over HTTP/2 too: a small response then needs no watch of its own."""

    logs_lifespan = True
    """The app is to log a failure of its lifespan; if not, whoever runs it does."""

    def __deepcopy__(self, memo: object) -> Transport:
        return self  # some middleware makes a deep copy of the scope

    def resumes(self, send: Send) -> bool:  # noqa: ARG002
        """Whether ``resume_with`` can be called: the server is able to, and nothing wraps its ``send``."""
        return False

    def resume_with(self, rest: Callable[[], Awaitable[None]]) -> None:
        """Cancel the call of the app, before its response has started; then await ``rest``. Does not block."""
        raise NotImplementedError

    def receive_nowait(self, receive: Receive) -> Message | None:  # noqa: ARG002
        """Take the message that ``receive`` would return without waiting; ``None`` if there is none. Does not block.

        ``receive`` is that of the app's call: if it is not the server's own, a wrapper must see the messages.
        """
        return None

    def respond(self, send: Send, status: int, headers: RawHeaders, body: bytes) -> Awaitable[None] | None:
        """Send a whole small response over HTTP/1, or with ``wakes_writes``: as an ``Outbox``, but faster.

        The caller has checked status and headers, and holds a shield if ``cancels`` is ``None``.

        Returns:
            ``None`` if it is sent, else what sends the rest.

        Raises:
            Exception: as ``send``, now or when the result is awaited.
        """
        return send_whole(send, status, headers, body)

    def send_part(self, send: Send, data: bytes) -> Awaitable[None] | None:
        """Send a part of a body, but not its end.

        Returns:
            ``None`` if the system has all of it, else what waits for that.

        Raises:
            Exception: as ``send``, now or when the result is awaited.
        """
        return send({"type": "http.response.body", "body": data, "more_body": True})

    async def drained(self) -> None:
        """Wait until the server has written what its ``send`` has buffered."""

    async def send_file(self, send: Send, file: int, position: int, count: int) -> int:  # noqa: ARG002
        """Have the system send a part of a file, in a body of a declared length.

        Args:
            send: that of the app's call. If it is not the server's own, a wrapper must see the body: return 0.
            file: the descriptor.
            position: the start of the part.
            count: its bytes.

        Returns:
            The number of sent bytes; 0 if this is not possible: then call ``send``.
        """
        return 0

    async def end_unread(self) -> bool:
        """End a response whose body is sent, while the client still sends a body that no task will read.

        Returns whether this is done; if not, the last message must be sent.
        """
        return False

    async def abort(self) -> None:
        """Abort the response, so that the client does not take it for complete. Call it once, after the last ``send``.

        A plain server does what it can when the app returns without the last message.
        """

    def release(self, shield: trio.CancelScope | None) -> None:
        """Wake a ``send`` that waits for a client which has disconnected or receives nothing. Does not block.

        Args:
            shield: the scope around a ``send`` of the body, to be cancelled if that leaves the connection intact;
                ``None`` during the ``send`` of the head.
        """

    async def drop(self) -> bool:
        """Give up a connection after a response that did not end. Returns whether it is closed now."""
        return False

    def hold_to(self, min_rate: float | None) -> None:
        """Set the least rate at which the client must receive this response. Does not block."""

    def paces_body(self) -> None:
        """The app enforces the least rate of the request's body: it knows when it waits. Does not block."""

    def progress(self, handed: int) -> int | None:  # noqa: ARG002
        """Measure how much of the response the client has received. Does not block.

        Args:
            handed: bytes of the body that were given to ``send``.

        Returns:
            A number that grows with each byte; ``None`` if it is not known, or the server enforces the least rate.
        """
        return None

    def has_left(self) -> bool:
        """Whether the server knows of a disconnect that it has not reported. Does not block."""
        return False

    def silent_fd(self) -> int | None:
        """The descriptor of a connection whose end ``receive`` may not report, as behind pipelined data, and an epoll
        can; ``None`` for any other. Does not block.
        """
        return None

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """Call ``on_stop`` when the server stops, with the seconds that it leaves to current requests.

        Runs until it is cancelled. Plain ASGI does not tell.
        """
        del on_stop
        await trio.sleep_forever()

    def failed(self, error: Exception) -> None:
        """Called with each error that is logged: a test client raises it."""

    # Without a task

    def is_direct(self, send: Send) -> bool:  # noqa: ARG002
        """Whether the server needs no task to write to its client, or to watch it: then use the methods below.

        ``send`` is that of the app's call: if it is not the server's own, a wrapper must see what is sent.
        """
        return False

    @property
    def pending(self) -> bool:
        """Whether a part of what was offered is not sent yet."""
        return False

    def offer(self, parts: list[bytes], size: int) -> bool:
        """Send parts of the body together, of ``size`` bytes, as far as the client receives them now. Does not block.

        Returns:
            Whether all of it is sent; if not, await ``flushed`` next.

        Raises:
            ClientDisconnected: if the client has disconnected.
        """
        raise NotImplementedError

    def flushed(self) -> Awaitable[None]:
        """Wait until all that was offered is sent. A cancellation loses nothing: it can be called again.

        Raises:
            ClientDisconnected: if the client has disconnected.
        """
        raise NotImplementedError

    def watch(self, watcher: Watcher | None) -> None:
        """Report the client to ``watcher``, or with ``None`` no longer. Does not block."""
        raise NotImplementedError

    def start_task(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Run a function in a task of its own, which may outlive the request, but not the server. Does not block."""
        raise NotImplementedError


PLAIN = Transport()
"""For all servers that are not recognised."""


def own_transport(scope: Scope) -> Transport | None:
    """The transport of trioweb's server, the test kit, or a mounting app: ``"trioweb"`` in a scope's extensions."""
    own = (scope.get("extensions") or {}).get("trioweb")
    return own if isinstance(own, Transport) else None
