"""A hub on each engine: what is promised of one holds for the other."""

from __future__ import annotations

import gc
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeAlias

import pytest

from tests.hub.redis import Redis
from trioweb.hub import Hub, MemoryHub, RedisHub

MakeHub: TypeAlias = Callable[..., Hub]

PREFIXES = count()
HAS_REDIS = shutil.which("redis-server") is not None and importlib.util.find_spec("coredis") is not None
NEEDS_REDIS = pytest.mark.skipif(not HAS_REDIS, reason="needs redis-server, a package of Debian's, and coredis")


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that all tests share."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that a test may kill."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.close()
    gc.collect()  # what coredis has not closed is this test's


@pytest.fixture(params=["memory", pytest.param("redis", marks=NEEDS_REDIS)])
def make_hub(request: pytest.FixtureRequest) -> MakeHub:
    """Makes hubs, which share their events if the engine can be shared."""
    if request.param == "memory":
        return MemoryHub
    server: Redis = request.getfixturevalue("redis")
    prefix = f"test{next(PREFIXES)}:"

    def make(**options: Any) -> Hub:
        return RedisHub(server.url, prefix=prefix, **options)

    return make
