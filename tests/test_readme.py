"""The README's words, executed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.servers import ROOT, read_until

README = (ROOT / "README.md").read_text()


def test_the_shortest_program_runs(start_server: StartServer, tmp_path: Path) -> None:
    """The program in the README answers and streams as it says, started as it says."""
    (tmp_path / "app.py").write_text(re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0])
    server = start_server("app:app", directory=tmp_path)
    assert server.curl("/hello/Ada") == (0, b"Hello, Ada!")
    with server.request("/ticks") as client:
        head, _, body = read_until(client, b"1}\n").partition(b"\r\n\r\n")
    assert b"content-type: application/x-ndjson" in head
    assert [json.loads(line) for line in re.findall(rb"{.*}", body)] == [{"tick": 0}, {"tick": 1}]


def test_the_test_in_the_readme_passes(tmp_path: Path) -> None:
    """The test in the README passes on the program in the README, as it says."""
    program, test = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "app.py").write_text(program)
    (tmp_path / "test_app.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "trio_mode=true"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=env)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_links_lead_somewhere() -> None:
    """Every file that the README links to is there."""
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", README) if "://" not in target]
    assert "docs/tour.png" in targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_what_curl_is_told_to_ask_the_tour(start_server: StartServer, tmp_path: Path) -> None:
    """What the README asks the tour for is there, and begins at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOUR_DATA", str(tmp_path))
        server = start_server("examples.tour:app")
    paths = re.findall(r"curl -N http://127.0.0.1:8000(/\S+)", README.partition("## See it")[2])
    assert paths
    for path in paths:
        with server.request(path) as client:
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_every_session_that_the_readme_names_is_there() -> None:
    """The README's commands name sessions that the noxfile has."""
    sessions = set(re.findall(r"nox -s (\w+)", README))
    assert sessions == {"bench", "demo", "docs", "tests"}
    noxfile = (ROOT / "noxfile.py").read_text()
    assert all(f"def {session}(session" in noxfile for session in sessions)
