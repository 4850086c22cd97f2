"""What is asked of a wheel before it is published, and of the checkout before a version is tagged."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.releasing import faults_of_wheel, hindrances

PROJECT: dict[str, Any] = {
    "name": "shop",
    "requires-python": ">=3.11",
    "license": "MIT",
    "description": "A shop",
    "dependencies": ["trio>=0.31"],
    "optional-dependencies": {"testing": ["httpx>=0.28"]},
}
METADATA = """\
Metadata-Version: 2.4
Name: shop
Version: 1.0
Summary: A shop
License-Expression: MIT
Requires-Python: >=3.11
Requires-Dist: trio>=0.31
Provides-Extra: testing
Requires-Dist: httpx>=0.28; extra == 'testing'

"""
FILES = ("trioweb/__init__.py", "trioweb/py.typed")


def make_wheel(directory: Path, names: tuple[str, ...] = FILES, metadata: str = METADATA) -> Path:
    """A wheel with these files, all empty."""
    wheel = directory / "shop-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, "")
        archive.writestr("shop-1.0.dist-info/METADATA", metadata)
    return wheel


def test_a_whole_wheel_has_no_faults(tmp_path: Path) -> None:
    """A wheel with what git knows and what the project says of itself can be published."""
    assert faults_of_wheel(make_wheel(tmp_path), PROJECT, FILES) == []


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ((*FILES, "tests/__init__.py"), "tests/__init__.py is in the wheel, but git does not know it"),
        ((*FILES, "trioweb/draft.py"), "trioweb/draft.py is in the wheel, but git does not know it"),
        (FILES[:1], "trioweb/py.typed is not in the wheel"),
        (FILES[1:], "trioweb/__init__.py is not in the wheel"),
    ],
)
def test_files_too_many_and_too_few_are_found(tmp_path: Path, names: tuple[str, ...], fault: str) -> None:
    """A file that is not the package's, and one that was left out, are named."""
    assert faults_of_wheel(make_wheel(tmp_path, names), PROJECT, FILES) == [fault]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("Name: shop", "Name: store", "Name"),
        ("Version: 1.0", "Version: 1.1", "Version"),
        (">=3.11", ">=3.12", "Requires-Python"),
        ("Requires-Dist: trio>=0.31\n", "", "trio>=0.31"),
        ("Provides-Extra: testing\n", "", "extras"),
    ],
)
def test_metadata_that_is_not_the_projects_is_found(tmp_path: Path, old: str, new: str, named: str) -> None:
    """A field of the metadata that does not say what pyproject.toml says is named."""
    [fault] = faults_of_wheel(make_wheel(tmp_path, metadata=METADATA.replace(old, new)), PROJECT, FILES)
    assert named in fault


def test_a_version_with_its_day_and_a_clean_tree_can_be_tagged() -> None:
    """Nothing stands against a tag for a version that the changelog has, with all committed."""
    assert hindrances("1.0", "# Changes\n\n## 1.0 (2027-01-31)\n", "", ["v0.9"]) == []


@pytest.mark.parametrize(
    ("changelog", "status", "tags", "told"),
    [
        ("## 1.0 (unreleased)\n", "", [], "## 1.0 (YYYY-MM-DD)"),
        ("## 1.0.1 (2027-01-31)\n", "", [], "## 1.0 (YYYY-MM-DD)"),
        ("## 1x0 (2027-01-31)\n", "", [], "## 1.0 (YYYY-MM-DD)"),
        ("## 1.0 (2027-01-31)\n", " M trioweb/__init__.py\n", [], " M trioweb/__init__.py"),
        ("## 1.0 (2027-01-31)\n", "", ["v1.0"], "v1.0 is there already"),
    ],
)
def test_what_stands_against_a_tag_is_told(changelog: str, status: str, tags: list[str], told: str) -> None:
    """A version without its day, a tree that is not clean, and a tag that is there are each told."""
    [hindrance] = hindrances("1.0", changelog, status, tags)
    assert told in hindrance
