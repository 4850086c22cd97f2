"""Fixtures for all tests: real servers in processes of their own, started and stopped by process id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import Server

StartServer = Callable[..., Server]


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start ``hypercorn -k trio`` on an app; all that were started are stopped when the module's tests are done."""
    yield from starting(tmp_path_factory)


def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """What a fixture that starts servers does, whatever its scope."""
    started: list[Server] = []

    def start(
        target: str,
        *options: str,
        directory: Path | None = None,
        runner: str = "hypercorn",
        descriptors: int | None = None,
        scheme: str = "http",
    ) -> Server:
        place = tmp_path_factory.mktemp("server")
        server = Server(target, options, place, directory, runner=runner, descriptors=descriptors, scheme=scheme)
        started.append(server)
        server.wait_until_ready()
        return server

    yield start
    for server in started:
        server.stop()
