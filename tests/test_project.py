"""A project to begin with."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.servers import ROOT
from trioweb.__main__ import main
from trioweb.server.project import ProjectError, make_project


def test_its_tests_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`trioweb new` writes a project whose own tests pass as they are."""
    assert main(["new", str(tmp_path / "my-shop")]) == 0
    printed = capsys.readouterr().out
    names = ["app.py", "test_app.py", "noxfile.py", "pyproject.toml", "README.md"]
    assert [str(tmp_path / "my-shop" / name) for name in names] == printed.split("\n\n")[0].splitlines()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "my-shop", env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_it_can_be_installed(tmp_path: Path) -> None:
    """What the project says of itself is what installers and `nox` need: its one module, and its extras by name."""
    make_project(tmp_path / "my-shop")
    with (tmp_path / "my-shop" / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    assert project["project"]["name"] == "my-shop"
    assert project["tool"]["setuptools"]["py-modules"] == ["app"]  # or setuptools would not know which of the files
    assert "my-shop[test]" in project["project"]["optional-dependencies"]["dev"]
    readme = (tmp_path / "my-shop" / "README.md").read_text()
    assert "pip install -e '.[dev]'" in readme
    assert "trioweb run --reload app:app" in readme
    assert '".[test]"' in (tmp_path / "my-shop" / "noxfile.py").read_text()
    compile((tmp_path / "my-shop" / "noxfile.py").read_text(), "noxfile.py", "exec")


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is something already, nothing is written, and the status tells."""
    (tmp_path / "shop").mkdir()
    assert main(["new", str(tmp_path / "shop")]) == 2
    assert "already: choose another name" in capsys.readouterr().err
    assert list((tmp_path / "shop").iterdir()) == []


@pytest.mark.parametrize("name", ["1st", "a b", "a--b", "-a", "b-"])
def test_names(tmp_path: Path, name: str) -> None:
    """A name that no package can have is refused before anything is written."""
    with pytest.raises(ProjectError, match="is no name of a project"):
        make_project(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
