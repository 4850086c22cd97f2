"""An app's ASGI lifespan: start-up before the first request, shutdown after the last."""

from __future__ import annotations

import trio

from trioweb.ground.http.asgi import ASGIApp, LifespanState, Message
from trioweb.server.config import ServerConfig
from trioweb.server.faults import split_fault


class LifespanError(Exception):
    """The app's lifespan failed, or took longer than it may."""


class Lifespan:
    """The lifespan of an app in one worker.

    Args:
        app: the app.
        config: the server's configuration.
        state: filled by the app, for its requests.

    Attributes:
        failure: the failure that the app has sent, or a timeout.
        started: set when start-up has ended, also by an error.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, state: LifespanState) -> None:
        self._app = app
        self._config = config
        self._state = state
        self._put, self._take = trio.open_memory_channel[Message](2)
        self._running = True
        self._stopped = trio.Event()
        self.failure: LifespanError | None = None
        self.started = trio.Event()

    async def run(self) -> None:
        """Call the app. Returns when it has returned or failed: one without a lifespan is served without it."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._take.receive, self._hear)
        except BaseException as error:
            cancelled, fault = split_fault(error)
            if fault is not None and self.failure is None:
                await self._log(fault)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self._running = False
            self.started.set()
            self._stopped.set()

    async def _hear(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self.started.set()
        elif kind == "lifespan.shutdown.complete":
            self._stopped.set()
        elif kind in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            stage = kind.split(".")[1]
            self.failure = LifespanError(f"the app's lifespan failed at its {stage} ({message.get('message', '')})")
            raise self.failure
        else:
            raise RuntimeError(f"a lifespan takes no {kind}")

    async def _log(self, error: BaseException) -> None:
        if not self.started.is_set():
            await self._config.log.warning("the app has no lifespan (%s: %s): it is served without", type(error), error)
        else:
            await self._config.log.error("the app's lifespan failed; it is not cleaned up", exc_info=error)

    async def start(self) -> None:
        """Wait for the app's start-up: ``failure`` is set if it takes longer than ``startup_timeout``."""
        await self._ask("startup", self.started, self._config.startup_timeout)

    async def stop(self) -> None:
        """Wait for the app's shutdown, if its lifespan runs, within ``shutdown_timeout``."""
        if self._running:
            await self._ask("shutdown", self._stopped, self._config.shutdown_timeout)

    async def _ask(self, stage: str, done: trio.Event, seconds: float) -> None:
        self._put.send_nowait({"type": f"lifespan.{stage}"})
        with trio.move_on_after(seconds):
            await done.wait()
        if not done.is_set():
            late = f"the app's lifespan took longer than {seconds:g} s for its {stage}: see --{stage}-timeout"
            self.failure = self.failure or LifespanError(late)
