"""Servers for tests: of their own, or lent from one test to the next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest

from tests.conftest import StartServer, starting
from tests.servers import Server
from tests.state import Load, settle

FAULT_WORDS = ("Traceback", "ERROR", "rror:")
CALM = 0.5
"""Seconds after which a server that still holds something of a test is replaced: as long as a new one takes."""


class Lent(NamedTuple):
    """A server, and what it held when it was new."""

    server: Server
    when_new: Load


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """As for all tests, but stopped after each test: there are many here."""
    yield from starting(tmp_path_factory)


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StartServer, dict[tuple[object, ...], Lent]]]:
    """What starts servers, and those that are there, by how they were started."""
    starts = starting(tmp_path_factory)
    yield next(starts), {}
    next(starts, None)


@pytest.fixture
def lend_server(lent: tuple[StartServer, dict[tuple[object, ...], Lent]]) -> Iterator[StartServer]:
    """As ``start_server``, for an app that tells its state; the next test gets the same server, unless this one has
    stopped it or left something that goes on in it. What was logged and noted before is forgotten.
    """
    start, kept = lent
    used: list[tuple[object, ...]] = []

    def lend(target: str, *options: str, runner: str = "hypercorn") -> Server:
        key = (target, *options, runner)
        if key not in kept:
            server = start(target, *options, runner=runner)
            kept[key] = Lent(server, settle(server))
        used.append(key)
        server = kept[key].server
        server.forget()
        return server

    yield lend
    for key in used:
        if not is_calm(*kept[key]):
            kept.pop(key).server.stop()


def is_calm(server: Server, when_new: Load) -> bool:
    """Whether a server runs, answers, and comes to hold no more than when it was new."""
    end = time.monotonic() + CALM
    with suppress(OSError, AssertionError):
        while time.monotonic() < end and server.process.poll() is None:
            if not Load.of(server).beyond(when_new):
                return True
            time.sleep(0.01)
    return False


@pytest.fixture
def server(lend_server: StartServer) -> Server:
    """A server for the test, on ``tests/server/app.py``."""
    return lend_server("tests.server.app:app")


@pytest.fixture
def quiet_server(server: Server) -> Iterator[Server]:
    """The same, for tests after which nothing may have been logged as an error."""
    yield server
    assert not any(word in server.output for word in FAULT_WORDS), server.output


@pytest.fixture(params=["1.1", "2"])
def http(request: pytest.FixtureRequest) -> list[str]:
    """Curl's option for each version of HTTP that streams can go over."""
    return [] if request.param == "1.1" else ["--http2-prior-knowledge"]
