"""The example ``examples/sqlite_export.py``."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.conftest import StartServer
from tests.servers import Server, read_until
from trioweb.contrib.sqlite import READERS

EXAMPLE = "sqlite_export"
ROWS = 200_000


def test_all_rows_in_flat_memory(server: Server) -> None:
    """All rows come, in either format, and the server holds no more of them than at the start."""
    with server.request("/orders.csv") as client:  # it has answered once
        read_until(client, b"\n")
    before = server.memory
    _, text = server.curl("/orders.csv")
    rows = list(csv.reader(io.StringIO(text.decode(), newline="")))
    assert rows[0] == ["id", "product", "price"]
    assert rows[1:3] == [["1", "product 1", "0.1"], ["2", "product 2", "0.2"]]
    assert len(rows) == ROWS + 1
    _, text = server.curl("/orders.jsonl")
    lines = text.splitlines()
    assert len(lines) == ROWS
    assert json.loads(lines[-1]) == {"id": ROWS, "product": "product 0", "price": 0.0}
    assert server.memory - before < 16_000


def test_clients_that_leave_interrupt_the_query(server: Server) -> None:
    """More clients than there are connections can leave in the middle, one after another, and the next is served."""
    for _ in range(3 * READERS):
        with server.request("/orders.jsonl") as client:
            read_until(client, b'{"id":10,')
    assert server.curl("/orders.csv")[1].startswith(b"id,product,price")


def test_a_second_start_finds_the_table(start_server: StartServer, tmp_path: Path) -> None:
    """The table is made once: a server that finds one leaves it as it is."""
    with closing(sqlite3.connect(tmp_path / "orders.sqlite3")) as database, database:
        database.execute("CREATE TABLE orders (id, product, price)")
        database.execute("INSERT INTO orders VALUES (7, 'a; \"b\", c', 1.5)")
    server = start_server("examples.sqlite_export:app", directory=tmp_path)
    assert server.curl("/orders.csv") == (0, b'id,product,price\r\n7,"a; ""b"", c",1.5\r\n')
