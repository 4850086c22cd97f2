"""The supervisor: starts workers, replaces those that crash or are outdated, and stops or kills them.

Rules that this module alone enforces:

* A worker that ends unasked is replaced, after a pause that doubles with each crash. The others go on meanwhile.
* The first worker is started alone. If it cannot start, the supervisor ends with its status.
* On SIGHUP workers are replaced one by one: an old worker is stopped only when its successor serves. The supervisor
  keeps the listening sockets open, so no connection is refused.
* A worker that still has connections three seconds after its graceful timeout is killed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from trioweb.server.config import ServerConfig, Sockets
from trioweb.server.process.launch import CANNOT_START, FAILED, HELD, OK, READY, Launched, launch
from trioweb.server.process.lifespan import first_of
from trioweb.server.process.reload import report_changes
from trioweb.server.process.snapshot import Snapshot
from trioweb.server.process.sockets import addresses

SHORTEST_PAUSE: Final = 0.1
"""Seconds until a worker that has crashed is replaced; doubled for each crash in a row."""
LONGEST_PAUSE: Final = 30.0
"""The limit of that."""
SETTLED: Final = 60.0
"""Seconds after which a worker's crash counts as the first in a row."""
LENIENCY: Final = 3.0
"""Seconds that a worker has beyond its own timeouts before it is killed: a busy machine may need them for clean-up."""


