"""The example ``examples/clock.py``."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.conftest import StartServer
from tests.servers import PATIENCE, Server, read_all, read_until

EXAMPLE = "clock"


def test_events_come_one_by_one(server: Server) -> None:
    """Each second is an event of its own, which comes when it is made."""
    with server.request("/clock") as client:
        head, _, events = read_until(client, b"data: ").partition(b"\r\n\r\n")
        assert b"content-type: text/event-stream" in head
        assert events.count(b"data: ") < 5
        read_until(client, b"data: ")


def test_a_browser_shows_it(server: Server, page: Page) -> None:
    """The page shows the time, and then another."""
    page.goto(server.url)
    expect(page.locator("#time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    first = page.locator("#time").inner_text()
    expect(page.locator("#time")).not_to_have_text(first)


def test_it_ends_cleanly_with_the_server(start_server: StartServer, tmp_path: Path) -> None:
    """At a stop the last event is whole and the response has its end, so a browser comes back by itself."""
    server = start_server("examples.clock:app", directory=tmp_path)
    with server.request("/clock") as client:
        received = read_until(client, b"data: ")
        server.process.send_signal(signal.SIGTERM)
        received += read_all(client)
    assert received.endswith(b"\n\n\r\n0\r\n\r\n")
    assert server.process.wait(PATIENCE) == 0
