"""A hub on each engine: what is promised of one holds for the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from trioweb.hub import Hub, MemoryHub

MakeHub: TypeAlias = Callable[..., Hub]


@pytest.fixture(params=["memory"])
def make_hub(request: pytest.FixtureRequest) -> MakeHub:
    """Makes hubs."""
    return MemoryHub
