"""The descriptions of whole apps: each example, the tour, and an app with every kind of input and output."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.openapi.validity import check
from tests.servers import ROOT

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if "\napp = App(" in path.read_text())
APPS = [*(f"examples.{name}" for name in EXAMPLES), "examples.tour", "tests.openapi.every_app"]


@pytest.mark.parametrize("module", APPS)
def test_a_document_is_valid(module: str) -> None:
    """The document of the app is OpenAPI 3.2, and has each of its routes that is not left out."""
    app: Any = importlib.import_module(module).app
    document = check(app.openapi())
    shown = [each for each in app.routes if each.options.get("include_in_schema", True) and not each.is_websocket]
    described = [
        operation
        for item in document["paths"].values()
        for operation in [*item.values(), *item.pop("additionalOperations", {}).values()]
        if "operationId" in operation
    ]
    assert len(described) == sum(len(each.methods) for each in shown)
    assert len({operation["operationId"] for operation in described}) == len(described)


def test_two_processes_write_the_same() -> None:
    """The document is the same, byte for byte, in processes whose hashes differ."""
    command = [sys.executable, "-m", "trioweb", "openapi", "tests.openapi.every_app:app"]
    written = [
        subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]
    assert written[0].stdout == written[1].stdout
    assert written[0].stdout.startswith(b"{")
