"""The access log of `trioweb run`, and its errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.conftest import StartServer

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
