"""How requests end that Hypercorn's protocols serve, for the access log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from weakref import ref

import h11
import trio

from trioweb.ground.http.asgi import MutableScope
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.hypercorn import Theirs, endings
from trioweb.server.config import ServerConfig
from trioweb.server.logs.entries import BROKEN, COMPLETE, LEFT
from trioweb.server.logs.logs import RECORD
from trioweb.server.logs.records import AccessRecord

_ENDED: Final = (h11.DONE, h11.MUST_CLOSE)


class ResponseView:
    """The state of one response. It has only a weak reference to Hypercorn's stream.

    Args:
        send: the app's ``send``.
    """

    __slots__ = ("_stream",)

    def __init__(self, send: Theirs) -> None:
        self._stream: Callable[[], Theirs] = ref(send.__self__)

    @property
    def _state(self) -> str:
        name: str = self._stream().state.name
        return name

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
        return endings.get(self._stream(), self._state == "CLOSED")

    @property
    def is_ending(self) -> bool:
        """Its end is sent, or is being sent. Only valid while the app runs and has not aborted it."""
        stream = self._stream()
        if stream in endings or self._state != "RESPONSE":
            return self.is_whole
        protocol = stream.send.__self__
        buffers = getattr(protocol, "stream_buffers", None)
        if buffers is None:
            return getattr(protocol.connection, "our_state", None) in _ENDED
        buffer = buffers.get(stream.stream_id)
        return buffer is None or bool(buffer.complete)

    @property
    def is_broken_off(self) -> bool:
        """It was aborted by the server."""
        return not endings.get(self._stream(), True)

    @property
    def has_left(self) -> bool:
        """The client has disconnected, or the connection is closed."""
        return bool(self._stream().closed)

    @property
    def is_unanswered(self) -> bool:
        """No response was started, and one can still be sent."""
        server = getattr(self._stream().send.__self__.send, "__self__", None)  # ``None`` over HTTP/3
        return self._state in ("REQUEST", "HANDSHAKE") and server is not None and server.is_open


class CallRecord(AccessRecord):
    """Finds out how a request ends that one of Hypercorn's protocols serves.

    These report the end of a response, a disconnect, both, or neither.

    Args:
        config: the server's configuration.
        scope: the request's; this record is added to its extensions.
        send: the app's ``send``.
    """

    __slots__ = ("_left_at", "_view", "_whole")

    def __init__(self, config: ServerConfig, scope: MutableScope, send: object) -> None:
        super().__init__(config, scope)
        self._left_at: float | None = None
        self._whole = False
        self._view = ResponseView(send)
        scope.setdefault("extensions", {})[RECORD] = self

    async def hear(self, status: int | None, headers: RawHeaders) -> None:
        """Take a report of the protocol: the response is complete; or, without a status, nothing more can be sent."""
        if status is not None:
            outcome = LEFT if self._left_at is not None and not self._whole else COMPLETE
            await self.log(status, headers, outcome, self._left_at)
        elif self._left_at is None:
            # If the last part is being written just now, the client has only closed quickly after it.
            self._left_at, self._whole = trio.current_time(), self._view.is_ending

    async def close(self) -> None:
        """The app has returned, or was cancelled: log the request, if it is not logged yet."""
        view = self._view
        status, headers = view.head or (None, [])
        if view.is_whole or self._whole:
            outcome = COMPLETE
        elif (self._left_at is not None or view.has_left) and not view.is_broken_off:
            outcome = LEFT
        elif status is None and view.is_unanswered and trio.current_effective_deadline() > trio.current_time():
            status, outcome = 500, COMPLETE  # which the server sends
        else:
            outcome = BROKEN
        await self.log(status, headers, outcome, self._left_at)
