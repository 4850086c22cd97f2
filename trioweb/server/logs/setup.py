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
_framework: Final = logging.getLogger("trioweb")
_RECORD_BEGINS: Final = re.compile(r"\n(?=\d{4}-\d\d-\d\d )")


class _Formatter(logging.Formatter):
    """Escapes records so that no quoted request and no exception's text can look like a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record, perhaps of several lines."""
        return _RECORD_BEGINS.sub("\n ", escape_controls(super().format(record)))


class _Standby(logging.Handler):
    """Passes what a logger gets to the server's handlers, as long as the program has none for it.

    Programs set up logging when they are imported, or later: it is known only when something is logged.
    """

    def __init__(self, logger: logging.Logger, handlers: list[logging.Handler]) -> None:
        super().__init__()
        self._logger = logger
        self.handlers = handlers

    def handle(self, record: logging.LogRecord) -> bool:
        """See ``logging.Handler``."""
        if logging.getLogger().handlers or self._logger.handlers != [self]:
            return False
        for handler in self.handlers:
            handler.handle(record)
        return True


def set_up(config: ServerConfig) -> None:
    """Set up the loggers of this process: the server's, and the framework's unless the user does, also later.

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
    if log.access_logger is not None:
        plain = "%(message)s" if config.access_log_format == "json" else "%(asctime)s %(message)s"
        for handler in log.access_logger.handlers:
            handler.setFormatter(logging.Formatter(plain, _TIME))
    if log.error_logger is not None:
        _print_by(log.error_logger, alone=config.errorlog == "-")


def _print_by(logger: logging.Logger, *, alone: bool) -> None:
    """Have the server's handlers print what the server and the framework log, unless the program's own do.

    Args:
        logger: the server's.
        alone: they print on the standard error, where the program's would print the same again.
    """
    handlers = [each for known in logger.handlers for each in getattr(known, "handlers", [known])]
    for handler in handlers:
        handler.setFormatter(_Formatter(_FORMAT, _TIME))
    if alone:
        logger.handlers = [_Standby(logger, handlers)]
    if all(isinstance(each, _Standby) for each in _framework.handlers):
        _framework.handlers = [_Standby(_framework, handlers)]


def complain(text: str) -> None:
    """Print an error message of the command."""
    print(f"trioweb: {text}", file=sys.stderr)  # noqa: T201 - the command's output
