"""The pages for those who change trioweb: what they name is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.servers import ROOT
from tests.test_floors import FLOORS

DIRECTORY = ROOT / "docs" / "contributing"
PAGES = [ROOT / "CONTRIBUTING.md", *sorted(DIRECTORY.glob("*.md"))]
COMMANDS = [*PAGES, ROOT / ".pre-commit-config.yaml"]
ROW = re.compile(r"^\| `(\S+)/`(?:, `(\S+)/`)? \|", re.MULTILINE)


def folders_of(name: str) -> list[str]:
    """The folders that the tables of a page are about, in their order."""
    return [folder for row in ROW.findall((DIRECTORY / name).read_text()) for folder in row if folder]


def test_every_folder_is_explained_on_its_floor() -> None:
    """The page on architecture has the folders of the package in their order: what is imported stands below."""
    from_above = [floor.replace(".", "/") for floor in reversed(FLOORS) if floor != "ground.http"]
    framework = [floor for floor in from_above if not floor.startswith("server")]
    server = [floor for floor in from_above if floor.startswith("server")]
    assert folders_of("architecture.md") == framework + server


def test_every_folder_of_tests_is_explained() -> None:
    """The page on tests says of each folder of tests what is in it."""
    folders = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/__init__.py")}
    assert set(folders_of("tests.md")) == folders


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_commands_are_there(path: Path) -> None:
    """A command names sessions of the noxfile, and modules and files that exist."""
    text = path.read_text()
    noxfile = (ROOT / "noxfile.py").read_text()
    for sessions in re.findall(r"\bnox (?:-R )?-s ((?:\w+ ?)+)", text):
        for session in sessions.split():
            assert f"\ndef {session}(session" in noxfile, session
    for module in re.findall(r"python -m (tests[\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for file in re.findall(r"(?<![\w/])(?:tests|docs|examples|trioweb)/[\w./*-]*", text):
        assert list(ROOT.glob(file.rstrip("./"))), file
