"""What must hold of a release: ``nox -s release`` asks it of what was built. Needs nothing but Python and git.

``python -m tests.releasing wheel DIRECTORY`` checks the files and the metadata of the wheel in a directory.
``installed`` checks, with the Python of an environment that has the wheel, that it works. ``ready DIRECTORY`` tells
what stands against a tag for its version, and ``tag DIRECTORY`` makes the tag where nothing does. The exit status is 1
where something is wrong; ``ready`` only tells.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PUBLIC = ("trioweb", "trioweb.streams", "trioweb.middleware")
"""Modules that can be imported without an extra."""


def faults_of_wheel(wheel: Path, project: dict[str, Any], files: Sequence[str]) -> list[str]:
    """What is wrong with a wheel.

    Args:
        wheel: the file.
        project: the table ``project`` of ``pyproject.toml``.
        files: what of the package git knows, ``trioweb/py.typed`` and all.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        own = f"{project['name']}-{version_of(wheel)}.dist-info/"
        metadata = Parser().parsestr(archive.read(own + "METADATA").decode(), headersonly=True)
    packed = {name for name in names if not name.startswith(own)}
    faults = [f"{name} is in the wheel, but git does not know it" for name in sorted(packed - {*files})]
    faults += [f"{name} is not in the wheel" for name in sorted({*files, "trioweb/py.typed"} - packed)]
    return faults + _faults_of_metadata(metadata, project, version_of(wheel))


def _faults_of_metadata(metadata: Message, project: dict[str, Any], version: str) -> list[str]:
    expected = {
        "Name": project["name"],
        "Version": version,
        "Requires-Python": project["requires-python"],
        "License-Expression": project["license"],
        "Summary": project["description"],
    }
    faults = [
        f"{field} is {metadata[field]!r}, and should be {value!r}"
        for field, value in expected.items()
        if metadata[field] != value
    ]
    needed = {text for text in metadata.get_all("Requires-Dist", []) if ";" not in text}
    if needed != {*project["dependencies"]}:
        faults.append(f"it needs {sorted(needed)}, and should need {sorted(project['dependencies'])}")
    if {*metadata.get_all("Provides-Extra", [])} != {*project["optional-dependencies"]}:
        faults.append("its extras are not those of pyproject.toml")
    return faults


def version_of(wheel: Path) -> str:
    """The version in a wheel's name."""
    return wheel.name.split("-")[1]


def hindrances(version: str, changelog: str, status: str, tags: Sequence[str]) -> list[str]:
    """What stands against a tag for a version.

    Args:
        version: that of the wheel.
        changelog: its text.
        status: what git tells of files that are not committed, a line each.
        tags: those that there are.
    """
    found = []
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no section of {version} with its day: write ## {version} (YYYY-MM-DD)")
    if status.strip():
        found.append(f"the tree is not clean: commit these, or take them back\n{status.rstrip()}")
    if f"v{version}" in tags:
        found.append(f"the tag v{version} is there already: set the next version in trioweb/__init__.py")
    return found


def check_installed() -> None:
    """Import every public name of the installed package, and use its command line, where the checkout is not found."""
    for name in PUBLIC:
        module = importlib.import_module(name)
        assert module.__file__ is not None
        assert not Path(module.__file__).is_relative_to(ROOT / "trioweb"), f"{name} is the checkout's"
        for public in module.__all__:
            getattr(module, public)
    command = Path(sys.executable).with_name("trioweb")
    subprocess.run([command, "new", "shop"], check=True, stdout=subprocess.DEVNULL)
    printed = subprocess.run([command, "routes", "app:app"], check=True, capture_output=True, text=True, cwd="shop")
    assert "/hello/{name}" in printed.stdout, printed.stdout


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one of the steps; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["wheel", "installed", "ready", "tag"])
    parser.add_argument("directory", nargs="?", type=Path, default=ROOT / "dist")
    options = parser.parse_args(arguments)
    if options.step == "installed":
        check_installed()
        return 0
    [wheel] = options.directory.glob("*.whl")
    version = version_of(wheel)
    if options.step == "wheel":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        found = faults_of_wheel(wheel, project, _git("ls-files", "trioweb").splitlines())
        return _tell(found, f"{wheel.name} has what it should have")
    changelog = (ROOT / "CHANGELOG.md").read_text()
    found = hindrances(version, changelog, _git("status", "--porcelain"), _git("tag").split())
    if options.step == "ready":
        _tell(found, f"{version} can be tagged: nox -s release -- --tag")
        return 0
    if not found:
        _git("tag", "-a", f"v{version}", "-m", f"trioweb {version}")
    return _tell(found, f"made the tag v{version}")


def _tell(faults: Sequence[str], otherwise: str) -> int:
    sys.stdout.write(("\n".join(faults) or otherwise) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
