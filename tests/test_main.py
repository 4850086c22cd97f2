"""The command line."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import trioweb
from tests.servers import ROOT, Server
from trioweb.__main__ import main


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an app, as the working directory."""
    (tmp_path / "shop.py").write_text(
        "from trioweb import App\n"
        "web = App()\n"
        "@web.get('/things/{n:int}')\n"
        "async def thing(n: int): return n\n"
        "@web.route('/things', methods=['POST', 'PUT'])\n"
        "async def things(): return None\n"
        "@web.websocket('/things')\n"
        "async def live(ws): await ws.accept()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    return tmp_path


def test_a_reader_that_has_enough(directory: Path) -> None:
    """What is printed into a pipe that nobody reads any more ends without a traceback."""
    command = [sys.executable, "-m", "trioweb", "routes", "shop:web"]
    process = subprocess.Popen(
        command, cwd=directory, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait() == 1


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`trioweb --version` prints the version of the package."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"trioweb {trioweb.__version__}\n"


def test_routes_are_printed(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`trioweb routes` prints methods, path and name of each route."""
    assert main(["routes", "shop:web"]) == 0
    assert capsys.readouterr().out == (
        "GET        /things/{n:int}  thing\nPOST PUT   /things          things\nWEBSOCKET  /things          live\n"
    )


def test_mounts_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`trioweb routes` prints what is mounted, and the routes of a mounted `App` as `url_for` finds them."""
    program = """
from trioweb import App, StaticFiles
app, inner, innermost = App(), App(), App()
app.get("/")(lambda: "root")
innermost.get("/deep", name="deep")(lambda: "deep")
inner.get("/page/{x}", name="page")(lambda x: x)
inner.mount("/more", innermost, name="more")
app.mount("/in", inner, name="in")
app.mount("/files", StaticFiles("."), name="files")

async def other(scope, receive, send): ...

app.mount("/", other)
app.mount("/nameless", innermost)
"""
    (tmp_path / "site_of_mounts.py").write_text(program)
    assert main(["routes", str(tmp_path / "site_of_mounts.py:app")]) == 0
    lines = [re.sub(r" +", " ", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "GET / <lambda>"
    assert re.fullmatch("MOUNT / <function other at .*>", lines[1])
    assert lines[2:] == [
        "MOUNT /in in", "GET /in/page/{x} in:page", "MOUNT /in/more in:more", "GET /in/more/deep in:more:deep",
        "MOUNT /files files", "MOUNT /nameless <App, 1 route>", "GET /nameless/deep deep",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "text"), [("shop", "did you mean shop:web?"), ("nothing:app", "there is no module 'nothing' in")]
)
def test_an_app_that_is_not_there(directory: Path, capsys: pytest.CaptureFixture[str], target: str, text: str) -> None:
    """A wrong name is told in one line, with what is there, and exit status 2."""
    assert main(["routes", target]) == 2
    assert text in capsys.readouterr().err


def test_a_command_line_without_an_app(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`trioweb run` alone says in one line what to write."""
    assert main(["run"]) == 2
    assert capsys.readouterr().err == "trioweb: name the app: trioweb run shop:web\n"


def test_an_import_that_fails(directory: Path) -> None:
    """A mistake in the user's module is shown from their own line on, and ends the command with status 3."""
    (directory / "wrong.py").write_text("from trioweb import App\napp = App()\n\n@app.get\nasync def x(): ...\n")
    command = [sys.executable, "-m", "trioweb", "run", "--bind", "127.0.0.1:0", "wrong:app"]
    env = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert (
        f'importing wrong:app failed\nTraceback (most recent call last):\n  File "{directory}/wrong.py"' in done.stderr
    )
    assert done.stderr.endswith(
        'RouteError: a route begins with its path, got x: write @app.get("/...") above the handler\n'
    )


def test_files_with_the_names_of_packages(directory: Path) -> None:
    """A trio.py beside the app is not taken for trio; one that the app's own name stands for is told."""
    (directory / "trio.py").write_text("1 / 0\n")
    (directory / "wrong.py").write_text("import sys\nprint('imported')\nsys.exit(7)\n")
    (directory / "trioweb.py").write_text("from trioweb import App\napp = App()\n")
    env = {"PYTHONPATH": str(ROOT)}
    found = []
    for target in ("wrong:app", "trioweb:app"):
        # As the command does that is installed: the working directory is not where Python looks first.
        command = [sys.executable, "-P", "-m", "trioweb", "run", "--bind", "127.0.0.1:0", target]
        done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
        found.append(done.stdout + done.stderr)
    assert "imported" in found[0]
    assert "ZeroDivisionError" not in found[0]
    assert "trioweb.py has the name of the package 'trioweb', which comes first" in found[1]


def test_run_serves_with_trio(directory: Path) -> None:
    """`trioweb run` serves an app with Hypercorn's trio worker and takes its options."""
    server = Server("shop:web", (), directory, directory)
    server.stop()  # only its free port and its log are wanted
    command = [sys.executable, "-m", "trioweb", "run", "--bind", f"127.0.0.1:{server.port}", "shop:web"]
    process = subprocess.Popen(command, cwd=directory, env={"PYTHONPATH": str(ROOT)})
    try:
        for _ in range(500):
            try:
                with urllib.request.urlopen(f"{server.url}/things/7") as response:
                    assert response.read() == b"7"
                break
            except OSError:
                time.sleep(0.02)
        else:
            pytest.fail("no answer")
    finally:
        process.terminate()
        process.wait(15)
