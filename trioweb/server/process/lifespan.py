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

    async def start(self, stop: trio.Event) -> None:
        """Wait for the app's start-up, or for ``stop``: ``failure`` is set if it takes longer than
        ``startup_timeout``.
        """
        await self._ask("startup", self._config.startup_timeout, self.started, stop)

    async def stop(self) -> None:
        """Wait for the app's shutdown, if its lifespan runs, within ``shutdown_timeout``."""
        if not self._stopped.is_set():
            await self._ask("shutdown", self._config.shutdown_timeout, self._stopped)

    async def _ask(self, stage: str, seconds: float, *events: trio.Event) -> None:
        self._put.send_nowait({"type": f"lifespan.{stage}"})
        with trio.move_on_after(seconds) as waiting:
            await first_of(*events)
        if waiting.cancelled_caught:
            late = f"the app's lifespan took longer than {seconds:g} s for its {stage}: see --{stage}-timeout"
            self.failure = self.failure or LifespanError(late)


async def first_of(*events: trio.Event) -> None:
    """Wait until one of the events is set."""
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
