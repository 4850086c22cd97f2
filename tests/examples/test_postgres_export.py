"""The example ``examples/postgres_export.py``, on a real PostgreSQL."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.contrib.cluster import Cluster
from tests.servers import Server, read_until

ROWS = 300_000


@pytest.fixture(scope="module")
def server(start_server: StartServer, postgres: Cluster) -> Iterator[Server]:
    """The example, told where the database is as ``psql`` would be."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**postgres.environment, "PGAPPNAME": "export"}.items():
            patch.setenv(name, value)
        yield start_server("examples.postgres_export:app")


def test_all_rows_in_flat_memory(server: Server) -> None:
    """All rows come, and the server never held more than a few thousand of them."""
    assert server.curl("/orders.csv?rows=2")[1] == b"id,product,price\r\n1,product 1,0.10\r\n2,product 2,0.20\r\n"
    before = server.memory
    text = server.curl(f"/orders.csv?rows={ROWS}", "-m", "60")[1].decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [int(row[0]) for row in rows[1:]] == list(range(1, ROWS + 1))
    assert server.memory - before < 16_000


def test_a_client_that_leaves_ends_the_query(server: Server, postgres: Cluster) -> None:
    """The query is under way while the client reads, or does not read on, and ends when it leaves."""
    with server.request("/orders.csv?rows=10000000") as client:
        read_until(client, b"\r\n1000,")
        postgres.wait_for_sessions("export", 1, "FETCH%")
    postgres.wait_for_sessions("export", 0, "FETCH%")


def test_no_database_is_told_at_the_start(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database cannot be reached, the server does not start, and says why."""
    monkeypatch.setenv("PGHOST", str(tmp_path))
    with pytest.raises(AssertionError, match="No such file or directory"):
        start_server("examples.postgres_export:app")
