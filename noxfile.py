"""What can be done with a checkout: ``nox -s demo``, ``tests``, ``newest``, ``lowest``, ``pin``, ``docs``, ``start``,
``soak``, ``lint``, ``types``, ``bench``, ``release``.

What sessions install is pinned in ``tests/constraints.txt``, so that they do next year what they do today. ``pin``
renews that, and ``newest`` tells beforehand whether it will pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "docs", "lint", "types"]

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")

PINNED = Path(__file__).parent / "tests" / "constraints.txt"
"""Versions of all that the sessions install."""

BUILDERS = ("hatchling", "setuptools>=77")
"""What builds the project, and packages of the tests that have no wheel."""

CHECKERS = ("mypy>=2.4", "pyright>=1.1.414")
"""What checks types."""

TOOLS = ("build", *BUILDERS, "nox", "pre-commit", "ruff>=0.17", "twine", *CHECKERS)
"""What sessions need that is no extra of the project."""

PRODUCT = ("reload", "h3", "postgres", "compression", "sessions", "templates", "metrics", "testing")
"""The extras of the project that are for its users: their lower bounds are tested, as those of its dependencies are."""

ABOUT_PROCESSES = (
    "tests/benchmarks", "tests/docs", "tests/examples", "tests/faults", "tests/memory/test_servers.py", "tests/server"
)  # fmt: skip
"""Tests with real servers and a browser, which take their time: what differs between Pythons shows in process."""

SIDE_BY_SIDE = ("--numprocesses=3", "--dist=loadfile")
"""Three processes share the tests, a file each at a time, also on two cores: those with servers mostly wait."""


def find_pythons() -> list[str]:
    """The supported versions of Python that are on this machine, those of pyenv included.

    A shim of pyenv's is found on the path also for a version that is not active, and then fails: so each is tried.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for version in SUPPORTED:
        on_path = shutil.which(f"python{version}")
        candidates = [Path(on_path)] if on_path else []
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python{version}"))
        for candidate in candidates:
            tried = subprocess.run([candidate, "--version"], capture_output=True, check=False)  # noqa: S603
            if tried.returncode == 0:
                os.environ["PATH"] = f"{candidate.parent}{os.pathsep}{os.environ['PATH']}"
                found.append(version)
                break
    return found


PYTHONS = find_pythons()


BOTH_ENDS = list(dict.fromkeys([*PYTHONS[:1], *PYTHONS[-1:]]))
"""What differs between Pythons shows at both ends."""


def install(session: nox.Session, *packages: str) -> None:
    """Install packages in their pinned versions; the project, and what has no wheel, is built by pinned builders."""
    session.install("-c", str(PINNED), *BUILDERS)
    session.install("-c", str(PINNED), "--no-build-isolation", *packages)


def run_tests(session: nox.Session, *under: str) -> None:
    """Run all tests on the newest Python that is there, and nearly all on others; arguments go to pytest."""
    left_out = [] if session.python == PYTHONS[-1] else [f"--ignore={path}" for path in ABOUT_PROCESSES]
    session.run(*(under or ("python",)), "-m", "pytest", *(session.posargs or (*SIDE_BY_SIDE, *left_out)))


