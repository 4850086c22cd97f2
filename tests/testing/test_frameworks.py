"""The client drives any ASGI app under trio, and works with the test runners that trio has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.servers import ROOT
from trioweb.testing import TestClient

closed: list[str] = []


async def ticks(name: str) -> AsyncIterator[str]:
    """A tick a minute."""
    try:
        for number in range(3):
            yield f"{number}\n"
            await trio.sleep(10)
    finally:
        closed.append(name)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """A bare ASGI app, without a lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/broken":
        raise ZeroDivisionError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async for tick in ticks("bare"):
        await send({"type": "http.response.body", "body": tick.encode(), "more_body": True})
    await send({"type": "http.response.body"})


async def starlette_ticks(request: Any) -> StreamingResponse:
    """The same in Starlette."""
    return StreamingResponse(ticks("starlette"))


async def broken(request: Any) -> StreamingResponse:
    """Fail."""
    raise ZeroDivisionError


quart = QuartTrio(__name__)


@quart.route("/ticks")
async def quart_ticks() -> Any:
    """The same in Quart."""
    return ticks("quart"), 200


starlette = Starlette(routes=[Route("/ticks", starlette_ticks), Route("/broken", broken)])


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # generators that others leave to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("app", [bare, starlette, quart], ids=["bare", "starlette", "quart"])
async def test_other_apps(autojump_clock: trio.testing.MockClock, app: Any) -> None:
    """A bare ASGI app, Starlette and Quart-Trio are streamed from, and left, like our own."""
    async with TestClient(app) as client:
        assert (await client.get("/ticks")).text == "0\n1\n2\n"
        async with client.stream("GET", "/ticks") as response:
            assert await anext(response.aiter_raw()) == b"0\n"
    if app is not quart:
        async with TestClient(app) as client:
            with pytest.raises(ZeroDivisionError):
                await client.get("/broken")


@pytest.mark.parametrize(
    ("options", "marker"),
    [(["-p", "no:anyio", "-o", "trio_mode=true"], "trio"), (["-p", "no:trio"], "anyio")],
    ids=["pytest-trio", "anyio"],
)
def test_the_fixture_of_two_lines(tmp_path: Path, options: list[str], marker: str) -> None:
    """The documented fixture works with pytest-trio and with anyio's plugin on trio."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from trioweb import App\n"
        "from trioweb.testing import TestClient\n"
        "app = App()\n"
        "@app.get('/')\n"
        "async def root(): yield 'streamed'\n"
        "@pytest.fixture\n"
        "def anyio_backend(): return 'trio'\n"
        "@pytest.fixture\n"
        "async def client():\n"
        "    async with TestClient(app) as client:\n"
        "        yield client\n"
        f"@pytest.mark.{marker}\n"
        "async def test_it(client):\n"
        "    assert (await client.get('/')).text == 'streamed'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *options, "test_it.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
