"""A server for the tests of a module, one for each way of running, and what must hold of it after each fault."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.servers import RUNNERS, Server, read_all

TARGET = "tests.faults.app:app"
FAULT_WORDS = ("Traceback", "ERROR", "rror:")
IDLE = "hypercorn.trio.tcp_server.TCPServer._idle_timeout"
CONNECTION = "trio._highlevel_serve_listeners._run_handler"
RECOVERY = 8.0
"""Seconds in which a server must be back to what it was; far beyond what it takes."""


def get_state(server: Server, path: str = "/state") -> Any:
    """What a worker says that it holds."""
    with server.request(path, headers="Connection: close\r\n") as client:
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return json.loads(body)


@dataclass
class Load:
    """What a worker holds: its tasks and its open descriptors, without the connections that are idle."""

    tasks: dict[str, int]
    descriptors: int

    @classmethod
    def of(cls, server: Server) -> Load:
        """What it holds now."""
        state = get_state(server)
        tasks, descriptors = dict(state["tasks"]), state["descriptors"]
        # Hypercorn keeps a connection that is idle until its time is up, though its client may have left.
        idle = tasks.pop(IDLE, 0)
        if idle:
            tasks[CONNECTION] = tasks.get(CONNECTION, 0) - idle
        return cls(tasks, descriptors - idle)

    def beyond(self, other: Load) -> dict[str, int]:
        """What there is more of, by name."""
        counts = {**self.tasks, "open descriptors": self.descriptors}
        base = {**other.tasks, "open descriptors": other.descriptors}
        return {name: count - base.get(name, 0) for name, count in counts.items() if count > base.get(name, 0)}


RECORD = re.compile(r"^(?=\[?\d{4}-\d\d-\d\d )", re.MULTILINE)
"""Where an entry of a server's log begins, with or without brackets around its time."""


class Recovery:
    """A server under a fault, and what it held when it was new."""

    def __init__(self, server: Server, before: Load) -> None:
        self.server = server
        self.workers = server.workers
        self.before = before
        self._logged = len(server.output)
        self._allowed: list[str] = []

    def allow(self, text: str) -> None:
        """Say that the fault is an error which belongs in the log: lines of this text, and a traceback."""
        self._allowed.append(text)

    @property
    def logged(self) -> str:
        """What the server has logged since the fault began."""
        return self.server.output[self._logged :]

    def wait_for_log(self, text: str) -> None:
        """Wait until the server has logged it, since the fault began."""
        end = time.monotonic() + RECOVERY
        while text not in self.logged:
            assert time.monotonic() < end, f"no {text!r} in:\n{self.logged}"
            time.sleep(0.01)

    def check(self) -> None:
        """See that it serves, holds no more than before, is the same process, and logged no error that is none."""
        end = time.monotonic() + RECOVERY
        while more := Load.of(self.server).beyond(self.before):
            assert time.monotonic() < end, f"left over: {more}\n{self.logged}"
            time.sleep(0.01)
        assert self.server.workers == self.workers
        if self._allowed:
            for text in self._allowed:
                self.wait_for_log(text)
            # As many tracebacks as errors that were meant: none slipped in with them.
            errors = [record for record in RECORD.split(self.logged) if any(word in record for word in FAULT_WORDS)]
            assert not [record for record in errors if not any(text in record for text in self._allowed)], self.logged
        else:
            assert not any(word in self.logged for word in FAULT_WORDS), self.logged


def settle(server: Server) -> Load:
    """What a server holds that has nothing to do: the same twice, a moment apart."""
    last = Load.of(server)
    for _ in range(100):
        time.sleep(0.01)
        now = Load.of(server)
        if now == last:
            break
        last = now
    return last


@pytest.fixture(scope="module", params=sorted(RUNNERS))
def runner(request: pytest.FixtureRequest) -> str:
    """Each way of running an app."""
    way: str = request.param
    return way


@pytest.fixture(scope="module")
def shared_server(start_server: StartServer, runner: str) -> Iterator[Server]:
    """A server for all tests of a module, at whose end its idle connections are gone too, after a second."""
    server = start_server(TARGET, "--keep-alive", "1", runner=runner)
    before = get_state(server)["descriptors"]
    yield server
    end = time.monotonic() + RECOVERY
    while (now := get_state(server)["descriptors"]) > before:
        assert time.monotonic() < end, f"{now} open descriptors, {before} when it began"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def load_when_new(shared_server: Server) -> Load:
    """What the server of the module held before its first fault."""
    return settle(shared_server)


@pytest.fixture
def fault(shared_server: Server, load_when_new: Load) -> Iterator[Recovery]:
    """The server before a fault. After the test it must be as it was."""
    recovery = Recovery(shared_server, load_when_new)
    yield recovery
    recovery.check()


@pytest.fixture
def server(fault: Recovery) -> Server:
    """The server of the module, which must recover from the test."""
    return fault.server
