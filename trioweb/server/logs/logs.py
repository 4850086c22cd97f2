"""What ``trioweb run`` logs, and how: Hypercorn's logger, with an access log that can be JSON.

Rules that this module alone enforces:

* A request is logged once, when its response has ended, or can have no end any more.
* What came from outside is escaped, and of bounded length: it is part of one field of one line.
* Seconds are those of the response. What the request's nursery does after that is not counted.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.statsd import StatsdLogger
from hypercorn.typing import ResponseSummary, WWWScope

from trioweb.ground.escapes import escape_controls
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.headers import RawHeaders
from trioweb.server.config import ServerConfig
from trioweb.server.logs.entries import ACCESS_FORMAT, BROKEN, COMPLETE, LEFT, Atoms, Ending, as_entry, check_format
from trioweb.server.logs.view import ResponseView

_FORMAT: Final = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
_TIME: Final = "%Y-%m-%d %H:%M:%S"
_RECORD: Final = "trioweb.access"
_RECORD_BEGINS: Final = re.compile(r"\n(?=\d{4}-\d\d-\d\d )")


class ServerLogger(Logger):
    """Hypercorn's logger, whose access log is text or JSON, one line a request."""

    async def access(self, request: WWWScope, response: ResponseSummary | None, request_time: float) -> None:
        """Hear from one of Hypercorn's protocols of a request that has ended, perhaps more than once.

        Args:
            request: its scope.
            response: ``None`` where its client has left before the end, or its app has returned.
            request_time: seconds.
        """
        status, headers = (None, []) if response is None else (response["status"], list(response.get("headers", ())))
        record = (request.get("extensions") or {}).get(_RECORD)
        if isinstance(record, AccessRecord):
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


class ServerStatsdLogger(ServerLogger, StatsdLogger):
    """The same, which also counts requests for statsd."""

    async def write(self, scope: Scope, ending: Ending) -> None:
        """Log a request, and count it."""
        await super().write(scope, ending)
        await self.histogram("hypercorn.request.duration", ending.seconds * 1_000)
        await self.increment("hypercorn.requests", 1)
        if ending.status is not None:
            await self.increment(f"hypercorn.request.status.{ending.status}", 1)


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
        scope.setdefault("extensions", {})[_RECORD] = self

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


async def log_request(config: Config, scope: Any, ending: Ending) -> None:
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


class _Formatter(logging.Formatter):
    """Formats what is logged so that nothing in it, a quoted request or an exception's text, looks like a record."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, perhaps of several lines."""
        return _RECORD_BEGINS.sub("\n ", escape_controls(super().format(record)))


def set_up(config: ServerConfig) -> None:
    """Make the loggers of this process: the server's, and the framework's where the user has none.

    Raises:
        OSError: a log file cannot be opened.
        UsageError: the format of the access log is none.
    """
    config.logger_class = ServerStatsdLogger if config.statsd_host is not None else ServerLogger
    if config.access_log_format == ServerConfig.access_log_format:
        config.access_log_format = ACCESS_FORMAT
    check_format(config.access_log_format)
    log = config.log
    for handler in log.error_logger.handlers if log.error_logger is not None else ():
        handler.setFormatter(_Formatter(_FORMAT, _TIME))
    if log.access_logger is not None:
        plain = "%(message)s" if config.access_log_format == "json" else f"%(asctime)s {'%(message)s'}"
        for handler in log.access_logger.handlers:
            handler.setFormatter(logging.Formatter(plain, _TIME))
    framework = logging.getLogger("trioweb")
    if not (framework.handlers or logging.getLogger().handlers) and log.error_logger is not None:
        framework.handlers = list(log.error_logger.handlers)
        framework.propagate = False


def complain(text: str) -> None:
    """Tell whoever runs the command why it does not."""
    print(f"trioweb: {text}", file=sys.stderr)  # noqa: T201 - a command's own words
