"""What an object of Hypercorn's tells of the response that it sends, for who has only the ``send`` of a request.

None of it is an API: where an attribute is missing, nothing is known.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import ref

import h11

from trioweb.ground.headers import RawHeaders
from trioweb.wire.hypercorn import ended_unread

_ENDED: Final = (h11.DONE, h11.MUST_CLOSE)


class ResponseView:
    """One response, as its stream of Hypercorn's knows it. It does not keep that stream.

    Args:
        send: what the app is given.
    """

    __slots__ = ("_stream",)

    def __init__(self, send: object) -> None:
        stream = getattr(send, "__self__", None)
        self._stream = (lambda: None) if stream is None else ref(stream)

    @property
    def _state(self) -> str | None:
        return getattr(getattr(self._stream(), "state", None), "name", None)

    @property
    def _protocol(self) -> Any:
        return getattr(getattr(self._stream(), "send", None), "__self__", None)

    @property
    def head(self) -> tuple[int, RawHeaders] | None:
        """Status and headers, where they have been sent."""
        if self._state not in ("RESPONSE", "TRAILERS", "CLOSED", "HTTPCLOSED"):
            return None
        response: Any = getattr(self._stream(), "response", None)
        return None if response is None else (int(response["status"]), list(response.get("headers", ())))

    @property
    def is_whole(self) -> bool:
        """All of it was handed to the connection, its end too."""
        stream: Any = self._stream()
        if stream is None or stream in ended_unread or self._state == "CLOSED":
            return stream is not None
        if self._state != "RESPONSE":
            return False
        protocol = self._protocol
        buffers: Any = getattr(protocol, "stream_buffers", None)
        if buffers is not None:
            buffer = buffers.get(stream.stream_id)
            return buffer is None or bool(buffer.complete)
        return getattr(getattr(protocol, "connection", None), "our_state", None) in _ENDED

    @property
    def has_left(self) -> bool:
        """The client has left, or the connection is closed."""
        return bool(getattr(self._stream(), "closed", False))

    @property
    def is_unanswered(self) -> bool:
        """There is no answer, not even the head of one, and there can be one."""
        connection = getattr(getattr(getattr(self._protocol, "send", None), "__self__", None), "stream", None)
        sock = getattr(getattr(connection, "transport_stream", connection), "socket", None)
        return self._state in ("REQUEST", "HANDSHAKE") and sock is not None and sock.fileno() != -1
