"""One server for the tests of a module, started on ``tests/server/app.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import StartServer, starting
from tests.servers import Server

FAULT_WORDS = ("Traceback", "ERROR", "rror:")


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """As for all tests, but stopped after each test: there are many here."""
    yield from starting(tmp_path_factory)


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server of the test's own, so that what it logs and notes is about this test."""
    return start_server("tests.server.app:app")


@pytest.fixture
def quiet_server(server: Server) -> Iterator[Server]:
    """The same, for tests after which nothing may have been logged as an error."""
    yield server
    assert not any(word in server.output for word in FAULT_WORDS), server.output


@pytest.fixture(params=["1.1", "2"])
def http(request: pytest.FixtureRequest) -> list[str]:
    """Curl's option for each version of HTTP that streams can go over."""
    return [] if request.param == "1.1" else ["--http2-prior-knowledge"]
