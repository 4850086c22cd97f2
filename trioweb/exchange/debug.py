"""How faults are logged: with the whole traceback, or in debug mode from the user's code on.

Debug mode is known by what is being served: only there does anybody note it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, NamedTuple

from trioweb.ground.traces import format_trace

logger = logging.getLogger("trioweb")


class Serving(NamedTuple):
    """What is being served.

    Attributes:
        where: the route, as in ``GET /users/{id}``.
        handler: its handler, where there is one.
    """

    where: str
    handler: Callable[..., object] | None = None


serving: Final[ContextVar[Serving]] = ContextVar("trioweb_serving")
"""In debug mode what is being served; in all tasks and threads that a request has started, too."""


def log_fault(level: int, text: str, *args: object, error: BaseException | None) -> None:
    """Log a fault. In debug mode handlers that format exceptions themselves still get all of it."""
    if serving.get(None) is None or error is None:
        logger.log(level, text, *args, exc_info=error, stacklevel=2)
    elif logger.isEnabledFor(level):
        caller = sys._getframe(1).f_code
        info = (type(error), error, error.__traceback__)
        record = logger.makeRecord(
            logger.name, level, caller.co_filename, caller.co_firstlineno, text, args, info, caller.co_name
        )
        record.exc_text = format_trace(error).rstrip("\n")
        logger.handle(record)
