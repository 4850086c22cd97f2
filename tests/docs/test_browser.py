"""The guide's page for a browser, in one."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.conftest import StartServer
from tests.docs.guide import DOCS


def test_the_clock_ticks(start_server: StartServer, page: Page, tmp_path: Path) -> None:
    """The page with an EventSource shows the ticks as they come."""
    programs = re.findall(r'```python title="app.py"\n(.*?)```', (DOCS / "events.md").read_text(), re.DOTALL)
    [program] = [program for program in programs if "new EventSource" in program]
    (tmp_path / "app.py").write_text(program)
    server = start_server("app:app", directory=tmp_path, runner="trioweb")
    page.goto(server.url)
    expect(page.locator("#now")).to_have_text("tick 1")
    expect(page.locator("#now")).to_have_text("tick 2")
