"""The API that describes itself."""

from __future__ import annotations

import subprocess
import sys

from examples.catalogue import app
from tests.openapi.validity import check
from tests.servers import ROOT
from trioweb.testing import TestClient


async def test_it_is_what_it_says(autojump_clock: object) -> None:
    """Its document is valid, names its streams' items and its scheme, and is the one that it serves."""
    async with TestClient(app) as client:
        document = check((await client.get("/openapi.json")).json())
        content = document["paths"]["/sales"]["get"]["responses"]["200"]["content"]
        assert "itemSchema" in content["text/event-stream"]
        assert document["paths"]["/items"]["post"]["security"] == [{"token": []}]
        assert (await client.post("/items", json={"name": "pot", "price": 20})).status_code == 401
        assert len((await client.get("/items?limit=2")).text.splitlines()) == 2
        assert (await client.get("/sales")).text.endswith('data: {"type":"Closed","sold":3}\n\n')
        assert (await client.get("/docs")).status_code == 200


def test_the_command_prints_it() -> None:
    """The command of its first lines prints the document."""
    command = [sys.executable, "-m", "trioweb", "openapi", "examples.catalogue:app"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '"openapi": "3.2.0"' in done.stdout
