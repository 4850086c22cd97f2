"""The access log of `trioweb run`, and its errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from tests.conftest import StartServer
from tests.servers import RUNNERS
from trioweb import App
from trioweb.ground.escapes import MAX_FIELD
from trioweb.server.config import ServerConfig
from trioweb.server.logs.setup import set_up
from trioweb.server.options import UsageError

TARGET = "tests.server.process_app:app"


def test_text(start_server: StartServer, tmp_path: Path) -> None:
    """On request each request is logged in a line: when, who, what, the status and the seconds."""
    file = tmp_path / "access.log"
    server = start_server(TARGET, "--access-logfile", str(file), runner="trioweb")
    server.curl("/nowhere?a=b")
    server.stop()
    line = file.read_text().splitlines()[-1]
    assert re.fullmatch(r'\d{4}-\d\d-\d\d [\d:]{8} 127\.0\.0\.1:\d+ "GET /nowhere\?a=b" 404 0\.\d{6} s', line)


def test_json(start_server: StartServer, tmp_path: Path) -> None:
    """As JSON each line is an object whose values are numbers where they are."""
    file = tmp_path / "access.log"
    options = ("--access-logfile", str(file), "--access-logformat", "json")
    server = start_server(TARGET, *options, runner="trioweb")
    server.curl('/nowhere?a="b"', "-A", "browser", "--http2-prior-knowledge")
    server.stop()
    entry = json.loads(file.read_text().splitlines()[-1])
    assert (entry["method"], entry["path"], entry["query"], entry["status"]) == ("GET", "/nowhere", 'a="b"', 404)
    assert (entry["client"], entry["user_agent"], entry["http"], entry["scheme"]) == (
        "127.0.0.1",
        "browser",
        "2",
        "http",
    )
    assert 0 < entry["seconds"] < 10
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", entry["time"])


def test_another_format(start_server: StartServer, tmp_path: Path) -> None:
    """A format of Hypercorn's is used as it is."""
    file = tmp_path / "access.log"
    options = ("--access-logfile", str(file), "--access-logformat", "%(m)s|%(U)s|%(s)s")
    server = start_server(TARGET, *options, runner="trioweb")
    server.curl("/nowhere")
    server.stop()
    assert file.read_text().splitlines()[-1].endswith(" GET|/nowhere|404")


def test_errors_of_the_framework(start_server: StartServer) -> None:
    """What the framework logs comes out in the server's format, without a word of set-up."""
    server = start_server("tests.server.app:app", runner="trioweb")
    server.curl("/one-task/error")
    server.wait_for_output("ValueError: as asked")
    assert re.search(r"^\d{4}-\d\d-\d\d [\d:]{8} \[\d+\] ERROR GET /one-task/error: ", server.output, re.MULTILINE)


OWN_LOGGING = """
import logging
from trioweb import App, RequestID
from trioweb.middleware import RequestIDFilter

handler = logging.StreamHandler()
handler.addFilter(RequestIDFilter())
handler.setFormatter(logging.Formatter("own %(levelname)s [%(request_id)s] %(message)s"))
app = App()
app.middleware(RequestID())

@app.lifespan
async def life(app):
    IN_LIFESPAN
    yield

@app.get("/fails")
async def fails():
    raise ValueError("as asked")

IN_MODULE
"""


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("place", ["IN_MODULE", "IN_LIFESPAN"])
@pytest.mark.parametrize(
    "statement", ["logging.basicConfig(handlers=[handler])", "logging.getLogger('trioweb').addHandler(handler)"]
)
def test_a_program_with_logging_of_its_own(
    start_server: StartServer, tmp_path: Path, runner: str, place: str, statement: str
) -> None:
    """What the framework logs goes once to the program's handlers, wherever they are set up, with the request's id."""
    source = OWN_LOGGING.replace(place, statement).replace("IN_LIFESPAN", "pass").replace("IN_MODULE", "")
    (tmp_path / "shop.py").write_text(source)
    server = start_server("shop:app", runner=runner, directory=tmp_path)
    server.curl("/fails", "-H", "x-request-id: one")
    server.wait_for_output("ValueError: as asked")
    server.stop()
    lines = [line for line in server.output.splitlines() if "GET /fails" in line]
    assert lines == ["own ERROR [one] GET /fails: shop.fails failed"]
    assert server.output.count("ValueError: as asked") == 1


