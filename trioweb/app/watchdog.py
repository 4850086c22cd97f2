"""Debug mode's watchdog: it logs code that blocks the event loop, and coroutines that are never awaited.

The messages name the route and the line of the user's code. It runs only in debug mode.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final

import trio

from trioweb.exchange.debug import Serving, logger, serving
from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send
from trioweb.ground.places import Place, is_users, place_of
from trioweb.handlers.signatures import unwrapped

BLOCKED: Final = 0.25
"""Seconds that a task may run without a checkpoint before it is logged."""
LOOK: Final = 0.05
"""Seconds between two looks at the event loop."""
ORIGIN: Final = 10
"""Frames that Python records for each coroutine: the innermost of the user's is logged."""

_FORGOTTEN: Final = re.compile(r"coroutine '(.+)' was never awaited")
_ORIGIN: Final = re.compile(r'File "(.+)", line (\d+), in (.+)(?:\n    (.+))?')


class Marker:
    """ASGI middleware that records what is being served, in a context variable.

    Args:
        app: the inner app.
        look_up: finds what serves a scope.
    """

    def __init__(self, app: ASGIApp, look_up: Callable[[Scope], Serving]) -> None:
        self._app = app
        self._look_up = look_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        token = serving.set(self._look_up(scope))
        try:
            await self._app(scope, receive, send)
        finally:
            serving.reset(token)


_watched: trio.lowlevel.RunVar[bool] = trio.lowlevel.RunVar("trioweb watchdog", default=False)


@asynccontextmanager
async def watch_loop(_app: object) -> AsyncIterator[None]:
    """Watch this trio run during the lifespan of an app in debug mode. Several apps share one watchdog."""
    if _watched.get():
        yield
        return
    _watched.set(True)
    loop, coroutines = LoopWatch(), CoroutineWatch()
    trio.lowlevel.add_instrument(loop)
    coroutines.start()
    thread = threading.Thread(target=loop.run, name="trioweb watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        coroutines.stop()
        trio.lowlevel.remove_instrument(loop)
        loop.over.set()
        thread.join()
        _watched.set(False)


class LoopWatch(trio.abc.Instrument):
    """Logs tasks that block the event loop. ``run`` runs in a thread of its own until ``over`` is set."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._loop = threading.get_ident()
        self._task: trio.lowlevel.Task | None = None
        self._since = 0.0
        self._step = 0
        self._told_step = 0
        self._told: set[tuple[object, ...]] = set()  # each only once: a loop with short waits would flood the log

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``trio.abc.Instrument``."""
        self._since = perf_counter()
        self._step += 1
        self._task = task

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``trio.abc.Instrument``. Logs what has blocked the watchdog's thread as well, by holding the GIL."""
        self._task = None
        if perf_counter() - self._since > BLOCKED and self._told_step != self._step:
            self._tell(task, None)

    def run(self) -> None:
        """Look until ``over`` is set."""
        while not self.over.wait(LOOK):
            task, step = self._task, self._step
            if task is None or step == self._told_step or perf_counter() - self._since < BLOCKED:
                continue
            frame = sys._current_frames().get(self._loop)
            if frame is not None and step == self._step:
                self._told_step = step
                self._tell(task, place_of(frame))

    def _tell(self, task: trio.lowlevel.Task, place: Place | None) -> None:
        served = task.context.get(serving)
        route = f"the task {task.name}" if served is None else served.where
        # Not by the path of a request without a route, of which a client has any number.
        key = (route if served is None or served.handler else "", *(place[:2] if place else (task.name,)))
        if key not in self._told:
            self._told.add(key)
            logger.warning(
                "%s: the event loop has been held up for more than %g s by %s. No other task runs meanwhile: await "
                "something that does not block, write the handler as a plain def, which gets a thread, or use "
                "await trio.to_thread.run_sync(...)",
                route, BLOCKED, place or f"the task {task.name}",
            )  # fmt: skip


class CoroutineWatch:
    """Logs coroutines that were never awaited, from ``start`` to ``stop``, both called in the loop's thread.

    Python warns of them; all other warnings are passed on.
    """

    def __init__(self) -> None:
        self._before: Callable[..., None] = warnings.showwarning
        self._depth = 0

    def start(self) -> None:
        """Replace ``warnings.showwarning``."""
        self._before, warnings.showwarning = warnings.showwarning, self._show
        self._depth = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(max(ORIGIN, self._depth))

    def stop(self) -> None:
        """Restore ``warnings.showwarning``."""
        if warnings.showwarning == self._show:  # else somebody else has replaced it since
            warnings.showwarning = self._before
        sys.set_coroutine_origin_tracking_depth(self._depth)

    def _show(self, message: Warning | str, *rest: object, **options: object) -> None:
        found = _FORGOTTEN.match(str(message))
        if found is None:
            self._before(message, *rest, **options)
            return
        places = [Place(path, int(number), *rest) for path, number, *rest in _ORIGIN.findall(str(message))]
        users = [place for place in places if is_users(place.filename)] or places
        route, noticed = self._route(places)
        logger.warning(
            "%sthe coroutine %r%s was never awaited, so its code has not run: write `await` before that call%s",
            route, found[1], f", made at {users[-1]}," if users else "", noticed,
        )  # fmt: skip

    @staticmethod
    def _route(places: list[Place]) -> tuple[str, str]:
        """The route whose handler made the coroutine; else what was served when Python noticed it, maybe much later."""
        served = serving.get(None)
        if served is None:
            return "", ""
        if served.handler is not None:
            code = getattr(inspect.unwrap(unwrapped(served.handler)), "__code__", None)
            made_there = code is not None and (code.co_filename, code.co_name) in {place[0:3:2] for place in places}
            if made_there or not places:
                return f"{served.where}: ", ""
        return "", f" (noticed in {served.where})"
