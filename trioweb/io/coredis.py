"""The client of Redis or Valkey: coredis, which is an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from coredis import Redis


def failures_of_redis(user: str) -> tuple[type[Exception], ...]:
    """What is raised while Redis is away.

    Args:
        user: who needs it, for the message.

    Raises:
        ModuleNotFoundError: if coredis is not installed.
    """
    try:
        from coredis.exceptions import RedisError  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{user} needs coredis: pip install trioweb[redis]", name=error.name, path=error.path
        ) from None
    return RedisError, OSError, trio.TooSlowError


def make_client(url: str, seconds: float) -> Redis[bytes]:
    """A client that tries nothing twice, to be entered. It connects when it is first used, within so many seconds."""
    from coredis import Redis  # noqa: PLC0415 - an extra
    from coredis.retry import NoRetryPolicy  # noqa: PLC0415

    return Redis.from_url(url, retry_policy=NoRetryPolicy(), connect_timeout=seconds, verify_version=False)


def reason_of(error: Exception, seconds: float) -> str:
    """Why Redis is away, for messages."""
    if isinstance(error, (trio.TooSlowError, TimeoutError)):
        return f"no answer within {seconds:g} s"
    return str(error) or type(error).__name__
