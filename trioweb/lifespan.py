"""The life of an app: the user's own start-up and clean-up, and the nursery for work that outlives requests.

The order in which things end: what requests started in ``app.nursery``, then the user's clean-up, then what the
lifespan itself started. So a clean-up finds nobody at work with what it closes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import trio

from trioweb.debug import log_fault
from trioweb.ground.asgi import Receive, Send
from trioweb.ground.errors import RouteError, unwrap
from trioweb.wire.transport import Transport

Manager = Callable[[Any], AbstractAsyncContextManager[Any]]


class AppNursery:
    """The app's nursery: tasks that go on after the request that started them, until the app stops.

    What fails in it is logged and harms nothing else; only what the lifespan function starts itself is part of the
    app's own life, and takes it down.
    """

    def __init__(self, own: trio.Nursery, transport: Transport) -> None:
        self._own = own
        self._transport = transport
        self._background: trio.Nursery | None = None
        self._lifespan_task = trio.lowlevel.current_task()

    def __repr__(self) -> str:
        count = 0 if self._background is None else len(self._background.child_tasks)
        return f"<AppNursery, {count} {'task' if count == 1 else 'tasks'}>"

    def start_soon(self, async_fn: Callable[..., Awaitable[Any]], *args: Any, name: object = None) -> None:
        """Start a task. Does not block."""
        if trio.lowlevel.current_task() is self._lifespan_task:
            self._own.start_soon(async_fn, *args, name=name)
        else:
            self._nursery.start_soon(self._logged, async_fn, args, name=name or async_fn)

    def start_own(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Start a task of the app's own life, from wherever: it ends last."""
        self._own.start_soon(async_fn, *args)

    async def start(self, async_fn: Callable[..., Awaitable[Any]], *args: Any, name: object = None) -> Any:
        """Start a task and wait until it calls ``task_status.started()``. An error before that is raised here."""
        if trio.lowlevel.current_task() is self._lifespan_task:
            return await self._own.start(async_fn, *args, name=name)
        return await self._nursery.start(self._logged_after_start, async_fn, args, name=name or async_fn)

    @property
    def cancel_scope(self) -> trio.CancelScope:
        """Around all tasks that requests started."""
        return self._nursery.cancel_scope

    @property
    def child_tasks(self) -> frozenset[trio.lowlevel.Task]:
        """The tasks that run in it."""
        return frozenset(self._own.child_tasks | (self._background.child_tasks if self._background else frozenset()))

    @property
    def _nursery(self) -> trio.Nursery:
        return self._background or self._own

    async def _logged(self, async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            await async_fn(*args)
        except Exception as error:
            self._log(async_fn, error)

    async def _logged_after_start(
        self, async_fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], *, task_status: trio.TaskStatus[Any]
    ) -> None:
        status = _Started(task_status)
        try:
            await async_fn(*args, task_status=status)
        except Exception as error:
            if not status.called:
                raise
            self._log(async_fn, error)

    def _log(self, async_fn: Callable[..., Any], group: Exception) -> None:
        error = unwrap(group)
        name = getattr(async_fn, "__qualname__", repr(async_fn))
        log_fault(logging.ERROR, "app.nursery: the task %s failed", name, error=error)
        self._transport.failed(error)


class _Started:
    def __init__(self, status: trio.TaskStatus[Any]) -> None:
        self._status = status
        self.called = False

    def started(self, value: Any = None) -> None:
        self.called = True
        self._status.started(value)


def as_manager(function: Callable[[Any], Any]) -> Manager:
    """A lifespan as the user wrote it, an async generator function or a context manager, as a context manager.

    Raises:
        RouteError: it is neither.
    """
    if inspect.isasyncgenfunction(function):
        return asynccontextmanager(function)
    if inspect.iscoroutinefunction(function) or not callable(function):
        raise RouteError(
            f"a lifespan must be an async generator function of the app, or return an async context manager, got "
            f"{getattr(function, '__qualname__', function)!r}: write `async def lifespan(app): ...; yield; ...`"
        )
    return function


class Host(Protocol):
    """Where an app's nursery is found."""

    nursery: AppNursery | None


@asynccontextmanager
async def open_life(
    app: Any,
    host: Host,
    managers: list[Manager],
    transport: Transport,
    enter_children: Callable[[AsyncExitStack], Awaitable[None]],
) -> AsyncIterator[AppNursery]:
    """Run the user's lifespans and then those of mounted apps, with a nursery around it all.

    A cancellation runs the clean-ups; leaving the block cancels what runs in the nursery.

    Args:
        app: what the lifespans get.
        host: where the nursery is found meanwhile.
        managers: the lifespans, outermost first.
        transport: who hears of what fails in the nursery, besides the log.
        enter_children: enters the lives of mounted apps.
    """
    async with trio.open_nursery() as own:
        nursery = AppNursery(own, transport)
        host.nursery = nursery
        try:
            async with AsyncExitStack() as stack:
                for manager in managers:
                    await stack.enter_async_context(manager(app))
                await enter_children(stack)
                async with trio.open_nursery() as background:
                    nursery._background = background
                    yield nursery
                    background.cancel_scope.cancel()
                nursery._background = None
        finally:
            host.nursery = None
        own.cancel_scope.cancel()


async def serve_lifespan(
    life: AbstractAsyncContextManager[Any], transport: Transport, receive: Receive, send: Send
) -> None:
    """Speak ASGI's lifespan protocol for an app's life.

    An error at start-up or during the life is logged, and told to the server in the message that makes it stop.
    """
    await receive()
    started = False
    try:
        async with life:
            await send({"type": "lifespan.startup.complete"})
            started = True
            await receive()
    except Exception as group:
        error = unwrap(group)
        when = "while it ran" if started else "at start-up"
        log_fault(logging.ERROR, "the app's lifespan failed %s", when, error=error)
        kind = "lifespan.shutdown.failed" if started else "lifespan.startup.failed"
        transport.failed(error)
        await send({"type": kind, "message": f"{type(error).__name__}: {error}"})
    else:
        await send({"type": "lifespan.shutdown.complete"})