class _Worker:
    """A worker's process.

    Attributes:
        pid: its id.
        status: its exit status, or the negative number of a signal; ``None`` until ``poll`` has seen its end.
        ready: set when it serves.
        drained: set when its last connection has ended.
        ended: set when the process has ended.
        retired: it was told to stop.
        killed: it was killed.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self.started = trio.current_time()
        self.ready = trio.Event()
        self.drained = trio.Event()
        self.ended = trio.Event()
        self.retired = False
        self.killed = False

    def poll(self) -> bool:
        """Whether the process has ended. Does not block."""
        if self.status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if not self.poll():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.killed = True
        self.send_signal(signal.SIGKILL)

    @property
    def failed(self) -> bool:
        """It has ended by an error, or unasked by a signal."""
        expected = (OK, -signal.SIGTERM) if self.retired else (OK,)  # SIGTERM kills it during its start-up
        return self.killed or self.status not in expected

    @property
    def end(self) -> str:
        """How it has ended, for messages."""
        status = self.status or 0
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"worker {self.pid} {how}"


class Supervisor:
    """Runs the workers of a configuration on sockets that listen.

    Args:
        config: the configuration.
        sockets: the sockets, which the caller closes.
        arguments: those of the command, for the workers.
        first: the first worker, which runs already.
        before: with ``--reload`` the files before that was started.
    """

    def __init__(
        self, config: ServerConfig, sockets: Sockets, arguments: Sequence[str], first: Launched, before: Snapshot
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._arguments = arguments
        self._first = first
        self._before = before
        self._workers: set[_Worker] = set()
        self._places: list[_Worker | None] = [None] * config.workers
        self._stopping = trio.Event()
        self._changed = trio.Event()
        self._replacing = trio.Lock()
        self._status = OK

    async def run(self) -> int:
        """Run until a signal stops it. Returns the exit status: that of a first worker that could not start, else 1 if
        a worker has failed, else 0.
        """
        self._log = self._config.log
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._handle_signals)
            self._places[0] = first = self._adopt(self._first)
            self._reap()  # it may have ended before SIGCHLD was handled
            if self._config.use_reloader:
                self._nursery.start_soon(self._handle_changes)
            elif not await self._try(first):
                self._nursery.cancel_scope.cancel()
                return self._status
            async with trio.open_nursery() as places:
                for number in range(self._config.workers):
                    places.start_soon(self._fill, number)
            self._nursery.cancel_scope.cancel()
        return self._status

    async def _try(self, worker: _Worker) -> bool:
        """Wait for the first worker. Returns whether it serves."""
        await first_of(worker.ready, worker.ended)
        if worker.ready.is_set() or self._stopping.is_set():
            await self._announce()
            return True
        self._status = worker.status or FAILED
        if self._status != CANNOT_START:  # else it has logged the reason
            await self._log.error("%s before it served", worker.end)
            self._status = FAILED
        return False

    async def _announce(self) -> None:
        if not self._stopping.is_set():
            where = " and ".join(addresses(self._sockets))
            count = len(self._places)
            await self._log.info(
                "trioweb serves %s at %s (%s %s, process %d; Ctrl+C stops it)",
                self._config.application_path, where, count, "worker" if count == 1 else "workers", os.getpid(),
            )  # fmt: skip

    # Workers

    async def _fill(self, number: int) -> None:
        """Keep one worker running until the server stops."""
        crashes = 0
        while True:
            worker = self._places[number]
            if worker is None:
                if self._stopping.is_set():
                    return
                try:
                    worker = self._places[number] = self._launch()
                except OSError as error:  # no processes or descriptors left: the other workers go on
                    crashes += 1
                    await self._wait_after(f"cannot start a worker: {error.strerror}", crashes)
                    continue
            await worker.ended.wait()
            if self._places[number] is not worker:
                continue  # it was replaced
            self._places[number] = None
            if worker.retired or not worker.failed:
                crashes = 0
                continue
            crashes = 1 if trio.current_time() - worker.started > SETTLED else crashes + 1
            await self._wait_after(worker.end, crashes)

    async def _wait_after(self, reason: str, crashes: int) -> None:
        """Wait before a worker that has crashed is replaced."""
        if self._config.use_reloader:
            await self._log.error("%s: waiting for a change", reason)
            await first_of(self._changed, self._stopping)
            return
        pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** (crashes - 1))
        await self._log.error("%s: another one starts in %g s", reason, pause)
        with trio.move_on_after(pause):
            await self._stopping.wait()
            self._status = FAILED  # stopped without this worker

    def _launch(self) -> _Worker:
        return self._adopt(launch(self._sockets, self._arguments))

    def _adopt(self, launched: Launched) -> _Worker:
        pid, line = launched
        worker = _Worker(pid)
        self._workers.add(worker)
        self._nursery.start_soon(self._listen, worker, trio.socket.from_stdlib_socket(line))
        if self._stopping.is_set():
            self._retire(worker)
        return worker

    async def _listen(self, worker: _Worker, line: trio.socket.SocketType) -> None:
        with line, suppress(OSError):
            while word := await line.recv(1):
                (worker.ready if word == READY else worker.drained).set()

    def _reap(self) -> None:
        """Find the processes that have ended."""
        for worker in list(self._workers):
            if worker.poll():
                self._workers.discard(worker)
                if worker.retired and worker.failed:
                    self._status = FAILED
                worker.ended.set()

    # Ending

    def _retire(self, worker: _Worker) -> None:
        if not worker.retired:
            worker.retired = True
            worker.send_signal(signal.SIGTERM)
            self._nursery.start_soon(self._stop_in_time, worker)

    async def _stop_in_time(self, worker: _Worker) -> None:
        """Kill a worker that was told to stop, if it exceeds its timeouts."""
        with trio.move_on_after(self._config.graceful_timeout + LENIENCY):
            await first_of(worker.drained, worker.ended)
        if worker.drained.is_set():
            with trio.move_on_after(self._config.shutdown_timeout + LENIENCY):
                await worker.ended.wait()
        if not worker.ended.is_set():
            worker.kill()
            what = "clean-up" if worker.drained.is_set() else "requests"
            await self._log.error("worker %d was killed: its %s took longer than they may", worker.pid, what)

    async def _handle_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        asked = 0
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
            task_status.started()
            async for number in signals:
                if number == signal.SIGCHLD:
                    self._reap()
                    continue
                if number == signal.SIGHUP:
                    self._nursery.start_soon(self._replace_all)
                    continue
                asked += 1
                self._stopping.set()
                for worker in list(self._workers):
                    if asked > 2:
                        worker.kill()
                    elif worker.retired:
                        worker.send_signal(signal.SIGTERM)  # a second one skips the graceful timeout
                    else:
                        self._retire(worker)

    # Replacing

    async def _replace_all(self) -> None:
        async with self._replacing:
            for number, old in enumerate(list(self._places)):
                if old is None or old.ended.is_set() or self._stopping.is_set():
                    continue  # its successor will be a new one anyway
                new = self._launch()
                await first_of(new.ready, new.ended)
                if not new.ready.is_set():
                    if not self._stopping.is_set():
                        await self._log.error("%s before it served: the workers stay as they are", new.end)
                    return
                self._places[number] = new
                self._retire(old)
                await old.ended.wait()
            if not self._stopping.is_set():
                await self._log.info("all workers were replaced")

    async def _handle_changes(self) -> None:
        send, receive = trio.open_memory_channel[str](1)
        self._nursery.start_soon(report_changes, self._config.reload_dirs, send, self._before)
        self._nursery.start_soon(self._announce)
        async for path in receive:
            await self._log.info("%s has changed: serving anew", path)
            for worker in list(self._workers):
                self._retire(worker)
                await worker.ended.wait()
            self._changed.set()
            self._changed = trio.Event()
