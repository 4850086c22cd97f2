"""Fixtures for all tests: real servers in processes of their own, started and stopped by process id; and a browser."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers import Server
from tests.shapes import SHAPES, Shape

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.contrib.cluster import Cluster

StartServer = Callable[..., Server]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER_PATIENCE = 60_000
"""Milliseconds after which a page that does not do what a test waits for has failed it."""
SHOWN = ("benchmarks", "docs", "examples")
"""Folders of tests whose processes need not measure what they run: other tests have run all of it."""
OWN = ("tests", "trioweb")
"""What is there always: that it cannot be imported is an error."""


class Module(pytest.Module):
    """A module of tests, which is left out where it needs a library that is not installed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """See pytest."""
        try:
            return super().collect()
        except self.CollectError as error:
            missing = error.__cause__
            if not isinstance(missing, ModuleNotFoundError) or (missing.name or "trioweb").startswith(OWN):
                raise
            pytest.skip(f"needs {missing.name}", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Module:
    """Have tests run that need no more than is installed: those in ``tests/ground`` need next to nothing."""
    module: Module = Module.from_parent(parent, path=module_path)
    return module


def pytest_collection_finish() -> None:
    """Have no collection look through what is there before the first test: twelve thousand tests, above all."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Keep what a process has measured: one that takes long to end is killed by who has started it."""
    coverage = sys.modules.get("coverage")
    if coverage is not None and (measured := coverage.Coverage.current()):
        measured.save()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the option of pytest-timeout, also where that is not installed."""
    if importlib.util.find_spec("pytest_timeout") is None:
        parser.addini("timeout", "the same, and nothing is done with it")


@pytest.fixture(scope="module", autouse=True)
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have no processes measure coverage that show what others have shown."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name in SHOWN:
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    """Each way of writing a handler: a promise that holds for one holds for all."""
    return SHAPES[request.param]


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL that all tests share."""
    from tests.contrib.cluster import Cluster  # noqa: PLC0415 - most tests need none

    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - most tests need none

    found = [path for name in BROWSERS if (path := shutil.which(name))]
    assert found, f"this test needs a browser: install one of {', '.join(BROWSERS)}"
    options = ["--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    expect.set_options(timeout=BROWSER_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a profile of its own. What goes wrong in its scripts fails the test."""
    with browser.new_context() as context:
        context.set_default_timeout(BROWSER_PATIENCE)
        page = context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield page
        assert wrong == []
