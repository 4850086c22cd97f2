"""An environment for each contender, made from PyPI and kept for the next run; and the versions that are in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.contenders import ROOT, Contender

HOME = ROOT / ".nox" / "bench-environments"
LIST_VERSIONS = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}))
"""
INSTALL_PATIENCE = 300.0
"""Seconds after which an installation has failed."""


@dataclass(frozen=True)
class Environment:
    """Where a contender runs.

    Attributes:
        program: the interpreter.
        versions: of the packages in it.
        missing: why there is none.
    """

    program: Path = Path()
    versions: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


def variables(**told: str) -> dict[str, str]:
    """What a program of a contender finds in its environment. Bytecode is kept: installed packages have theirs."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": str(ROOT), **told}


def prepare(
    contenders: Iterable[Contender], *, fresh: bool = False, here: bool = False, home: Path = HOME
) -> dict[str, Environment]:
    """Make what is not there yet.

    Args:
        contenders: for whom.
        fresh: make all anew, with the newest versions.
        here: take the interpreter that runs this for all of Python; for tests, which have what they need.
        home: where to.
    """
    chosen = list(contenders)
    packages = {contender.packages for contender in chosen if contender.packages is not None}
    if here:
        made = dict.fromkeys(packages, _look_into(Path(sys.executable)))
    else:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            made = dict(zip(packages, pool.map(lambda names: _make(names, home, fresh=fresh), packages), strict=True))
    node = _find_node()
    return {contender.key: node if contender.packages is None else made[contender.packages] for contender in chosen}


def _make(packages: tuple[str, ...], home: Path, *, fresh: bool) -> Environment:
    wanted = json.dumps([sys.version, packages])
    place = home / hashlib.sha256(wanted.encode()).hexdigest()[:12]
    python, done = place / "bin" / "python", place / "packages.json"
    if fresh or not done.exists():
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
        try:
            subprocess.run([*pip, *packages], check=True, capture_output=True, timeout=INSTALL_PATIENCE)
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or b""
            return Environment(missing=f"cannot be installed: {said.decode(errors='replace').strip()[-200:] or error}")
        done.write_text(wanted)
    return _look_into(python)


def _look_into(python: Path) -> Environment:
    output = subprocess.run([python, "-c", LIST_VERSIONS], check=True, capture_output=True).stdout
    return Environment(python, json.loads(output))


def _find_node() -> Environment:
    node = shutil.which("node")
    if node is None:
        return Environment(missing="not installed")
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    return Environment(Path(node), {"node": version.strip().removeprefix("v")})
