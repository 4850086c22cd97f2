"""A browser that is signed in, and looks at a page of another site."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.conftest import StartServer
from tests.servers import RUNNERS, Server


def start(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, runner: str, guarded: str, trusted: str
) -> Server:
    """The bank, guarded or with trust in a page."""
    monkeypatch.setenv("GUARDED", guarded)
    monkeypatch.setenv("TRUSTED", trusted)
    return start_server("tests.security.bank_app:app", runner=runner)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_sites_page(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, page: Page, runner: str, host: str
) -> None:
    """A page of another port, which gets the cookies sent, or another site pays nothing and hears nothing; an own page
    does. Where the bank trusts that page, it succeeds: so the attack is one.
    """
    evil = start(start_server, monkeypatch, runner, "yes", "")
    origin = f"http://{host}:{evil.port}"
    guarded = start(start_server, monkeypatch, runner, "yes", "")
    trusting = start(start_server, monkeypatch, runner, "", origin)
    same_site = host == "127.0.0.1"  # a lax cookie is sent to other ports, and to no other site
    for bank, hears, pays in ((guarded, "none closed", []), (trusting, "ada closed", ["fetch", "form"])):
        page.goto(bank.url)
        expect(page.locator("#socket")).to_have_text("ada")
        page.goto(f"{origin}/evil?bank=127.0.0.1:{bank.port}")
        heard = hears if bank is guarded or same_site else "nobody closed"
        expect(page.locator("#socket")).to_have_text(heard)
        expect(page.locator("#sent")).to_have_text(re.compile(r"(?=.*form)(?=.*fetch)"))
        assert sorted(httpx.get(f"{bank.url}/paid").json()) == (pays if same_site else [])
        page.goto(bank.url)
        page.get_by_role("button").click()
        expect(page.locator("body")).to_have_text("paid")
        assert httpx.get(f"{bank.url}/paid").json()[-1] == "own"
