"""What the sender of a response knows of ranges and files: few apps have them, so that they are loaded when used."""

from __future__ import annotations

from typing import Self

from trioweb.ground.http.headers import Headers
from trioweb.messages.response import Response


class PreparedResponse(Response):
    """A response that depends on its request, and may hold a file: see ``RangeResponse``, the only one."""

    __slots__ = ()

    async def prepare(self, method: str = "GET", headers: Headers | None = None) -> Self:
        """Make it the response to a request; once, before it is sent."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close what it holds. Safe to call twice."""
        raise NotImplementedError
