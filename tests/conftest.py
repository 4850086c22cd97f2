"""Fixtures for all tests: real servers in processes of their own, started and stopped by process id; and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.servers import Server

StartServer = Callable[..., Server]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER_PATIENCE = 60_000
"""Milliseconds after which a page that does not do what a test waits for has failed it."""


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
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
