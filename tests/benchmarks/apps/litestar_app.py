"""The small response as a user of Litestar writes it."""

from __future__ import annotations

import importlib
from typing import Any

from tests.benchmarks.payload import GREETING

# By name, so that type checkers do without the package.
litestar: Any = importlib.import_module("litestar")


async def greet() -> str:
    """A small response."""
    return GREETING


app = litestar.Litestar([litestar.get("/", media_type="text/plain")(greet)], openapi_config=None, logging_config=None)
