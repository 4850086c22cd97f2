"""Logs faults: with the whole traceback, or in debug mode from the user's code on; and there work that is lost.

Whether debug mode is on is known by the context variable ``serving``, which only debug mode sets.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, cast

import trio

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
    if error is not None:
        from trioweb.ground.hints import add_hints  # noqa: PLC0415 - only errors need it

        add_hints(error)
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


class _WatchedNursery:
    """A nursery that tells of tasks that were started when it had been cancelled, or was about to be, and were lost."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nursery, name)

    def start_soon(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> None:
        """See ``trio.Nursery``."""
        if self._nursery.cancel_scope.cancel_called or trio.current_effective_deadline() == -math.inf:
            self._nursery.start_soon(_tell_if_lost, async_fn, args, name=name or async_fn)
        else:
            self._nursery.start_soon(async_fn, *args, name=name)


def watched_nursery(nursery: trio.Nursery) -> trio.Nursery:
    """In debug mode: a nursery for users that warns of work that is lost."""
    return cast("trio.Nursery", _WatchedNursery(nursery))


async def _tell_if_lost(async_fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
    try:
        await async_fn(*args)
    except Exception:
        raise
    except BaseException:  # a cancellation
        name, where = getattr(async_fn, "__qualname__", repr(async_fn)), serving.get(Serving("a request"))[0]
        logger.warning(
            "%s: the task %s was started when its nursery was cancelled already, so its work is lost: write `with "
            "trio.move_on_after(5, shield=True): await %s(...)` where it was started, or start it in app.nursery",
            where, name, name,
        )  # fmt: skip
        raise