RAW = """
import logging

logging.basicConfig(format="own %(levelname)s %(message)s", level="INFO")

async def app(scope, receive, send):
    if scope["type"] == "http":
        if scope["path"] == "/fails":
            raise ValueError("as asked")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
    while scope["type"] == "lifespan":
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
"""


@pytest.mark.parametrize(
    ("runner", "options", "begins"),
    [
        ("trioweb", (), ["own ERROR"]),
        ("trioweb", ("--error-logfile", "errors.txt"), ["own ERROR"]),
        ("hypercorn", (), ["[", "own ERROR"]),
        ("hypercorn", ("--error-logfile", "/dev/null"), ["own ERROR"]),
    ],
)
def test_what_the_server_logs_beside_a_program(
    start_server: StartServer, tmp_path: Path, runner: str, options: tuple[str, ...], begins: list[str]
) -> None:
    """What the server logs of an app goes once to the program's handlers, and to a file that was asked for. Hypercorn
    alone prints it twice, unless it prints to nowhere.
    """
    (tmp_path / "shop.py").write_text(RAW)
    server = start_server("shop:app", *options, runner=runner, directory=tmp_path)
    server.curl("/fails")
    server.wait_for_output("own ERROR")
    server.stop()
    lines = [line for line in server.output.splitlines() if "ERROR" in line or "Error in" in line]
    assert len(lines) == len(begins), server.output
    assert all(line.startswith(begin) for line, begin in zip(sorted(lines), sorted(begins), strict=True)), lines
    assert server.output.count("ValueError: as asked") == len(begins)
    assert runner != "trioweb" or not options or "ERROR the app failed" in (tmp_path / "errors.txt").read_text()


@pytest.mark.parametrize("form", ["%(s", "%(s)d", "%(m)s %s %s"])
def test_a_format_that_is_none(form: str) -> None:
    """A format in which no request could be logged is refused at the start."""
    config = ServerConfig()
    config.access_log_format = form
    with pytest.raises(UsageError, match=re.escape(f"--access-logformat {form!r}")):
        set_up(config)


def test_an_error_cannot_forge_a_record(start_server: StartServer) -> None:
    """What an exception quotes of a request stays within its record, and moves no cursor."""
    server = start_server(TARGET, runner="trioweb")
    forged = "2026-01-01 00:00:00 [1] ERROR forged"
    server.curl("/quotes?text=" + quote(f"a\n{forged}\n\x1b[2J\x9b\u202eb"))
    server.wait_for_output("u202eb")
    assert not re.search(rf"^{re.escape(forged)}", server.output, re.MULTILINE)
    assert "\\x1b[2J\\x9b\\u202eb" in server.output


@pytest.mark.parametrize("raw", [b'/a\x1b[2J"\x9b\x85\\', None])
async def test_an_error_names_its_request_escaped(caplog: pytest.LogCaptureFixture, raw: bytes | None) -> None:
    """An error names its request in printable ASCII, of bounded length, on whatever server."""
    app = App()

    @app.route("/{path:path}", methods=["G\x85T"])
    async def fails(path: str) -> str:
        raise ValueError("as asked")

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()

    path = '/a\x1b[2J"\u202e\n' + "b" * 10_000
    scope: dict[str, Any] = {
        "type": "http", "http_version": "2", "method": "G\x85T", "scheme": "http", "path": path, "raw_path": raw,
        "query_string": b"", "root_path": "", "headers": [], "client": None, "server": None,
    }  # fmt: skip
    await app(scope, receive, send)
    message = caplog.records[0].getMessage()
    assert message.startswith("G\\x85T /a")
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 2 * MAX_FIELD
