"""What an object of Hypercorn's tells of the response that it sends, for who has only the ``send`` of a request.

None of it is an API: where an attribute is missing, nothing is known.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import ref

import h11

from trioweb.ground.http.headers import RawHeaders
from trioweb.io.hypercorn import endings

_ENDED: Final = (h11.DONE, h11.MUST_CLOSE)


def _nothing() -> None:
    """What stands for a reference to a stream where there is none."""


class ResponseView:
    """One response, as its stream of Hypercorn's knows it. It does not keep that stream.

    Args:
        send: what the app is given.
    """

    __slots__ = ("_stream",)

    def __init__(self, send: object) -> None:
        stream = getattr(send, "__self__", None)
        self._stream = _nothing if stream is None else ref(stream)

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
        """All of it was taken by the connection, its end too."""
        stream = self._stream()
        return stream is not None and endings.get(stream, self._state == "CLOSED")

    @property
    def is_ending(self) -> bool:
        """Its end is on the way at least. To be asked while its app runs, and has not broken it off."""
        stream: Any = self._stream()
        if stream in endings or self._state != "RESPONSE":
            return self.is_whole
        protocol = self._protocol
        buffers: Any = getattr(protocol, "stream_buffers", None)
        if buffers is None:
            return getattr(getattr(protocol, "connection", None), "our_state", None) in _ENDED
        buffer = buffers.get(stream.stream_id)
        return buffer is None or bool(buffer.complete)

    @property
    def is_broken_off(self) -> bool:
        """It was broken off on this side."""
        return not endings.get(self._stream(), True)

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
