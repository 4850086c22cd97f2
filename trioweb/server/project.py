"""``trioweb new``: creates a small project."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*")

_APP: Final = """\
import trio
from trioweb import App

app = App()


@app.get("/hello/{name}")
async def hello(name: str):
    return f"Hello, {name}!"


@app.get("/ticks")
async def ticks():  # a handler that yields is a stream
    for i in range(10):
        yield {"tick": i}  # a dict is a JSON line
        await trio.sleep(1)
"""

_TEST: Final = """\
from app import app
from trioweb.testing import TestClient


async def test_hello():
    async with TestClient(app) as client:
        assert (await client.get("/hello/you")).text == "Hello, you!"


async def test_ticks(autojump_clock):  # ten seconds of ticks, in no time
    async with TestClient(app) as client:
        async with client.stream("GET", "/ticks") as response:
            lines = [line async for line in response.aiter_lines()]
    assert lines[-1] == '{"tick":9}'
"""

_NOXFILE: Final = """\
import nox

nox.options.default_venv_backend = "venv"


@nox.session
def tests(session):
    \"\"\"Run the tests in an environment of their own: nox -s tests.\"\"\"
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)
"""

_PYPROJECT: Final = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["trioweb"]

[project.optional-dependencies]
test = ["pytest", "pytest-trio", "trioweb[testing]"]
dev = ["{name}[test]", "nox", "trioweb[reload]"]

[tool.setuptools]
py-modules = ["app"]

[tool.pytest.ini_options]
trio_mode = true
pythonpath = ["."]
"""

_README: Final = """\
# {name}

```console
$ python3 -m venv .venv && . .venv/bin/activate
$ pip install -e '.[dev]'
$ trioweb run --reload app:app
$ pytest
```

`app.py` is the app, `test_app.py` its tests, `pyproject.toml` what it needs, and `nox` runs the tests in an
environment of their own.
"""


class ProjectError(Exception):
    """The project cannot be created. The message says why."""


def make_project(directory: Path) -> list[Path]:
    """Create a project in a directory of its name. Returns the files that it has written; it overwrites none.

    Raises:
        ProjectError: if the name is not valid, or the directory exists.
    """
    name = directory.name
    if not _NAME.fullmatch(name):
        raise ProjectError(f"{name!r} is no name of a project: use letters, digits, and single - or _ between them")
    if directory.exists():
        raise ProjectError(f"there is a {str(directory)!r} already: choose another name")
    contents = {
        "app.py": _APP,
        "test_app.py": _TEST,
        "noxfile.py": _NOXFILE,
        "pyproject.toml": _PYPROJECT.format(name=name),
        "README.md": _README.format(name=name),
    }
    directory.mkdir(parents=True)
    written = []
    for file, text in contents.items():
        path = directory / file
        path.write_text(text)
        written.append(path)
    return written
