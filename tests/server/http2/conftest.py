"""One server for all tests of HTTP/2 that send what a client may, or may not; after each it is as it was."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator

import pytest

from tests.conftest import StartServer, starting
from tests.server.http1.conftest import certificate as certificate  # noqa: PLC0414 - a fixture here too
from tests.servers import PATIENCE, Server
from tests.state import Load, settle

collect_ignore_glob = [] if importlib.util.find_spec("trioweb.server.http2") else ["test_*.py"]
"""These tests are about HTTP/2 of our own: Hypercorn's ends connections for what is one request's fault."""
TARGET = "tests.server.http2.app:app"
OPTIONS = ("--http2", "auto")
"""HTTP/2 of our own, also while it is not what a server has without this."""
FAULT_WORDS = ("Traceback", "ERROR", "rror:")


class Shared:
    """The server that all tests share; one in which a test has left something is replaced."""

    def __init__(self, start: StartServer) -> None:
        self._start = start
        self.server: Server | None = None

    def lend(self) -> tuple[Server, Load]:
        """The server, and what it held when it was new."""
        if self.server is None:
            self.server = self._start(TARGET, *OPTIONS, runner="trioweb")
            self._when_new = settle(self.server)
        self.server.forget()
        return self.server, self._when_new


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """What lends it."""
    starts = starting(tmp_path_factory)
    yield Shared(next(starts))
    next(starts, None)


@pytest.fixture(scope="module")
def start_module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """As ``start_server``, for what all tests of a module may share."""
    yield from starting(tmp_path_factory)


@pytest.fixture
def server(shared: Shared) -> Iterator[Server]:
    """The server, in which a test leaves no task, no descriptor and no error in the log."""
    server, when_new = shared.lend()
    yield server
    shared.server = None
    see_recovery(server, when_new)
    shared.server = server
    assert not any(word in server.output for word in FAULT_WORDS), server.output


def see_recovery(server: Server, when_new: Load) -> None:
    """See that a server comes to hold no more than when it was new."""
    end = time.monotonic() + PATIENCE
    while more := Load.of(server).beyond(when_new):
        assert time.monotonic() < end, f"left over: {more}\n{server.output}"
        time.sleep(0.01)
