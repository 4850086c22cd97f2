"""The set-up of logging in a process of ``trioweb run``: handlers and formats.

The command loads it before it forks, so it must not import trio.
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
    """Escapes records so that no quoted request and no exception's text can look like a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record, perhaps of several lines."""
        return _RECORD_BEGINS.sub("\n ", escape_controls(super().format(record)))


def set_up(config: ServerConfig) -> None:
    """Set up the loggers of this process: the server's, and the framework's if the user has not.

    Raises:
        OSError: if a log file cannot be opened.
        UsageError: if the format of the access log is not valid.
    """
    config.logger_class = ServerLogger
    if config.statsd_host is not None:
        from trioweb.server.hypercorn.statsd import ServerStatsdLogger  # noqa: PLC0415 - rare

        config.logger_class = ServerStatsdLogger
    if config.access_log_format == ServerConfig.access_log_format:
        config.access_log_format = ACCESS_FORMAT
    check_format(config.access_log_format)
    log = config.log
    for handler in log.error_logger.handlers if log.error_logger is not None else ():
        handler.setFormatter(_Formatter(_FORMAT, _TIME))
    if log.access_logger is not None:
        plain = "%(message)s" if config.access_log_format == "json" else "%(asctime)s %(message)s"
        for handler in log.access_logger.handlers:
            handler.setFormatter(logging.Formatter(plain, _TIME))
    framework = logging.getLogger("trioweb")
    if not (framework.handlers or logging.getLogger().handlers) and log.error_logger is not None:
        framework.handlers = list(log.error_logger.handlers)
        framework.propagate = False


def complain(text: str) -> None:
    """Print an error message of the command."""
    print(f"trioweb: {text}", file=sys.stderr)  # noqa: T201 - the command's output
