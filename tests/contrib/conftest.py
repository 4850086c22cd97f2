"""What tests of databases stand on: a PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contrib.cluster import Cluster


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Cluster]:
    """A PostgreSQL that a module's tests may stop and start."""
    cluster = Cluster()
    yield cluster
    cluster.stop()
