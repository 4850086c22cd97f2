"""The folder ``examples``: every file in it is run, as its own first lines say."""

from __future__ import annotations

import ast
import os
import re
import select
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.contrib.cluster import Cluster
from tests.servers import PATIENCE, ROOT

FOLDER = ROOT / "examples"
FILES = sorted(path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
FILES.remove("__init__")
SCREEN = 100
"""Lines of an example at most: one screen."""


def docstring(name: str) -> str:
    """What a file says of itself."""
    path = FOLDER / f"{name}.py"
    text = (path if path.exists() else FOLDER / name / "__init__.py").read_text()
    return ast.get_docstring(ast.parse(text)) or ""


def commands(name: str) -> list[str]:
    """The commands in it: a line each, unless a quotation goes on."""
    found: list[str] = []
    [block] = re.findall(r"::\n\n((?:    .*\n)+)", docstring(name) + "\n")
    for line in block.splitlines():
        try:
            shlex.split(found[-1] if found else "")
        except ValueError:  # no closing quotation
            found[-1] += "\n" + line
        else:
            found.append(line.strip())
    return found


@pytest.mark.parametrize("name", FILES)
def test_each_has_tests(name: str) -> None:
    """Each file, and each folder of files, has a module of tests that names it."""
    path = ROOT / "tests" / "examples" / f"test_{name}.py"
    assert re.search(rf'EXAMPLE = "{name}"|examples\.{name}\b', path.read_text())


def test_the_list_is_whole() -> None:
    """The folder's own list names each of them, and nothing that is not there."""
    listed = re.findall(r"\]\(([\w.]+)[/)]", (FOLDER / "README.md").read_text())
    assert sorted(name.removesuffix(".py") for name in listed) == FILES


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_each_fits_a_screen(path: Path) -> None:
    """An example is read at a glance, and runs on trio alone."""
    text = path.read_text()
    assert len(text.splitlines()) <= SCREEN
    assert not re.search(r"import (asyncio|anyio)", text)


@pytest.fixture
def around(request: pytest.FixtureRequest, start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an example, with what it needs around it: another server, a database, a place for its files."""
    name: str = request.param
    if name == "proxy":
        monkeypatch.setenv("UPSTREAM", start_server("examples.hello:app").url)
    if name == "gateway":
        monkeypatch.setenv("GATEWAY_KEYS", "ada=secret")
        monkeypatch.setenv("GATEWAY_UPSTREAM", start_server("examples.completions:app").url)
    if name == "postgres_export":
        cluster: Cluster = request.getfixturevalue("postgres")
        for variable, value in cluster.environment.items():
            monkeypatch.setenv(variable, value)
    if name == "tour":
        monkeypatch.setenv("TOUR_DATA", str(request.getfixturevalue("tmp_path")))
    return name


@pytest.mark.parametrize("around", FILES, indirect=True)
def test_each_does_what_it_says(around: str, start_server: StartServer, tmp_path: Path) -> None:
    """The commands that an example gives start it, and get something out of it."""
    start, *rest = commands(around)
    *_, runner, option, worker, target = shlex.split(start)
    assert [runner, option, worker] == ["hypercorn", "-k", "trio"]
    assert target in {f"examples.{around}:app", f"examples.{around}:from_environment()"}
    server = start_server(target, directory=tmp_path)
    assert rest
    for command in rest:
        own = command.replace("localhost:8000", f"127.0.0.1:{server.port}")
        run(own.replace("curl ", "curl -sS --fail "), tmp_path, endless="-N" in command or "websockets" in command)


def run(command: str, directory: Path, *, endless: bool) -> None:
    """Run a command in a shell: to its end, or until it has printed something."""
    shell = ["sh", "-c", f"exec {command}"]
    process = subprocess.Popen(shell, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            if endless:
                assert select.select([process.stdout], [], [], PATIENCE)[0], command
                assert os.read(process.stdout.fileno(), 1), command
            else:
                assert process.wait(PATIENCE) == 0, command
        finally:
            process.terminate()
