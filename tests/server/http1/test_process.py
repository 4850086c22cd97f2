"""The same over processes: ``trioweb run`` as a user starts it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.http1.conftest import PATIENCE
from tests.servers import reserve_port

ROOT = Path(__file__).parents[3]

Running = tuple[subprocess.Popen[bytes], str]


@pytest.fixture(params=["auto", "h11"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A server with two workers, once with HTTP/1.1 of our own, once with Hypercorn's; and its address."""
    with reserve_port() as reserved:
        yield from run_at(f"127.0.0.1:{reserved.getsockname()[1]}", request.param)


def run_at(address: str, http: str) -> Iterator[Running]:
    """Run it there."""
    options = ["--bind", address, "--workers", "2", "--http", http]
    command = [sys.executable, "-m", "trioweb", "run", "--h2c", *options, "tests.server.app:app"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + PATIENCE
        while curl(f"http://{address}/")[1] != b"ok":
            assert time.monotonic() < end
            time.sleep(0.05)
        yield process, address
        process.send_signal(signal.SIGTERM)


def curl(url: str, *options: str) -> tuple[int, bytes]:
    """Curl's exit code, and what it printed."""
    done = subprocess.run(["curl", "-sS", "-m", "10", *options, url], capture_output=True, check=False)
    return done.returncode, done.stdout


def test_a_server_as_users_start_it(running: Running) -> None:
    """It answers over HTTP/1.1, HTTP/1.0 and HTTP/2, shows what is broken, and is gone soon after it is told."""
    process, address = running
    for option in ("--http1.1", "--http1.0", "--http2", "--http2-prior-knowledge"):
        assert curl(f"http://{address}/", option) == (0, b"ok")
    code, body = curl(f"http://{address}/one-task/error")
    assert code == 18  # cut
    assert body == b"0\n1\n2\n"
    assert curl(f"http://{address}/one-task/error", "--http1.0")[0] == 56  # reset
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
