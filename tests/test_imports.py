"""What is imported when: public names when they are asked for, and what few apps need when it is first used."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import trioweb

ROOT = Path(__file__).parents[1]

# What an ordinary app does not need: other protocols, other formats, debug mode, ready-made middleware.
RARE = {
    "argparse", "asyncio", "brotli", "csv", "email", "h11", "h2", "html", "httptools", "httpx", "hypercorn",
    "itsdangerous", "mimetypes", "multiprocessing", "sysconfig", "tomllib", "wsproto",
    "trioweb.app.static", "trioweb.app.watchdog", "trioweb.ground.http.multiparts", "trioweb.io.disk",
    "trioweb.io.tasks",
    "trioweb.messages.files", "trioweb.messages.forms", "trioweb.messages.parts", "trioweb.messages.ranges",
    "trioweb.middleware", "trioweb.server", "trioweb.sockets", "trioweb.testing",
}  # fmt: skip


def test_importing_the_package_imports_nothing_of_it() -> None:
    """`import trioweb` alone imports neither trio nor a module of the package."""
    assert not {"trio", "msgspec"} & (loaded := _loaded_by("import trioweb"))
    assert {name for name in loaded if name.startswith("trioweb")} == {"trioweb"}


def test_an_app_imports_only_what_it_uses() -> None:
    """An app with a route imports no other protocol, no other format, and no ready-made middleware."""
    loaded = _loaded_by(
        "from trioweb import App, Query, Request\n"
        "app = App()\n"
        "@app.get('/{name}')\n"
        "async def hello(request: Request, name: str, limit: int = 10): return name\n"
    )
    assert "trioweb.app.app" in loaded
    assert not RARE & loaded


def test_a_supervisor_loads_neither_a_loop_nor_the_framework() -> None:
    """What `trioweb run` loads before it starts its first worker has no trio, no framework and no protocol in it."""
    loaded = _loaded_by("import trioweb.__main__")
    assert "hypercorn.config" in loaded
    assert not {"trio", "msgspec", "trioweb.app", "trioweb.exchange", "trioweb.server.http1"} & loaded


def test_a_worker_loads_the_protocols_that_are_spoken() -> None:
    """A worker that serves HTTP/1.1 in clear loads no HTTP/2, no WebSockets and no HTTP/3."""
    loaded = _loaded_by("import trioweb.server.process.process")
    assert {"trioweb.server.http1.connection", "httptools"} <= loaded
    assert not {"h2", "h11", "wsproto", "aioquic", "hypercorn.protocol", "hypercorn.trio", "trioweb.app"} & loaded


def test_every_public_name_is_there() -> None:
    """What `trioweb` exports is what type checkers are told, and comes from the modules that they are told."""
    tree = ast.parse(Path(trioweb.__file__).read_text())
    told = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert sorted(told) == sorted(trioweb.__all__)
    for name, module in told.items():
        assert getattr(trioweb, name) is getattr(import_module(module), name)
    assert set(trioweb.__all__) <= set(dir(trioweb))


def test_a_name_that_is_not_there() -> None:
    """A name that `trioweb` does not have is an `AttributeError` that names it."""
    with pytest.raises(AttributeError, match="module 'trioweb' has no attribute 'Application'"):
        trioweb.Application  # type: ignore[attr-defined]  # noqa: B018


def test_folders_with_public_names_need_no_import() -> None:
    """`import trioweb` is enough for `trioweb.streams.csv_rows` and `trioweb.middleware.measure`."""
    _loaded_by("import trioweb; trioweb.streams.csv_rows, trioweb.middleware.measure")


def _loaded_by(code: str) -> set[str]:
    """The modules that code has loaded at its end, in an interpreter of its own."""
    shown = f"{code}\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", shown]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # which loads its own
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=env)
    return set(run.stdout.split())


def test_the_tests_of_what_needs_nothing_need_nothing() -> None:
    """`pytest tests/ground tests/streams` runs with pytest, pytest-trio and trioweb; what needs more is left out."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    needed = {"attrs", "h2", "pytest", "pytest_trio"}  # trio and Hypercorn come with the first two
    names = {re.split(r"[^\w-]", each)[0].replace("-", "_") for each in extras["test"]} - needed
    code = f"import sys, pytest\nsys.modules.update(dict.fromkeys({sorted(names)}))\n"
    code += "sys.exit(pytest.main(['-q', '-p', 'pytest_trio.plugin', 'tests/ground', 'tests/streams']))"
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"httpx", "playwright", "hypothesis"} <= names
    assert " passed" in done.stdout
