"""The example ``examples/transform.py``, run as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.servers import Server, read_until

EXAMPLE = "transform"
LINES = 400_000


def orders(path: Path) -> Path:
    """A file of orders, some 20 MB."""
    path.write_text("".join(f'{{"id": {number}, "price": 2.5, "count": 3}}\n' for number in range(LINES)))
    return path


def test_an_upload_is_transformed_while_it_arrives(server: Server, tmp_path: Path) -> None:
    """All lines come back transformed; both directions go on at the same time, and the server holds none of it."""
    server.curl("/totals", "-d", "{}")
    before = server.memory
    path = orders(tmp_path / "orders.jsonl")
    command = ["curl", "-sSN", "-m", "60", "-X", "POST", "-T", str(path), server.url + "/totals?least=5"]
    done = subprocess.run(command, capture_output=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == LINES
    assert [json.loads(line) for line in lines[:: LINES // 10]] == [
        {"id": number, "total": 7.5} for number in range(0, LINES, LINES // 10)
    ]
    assert server.memory - before < 16_000
    with server.request("/totals", "POST", "Transfer-Encoding: chunked\r\n") as client:
        line = b'{"id": 1, "price": 2}\n'
        client.sendall(b"%x\r\n%s\r\n" % (len(line), line))
        assert b'{"id":1,"total":2.0}' in read_until(client, b"}\n")  # the upload is not at its end


def test_files_are_measured(server: Server, tmp_path: Path) -> None:
    """Each file of a form is measured as it arrives."""
    path = orders(tmp_path / "größe.jsonl")
    code, printed = server.curl("/measure", "-F", f"file=@{path}", "-F", "title=x")
    assert code == 0
    assert json.loads(printed) == {"file": "größe.jsonl", "bytes": path.stat().st_size, "lines": LINES}


def test_a_line_that_is_wrong_breaks_it_off(server: Server) -> None:
    """Before the first line that is a 422; after it, the response is visibly not whole."""
    code, printed = server.curl("/totals", "-d", '{"id": "x"}')
    assert (code, json.loads(printed)["errors"][0]["loc"]) == (0, ["body", 0, "id"])
    good = '{"id": 1, "price": 1}\n' * 10_000
    command = ["curl", "-sSN", "-m", "15", "--data-binary", "@-", server.url + "/totals"]
    done = subprocess.run(command, input=(good + "nonsense\n").encode(), capture_output=True, check=False)
    assert done.returncode == 18, sys.version
    assert done.stdout.count(b"\n") == 10_000
