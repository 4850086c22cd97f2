"""How a process of ``trioweb run`` logs: handlers and formats.

It is loaded by the supervisor before it has a loop: this imports no trio.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

from trioweb.ground.escapes import escape_controls
from trioweb.server.config import ServerConfig
from trioweb.server.logs.entries import ACCESS_FORMAT, check_format
from trioweb.server.logs.logs import ServerLogger

_FORMAT: Final = "%(asctime)s [%(process)d] %(levelname)s %(message)s"
_TIME: Final = "%Y-%m-%d %H:%M:%S"
_RECORD_BEGINS: Final = re.compile(r"\n(?=\d{4}-\d\d-\d\d )")


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
    config.logger_class = ServerLogger
    if config.statsd_host is not None:
        from trioweb.server.hypercorn.statsd import ServerStatsdLogger  # noqa: PLC0415 - few count requests

        config.logger_class = ServerStatsdLogger
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
