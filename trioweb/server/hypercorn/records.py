"""The requests that Hypercorn's protocols serve, as the access log tells them: each once."""

from __future__ import annotations

from typing import Any

import trio

from trioweb.ground.http.headers import RawHeaders
from trioweb.server.hypercorn.view import ResponseView
from trioweb.server.logs.entries import BROKEN, COMPLETE, LEFT, Ending
from trioweb.server.logs.logs import RECORD, ServerLogger


class AccessRecord:
    """What becomes of a request that one of Hypercorn's protocols serves.

    These tell of a response's end, of a client that leaves, and sometimes of both, or of none.

    Args:
        logger: where it is logged.
        scope: the request's; it has this in its extensions from now on.
        send: what the app is given.
    """

    __slots__ = ("_began", "_left_at", "_logged", "_logger", "_view", "_whole")

    def __init__(self, logger: ServerLogger, scope: Any, send: Any) -> None:
        self._logger = logger
        self._began = trio.current_time()
        self._left_at: float | None = None
        self._whole = False
        self._logged = False
        self._view = ResponseView(send)
        scope.setdefault("extensions", {})[RECORD] = self

    async def hear(self, scope: Any, status: int | None, headers: RawHeaders) -> None:
        """Hear that the response is whole; or, without a status, that nothing more can be sent."""
        if status is not None:
            await self._log(scope, status, headers, LEFT if self._left_at is not None and not self._whole else COMPLETE)
        elif self._left_at is None:
            # The last part may be on its way while this is told: then the client has only been quick to close.
            self._left_at, self._whole = trio.current_time(), self._view.is_ending

    async def close(self, scope: Any) -> None:
        """The app has returned, or was cancelled: whatever has not ended by now never will."""
        view = self._view
        status, headers = view.head or (None, [])
        if view.is_whole or self._whole:
            outcome = COMPLETE
        elif (self._left_at is not None or view.has_left) and not view.is_broken_off:
            outcome = LEFT
        elif status is None and view.is_unanswered and trio.current_effective_deadline() > trio.current_time():
            status, outcome = 500, COMPLETE  # which the server sends in the app's place
        else:
            outcome = BROKEN
        with trio.CancelScope(shield=True):
            await self._log(scope, status, headers, outcome)

    async def _log(self, scope: Any, status: int | None, headers: RawHeaders, outcome: str) -> None:
        if not self._logged:
            self._logged = True
            ended = trio.current_time() if self._left_at is None else self._left_at
            await self._logger.write(scope, Ending(status, headers, outcome, ended - self._began))
