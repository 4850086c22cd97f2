"""What ``trioweb run`` logs, and how: Hypercorn's logger, with an access log that can be JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

from hypercorn.logging import AccessLogAtoms, Logger
from hypercorn.trio.statsd import StatsdLogger
from hypercorn.typing import ResponseSummary, WWWScope

from trioweb.server.config import ServerConfig

ACCESS_FORMAT: Final = '%(h)s "%(m)s %(Uq)s" %(s)s %(L)s s'
"""One line a request: who, what, the status, and the seconds that it took."""
_FORMAT: Final = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
_TIME: Final = "%Y-%m-%d %H:%M:%S"


class ServerLogger(Logger):
    """Hypercorn's logger, whose access log is text or JSON, one line a request."""

    async def access(self, request: WWWScope, response: ResponseSummary | None, request_time: float) -> None:
        """Log a request that has ended; ``response`` is ``None`` where its client left first."""
        if self.access_logger is None:
            return
        if self.access_log_format == "json":
            self.access_logger.info(json.dumps(_entry(request, response, request_time)))
        else:
            self.access_logger.info(self.access_log_format, AccessLogAtoms(request, response, request_time))


class ServerStatsdLogger(StatsdLogger, ServerLogger):
    """The same, which also counts requests for statsd."""


def _entry(request: WWWScope, response: ResponseSummary | None, seconds: float) -> dict[str, Any]:
    headers = {name.lower(): value.decode("latin-1") for name, value in request["headers"]}
    client = request.get("client")
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": client[0] if client else None,
        "method": request.get("method", "GET"),
        "path": request["path"],
        "query": request["query_string"].decode("latin-1"),
        "http": request.get("http_version"),
        "scheme": request["scheme"],
        "host": headers.get(b"host"),
        "status": response["status"] if response else None,
        "seconds": round(seconds, 6),
        "referer": headers.get(b"referer"),
        "user_agent": headers.get(b"user-agent"),
        "pid": os.getpid(),
    }


def set_up(config: ServerConfig) -> None:
    """Make the loggers of this process: the server's, and the framework's where the user has none.

    Raises:
        OSError: a log file cannot be opened.
    """
    config.logger_class = ServerStatsdLogger if config.statsd_host is not None else ServerLogger
    if config.access_log_format == ServerConfig.access_log_format:
        config.access_log_format = ACCESS_FORMAT
    log = config.log
    for handler in log.error_logger.handlers if log.error_logger is not None else ():
        handler.setFormatter(logging.Formatter(_FORMAT, _TIME))
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
