"""The lifespans of mounted apps, of whatever framework, run by ASGI's lifespan protocol as a server runs them.

Rules that this module alone enforces:

* An app that raises or returns without an answer has no lifespan, as ASGI has it, and is served without one.
* An app that says that it has failed fails the app that it is mounted in: with its own error if it raises that as well.
  One that goes on after it has said so is cancelled.
* An app's lifespan runs once, wherever and however deep the app is mounted, in a task of its own.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from trioweb.app.mounts import Mount, Site
from trioweb.exchange.debug import log_fault
from trioweb.ground.errors import forget, unwrap
from trioweb.ground.http.asgi import LifespanState, Message
from trioweb.io.transport import Transport


def mounted_lives(
    mounts: Iterable[Mount], transport: Transport
) -> Iterator[Callable[[object], AbstractAsyncContextManager[object]]]:
    """The lifespan of each mounted app, the longest prefix first.

    Args:
        mounts: the mounts; one that is a ``Site`` has no lifespan.
        transport: that of the lifespan of the app that they are mounted in.
    """
    lives: dict[int, LifespanState] = transport.lives if isinstance(transport, MountedLife) else {}
    for mount in mounts:
        if not isinstance(mount.app, Site):
            yield MountedLife(mount, transport, lives).open


class MountedLife(Transport):
    """The lifespan of one mounted app; also its transport, if it is an app of this package.

    Attributes:
        lives: what the lifespans that run leave to requests, by the app's identity.
    """

    __slots__ = (
        "_asked", "_done", "_failed", "_mount", "_scope", "_started", "_status", "_stop", "_transport", "lives",
    )  # fmt: skip

    logs_lifespan = False

    def __init__(self, mount: Mount, transport: Transport, lives: dict[int, LifespanState]) -> None:
        self.lives = lives
        self._mount = mount
        self._transport = transport
        self._stop, self._done = trio.Event(), trio.Event()
        self._scope = trio.CancelScope()  # around the app
        self._asked = self._started = False
        self._failed = ""  # what the app says of its failure

    @asynccontextmanager
    async def open(self, _: object) -> AsyncIterator[None]:
        """Start the app, and stop it at the end of the block, also after an error. A cancellation cancels it."""
        key, state = id(self._mount.app), self._mount.state
        left = self.lives.get(key)
        if left is not None:  # it is mounted elsewhere, too, and runs already
            if left is not state:
                state.clear()
                state.update(left)
            yield
            return
        self.lives[key] = state
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run)
            try:
                yield
            finally:
                self._stop.set()
                await self._done.wait()  # an error that leaves the nursery would cancel it

    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._mount.state.clear()
        self._status = task_status
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._mount.state,
            "extensions": {"trioweb": self},
        }
        try:
            with self._scope:
                await self._mount.app(scope, self._receive, self._send)
        except Exception as group:
            if self._started or self._failed:
                raise
            self._note(unwrap(group))
        finally:
            self._done.set()
        if self._failed:
            raise RuntimeError(f"the lifespan of {self._mount.where} failed: {self._failed}")
        self._start()

    async def _receive(self) -> Message:
        await self._go_on()
        if self._asked:
            await self._stop.wait()
            return {"type": "lifespan.shutdown"}
        self._asked = True
        return {"type": "lifespan.startup"}

    async def _send(self, message: Message) -> None:
        await self._go_on()
        kind: str = message["type"]
        if kind in {"lifespan.startup.failed", "lifespan.shutdown.failed"}:
            self._failed = message.get("message") or kind
        elif kind == "lifespan.startup.complete":
            self._start()
        elif kind != "lifespan.shutdown.complete":
            raise RuntimeError(f"{self._mount.where} sent {kind!r} in its lifespan")

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._status.started()

    async def _go_on(self) -> None:
        """A checkpoint, at which an app that has said that it failed is cancelled."""
        if self._failed:
            self._scope.cancel()
        await trio.lowlevel.checkpoint()

    def _note(self, error: Exception) -> None:
        """Log the error of an app that is served without a lifespan, unless it refused one before it was asked."""
        if self._asked:
            text = "%s has raised an error at its start, and is served without a lifespan"
            log_fault(logging.WARNING, text, self._mount.where, error=error)
        forget(error)

    def failed(self, error: Exception) -> None:
        """See ``Transport``."""
        self._transport.failed(error)
