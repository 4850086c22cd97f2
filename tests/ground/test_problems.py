"""What an error looks like to a client."""

from __future__ import annotations

import msgspec
import pytest

from trioweb.ground.problems import render_problem, wants_page


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("TEXT/HTML", True),
        ("application/json;q=0.5, text/html", True),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=nonsense", False),
        ("text/html;level=1", True),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json, text/plain, */*", False),
        ("text/html;q=0", False),
        ("text/html; q = 0.000, */*", False),
        ("text/htmlx", False),
        (",;,", False),
    ],
)
def test_who_gets_a_page(accept: str, page: bool) -> None:
    """Who wants ``text/html``, and JSON not as much, gets a page; anybody else a problem document."""
    assert wants_page(accept) is page


def test_a_problem_document() -> None:
    """A problem document has type, title and status (RFC 9457), and a detail where there is one."""
    body, media_type = render_problem(404, "No such <user>.", None, page=False)
    assert media_type == "application/problem+json"
    assert msgspec.json.decode(body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "No such <user>.",
    }


def test_members_of_a_problem_document() -> None:
    """A mapping has its items as members, those of RFC 9457 too; a page shows them, and runs none of them."""
    members = {"type": "https://shop.example/sold-out", "title": "Sold <out>", "detail": "No <tea>.", "<left>": ["<0>"]}
    body, media_type = render_problem(409, members, None, page=False)
    assert (msgspec.json.decode(body), media_type) == ({**members, "status": 409}, "application/problem+json")
    text = render_problem(409, members, None, page=True)[0].decode()
    assert (
        "<h1>409 Sold &lt;out&gt;</h1><p>No &lt;tea&gt;.</p><dl><dt>&lt;left&gt;<dd>[&quot;&lt;0&gt;&quot;]</dl>"
        in text
    )
    assert "<out>" not in text


@pytest.mark.parametrize("detail", [None, ""])
def test_no_detail_is_no_member(detail: str | None) -> None:
    """Without a detail the document has no such member, and the page no empty paragraph."""
    assert msgspec.json.decode(render_problem(500, detail, None, page=False)[0]) == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
    }
    assert b"<p>" not in render_problem(500, detail, None, page=True)[0]


def test_a_page() -> None:
    """A page says its encoding, its status and what happened."""
    body, media_type = render_problem(404, "No such \N{EURO SIGN}.", None, page=True)
    assert media_type == "text/html; charset=utf-8"
    text = body.decode("utf-8")
    assert text.startswith("<!doctype html>")
    assert "<title>404 Not Found</title>" in text
    assert "<h1>404 Not Found</h1><p>No such \N{EURO SIGN}.</p></body>" in text
    assert "<pre>" not in text


def test_what_a_client_wrote_is_no_markup() -> None:
    """Detail and traceback are text in a page, whatever they hold."""
    body = render_problem(400, "<script>{x}</script>&", "<b>\"'", page=True)[0].decode()
    assert "<p>&lt;script&gt;{x}&lt;/script&gt;&amp;</p><pre>&lt;b&gt;&quot;&#x27;</pre>" in body
    assert "<script>" not in body


def test_a_traceback_is_shown_where_it_is_given() -> None:
    """A debugging app shows the traceback, line by line in a problem document."""
    body = render_problem(500, None, "one\ntwo", page=False)[0]
    assert msgspec.json.decode(body)["traceback"] == ["one", "two"]
    assert b"<pre>one\ntwo</pre>" in render_problem(500, None, "one\ntwo", page=True)[0]


@pytest.mark.parametrize("page", [False, True])
@pytest.mark.parametrize(
    ("detail", "trace"), [("no file \udcff", None), (None, "FileNotFoundError: '\udcff'")], ids=["detail", "trace"]
)
def test_text_that_utf_8_cannot_hold(detail: str | None, trace: str | None, page: bool) -> None:
    """An error whose text holds lone surrogates, as the names of files do, still has an answer."""
    body, _ = render_problem(500, detail, trace, page)
    assert b"Internal Server Error" in body
