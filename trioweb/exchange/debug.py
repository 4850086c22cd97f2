"""Logs faults: with the whole traceback, or in debug mode from the user's code on.

Whether debug mode is on is known by the context variable ``serving``, which only debug mode sets.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, NamedTuple

logger = logging.getLogger("trioweb")


class Serving(NamedTuple):
    """The route of a request or WebSocket.

    Attributes:
        where: the method and path, as in ``GET /users/{id}``.
        handler: the handler; ``None`` without a route.
    """

    where: str
    handler: Callable[..., object] | None = None


serving: Final[ContextVar[Serving]] = ContextVar("trioweb_serving")
"""Set in debug mode; the tasks and threads that a request starts inherit it."""


def log_fault(level: int, text: str, *args: object, error: BaseException | None) -> None:
    """Log a fault. In debug mode the text is shortened; handlers that format exceptions themselves get all of it."""
    if serving.get(None) is None or error is None:
        logger.log(level, text, *args, exc_info=error, stacklevel=2)
    elif logger.isEnabledFor(level):
        from trioweb.ground.traces import format_trace  # noqa: PLC0415 - only in debug mode

        caller = sys._getframe(1).f_code
        info = (type(error), error, error.__traceback__)
        record = logger.makeRecord(
            logger.name, level, caller.co_filename, caller.co_firstlineno, text, args, info, caller.co_name
        )
        record.exc_text = format_trace(error).rstrip("\n")
        logger.handle(record)
