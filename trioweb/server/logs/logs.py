"""What ``trioweb run`` logs, and how: Hypercorn's logger, with an access log that can be JSON.

Rules that this module alone enforces:

* A request is logged once, when its response has ended, or can have no end any more.
* What came from outside is escaped, and of bounded length: it is part of one field of one line.
* Seconds are those of the response. What the request's nursery does after that is not counted.
"""

from __future__ import annotations

import json
from typing import Any, Final

from hypercorn.logging import Logger

from trioweb.ground.http.asgi import Scope
from trioweb.server.config import ServerConfig
from trioweb.server.logs.entries import COMPLETE, LEFT, Atoms, Ending, as_entry

RECORD: Final = "trioweb.access"
"""The extension of a scope in which the request's record is, which hears of its end."""


class ServerLogger(Logger):
    """Hypercorn's logger, whose access log is text or JSON, one line a request."""

    async def access(self, request: Any, response: Any, request_time: float) -> None:
        """Hear from one of Hypercorn's protocols of a request that has ended, perhaps more than once.

        Args:
            request: its scope.
            response: ``None`` where its client has left before the end, or its app has returned.
            request_time: seconds.
        """
        status, headers = (None, []) if response is None else (response["status"], list(response.get("headers", ())))
        record = (request.get("extensions") or {}).get(RECORD)
        if record is not None:
            await record.hear(request, status, headers)
        else:  # it was refused, and no app has seen it
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


async def log_request(config: ServerConfig, scope: Any, ending: Ending) -> None:
    """Log a request that no protocol of Hypercorn's serves. Who calls this sees to it that it is called once."""
    log = config.log
    if isinstance(log, ServerLogger):
        await log.write(scope, ending)
    else:  # one that a test has chosen
        summary: Any = {"status": ending.status, "headers": ending.headers} if ending.outcome == COMPLETE else None
        await log.access(scope, summary, ending.seconds)


def wants_access_log(config: ServerConfig) -> bool:
    """Whether somebody would hear of a request."""
    log = config.log
    silent = type(log) in (Logger, ServerLogger)  # which do nothing where there is no log
    return not silent or log.access_logger is not None
