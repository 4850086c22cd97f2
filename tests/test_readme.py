"""The README's words, executed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
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


def test_nothing_is_installed_into_the_system() -> None:
    """What README and guide have one install goes into an environment: systems refuse it for their own Python."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    blocks = [block for page in pages for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)]
    installs = [block for block in blocks if re.search(r"\bpip install (?!'?trioweb\[reload\]'?\n)", block)]
    assert len(installs) >= 4
    for block in installs:
        assert block.index("python3 -m venv .venv && ") < block.index("pip install"), block
        assert "python3 -m pip" not in block


def test_what_is_pinned() -> None:
    """What the commands install is pinned, whatever is needed and the builder too, by versions and no place."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    pins = (ROOT / "tests" / "constraints.txt").read_text()
    line = r'[a-z0-9.-]+==[^\s/]+( ; python_version == "3\.\d+")?'
    assert all(re.fullmatch(line, pin) for pin in pins.splitlines()[1:])
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[\[<>=]", each)[0] for each in wanted} | {
        "hatchling",
        "nox",
        "mypy",
        "pyright",
        "ruff",
        "build",
        "pre-commit",
        "twine",
    }
    assert names - set(re.findall(r"^([a-z0-9.-]+)==", pins, re.MULTILINE)) == set()


def test_every_session_that_the_readme_names_is_there() -> None:
    """The README's commands name sessions that the noxfile has."""
    sessions = set(re.findall(r"nox -s (\w+)", README))
    assert sessions == {"bench", "demo", "docs", "tests"}
    noxfile = (ROOT / "noxfile.py").read_text()
    assert all(f"def {session}(session" in noxfile for session in sessions)
