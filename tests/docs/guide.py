"""How the examples of a page are executed, each kind of block in its own way, in their order.

* ``python``: executed. ``title="app.py"`` begins a program of its own, else what a page has defined so far is there.
  Functions called ``test_...`` are run as pytest-trio runs them, on a mock clock; a file of that name by pytest itself.
* ``console``: the commands after ``$`` are run where the files are, and must print what is shown. ``...`` stands for
  anything, ``^C`` for a user who has seen enough. ``trioweb run`` and ``hypercorn`` start a server that the commands
  after it find at port 8000.
* ``toml`` and ``json``: parsed; ``server.toml`` has to be a configuration. ``html`` is a template, which others use.
* Other languages are listed in ``ELSEWHERE``, with the tests that execute them.

A block with a title is written to a file of that name. What a reader need not see stands in comments:
``<!--- invisible-code-block: python ... -->``. There ``page`` is the page, with its server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import ClearNamespaceParser, SkipParser
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

from tests.servers import PATIENCE, ROOT, RUNNERS, Server
from trioweb.server.options import parse

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ELSEWHERE = {
    "nginx": "test_deploy.py",
    "ini": "test_deploy.py",
    "dockerfile": "test_deploy.py",
    "text": "what is no code",
}
"""The languages of blocks that are executed by other tests than that of their page."""

_INFO = re.compile(r"(?P<language>\w+)(?: +title=\"(?P<title>[^\"]+)\")?[^\n]*\n")
_ADDRESS = "127.0.0.1:8000"
_UNTOUCHED = (
    "python3 -m venv", "sudo", "cd /", "docker", "export",
    "nox", "for turn", "git", "pre-commit", "twine", "coverage",
)  # fmt: skip
"""Commands that concern the machine or the whole checkout, and not the app: what they are about is tested by
``test_deploy.py`` and ``test_contributing.py``.
"""


class Page:
    """What the examples of a page share: names, files, and a server."""

    def __init__(self, path: Path, directory: Path) -> None:
        self.path = path
        self.directory = directory
        self.server: Server | None = None
        self.other: subprocess.Popen[bytes] | None = None  # a server of another framework, which the page compares
        self.skipping = False  # the commands for one that is not installed
        self.program: types.ModuleType | None = None
        self.modules: set[str] = set()
        self.stack = contextlib.ExitStack()  # what it stands on: a database

    def close(self) -> None:
        """Stop what runs, and forget what was imported."""
        self._stop()
        self.stack.close()
        for name in self.modules:
            sys.modules.pop(name, None)

    def _stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None
        if self.other is not None:
            self.other.kill()
            self.other.wait()
            self.other = None
        self.skipping = False

    # Python

    def execute(self, source: str, line: int, title: str | None) -> None:
        """Execute a block, and run its tests."""
        if title is not None and title.startswith("test_"):
            self._run(["pytest", "-q", "-o", "trio_mode=true", "-o", "pythonpath=.", title], [])
            return
        if title == "old.py":
            compile(source, title, "exec")
            return
        if title == "app.py" or self.program is None:
            self.program = types.ModuleType("app")
            self.program.__dict__["page"] = self
        name = "app" if title is None else title.removesuffix(".py")
        sys.modules[name] = sys.modules["app"] = self.program
        self.modules |= {name, "app"}
        names = self.program.__dict__
        before = dict(names)
        exec(compile("\n" * line + source, self.path, "exec", dont_inherit=True), names)
        for name, value in list(names.items()):
            if name.startswith("test_") and before.get(name) is not value:
                self._run_test(value)

    def _run_test(self, test: Callable[..., Any]) -> None:
        clock = trio.testing.MockClock(autojump_threshold=0)
        known = {"autojump_clock": clock, "tmp_path": self.directory}
        wanted = {name: known[name] for name in inspect.signature(test).parameters}
        if inspect.iscoroutinefunction(test):
            trio.run(lambda: test(**wanted), clock=clock if "autojump_clock" in wanted else None)
        else:
            test(**wanted)

    # Commands

    def command(self, text: str, expected: list[str]) -> None:
        """Run a command, and compare what it prints."""
        words = shlex.split(text, comments=True)
        if text.startswith(_UNTOUCHED) or not words:
            return
        if words[0] == "cd":
            self.directory = self.directory / words[1]
        elif words[:2] == ["pip", "install"]:
            check_installed(words[2:])
        elif (words[0], *words[1:2]) == ("trioweb", "run") or words[0] == "hypercorn":
            self.serve(words)
        elif words == ["python", "old.py"]:
            self.serve_other()
        elif not self.skipping:
            self._run(words, expected)

    def serve(self, words: list[str]) -> None:
        """Start a server, in place of the one that runs."""
        self._stop()
        runner = words[0]
        assert tuple(words[: len(RUNNERS[runner])]) == RUNNERS[runner]
        options, target = words[len(RUNNERS[runner]) : -1], words[-1]
        if runner == "trioweb":
            parse([*options, target], {})  # also those that are left out below
        options = [option for option in options if option != "--reload"]  # needs nothing but time
        self.server = Server(target, options, self.directory, self.directory, runner=runner)
        self.server.wait_until_ready()

    def serve_other(self) -> None:
        """Start ``old.py``, where what it imports is installed and its port is free: ``nox -s docs`` sees to both."""
        self._stop()
        host, port = _ADDRESS.split(":")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken = probe.connect_ex((host, int(port))) == 0
        source = (self.directory / "old.py").read_text()
        missing = importlib.util.find_spec(re.findall(r"^from (\w+) import", source, re.MULTILINE)[-1]) is None
        self.skipping = taken or missing
        assert not (self.skipping and "GUIDE_COMPLETE" in os.environ), f"missing: {missing}, port taken: {taken}"
        if not self.skipping:
            command = [sys.executable, "old.py"]
            self.other = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.DEVNULL)
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
                    return
                time.sleep(0.05)
            raise AssertionError("old.py does not serve")

    def _run(self, words: list[str], expected: list[str]) -> None:
        address = self.server.url.removeprefix("http://") if self.server else _ADDRESS
        words = [word.replace(_ADDRESS, address) for word in words]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        if words[0] in ("trioweb", "pytest", "hypercorn", "ruff", "mypy", "streaq"):
            words = [sys.executable, "-m", *words]
        if words[0] == "curl":
            words.insert(1, "-sS")  # as a terminal shows it: the meter is for files
        if words[1:3] == ["-m", "pytest"]:
            words += ["-p", "no:cacheprovider"]
        with subprocess.Popen(
            words, cwd=self.directory, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            if expected[-1:] == ["^C"]:
                printed = "".join(process.stdout.readline() for _ in expected[:-1])
                process.send_signal(signal.SIGINT)
                expected = expected[:-1]
                process.stdout.read()
            else:
                printed, _ = process.communicate(timeout=8 * PATIENCE)
        assert expected or process.returncode == 0, f"{shlex.join(words)}\n{printed}"
        assert matches("\n".join(expected), printed), f"{shlex.join(words)}\nexpected:\n{expected}\nprinted:\n{printed}"


def matches(expected: str, printed: str) -> bool:
    """Whether a command has printed what is shown; a page that shows nothing expects nothing in particular."""
    if not expected.strip():
        return True
    first, *pieces = [piece.strip() for piece in expected.split("...")]
    text = printed.strip()
    if not pieces:
        return text == first
    if not (text.startswith(first) and text.endswith(pieces[-1])):
        return False
    at, end = len(first), len(text) - len(pieces[-1])
    for piece in pieces[:-1]:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return at <= end


def check_installed(arguments: list[str]) -> None:
    """Whether what is installed is known: this package, its extras, or what its tests need too."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    known = {re.split(r"[>\[;]", name)[0] for names in extras.values() for name in names} | {"nox", "trioweb"}
    for argument in arguments:
        name, _, extra = argument.partition("[")
        assert name in {*known, "-e", "."} or not name, argument
        assert name != "trioweb" or set(extra.removesuffix("]").split(",")) <= {"", *extras}, argument


def parse_page(document: Document) -> list[Region]:
    """The blocks of a page, those in comments too."""
    regions = list(RawFencedCodeBlockLexer(_INFO)(document))
    regions += DirectiveInHTMLCommentLexer("invisible-code-block", "python")(document)
    for region in regions:
        region.parsed = region.lexemes["source"]
        region.evaluator = evaluate
    return sorted(regions, key=lambda region: region.start)


def evaluate(example: Example) -> None:
    """Execute one block."""
    page: Page = example.namespace["page"]
    lexemes = example.region.lexemes
    language, title = lexemes.get("language", "python"), lexemes.get("title")
    line = example.line + example.parsed.line_offset
    if title is not None:
        file = page.directory / (title if language == "html" else title.rpartition("/")[2])
        file.parent.mkdir(exist_ok=True)
        file.write_text(example.parsed)
    if language == "python":
        page.execute(example.parsed, line, title)
    elif language == "console":
        commands = re.findall(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)", example.parsed, re.MULTILINE)
        assert commands, f"{page.path}:{line}: no command begins with $"
        for command, printed in commands:
            page.command(command.replace("\\\n", " "), printed.splitlines())
    elif language == "html":
        assert title is not None, f"{page.path}:{line}: a template needs a title"
    elif language == "json":
        json.loads(example.parsed)
    elif language == "toml":
        tomllib.loads(example.parsed)
        if title == "server.toml":
            parse(["-c", str(page.directory / title), "app:app"], {})
    else:
        assert language in ELSEWHERE, f"{page.path}:{line}: nobody executes {language!r}"


SYBIL = Sybil(parsers=[parse_page, SkipParser(), ClearNamespaceParser()], path=str(DOCS), pattern="**/*.md")


def run_page(path: Path, directory: Path) -> int:
    """Execute a page's examples. Returns how many there are."""
    document = SYBIL.parse(path)
    page = Page(path, directory)
    document.namespace["page"] = page
    count = 0
    try:
        with contextlib.chdir(directory):
            for example in document.examples():
                example.evaluate()
                count += 1
    finally:
        page.close()
    return count
