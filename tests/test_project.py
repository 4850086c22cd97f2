"""A project to begin with."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.servers import ROOT
from trioweb.__main__ import main
from trioweb.server.options import parse
from trioweb.server.project import ProjectError, make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as it was made."""
    directory = tmp_path_factory.mktemp("new") / "my-shop"
    make_project(directory)
    return directory


def check(project: Path, *command: str) -> str:
    """Run one of a project's own checks there; returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_prints_what_it_has_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command names each file, a line each, and what to do next."""
    assert main(["new", str(tmp_path / "my-shop")]) == 0
    lines, _, rest = capsys.readouterr().out.partition("\n\n")
    files = {str(path) for path in (tmp_path / "my-shop").rglob("*") if path.is_file()}
    assert set(lines.splitlines()) == files
    assert {Path(file).name for file in files} >= {"app.py", "test_app.py", "Dockerfile", "my-shop.service"}
    assert "README.md" in rest


def test_its_tests_pass(project: Path) -> None:
    """Its own tests pass as they are, that of a stream among them."""
    assert "2 passed" in check(project, "pytest", "-q", "-p", "no:cacheprovider")


def test_its_tests_find_a_stream_that_waits(project: Path, tmp_path: Path) -> None:
    """They fail for a stream that is gathered before it is sent."""
    for name in ("app.py", "test_app.py", "pyproject.toml"):
        text = (project / name).read_text()
        (tmp_path / name).write_text(text.replace('yield {"tick": i}', "await trio.sleep(1); yield {'tick': i}"))
    with pytest.raises(AssertionError, match="1 failed, 1 passed"):
        check(tmp_path, "pytest", "-q", "-p", "no:cacheprovider")


def test_its_style_is_right(project: Path) -> None:
    """Its own rules for ruff find nothing, and ruff would lay out nothing anew."""
    check(project, "ruff", "check", "--no-cache")
    check(project, "ruff", "format", "--check", "--no-cache")


def test_its_types_are_right(project: Path, tmp_path: Path) -> None:
    """mypy, as strict as the project has it, finds nothing, in its noxfile neither where nox is installed."""
    files = ["app.py", "test_app.py", *(["noxfile.py"] if importlib.util.find_spec("nox") else [])]
    check(project, "mypy", "--cache-dir", str(tmp_path), *files)


def test_what_it_is_run_by(project: Path) -> None:
    """The image and the unit run commands that there are, with files that there are; the unit is that of the guide."""
    image = (project / "Dockerfile").read_text()
    [copied] = re.findall(r"^COPY (.*) \./$", image, re.MULTILINE)
    assert all((project / name).is_file() for name in copied.split())
    [command] = re.findall(r"^CMD (.*)$", image, re.MULTILINE)
    unit = (project / "my-shop.service").read_text()
    [started] = re.findall(r"^ExecStart=/srv/my-shop/\.venv/bin/(.*)$", unit, re.MULTILINE)
    for words in (json.loads(command), started.split()):
        assert words[:2] == ["trioweb", "run"]
        module, _, name = str(parse(words[2:], {}).application_path).partition(":")
        assert f"\n{name} = App()\n" in (project / f"{module}.py").read_text()
    guide = (ROOT / "docs" / "deploying.md").read_text().replace("shop", "my-shop")
    own = ("Description", "ExecStart")
    assert all(line in guide.splitlines() for line in unit.splitlines() if not line.startswith(own))


def test_its_checks_run_on_each_push(project: Path) -> None:
    """What a push starts is nox, whose sessions are the project's tests, style and types."""
    checks = (project / ".github" / "workflows" / "checks.yml").read_text()
    assert "- run: nox\n" in checks
    source = (project / "noxfile.py").read_text()
    assert re.findall(r"@nox\.session\ndef (\w+)", source) == ["tests", "lint", "types"]


def test_it_can_be_installed(project: Path) -> None:
    """What the project says of itself is what installers and `nox` need: its one module, and its extras by name."""
    with (project / "pyproject.toml").open("rb") as file:
        found = tomllib.load(file)
    assert found["project"]["name"] == "my-shop"
    assert found["tool"]["setuptools"]["py-modules"] == ["app"]  # or setuptools would not know which of the files
    assert "my-shop[test]" in found["project"]["optional-dependencies"]["dev"]
    readme = (project / "README.md").read_text()
    assert "pip install -e '.[dev]'" in readme
    assert "trioweb run --reload app:app" in readme
    texts = [path.read_text() for path in project.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert "PROJECT" not in "".join(texts)


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is something already, nothing is written, and the status tells."""
    (tmp_path / "shop").mkdir()
    assert main(["new", str(tmp_path / "shop")]) == 2
    assert "already: choose another name" in capsys.readouterr().err
    assert list((tmp_path / "shop").iterdir()) == []


def test_what_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory that cannot be made, whatever the reason, is an error message and a status."""
    (tmp_path / "file").write_text("")
    for path, reason in ((tmp_path / "file" / "shop", "Not a directory"), (tmp_path / ("a" * 300), "name too long")):
        assert main(["new", str(path)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("trioweb: cannot write ")
        assert reason in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["1st", "a b", "a--b", "-a", "b-"])
def test_names(tmp_path: Path, name: str) -> None:
    """A name that no package can have is refused before anything is written."""
    with pytest.raises(ProjectError, match="is no name of a project"):
        make_project(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("queue", "a module of Python itself"),
        ("Email", "a module of Python itself"),
        ("test", "a module of Python itself"),
        ("class", "a word of Python itself"),
        ("None", "a word of Python itself"),
        ("trio", "a package that trioweb uses"),
        ("brotli", "a package that trioweb uses"),
        ("trioweb", "a package that is installed here"),
        ("pytest-trio", "a package that is installed here"),
        ("PyTest_Trio", "a package that is installed here"),
        ("pytest_timeout", "a package that is installed here"),
    ],
)
def test_names_of_others(tmp_path: Path, name: str, reason: str) -> None:
    """A name that would hide or replace another package is refused, in whatever spelling, with the reason."""
    with pytest.raises(ProjectError, match=f"'{name}' is {reason}: choose another name"):
        make_project(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_names_of_what_is_not_installed_yet(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only trioweb is installed, the names of what the project will install are refused, too."""
    monkeypatch.setattr("trioweb.server.project.distributions", list)
    monkeypatch.setattr("trioweb.server.project.packages_distributions", dict)
    found = tomllib.loads((project / "pyproject.toml").read_text())
    wanted = [*found["build-system"]["requires"], *found["project"]["optional-dependencies"]["test"]]
    wanted += found["project"]["optional-dependencies"]["dev"]
    names = {re.match(r"[\w.-]+", each)[0] for each in wanted} - {"my-shop"}  # type: ignore[index]
    assert names >= {"setuptools", "pytest", "pytest-trio", "mypy", "nox", "ruff"}
    for name in [*names - {"trioweb"}, "Pytest_Trio"]:
        with pytest.raises(ProjectError, match=f"'{name}' is a package that checks or builds the project"):
            make_project(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["MyShop", "STAGE", "a.b", "project", "PROJECT", "my_PROJECT"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    """A name stands in the files as it is, and in lower case where images are named: they have no other."""
    files = {path.name: path.read_text() for path in make_project(tmp_path / name)}
    assert f"`docker build -t {name.lower()} .`" in files["README.md"]
    assert f'name = "{name}"\n' in files["pyproject.toml"]
    assert f"ExecStart=/srv/{name}/.venv/" in files[f"{name}.service"]
