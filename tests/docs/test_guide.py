"""The guide's pages, executed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.guide import DOCS, PAGES, matches, run_page
from tests.servers import ROOT

NAMES = [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.mark.parametrize("name", NAMES)
def test_pages(name: str, tmp_path: Path) -> None:
    """Every example of a page does what the page says."""
    run_page(DOCS / name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_is_complete(name: str, tmp_path: Path) -> None:
    """A program on a page has all its imports and definitions: none of them is only in a hidden block."""
    text = re.sub(r"<!---.*?-->", "", (DOCS / name).read_text(), flags=re.DOTALL)
    number = 0
    for title, source in re.findall(r'^```python(?: title="(.*?)")?\n(.*?)^```', text, re.MULTILINE | re.DOTALL):
        number += bool(title)
        with (tmp_path / f"shown{number}.py").open("a") as file:
            file.write(source)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_page_is_found() -> None:
    """Every page is in the navigation, and everything in the navigation is a page."""
    config = (ROOT / ".mkdocs.yml").read_text()
    assert sorted(re.findall(r"\S+\.md$", config, re.MULTILINE)) == sorted(NAMES)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("```python\n1 / 0\n```\n", ZeroDivisionError),
        ("```python\nasync def test_x(autojump_clock):\n    assert False\n```\n", AssertionError),
        ("<!--- invisible-code-block: python\nassert False\n-->\n", AssertionError),
        ('```python title="x.py"\nimport nothing_at_all\n```\n', ModuleNotFoundError),
        ('```python title="test_x.py"\ndef test_x(nothing): ...\n```\n', AssertionError),
        ("```console\n$ false\n```\n", AssertionError),
        ("```console\n$ echo a\nb\n```\n", AssertionError),
        ("```console\n$ pip install trioweb[nothing]\n```\n", AssertionError),
        ("```console\n$ pip install nothing\n```\n", AssertionError),
        ("```console\nno command\n```\n", AssertionError),
        ('```toml title="server.toml"\nworker = 2\n```\n', Exception),
        ("```cobol\nSTOP RUN.\n```\n", AssertionError),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, source: str, error: type[Exception]) -> None:
    """A block that does not do what it says fails its page."""
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{source}")
    with pytest.raises(error):
        run_page(page, tmp_path)


def test_lines_are_those_of_the_page(tmp_path: Path) -> None:
    """A block that fails is found by its line."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\nText.\n\n```python\nx = 1\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(page, tmp_path)
    assert caught.traceback[-1].lineno + 1 == 7
    assert str(caught.traceback[-1].path) == str(page)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\n...\nc", "a\nb\nb\nc\n", True),
        ("a\n...", "a\n", True),
        ("a ... c", "a b c\n", True),
        ("a", "b\n", False),
        ("a", "a\nb\n", False),
        ("", "anything\n", True),
    ],
)
def test_what_is_printed(expected: str, printed: str, same: bool) -> None:
    """What is shown is all that is printed, but for what dots stand for."""
    assert matches(expected, printed) is same


def test_a_server_is_there_until_the_next_one(tmp_path: Path) -> None:
    """The commands of a page find the server that it has started last; with the page the server is stopped."""
    page = tmp_path / "page.md"
    app = "from trioweb import App\napp = App()\n@app.get('/')\nasync def root(): return 'ok'\n"
    page.write_text(
        f'```python title="app.py"\n{app}```\n```console\n$ trioweb run app:app\n$ curl http://127.0.0.1:8000/\nok\n```\n'
        "<!--- invisible-code-block: python\nkept = page.server.process\nimport sys\nsys.kept = kept\n-->\n"
    )
    run_page(page, tmp_path)
    process = sys.__dict__.pop("kept")
    assert process.poll() == 0
