"""A server for the tests of a module, one for each way of running, and what must hold of it after each fault."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.conftest import StartServer
from tests.servers import RUNNERS, Server
from tests.state import Load, get_state, settle

TARGET = "tests.faults.app:app"
FAULT_WORDS = ("Traceback", "ERROR", "rror:")
RECOVERY = 20.0
"""Seconds in which a server must be back to what it was; far beyond what it takes."""


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
    shared_server.forget()  # what a test before it has noted is no answer to what this one waits for
    recovery = Recovery(shared_server, load_when_new)
    yield recovery
    recovery.check()


@pytest.fixture
def server(fault: Recovery) -> Server:
    """The server of the module, which must recover from the test."""
    return fault.server