@nox.session(python=BOTH_ENDS)
def tests(session: nox.Session) -> None:
    """Run all tests on the newest Python that is there, and nearly all on the oldest; arguments go to pytest.

    All of them on the newest are measured: they run not fewer lines and branches than ``pyproject.toml`` says.
    """
    install(session, ".[test]")
    if session.posargs or session.python != PYTHONS[-1]:
        run_tests(session)
        return
    session.run("coverage", "erase")
    run_tests(session, "coverage", "run")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=BOTH_ENDS)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest versions of everything."""
    session.install("--upgrade", "--upgrade-strategy", "eager", ".[test]")
    run_tests(session)


@nox.session(python=PYTHONS[:1])
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest versions that the project says it works with, on the oldest Python."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for extra in PRODUCT for each in extras[extra])]
    constraints = Path(session.virtualenv.location) / "lowest.txt"  # create_tmp would be the place of the tests too
    bounds = [re.sub(r"\[.*\]", "", each).replace(">=", "==") for each in wanted]  # constraints have no extras
    constraints.write_text("".join(f"{each}\n" for each in bounds))
    session.install("-c", str(constraints), ".[test]")
    run_tests(session)


@nox.session
def pin(session: nox.Session) -> None:
    """Renew ``tests/constraints.txt``: the newest versions of all that the sessions install, on each Python."""
    found: dict[str, dict[str, str]] = defaultdict(dict)  # by the package, and the Python
    place = Path(session.create_tmp()).resolve()
    for python in PYTHONS:
        own = place / python
        session.run(f"python{python}", "-m", "venv", "--clear", str(own), external=True)
        run = (str(own / "bin" / "python"), "-m", "pip")
        session.run(
            *run, "install", "-q", "--upgrade", "--upgrade-strategy", "eager", ".[test,docs]", *TOOLS, external=True
        )
        frozen = session.run(*run, "freeze", "--exclude", "trioweb", external=True, silent=True)
        for name, version in re.findall(r"^([\w.-]+)==(\S+)$", str(frozen), re.MULTILINE):
            found[name.lower().replace("_", "-")][python] = version
    PINNED.write_text("# Written by nox -s pin.\n" + "".join(pins_of(found)))


def pins_of(found: dict[str, dict[str, str]]) -> list[str]:
    """The lines of the constraints: one a package, or one a Python where its version is not the same on all."""
    lines = []
    for name, versions in sorted(found.items()):
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={next(iter(versions.values()))}\n")
        else:
            lines += [f'{name}=={version} ; python_version == "{python}"\n' for python, version in versions.items()]
    return lines


@nox.session
def docs(session: nox.Session) -> None:
    """Build the guide into ``site/``, strictly, and check what was built; examples of other frameworks run here too."""
    install(session, ".[test,docs]")
    env = {"NO_MKDOCS_2_WARNING": "1", "SITE": "site", "GUIDE_COMPLETE": "1"}
    session.run("mkdocs", "build", "--strict", "--config-file", ".mkdocs.yml", env=env)
    session.run("python", "-m", "pytest", "tests/docs/check_site.py", *session.posargs, env=env)
    moving = "moving/frameworks or moving/fastapi or moving/robyn or moving/spikard"
    session.run("python", "-m", "pytest", "tests/docs/test_guide.py", "-k", moving, *session.posargs, env=env)


@nox.session
def start(session: nox.Session) -> None:
    """Do as a newcomer does, with the wheel that would be published: start a project, run its tests, and its nox."""
    place = Path(session.create_tmp()).resolve()
    for old in ("dist", "shop"):
        shutil.rmtree(place / old, ignore_errors=True)
    session.install("-c", str(PINNED), "build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(place / "dist"), ".")
    [wheel] = (place / "dist").glob("*.whl")
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install("-c", str(PINNED), str(wheel))
    session.chdir(place)
    session.run("trioweb", "new", "shop")
    session.chdir(place / "shop")
    session.run("python", "-m", "venv", ".venv")
    python = str(place / "shop" / ".venv" / "bin" / "python")
    session.run(python, "-m", "pip", "install", "-q", str(wheel), "-e", ".[dev]", external=True)
    session.run(python, "-m", "pytest", external=True)
    links = f"{place / 'dist'} {os.environ.get('PIP_FIND_LINKS', '')}"
    session.run(python, "-m", "nox", env={"PIP_FIND_LINKS": links}, external=True)


@nox.session
def soak(session: nox.Session) -> None:
    """Let clients with random faults loose on real servers; after ``--``: minutes, ``--seed N``, ``--runner NAME``."""
    install(session, ".[test]")
    session.run("python", "-m", "tests.faults.soak", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    install(session, "ruff>=0.17")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy (strict) and pyright, or with the one that is named after ``--``."""
    install(session, ".[test]", "nox", *CHECKERS)
    # It brings a package named as our multipart is: importing that gives ours, but no checker sees it.
    session.run("pip", "uninstall", "-q", "-y", "python-multipart")
    for checker in session.posargs or ("mypy", "pyright"):
        session.run(checker)


@nox.session
def demo(session: nox.Session) -> None:
    """Serve the tour on http://127.0.0.1:8000; arguments after ``--`` go to Hypercorn."""
    install(session, ".")
    session.log("open http://127.0.0.1:8000 in a browser; Ctrl+C ends it")
    session.run("hypercorn", "-k", "trio", *session.posargs, "examples.tour:app")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure trioweb beside what else one would pick; ``-- --quick`` sees that it works, ``-- -h`` says what else."""
    session.run("python", "-m", "tests.benchmarks.run", *session.posargs)  # it makes an environment for each of them


@nox.session
def release(session: nox.Session) -> None:
    """Build what is published into ``dist/``, and check it; ``-- --tag`` also makes the tag of its version."""
    place = Path(session.create_tmp()).resolve()
    for old in (Path("dist"), place / "env", place / "away"):
        shutil.rmtree(old, ignore_errors=True)
    session.install("-c", str(PINNED), "build", "hatchling", "twine")
    session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist", ".")
    built = sorted(str(path) for path in Path("dist").iterdir())
    session.run("twine", "check", "--strict", *built)
    session.run("python", "-m", "tests.releasing", "wheel", "dist")
    session.run("python", "-m", "venv", str(place / "env"))
    python = str(place / "env" / "bin" / "python")
    [wheel] = [path for path in built if path.endswith(".whl")]
    session.run(python, "-m", "pip", "install", "-q", "-c", str(PINNED), wheel, external=True)
    script = str(Path("tests/releasing.py").resolve())
    (place / "away").mkdir()
    with session.chdir(place / "away"):
        # -P, since tests/ has folders with names of Python's own modules.
        session.run(python, "-P", script, "installed", external=True)
    session.run("python", "-m", "tests.releasing", "tag" if "--tag" in session.posargs else "ready", "dist")
