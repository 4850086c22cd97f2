"""What the examples stand on: servers in directories of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.servers import Server


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, start_server: StartServer, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """The example that the module's ``EXAMPLE`` names, run as it says, in an empty directory."""
    return start_server(f"examples.{request.module.EXAMPLE}:app", directory=tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server under test keeps its database and its large file."""
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def tour(start_server: StartServer, data: Path) -> Server:
    """The tour, run as its documentation says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOUR_DATA", str(data))
        return start_server("examples.tour:app")
