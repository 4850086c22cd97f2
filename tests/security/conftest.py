"""The Redis of the tests of hubs, for sessions."""

from tests.hub.conftest import own_redis, redis

__all__ = ["own_redis", "redis"]
