"""What `trioweb run --reload` answers while its app cannot be started."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.servers import PATIENCE, Server, read_all

GOOD = "from trioweb import App\napp = App()\n@app.get('/')\ndef root(): return 'well'\n"
NO_DATABASE = (
    "from trioweb import App\napp = App()\n"
    "@app.lifespan\nasync def run(app):\n    raise ValueError('no database')\n    yield\n"
)


def answer(server: Server, expected: str, *options: str) -> str:
    """The answer, once it has this text."""
    end = time.monotonic() + PATIENCE
    while True:
        status, output = server.curl("/", "-i", *options)
        if status == 0 and expected in output.decode():
            return output.decode()
        assert time.monotonic() < end, output.decode() + server.output


@pytest.mark.parametrize(
    ("source", "expected", "logged"),
    [
        ("import nothing_there\n", "ModuleNotFoundError: No module named 'nothing_there'", "importing shop:app failed"),
        ("app = (\n", "SyntaxError: '(' was never closed", "importing shop:app failed"),
        (
            "from trioweb import App\nweb = App()\n",
            "'shop' has no 'app': did you mean shop:web?",
            "'shop' has no 'app'",
        ),
        (
            "raise SystemExit('SHOP_DATABASE is missing')\n",
            "SHOP_DATABASE is missing",
            "trioweb: SHOP_DATABASE is missing",
        ),
        ("raise SystemExit(0)\n", "shop:app has called sys.exit(0)", "trioweb: shop:app has called sys.exit(0)"),
        ("open('/nothing')\n", "FileNotFoundError: [Errno 2]", 'shop.py", line 1, in <module>'),
        (NO_DATABASE, "the app's lifespan failed at its startup (ValueError: no database)", "ValueError: no database"),
    ],
    ids=["import", "syntax", "name", "exit", "code", "file", "lifespan"],
)
def test_the_reason_is_the_answer_until_a_change(
    start_server: StartServer, tmp_path: Path, source: str, expected: str, logged: str
) -> None:
    """An app that cannot be started has its reason as the answer at once, a 500, until it is mended."""
    file = tmp_path / "shop.py"
    file.write_text(source)
    server = start_server("shop:app", "--reload", runner="trioweb", directory=tmp_path)
    text = answer(server, expected)
    assert text.startswith("HTTP/1.1 500 ")
    assert "content-type: text/plain; charset=utf-8" in text
    assert "cache-control: no-store" in text
    assert answer(server, "HTTP/1.1 500 ", "-I").endswith("\r\n\r\n")
    assert answer(server, "HTTP/1.1 500 ", "-d", "a=1", "-X", "PUT").startswith("HTTP/1.1 500 ")
    page = answer(server, "<!doctype html>", "-H", "accept: text/html,*/*;q=0.8")
    assert "content-type: text/html; charset=utf-8" in page
    assert "<script" not in page
    assert logged in server.output
    assert server.output.count("shop:app cannot be started: every request gets the reason, until a change") == 1
    end = time.monotonic() + PATIENCE
    while server.curl("/")[1] != b"well":
        assert time.monotonic() < end, server.output
        if "has changed" not in server.output:  # files may be watched a moment after the first answer
            file.write_text(GOOD)
        time.sleep(0.05)
    server.process.terminate()
    assert server.process.wait(PATIENCE) == 0


def test_several_workers(start_server: StartServer, tmp_path: Path) -> None:
    """Each of several workers answers with the reason, and each serves what is mended."""
    file = tmp_path / "shop.py"
    file.write_text("import nothing_there\n")
    server = start_server("shop:app", "--reload", "--workers", "2", runner="trioweb", directory=tmp_path)
    end = time.monotonic() + PATIENCE
    while server.output.count("every request gets the reason") < 2:
        answer(server, "No module named 'nothing_there'")
        assert time.monotonic() < end, server.output
    file.write_text(GOOD.replace("import App\n", "import App\nimport os\n").replace("'well'", "str(os.getpid())"))
    workers: set[bytes] = set()
    while len(workers) < 2:
        status, output = server.curl("/")
        if status == 0 and output.isdigit():
            workers.add(output)
        assert time.monotonic() < end + PATIENCE, server.output
        if "has changed" not in server.output:  # files may be watched a moment after the first answer
            file.touch()
        time.sleep(0.05)


def test_a_websocket_is_refused_with_the_reason(start_server: StartServer, tmp_path: Path) -> None:
    """The handshake of a WebSocket gets the reason as well."""
    (tmp_path / "shop.py").write_text("1 / 0\n")
    server = start_server("shop:app", "--reload", runner="trioweb", directory=tmp_path)
    answer(server, "ZeroDivisionError")
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    with server.request("/", headers=upgrade) as client:
        text = read_all(client).decode()
    assert text.startswith("HTTP/1.1 500 ")
    assert text.rstrip().endswith("ZeroDivisionError: division by zero")


def test_names_and_source_are_no_markup(start_server: StartServer, tmp_path: Path) -> None:
    """What the page shows of the source is text."""
    (tmp_path / "shop.py").write_text("raise ValueError('<script>alert(1)</script>')\n")
    server = start_server("shop:app", "--reload", runner="trioweb", directory=tmp_path)
    page = answer(server, "<!doctype html>", "-H", "accept: text/html")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 2


def test_without_reload(tmp_path: Path) -> None:
    """Without `--reload` nothing is served, and nobody is shown the code: the command ends with status 3."""
    (tmp_path / "shop.py").write_text("1 / 0\n")
    server = Server("shop:app", [], tmp_path, tmp_path, runner="trioweb")
    try:
        assert server.process.wait(PATIENCE) == 3
    except subprocess.TimeoutExpired:
        server.stop()
        raise
    server.stop()
    assert "ZeroDivisionError" in server.output
