"""Headers that restrict what a browser does with a response."""

from __future__ import annotations

from functools import partial
from typing import Final

from trioweb.ground.http.headers import Headers
from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import Response

_HSTS: Final = "strict-transport-security"


class SecurityHeaders:
    """Adds headers that a response, also an error response, does not have yet; ``None`` leaves one out.

    Args:
        content_type_options: ``nosniff``: the browser must not guess another content type.
        frame_options: who may show a page in a frame.
        referrer_policy: how much of its URL a page sends to others.
        opener_policy: which pages share a browsing context group with it.
        content_security_policy: what a page may load and run; none unless given.
        permissions_policy: which features of the browser it may use; none unless given.
        hsts: the ``strict-transport-security`` of responses over HTTPS; none unless given, since a browser
            remembers it for its ``max-age``. ``"max-age=63072000; includeSubDomains"`` is two years.

    Raises:
        TypeError: if one is not a ``str``.
        ValueError: if one cannot be sent.
    """

    def __init__(
        self,
        content_type_options: str | None = "nosniff",
        frame_options: str | None = "DENY",
        referrer_policy: str | None = "strict-origin-when-cross-origin",
        opener_policy: str | None = "same-origin",
        content_security_policy: str | None = None,
        permissions_policy: str | None = None,
        hsts: str | None = None,
    ) -> None:
        given = {
            "x-content-type-options": content_type_options,
            "x-frame-options": frame_options,
            "referrer-policy": referrer_policy,
            "cross-origin-opener-policy": opener_policy,
            "content-security-policy": content_security_policy,
            "permissions-policy": permissions_policy,
            _HSTS: hsts,
        }
        for name, value in given.items():
            if value is not None and not isinstance(value, str):
                raise TypeError(f"SecurityHeaders: {name} is a str, or None to leave it out, got {value!r}")
        self._headers = Headers([(name, value) for name, value in given.items() if value is not None])

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next, and add missing headers to its response."""
        mark = partial(self._mark, request)
        request.mark_errors(mark)
        response = await call_next(request)
        mark(response)
        return response

    def _mark(self, request: Request, response: Response) -> None:
        for name, value in self._headers.items():
            if name != _HSTS or request.url.scheme == "https":
                response.headers.setdefault(name, value)
