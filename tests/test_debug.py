"""How faults are logged, in debug mode and otherwise."""

from __future__ import annotations

import logging

import pytest
import trio.testing

import trioweb
from tests.asgi import ask
from trioweb import App, Request
from trioweb.testing import TestClient

PACKAGE = trioweb.__file__.removesuffix("__init__.py")


def broken(app: App) -> App:
    """Give an app a handler that fails."""

    @app.get("/things/{n}")
    async def thing(n: int) -> str:
        raise ValueError(n)

    return app


@pytest.mark.parametrize("debug", [False, True])
async def test_the_log_of_a_fault(caplog: pytest.LogCaptureFixture, debug: bool) -> None:
    """In debug mode the traceback in the log begins at the user's code, else it is whole; handlers get the error."""
    assert (await ask(broken(App(debug=debug)), "/things/7")).status == 500
    [record] = caplog.records
    assert record.getMessage() == "GET /things/7: tests.test_debug.broken.<locals>.thing failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    text = logging.Formatter().format(record)
    assert 'test_debug.py", line' in text
    assert text.endswith("ValueError: 7")
    assert (PACKAGE in text) is not debug


async def test_a_level_that_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that wants no errors gets none, in debug mode too."""
    logger = logging.getLogger("trioweb")
    logger.setLevel(logging.CRITICAL)
    try:
        await ask(broken(App(debug=True)), "/things/7")
    finally:
        logger.setLevel(logging.NOTSET)
    assert not caplog.records


async def test_the_log_of_background_work(caplog: pytest.LogCaptureFixture) -> None:
    """What fails in the app's nursery is logged in the same way: it was started by a request."""
    app = App(debug=True)

    async def work() -> None:
        raise ValueError("late")

    @app.post("/")
    async def start(request: Request) -> None:
        app.nursery.start_soon(work)

    async with TestClient(app, raise_app_exceptions=False) as client:
        await client.post("/")
        await trio.testing.wait_all_tasks_blocked()
    assert PACKAGE not in caplog.text
    assert "the task test_the_log_of_background_work.<locals>.work failed\nTraceback" in caplog.text
