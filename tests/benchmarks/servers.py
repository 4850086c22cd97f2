"""A contender's server: a process on a core that the clients do not use, and what the system tells of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from tests.benchmarks.contenders import ROOT, Contender
from tests.benchmarks.environments import Environment, variables

KIB = 2**10
PATIENCE = 30.0
"""Seconds after which a server that has not answered or not ended has failed."""


class Broken(Exception):
    """A server does not start, or its answer is not what it must be: its times mean nothing."""


def share_out_cores() -> tuple[set[int], set[int]]:
    """A core for the servers, and one for the clients where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[0]}, set(cores[1:2] or cores)


class Server:
    """A server on a free port.

    Args:
        contender: whose.
        environment: its interpreter.
        directory: for its log.
        cores: where it may run.
        settings: what its app finds in its environment.
        root: the checkout that it runs.
    """

    def __init__(
        self, contender: Contender, environment: Environment, directory: Path, cores: set[int],
        settings: Mapping[str, str], root: Path = ROOT,
    ) -> None:  # fmt: skip
        self.contender = contender
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._log = directory / f"{contender.key}-{self.port}.log"
        ports = dict.fromkeys(("BENCHMARK_PORT", "SPIKARD_SERVER_PORT"), str(self.port))
        command = contender.command(environment.program, self.port)
        self.began = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, env=variables(**{"PYTHONPATH": str(root), **ports, **settings}),
                stdout=log, stderr=subprocess.STDOUT, cwd=root,
            )  # fmt: skip
        # What it starts, threads too, inherits this.
        os.sched_setaffinity(self._process.pid, cores)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self) -> float:
        """Wait for an answer. Returns the seconds from the start of the process to it.

        Raises:
            Broken: there was none.
        """
        while time.perf_counter() < self.began + PATIENCE and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if client.recv(1):
                    return time.perf_counter() - self.began
            time.sleep(0.002)
        raise Broken(f"did not start: {self._log.read_text()[-500:]}")

    @property
    def output(self) -> str:
        """The end of what it has printed."""
        return self._log.read_text()[-2000:]

    def cpu_seconds(self) -> float:
        """Time that its processes have spent on their core, theirs and the system's for them."""
        # The clock that clock_getcpuclockid(3) finds for a process. /proc/PID/stat has the same in hundredths of a
        # second, which is as long as some responses take. It is exact while the process sleeps.
        time.sleep(0.01)
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._processes())

    def memory(self, name: str = "VmRSS") -> int:
        """Bytes that its processes hold; with "VmHWM", the most since ``forget_peak``."""
        return sum(_status(pid, name) * KIB for pid in self._processes())

    def forget_peak(self) -> None:
        """Begin to watch for the most memory anew."""
        for pid in self._processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _processes(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:  # grows meanwhile
            # A process belongs to the thread that has started it.
            lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
            found += [int(child) for child in " ".join(lists).split()]
        return [pid for pid in found if _lives(pid)]

    def begin_to_stop(self) -> None:
        """Tell it to stop, and do not wait."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop it, and all that it started."""
        processes = self._processes() if self._process.poll() is None else []
        self.begin_to_stop()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in processes[1:]:
            if _lives(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""  # one that has ended, and waits to be asked, has none
    except (FileNotFoundError, ProcessLookupError):
        return False


def _status(pid: int, name: str) -> int:
    (value,) = re.findall(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(value)


Start = Callable[[Contender, Mapping[str, str]], Server]
"""Start one, with settings for its app."""


@contextlib.contextmanager
def running(
    start: Start, contenders: Iterable[Contender], settings: Mapping[str, str], broken: Callable[[Contender, str], None]
) -> Iterator[dict[str, Server]]:
    """Servers of all contenders at once; those that do not start are told and left out."""
    servers: dict[str, Server] = {}
    with contextlib.ExitStack() as stack:
        for contender in contenders:
            servers[contender.key] = stack.enter_context(start(contender, settings))
        for key, server in list(servers.items()):
            try:
                server.wait_until_ready()
            except Broken as error:
                broken(server.contender, str(error))
                del servers[key]
        try:
            yield servers
        finally:  # all at once, and then wait for each
            for server in servers.values():
                server.begin_to_stop()
