"""What an app answers is what its description says: Schemathesis sends what is allowed, and what is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartServer

LENIENT = "negative_data_rejection"
"""Not asked for: in text, blank means not sent, and anything may be a string; and pydantic takes ``false`` for 0."""


@pytest.mark.parametrize("runner", ["hypercorn", "trioweb"])
def test_nothing_is_found(start_server: StartServer, tmp_path: Path, runner: str) -> None:
    """No answer has a status, content type or body that the description does not have, and none is a 500."""
    server = start_server("tests.openapi.every_app:app", runner=runner)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--seed", "1", "--no-color",
        "--max-examples", "10", "--exclude-checks", LENIENT,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Selected: 34/34" in done.stdout
    assert "Traceback" not in server.output
