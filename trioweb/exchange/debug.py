"""Shows faults: in the log with the whole traceback, or in debug mode from the user's code on; and work that is lost.

Whether debug mode is on is known by the context variable ``serving``, which only debug mode sets.
"""

from __future__ import annotations

import logging
import math
import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import Final, NamedTuple, cast
from urllib.parse import parse_qsl

import trio

from trioweb.ground.escapes import clip
from trioweb.ground.http.asgi import Scope
from trioweb.handlers.signatures import innermost, label_of

_IDENTIFYING: Final = (
    "auth|cookie|token|secret|key|password|passwd|pwd|session|signature|csrf|credential|assertion|jwt|otp|ticket"
    "|^(code|sid|sig|pass|pin|referer)$"
)
"""Matches the names of headers and query parameters whose values are not shown: a referer has a query of its own."""
logger = logging.getLogger("trioweb")


class Serving(NamedTuple):
    """The route of a request or WebSocket.

    Attributes:
        where: the method and path, as in ``GET /users/{id}``.
        handler: the handler; ``None`` without a route.
        tasks: the tree of its nursery's tasks when it failed, for its page.
    """

    where: str
    handler: Callable[..., object] | None
    tasks: list[str]


serving: Final[ContextVar[Serving]] = ContextVar("trioweb_serving")
"""Set in debug mode; the tasks and threads that a request starts inherit it."""


def note_tasks(tasks: Iterable[trio.lowlevel.Task]) -> None:
    """Note the tasks of a request that has failed, before they are cancelled: what fails of them then is no reason."""
    served = serving.get(None)
    if served is not None and not served.tasks:
        from trioweb.io.tasks import task_tree  # noqa: PLC0415 - only in debug mode

        served.tasks[:] = task_tree(tasks)


def describe(scope: Scope) -> tuple[str, list[tuple[str, list[tuple[str, str]]]], list[str]]:
    """A request for its page: its method and path, groups of names and values, and the tasks that it had.

    What clients prove their identity with is hidden.
    """
    served = serving.get(None)
    client = scope.get("client")
    about = [
        ("route", served.where if served else ""),
        ("handler", label_of(served.handler) if served and served.handler else ""),
        ("client", ":".join(map(str, client)) if client else ""),
        ("HTTP", str(scope.get("http_version", ""))),
    ]
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    groups = [("Request", [pair for pair in about if pair[1]]), ("Query", query), ("Headers", headers)]
    hidden = [(title, [(name, _hidden(name, value)) for name, value in pairs]) for title, pairs in groups[1:]]
    line = f"{scope.get('method', 'WEBSOCKET')} {scope['path']}"
    return line, [groups[0], *(group for group in hidden if group[1])], served.tasks if served else []


def _hidden(name: str, value: str) -> str:
    return f"({len(value)} characters, hidden)" if re.search(_IDENTIFYING, name, re.IGNORECASE) else clip(value)


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
    """A nursery for debug mode. It tells of tasks that were started when it had been cancelled, or was about to be, and
    were lost; and it notes what runs in it when a task fails.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def __getattr__(self, name: str) -> object:
        return getattr(self._nursery, name)

    def start_soon(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> None:
        """See ``trio.Nursery``."""
        if not _is_async(async_fn):
            self._nursery.start_soon(async_fn, *args, name=name)  # which says what is wrong with it
            return
        lost = self._nursery.cancel_scope.cancel_called or trio.current_effective_deadline() == -math.inf
        awaited = async_fn(*args)
        self._nursery.start_soon(_watch, self._nursery, awaited, async_fn if lost else None, name=name or async_fn)

    async def start(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> object:
        """See ``trio.Nursery``."""

        async def watched(*_: object, task_status: trio.TaskStatus[object]) -> None:
            await _watch(self._nursery, async_fn(*args, task_status=task_status), None)

        return await self._nursery.start(watched if _is_async(async_fn) else async_fn, *args, name=name or async_fn)


def watched_nursery(nursery: trio.Nursery) -> trio.Nursery:
    """In debug mode: a nursery for users that warns of work that is lost."""
    return cast("trio.Nursery", _WatchedNursery(nursery))


def _is_async(function: object) -> bool:
    return callable(function) and iscoroutinefunction(innermost(function))


async def _watch(nursery: trio.Nursery, awaited: Awaitable[object], lost: Callable[..., object] | None) -> None:
    try:
        await awaited
    except Exception:
        if trio.lowlevel.current_task() in nursery.child_tasks:  # else `start` raises it
            note_tasks(nursery.child_tasks)
        raise
    except BaseException:  # a cancellation
        if lost is not None:
            _tell_lost(getattr(lost, "__qualname__", repr(lost)))
        raise


def _tell_lost(name: str) -> None:
    served = serving.get(None)
    logger.warning(
        "%s: the task %s was started when its nursery was cancelled already, so its work is lost: write `with "
        "trio.move_on_after(5, shield=True): await %s(...)` where it was started, or start it in app.nursery",
        served.where if served else "a request", name, name,
    )  # fmt: skip
