"""The pages for users of other frameworks: each name that they list is replaced in a program that is executed."""

from __future__ import annotations

import re

import pytest

from tests.docs.guide import DOCS

PAGES = {
    "frameworks": (
        "APIRouter", "BackgroundTasks", "Blueprint", "Depends", "EventSourceResponse", "HTTPException", "TestClient",
        "StreamingResponse", "abort", "before_request", "g", "jsonify", "lifespan", "response_model", "status_code",
        "run_in_threadpool", "url_for",
    ),
    "robyn": ("SSEResponse", "StreamingResponse", "SubRouter", "after_request", "before_request", "inject"),
    "spikard": ("Body", "Header", "LifecycleHooks", "ServerConfig"),
}  # fmt: skip
"""What users of each framework look for first."""


def names_of(text: str) -> set[str]:
    """The names in the first column of the table of names: of ``request.args`` the last word."""
    table = text.partition("\n## Names\n")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| ") and "`" in line]
    spans = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
    return {re.findall(r"\w+", re.split(r"[(\[= ]", span)[0])[-1] for span in spans}


@pytest.mark.parametrize("page", PAGES)
def test_what_users_look_for_is_listed(page: str) -> None:
    """The names that users of a framework know have a line in the table of its page."""
    assert set(PAGES[page]) - names_of((DOCS / "moving" / f"{page}.md").read_text()) == set()


@pytest.mark.parametrize("page", PAGES)
def test_what_is_listed_is_executed(page: str) -> None:
    """Each name in the table stands in a comment on the line that replaces it, in a program that is executed."""
    text = (DOCS / "moving" / f"{page}.md").read_text()
    names = names_of(text)
    assert len(names) > 8
    programs = "".join(re.findall(r"^```(?:python|console).*?^```", text, re.MULTILINE | re.DOTALL))
    comments = " ".join(re.findall(r"#(.*)", programs))
    assert names - set(re.findall(r"\w+", comments)) == set()
