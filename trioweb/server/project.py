"""``trioweb new``: creates a small project, with what it is checked, packed and run by."""

from __future__ import annotations

import keyword
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distributions, packages_distributions, requires
from itertools import chain
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*")
_OURS: Final = re.compile(r"""extra == ['"](test|docs)['"]""")
"""Matches what only this package is tested and documented with."""
_PROJECT: Final = "PROJECT"
"""Stands for the name of the project in the files below, and in their names."""
_TAG: Final = "TAG"
"""Stands for it in lower case, as images are named."""

_APP: Final = """\
from collections.abc import AsyncIterator

import trio
from trioweb import App

app = App()


@app.get("/hello/{name}")
async def hello(name: str) -> str:
    return f"Hello, {name}!"


@app.get("/ticks")
async def ticks() -> AsyncIterator[dict[str, int]]:  # a handler that yields is a stream
    for i in range(10):
        yield {"tick": i}  # a dict is a JSON line
        await trio.sleep(1)
"""

_TEST: Final = """\
import trio
from trio.testing import MockClock
from trioweb.testing import TestClient

from app import app


async def test_hello() -> None:
    async with TestClient(app) as client:
        assert (await client.get("/hello/you")).text == "Hello, you!"


# Ten seconds of ticks, in no time.
async def test_ticks(autojump_clock: MockClock) -> None:
    async with TestClient(app) as client, client.stream("GET", "/ticks") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == '{"tick":0}'  # it arrives when it is made
        assert trio.current_time() < 1
        assert [line async for line in lines][-1] == '{"tick":9}'
    assert trio.current_time() >= 10
"""

_NOXFILE: Final = """\
import nox

nox.options.default_venv_backend = "venv"


@nox.session
def tests(session: nox.Session) -> None:
    \"\"\"Run the tests in an environment of their own: nox -s tests.\"\"\"
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    \"\"\"Check style and format.\"\"\"
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    \"\"\"Check types.\"\"\"
    session.install("-e", ".[dev]")
    session.run("mypy")
"""

_PYPROJECT: Final = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "PROJECT"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["trioweb"]

[project.optional-dependencies]
test = ["pytest", "pytest-trio", "trioweb[testing]"]
dev = ["PROJECT[test]", "mypy", "nox", "ruff", "trioweb[reload]"]

[tool.setuptools]
py-modules = ["app"]

[tool.pytest.ini_options]
trio_mode = true
pythonpath = ["."]

[tool.ruff.lint]
extend-select = ["ASYNC", "B", "I", "RUF", "UP"]

[tool.ruff.lint.isort]
known-first-party = ["app"]

[tool.mypy]
strict = true
files = ["app.py", "test_app.py", "noxfile.py"]
"""

_CI: Final = """\
name: checks
on: [push, pull_request]
jobs:
  nox:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.13"
      - run: pip install nox
      - run: nox
"""

_DOCKERFILE: Final = """\
FROM python:3.13-slim
WORKDIR /srv/PROJECT
RUN useradd --system app
COPY pyproject.toml app.py ./
RUN pip install --no-cache-dir .
USER app
EXPOSE 8000
CMD ["trioweb", "run", "--bind", "0.0.0.0:8000", "app:app"]
"""

_UNIT: Final = """\
[Unit]
Description=PROJECT
After=network.target

[Service]
Type=exec
DynamicUser=yes
WorkingDirectory=/srv/PROJECT
ExecStart=/srv/PROJECT/.venv/bin/trioweb run --bind 127.0.0.1:8000 app:app
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
TimeoutStopSec=90
Restart=on-failure
LimitNOFILE=65536
ProtectSystem=strict
PrivateTmp=yes
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""

_README: Final = """\
# PROJECT

```console
$ python3 -m venv .venv && . .venv/bin/activate
$ pip install -e '.[dev]'
$ trioweb run --reload app:app
$ pytest
$ nox
```

`app.py` is the app, `test_app.py` its tests, `pyproject.toml` what it needs. `nox` runs the tests, and checks style and
types, in environments of its own; `.github/workflows/checks.yml` does so for each push.

`docker build -t TAG .` makes an image. `PROJECT.service` is a unit for systemd: it runs the project from
`/srv/PROJECT`, with an environment in `.venv` there, behind a proxy.
"""

_FILES: Final = {
    "app.py": _APP,
    "test_app.py": _TEST,
    "noxfile.py": _NOXFILE,
    "pyproject.toml": _PYPROJECT,
    "Dockerfile": _DOCKERFILE,
    "PROJECT.service": _UNIT,
    ".github/workflows/checks.yml": _CI,
    "README.md": _README,
}


class ProjectError(Exception):
    """The project cannot be created. The message says why."""


def make_project(directory: Path) -> list[Path]:
    """Create a project in a directory of its name. Returns the files that it has written; it overwrites none.

    Raises:
        ProjectError: if the name is not valid, or that of another package, or the directory exists or cannot be made.
    """
    name = directory.name
    if not _NAME.fullmatch(name):
        raise ProjectError(f"{name!r} is no name of a project: use letters, digits, and single - or _ between them")
    if reason := _why_taken(name):
        raise ProjectError(f"{name!r} is {reason}: choose another name")
    try:
        directory.mkdir(parents=True)
        return [_write(directory / file.replace(_PROJECT, name), text, name) for file, text in _FILES.items()]
    except FileExistsError as error:
        raise ProjectError(f"there is a {error.filename!r} already: choose another name") from None
    except OSError as error:
        raise ProjectError(f"cannot write {error.filename!r}: {error.strerror}") from None


def _write(path: Path, text: str, name: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text.replace(_TAG, name.lower()).replace(_PROJECT, name))
    return path


def _why_taken(name: str) -> str | None:
    """What a package of this name would hide, or replace when it is installed."""
    plain = _plain(name)
    if keyword.iskeyword(name):
        return "a word of Python itself"
    if plain in {"test", *map(_plain, sys.stdlib_module_names)}:  # the list leaves out Python's own tests
        return "a module of Python itself"
    if plain in _named(each for each in requires("trioweb") or () if not _OURS.search(each)):
        return "a package that trioweb uses"
    if plain in {_plain(each) for each in (*(each.name for each in distributions()), *packages_distributions())}:
        return "a package that is installed here"
    project = tomllib.loads(_PYPROJECT.replace(_PROJECT, "trioweb"))
    extras = project["project"]["optional-dependencies"].values()
    if plain in _named([*project["build-system"]["requires"], *chain.from_iterable(extras)]):
        return "a package that checks or builds the project"
    return None


def _named(requirements: Iterable[str]) -> set[str]:
    """The packages of requirements."""
    return {_plain(re.split(r"[^\w.-]", each)[0]) for each in requirements}


def _plain(name: str) -> str:
    """A name as installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
