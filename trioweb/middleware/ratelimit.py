"""How many requests a client may send in a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from typing import Final

from trioweb.ground.errors import HTTPError
from trioweb.handlers.layers import CallNext
from trioweb.io.entered import Entered
from trioweb.messages.request import Request
from trioweb.messages.response import Response
from trioweb.middleware.windows import SharedWindows, Windows

MOST: Final = 100_000
"""Clients that are counted in memory at once, unless given: about 25 MB."""
LONGEST: Final = 366 * 24 * 3600
"""Seconds of the longest window."""
_DIGEST: Final = 16
"""Bytes of a key's hash: keys may be long, and secrets."""


def client_address(request: Request) -> str:
    """The client's address, the key of a ``RateLimit`` unless given; of IPv6 its first 64 bits, a network of one."""
    host = request.client[0] if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    return str(address.ipv4_mapped or address.packed[:8].hex())


class RateLimit(Entered):
    """Refuses requests with a 429 beyond so many of a client in a window of time.

    ::

        app.middleware(RateLimit(100, per=60))

    A window begins with a client's first request and lasts ``per`` seconds; then it may send as many again. What was
    counted stands in the headers ``ratelimit`` and ``ratelimit-policy`` (draft-ietf-httpapi-ratelimit-headers), and a
    429 has ``retry-after``. With ``redis`` all workers and machines count together; ``app.lifespan(limit)`` then has to
    stand beside ``app.middleware(limit)``.

    While Redis is away each process counts by itself, and a warning is logged: no request fails for it, and none
    waits longer than half a second.

    Args:
        limit: requests in a window.
        per: seconds of a window.
        key: what is counted together, of a request; ``None`` for requests that are not counted. The client's address
            unless given: behind a proxy that is the proxy's, unless a middleware puts the client's in its place.
        name: in the headers, and in Redis, where limits of the same name count together.
        redis: ``redis://user:password@host:port/0``; ``rediss://`` for TLS. Needs ``pip install trioweb[redis]``.
        prefix: of the keys in Redis.
        most: clients that are counted in memory; beyond that those with the oldest windows are forgotten.

    Raises:
        ModuleNotFoundError: if ``redis`` is given, and coredis is not installed.
        TypeError: if ``limit`` or ``most`` is no int, or ``key`` cannot be called.
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        limit: int,
        per: float,
        *,
        key: Callable[[Request], str | None] = client_address,
        name: str = "default",
        redis: str | None = None,
        prefix: str = "trioweb:limit:",
        most: int = MOST,
    ) -> None:
        for what, value in (("limit", limit), ("most", most)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"RateLimit: {what} is a number of requests or clients, got {value!r}: write an int")
            if value < 1:
                raise ValueError(f"RateLimit: {what} is at least 1, got {value!r}")
        if not isinstance(per, (int, float)) or not 0 < per <= LONGEST:
            raise ValueError(f"RateLimit: per is a number of seconds above zero, at most a year, got {per!r}")
        if not callable(key):
            raise TypeError(f"RateLimit: key is a function of the request, got {key!r}: write key=lambda request: ...")
        if not name.isascii() or not name.isprintable() or '"' in name or "\\" in name:
            raise ValueError(f"RateLimit: name stands in a header, got {name!r}: write printable ASCII without quotes")
        self._limit = limit
        self._per = per
        self._key: Callable[[Request], object] = key
        self._name = name
        self._own = Windows(per, most)
        self._shared = None if redis is None else SharedWindows(redis, f"{prefix}{name}:", per)
        self._policy = f'"{name}";q={limit};w={math.ceil(per)}'

    async def _open(self, stack: AsyncExitStack) -> None:
        if self._shared is not None:
            await self._shared.connect(stack)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next, unless the client has sent too many."""
        key = self._key(request)
        if key is None:
            return await call_next(request)
        if not isinstance(key, str):
            raise TypeError(f"RateLimit: key returned {type(key).__qualname__}: return a str, or None not to count")
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
        counted = None if self._shared is None else await self._shared.count(digest)
        count, left = counted or self._own.count(digest)
        seconds = max(1, math.ceil(left))
        state = f'"{self._name}";r={max(0, self._limit - count)};t={seconds}'
        if count > self._limit:
            raise HTTPError(
                429,
                f"More than {self._limit} requests in {self._per:g} s: try again in {seconds} s.",
                {"retry-after": str(seconds), "ratelimit-policy": self._policy, "ratelimit": state},
            )

        def mark(response: Response) -> None:
            response.headers.append("ratelimit-policy", self._policy)
            response.headers.append("ratelimit", state)

        request.mark_errors(mark)
        response = await call_next(request)
        mark(response)
        return response
