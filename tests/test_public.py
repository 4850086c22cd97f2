"""What is public: the names in ``__all__`` of some modules, and nothing that the reference does not tell of."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.servers import ROOT

PUBLIC = (
    "trioweb", "trioweb.contrib.jinja", "trioweb.contrib.postgres", "trioweb.contrib.sqlite", "trioweb.contrib.wsgi",
    "trioweb.hub", "trioweb.middleware", "trioweb.openapi", "trioweb.security", "trioweb.streams", "trioweb.testing",
)  # fmt: skip
NAMES = [f"{module}.{name}" for module in PUBLIC for name in importlib.import_module(module).__all__]
DIRECTIVE = re.compile(r"^::: (\S+)\n((?:    .*\n)*)", re.MULTILINE)


def find(path: str) -> object:
    """What a dotted path names."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def documented() -> Iterator[object]:
    """All that the pages of the reference name, by itself or by the module that it stands in."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for path, options in DIRECTIVE.findall(page.read_text() + "\n"):
            found = find(path)
            yield found
            if isinstance(found, ModuleType) and "members: []" not in options:
                hidden = re.findall(r'"!([^"]+)"', options) or ["^_"]
                shown = getattr(found, "__all__", None) or vars(found)
                yield from (getattr(found, name) for name in shown if not any(re.search(each, name) for each in hidden))


DOCUMENTED = list(documented())


@pytest.mark.parametrize("path", NAMES)
def test_every_public_name_is_in_the_reference(path: str) -> None:
    """A name that can be imported from a public module is in the reference, which shows its docstring."""
    value = find(path)
    assert any(value is each for each in DOCUMENTED), f"write ::: {path} into a page of docs/reference"
    if inspect.isroutine(value) or inspect.isclass(value):
        assert inspect.getdoc(value), f"{path} has no docstring"
