"""The logger of ``trioweb run``: Hypercorn's, with an access log that can be JSON.

Rules that this module alone enforces:

* A request is logged once, when its response has ended, or cannot end any more.
* The duration ends with the response: what the request's nursery does after it does not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from hypercorn.logging import Logger

from trioweb.ground.http.asgi import Scope
from trioweb.server.config import ServerConfig
from trioweb.server.logs.entries import COMPLETE, LEFT, Atoms, Ending, as_entry

RECORD: Final = "trioweb.access"
"""The extension of a scope that holds the request's ``AccessRecord``."""


class ServerLogger(Logger):
    """Hypercorn's logger, whose access log is text or JSON, one line a request."""

    counts = False
    """It counts requests, also without an access log."""

    async def access(self, request: Scope, response: Mapping[str, Any] | None, request_time: float) -> None:
        """Called by Hypercorn's protocols when a request has ended, perhaps more than once.

        Args:
            request: its scope.
            response: ``None`` if the client has disconnected before the end, or the app has returned.
            request_time: seconds.
        """
        status, headers = (None, []) if response is None else (response["status"], list(response.get("headers", ())))
        record = (request.get("extensions") or {}).get(RECORD)
        if record is not None:
            await record.hear(status, headers)
        else:  # it was refused before the app was called
            await self.write(request, Ending(status, headers, LEFT if status is None else COMPLETE, request_time))

    async def write(self, scope: Scope, ending: Ending) -> None:
        """Log a request."""
        if self.access_logger is None:
            return
        if self.access_log_format == "json":
            line = json.dumps(as_entry(scope, ending))
        else:
            line = self.access_log_format % Atoms(scope, ending)
        self.access_logger.info("%s", line)


def request_logger(config: ServerConfig) -> ServerLogger | None:
    """The logger of requests; ``None`` if they are neither logged nor counted."""
    log = config.log
    return log if isinstance(log, ServerLogger) and (log.counts or log.access_logger is not None) else None
