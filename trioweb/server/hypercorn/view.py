"""The state of a response that Hypercorn sends, found from the ``send`` of its request.

These attributes are not an API of Hypercorn's: if one is missing, the state is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import ref

import h11

from trioweb.ground.http.headers import RawHeaders
from trioweb.io.hypercorn import endings

_ENDED: Final = (h11.DONE, h11.MUST_CLOSE)


class ResponseView:
    """The state of one response. It has only a weak reference to Hypercorn's stream.

    Args:
        send: the app's ``send``.
    """

    __slots__ = ("_stream",)

    def __init__(self, send: object) -> None:
        stream = getattr(send, "__self__", None)
        self._stream: Callable[[], object] = (lambda: None) if stream is None else ref(stream)

    @property
    def _state(self) -> str | None:
        return getattr(getattr(self._stream(), "state", None), "name", None)

    @property
    def _protocol(self) -> object:
        return getattr(getattr(self._stream(), "send", None), "__self__", None)

    @property
    def head(self) -> tuple[int, RawHeaders] | None:
        """Status and headers, if they were sent."""
        if self._state not in ("RESPONSE", "TRAILERS", "CLOSED", "HTTPCLOSED"):
            return None
        response = getattr(self._stream(), "response", None)
        return None if response is None else (int(response["status"]), list(response.get("headers", ())))

    @property
    def is_whole(self) -> bool:
        """The connection has taken all of it, with its end."""
        stream = self._stream()
        return stream is not None and endings.get(stream, self._state == "CLOSED")

    @property
    def is_ending(self) -> bool:
        """Its end is sent, or is being sent. Only valid while the app runs and has not aborted it."""
        stream: Any = self._stream()
        if stream in endings or self._state != "RESPONSE":
            return self.is_whole
        protocol = self._protocol
        buffers = getattr(protocol, "stream_buffers", None)
        if buffers is None:
            return getattr(getattr(protocol, "connection", None), "our_state", None) in _ENDED
        buffer = buffers.get(stream.stream_id)
        return buffer is None or bool(buffer.complete)

    @property
    def is_broken_off(self) -> bool:
        """It was aborted by the server."""
        return not endings.get(self._stream(), True)

    @property
    def has_left(self) -> bool:
        """The client has disconnected, or the connection is closed."""
        return bool(getattr(self._stream(), "closed", False))

    @property
    def is_unanswered(self) -> bool:
        """No response was started, and one can still be sent."""
        connection = getattr(getattr(getattr(self._protocol, "send", None), "__self__", None), "stream", None)
        sock = getattr(getattr(connection, "transport_stream", connection), "socket", None)
        return self._state in ("REQUEST", "HANDSHAKE") and sock is not None and sock.fileno() != -1
