"""The reference of the command line, against the command line."""

from __future__ import annotations

import re

from tests.docs.guide import DOCS
from trioweb.server.options import OPTIONS, PREFIX, Option

PAGE = (DOCS / "reference" / "commands.md").read_text()


def row(option: Option) -> str:
    """How an option stands in the table."""
    flags = f"`{option.long}`" + (f", `{option.short}`" if option.short else "")
    return f"| {flags} | `{option.name}` | {option.help} |"


def test_every_option_is_in_the_table() -> None:
    """The table has a row for each option of `trioweb run`, in their order, in its own words."""
    assert [line for line in PAGE.splitlines() if line.startswith("| `--")] == [row(option) for option in OPTIONS]


def test_the_environment() -> None:
    """What the page says of the environment names options that are there."""
    names = re.findall(rf"{PREFIX}(\w+)", PAGE)
    assert names
    assert {name.lower() for name in names} <= {option.name for option in OPTIONS} | {"config"}
