"""The example ``examples/mcp.py``: by the SDK's own client, on both servers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.servers import PATIENCE, ROOT, RUNNERS, Server

BEHIND = """
from examples.mcp import app

@app.middleware
async def pass_on(request, call_next):
    return await call_next(request)
"""


@pytest.fixture(scope="module", params=[*RUNNERS, "behind middleware"])
def server(
    request: pytest.FixtureRequest, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """The example on each server, and behind a middleware."""
    if request.param in RUNNERS:
        return start_server("examples.mcp:app", runner=request.param)
    directory: Path = tmp_path_factory.mktemp("behind")
    (directory / "behind.py").write_text(BEHIND)
    return start_server("behind:app", runner="trioweb", directory=directory)


def calls(server: Server, how: str) -> int:
    """How many calls have ended so, or run."""
    return int(json.loads(server.curl("/calls")[1]).get(how, 0))


def wait_until_ended(server: Server, how: str, count: int) -> None:
    """Wait for so many calls that have ended so."""
    end = time.monotonic() + PATIENCE
    while calls(server, how) < count:
        assert time.monotonic() < end, f"no call is {how}\n{server.output}"
        time.sleep(0.05)


def test_its_own_client(server: Server) -> None:
    """The client in the file lists the tools, sees each step of one, and leaves another, which is cancelled."""
    finished, cancelled = calls(server, "finished"), calls(server, "cancelled")
    done = subprocess.run(
        [sys.executable, "-m", "examples.mcp", f"{server.url}/mcp"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[:5] == ["count", "1 of 3", "2 of 3", "3 of 3", "{'result': 'counted to 3'}"]
    assert all(re.fullmatch(r"\d+ of 1000", line) for line in lines[5:-1])
    assert lines[-1] == "left"
    assert calls(server, "finished") == finished + 1
    wait_until_ended(server, "cancelled", cancelled + 1)
    assert "ERROR" not in server.output
    assert "Traceback" not in server.output, server.output


@pytest.mark.parametrize(("mode", "how"), [("auto", "tells"), ("auto", "silent"), ("legacy", "tells")])
def test_a_client_that_leaves(server: Server, mode: str, how: str) -> None:
    """Its tool is cancelled, in either age of the protocol, whether the response has begun or not."""
    cancelled = calls(server, "cancelled")
    command = [sys.executable, "-m", "tests.examples.mcp_client", f"{server.url}/mcp", mode, how]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        if how == "tells":
            assert client.stdout.readline() == "step 1 of 1000\n"
        else:
            end = time.monotonic() + PATIENCE
            while calls(server, "running") == 0:
                assert time.monotonic() < end, server.output
                time.sleep(0.05)
        client.stdin.write("leave\n")
        client.stdin.flush()
        wait_until_ended(server, "cancelled", cancelled + 1)
        client.communicate(timeout=PATIENCE)
    if mode == "auto":  # the SDK answers a POST twice if the older protocol ends its session meanwhile
        assert "Traceback" not in server.output, server.output


def test_a_client_that_is_killed(server: Server) -> None:
    """It says no goodbye, and its tool is cancelled all the same."""
    cancelled = calls(server, "cancelled")
    command = [sys.executable, "-m", "tests.examples.mcp_client", f"{server.url}/mcp", "auto", "tells"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "step 1 of 1000\n"
        client.kill()
        client.communicate(timeout=PATIENCE)
    wait_until_ended(server, "cancelled", cancelled + 1)
