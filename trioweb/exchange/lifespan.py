"""An app's lifespan: the user's start-up and clean-up, and the nursery for work that outlives requests.

Tasks that requests have started in ``app.nursery`` end first. Then each lifespan is left, in reverse order, and before
it the tasks that it has started: no task uses what a clean-up closes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol, cast

import trio

from trioweb.exchange.debug import log_fault
from trioweb.ground.annotations import members_of
from trioweb.ground.errors import RouteError, unwrap
from trioweb.ground.http.asgi import LifespanState, Receive, Send
from trioweb.handlers.mistakes import written_for
from trioweb.handlers.signatures import Function, Kind, innermost, kind_of, name_of, parameters_of, takes
from trioweb.io.transport import Transport

AsyncFunction = Callable[..., Awaitable[object]]
Manager = Callable[[object], AbstractAsyncContextManager[object]]


class AppNursery:
    """The app's nursery, for tasks that outlive the request that has started them, until the app stops.

    The failure of a task is logged and affects nothing else. Only that of a task that the lifespan function has started
    ends the app.
    """

    def __init__(self, own: trio.Nursery, transport: Transport) -> None:
        self._own = own
        self._transport = transport
        self._background: trio.Nursery | None = None
        self._lifespans: list[trio.Nursery] = []  # of each lifespan that has been entered
        self._lifespan_task = trio.lowlevel.current_task()
        self._root_task = trio.lowlevel.current_root_task()

    def __repr__(self) -> str:
        count = 0 if self._background is None else len(self._background.child_tasks)
        return f"<AppNursery, {count} {'task' if count == 1 else 'tasks'}>"

    def start_soon(self, async_fn: AsyncFunction, *args: object, name: object = None) -> None:
        """Start a task. Does not block."""
        if trio.lowlevel.current_task() is self._lifespan_task:
            self._lifespan.start_soon(async_fn, *args, name=name)
        else:
            self._nursery.start_soon(self._logged, async_fn, args, name=name or async_fn)

    def start_own(self, async_fn: AsyncFunction, *args: object, name: object = None) -> None:
        """Start a task that ends last, and whose failure ends the app, from any task. Does not block."""
        self._own.start_soon(async_fn, *args, name=name)

    async def start(self, async_fn: AsyncFunction, *args: object, name: object = None) -> Any:
        """Start a task and wait until it calls ``task_status.started()``. An error before that is raised here."""
        if trio.lowlevel.current_task() is self._lifespan_task:
            return await self._lifespan.start(async_fn, *args, name=name)
        return await self._nursery.start(self._logged, async_fn, args, name=name or async_fn)

    def check_run(self) -> None:
        """Raise an error unless this runs in the current run of trio."""
        if self._root_task is not trio.lowlevel.current_root_task():
            raise RuntimeError(
                "the app's lifespan runs already, in another thread, and it has one nursery and one state: let tests "
                "share one SyncTestClient, or make an app for each"
            )

    @property
    def cancel_scope(self) -> trio.CancelScope:
        """The cancel scope of all tasks that requests have started."""
        return self._nursery.cancel_scope

    @property
    def child_tasks(self) -> frozenset[trio.lowlevel.Task]:
        """The tasks that run in it."""
        others = [*self._lifespans, self._background] if self._background else self._lifespans
        return self._own.child_tasks.union(*(each.child_tasks for each in others))

    @property
    def _nursery(self) -> trio.Nursery:
        return self._background or self._own

    @property
    def _lifespan(self) -> trio.Nursery:
        return self._lifespans[-1] if self._lifespans else self._own

    async def _begin_lifespan(self) -> Callable[[], Awaitable[None]]:
        """Take the tasks that are started from now on for those of one lifespan. Returns what ends them."""
        ended = trio.Event()
        tasks = await self._own.start(_host, ended)
        self._lifespans.append(tasks)

        async def end() -> None:
            self._lifespans.remove(tasks)
            tasks.cancel_scope.cancel()
            with trio.CancelScope(shield=True):  # they are cancelled; the clean-up must not run before they have ended
                await ended.wait()

        return end

    async def _logged(
        self, async_fn: AsyncFunction, args: tuple[object, ...], *, task_status: trio.TaskStatus[object] | None = None
    ) -> None:
        status = None if task_status is None else _Started(task_status)
        try:
            await (async_fn(*args) if status is None else async_fn(*args, task_status=status))
        except Exception as group:
            if status is not None and not status.called:
                raise
            error = unwrap(group)
            name = getattr(async_fn, "__qualname__", repr(async_fn))
            log_fault(logging.ERROR, "app.nursery: the task %s failed", name, error=error)
            self._transport.failed(error)


async def _host(ended: trio.Event, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    try:
        async with trio.open_nursery() as tasks:
            task_status.started(tasks)
            await trio.sleep_forever()
    finally:
        ended.set()


class _Started:
    def __init__(self, status: trio.TaskStatus[object]) -> None:
        self._status = status
        self.called = False

    def started(self, value: object = None) -> None:
        self.called = True
        self._status.started(value)


_SHAPE: Final = "write `async def lifespan(app): ...; yield; ...`"


def as_manager(given: object) -> Manager:
    """A user's lifespan as a function from the app to an async context manager.

    Raises:
        RouteError: if it is not a lifespan; the message says what to write instead.
    """
    if isinstance(given, AbstractAsyncContextManager):
        return lambda _app: given
    name = name_of(given, qualified=True) if callable(given) else repr(given)
    if reason := _why_no_lifespan(given):
        raise RouteError(
            "a lifespan must be an async generator function of the app, or return an async context manager, and "
            f"{name} {reason}: {written_for(given) or _SHAPE}"
        )
    if isinstance(given, type) and not _takes_an_app(given):
        raise RouteError(f"the lifespan {name} is a class that takes no app: write app.lifespan({name}(...))")
    lifespan = cast("Function", given)
    if not takes(lifespan, 1):
        raise RouteError(f"the lifespan {name} must take one argument, the app: {_SHAPE}")
    return asynccontextmanager(lifespan) if kind_of(lifespan) is Kind.GENERATOR else partial(_make, lifespan, name)


def _why_no_lifespan(given: object) -> str | None:
    if hasattr(given, "__enter__") and not hasattr(given, "__aenter__"):
        return "is a context manager without async"
    if not callable(given):
        return "cannot be called"
    if isinstance(given, type):
        return None if hasattr(given, "__aenter__") else "is a class without __aenter__"
    if inspect.isgeneratorfunction(innermost(given)):
        return "is a generator function without async"
    if inspect.iscoroutinefunction(innermost(given)):
        return "is an async def without a yield"
    return None


def _takes_an_app(cls: type) -> bool:
    """Whether a class is made with an app: with a parameter of that name, or one that can be nothing simpler."""
    parameters = [
        each for each in parameters_of(cls).values() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    needed = [each for each in parameters if each.default is each.empty]
    is_simple = len(needed) == 1 and {str, int, float, bytes} & set(members_of(needed[0].annotation))
    return bool(parameters) and (parameters[0].name == "app" or (len(needed) == 1 and not is_simple))


def _make(function: Function, name: str, app: object) -> AbstractAsyncContextManager[object]:
    """Call a function that returns an async context manager, or an async generator, as a wrapped generator function."""
    made = function(app)
    if isinstance(made, AsyncGenerator):
        return asynccontextmanager(lambda: made)()
    if isinstance(made, AbstractAsyncContextManager):
        return made
    if inspect.iscoroutine(made):
        made.close()  # without a warning that it was never awaited
    raise TypeError(f"the lifespan {name} returned {type(made).__qualname__}, no async context manager: {_SHAPE}")


class Host(Protocol):
    """The ``App``: its folder is above this one."""

    nursery: AppNursery | None
    state: LifespanState


@asynccontextmanager
async def open_life(
    app: object, host: Host, managers: list[Manager], transport: Transport
) -> AsyncIterator[LifespanState]:
    """Enter lifespans in the app's nursery.

    A cancellation runs the clean-ups; leaving the block cancels the tasks in the nursery. Its value has the items of
    the mappings that lifespans have yielded.

    Args:
        app: the argument of the lifespans.
        host: gets the nursery, and that value.
        managers: the lifespans, outermost first.
        transport: is told of failures in the nursery, besides the log.

    Raises:
        RuntimeError: if they run already in another run of trio. In this one the nursery and value of the last that was
            entered hold: two test clients may be open at once.
    """
    before, state = host.nursery, host.state
    if before is not None:
        before.check_run()
    async with trio.open_nursery() as own:
        nursery = AppNursery(own, transport)
        host.nursery, host.state = nursery, {}
        try:
            async with AsyncExitStack() as stack:
                for manager in managers:
                    end = await nursery._begin_lifespan()
                    host.state.update(_checked(await stack.enter_async_context(manager(app))))
                    stack.push_async_callback(end)
                async with trio.open_nursery() as background:
                    nursery._background = background
                    yield host.state
                    background.cancel_scope.cancel()
                nursery._background = None
        finally:
            host.nursery, host.state = before, state
        own.cancel_scope.cancel()


def _checked(yielded: object) -> Mapping[str, object]:
    """What a lifespan leaves to requests: a mapping, if it has yielded one."""
    if not isinstance(yielded, Mapping):  # an object that is its own context manager, for instance
        return {}
    for name in yielded:
        if not isinstance(name, str):
            raise TypeError(f"a lifespan has yielded a mapping with {name!r}: its items are in request.state by name")
    return yielded


async def serve_lifespan(
    life: AbstractAsyncContextManager[LifespanState],
    state: LifespanState | None,
    transport: Transport,
    receive: Receive,
    send: Send,
) -> None:
    """Run a lifespan by ASGI's lifespan protocol.

    An error at start-up or later is logged, sent to the server, and raised: code that runs an app without a server must
    not take it for started.

    Args:
        life: the lifespan.
        state: the scope's: gets what the lifespan leaves to requests.
        transport: is told of failures.
        receive: ASGI's.
        send: ASGI's.

    Raises:
        Exception: if the lifespan fails.
    """
    await receive()
    failure = await _live(life, {} if state is None else state, transport, receive, send)
    if failure is None:
        await send({"type": "lifespan.shutdown.complete"})
        return
    try:
        raise failure
    finally:
        del failure  # its traceback refers to this frame


async def _live(
    life: AbstractAsyncContextManager[LifespanState],
    state: LifespanState,
    transport: Transport,
    receive: Receive,
    send: Send,
) -> Exception | None:
    """Run the lifespan until the server stops it. Returns its failure, which is logged and sent."""
    started = False
    try:
        async with life as left:
            state.update(left)
            await send({"type": "lifespan.startup.complete"})
            started = True
            await receive()
    except Exception as group:
        error = unwrap(group)
        when = "while it ran" if started else "at start-up"
        if transport.logs_lifespan:
            log_fault(logging.ERROR, "the app's lifespan failed %s", when, error=error)
        kind = "lifespan.shutdown.failed" if started else "lifespan.startup.failed"
        transport.failed(error)
        await send({"type": kind, "message": f"{type(error).__name__}: {error}"})
        return error
    return None
