"""The access log of requests that Hypercorn's protocols serve."""

from __future__ import annotations

import trio

from trioweb.ground.http.asgi import MutableScope
from trioweb.ground.http.headers import RawHeaders
from trioweb.server.config import ServerConfig
from trioweb.server.hypercorn.view import ResponseView
from trioweb.server.logs.entries import BROKEN, COMPLETE, LEFT
from trioweb.server.logs.logs import RECORD
from trioweb.server.logs.records import AccessRecord


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
