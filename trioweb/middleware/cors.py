"""Cross-origin requests (CORS, the Fetch standard, section 3.2): which pages of other sites may read a response."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Final

from trioweb.ground.headers import Headers, vary_on
from trioweb.layers import CallNext
from trioweb.request import Request
from trioweb.responses import PlainTextResponse, Response

ALL_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
ALWAYS_ALLOWED: Final = ("accept", "accept-language", "content-language", "content-type")
"""Request headers that need no permission, or hardly any: browsers ask for ``content-type`` where it is JSON."""


class CORS:
    """Lets pages of other origins call the app, and answers their browsers' preflight requests.

    ::

        app.middleware(CORS(allow_origins=["https://app.example"], allow_credentials=True))

    Register it before others, so that their answers are readable too. Errors are marked as well, a 500 that is made
    outside of all middleware among them: a page can tell that the server failed from not being allowed to ask.

    Args:
        allow_origins: origins such as ``"https://app.example"``; ``["*"]`` for all.
        allow_methods: methods, ``["*"]`` for all.
        allow_headers: request headers, ``["*"]`` for all.
        allow_credentials: cookies and the like may be sent along. Every origin is then named in the answer to it.
        allow_origin_regex: a pattern for the whole of further origins.
        allow_private_network: a public page may reach this app in a private network.
        expose_headers: response headers that pages may read, besides those that they always may.
        max_age: seconds that a browser remembers the answer to a preflight.

    Raises:
        TypeError: a list is a single string.
    """

    def __init__(
        self,
        allow_origins: Sequence[str] = (),
        allow_methods: Sequence[str] = ("GET",),
        allow_headers: Sequence[str] = (),
        allow_credentials: bool = False,
        allow_origin_regex: str | None = None,
        allow_private_network: bool = False,
        expose_headers: Sequence[str] = (),
        max_age: int = 600,
    ) -> None:
        lists = {
            "allow_origins": allow_origins,
            "allow_methods": allow_methods,
            "allow_headers": allow_headers,
            "expose_headers": expose_headers,
        }
        for name, value in lists.items():
            if isinstance(value, str):
                raise TypeError(f"CORS: {name} is a list: write {name}=[{value!r}]")
        self._origins = frozenset(allow_origins)
        self._pattern = None if allow_origin_regex is None else re.compile(allow_origin_regex)
        self._methods = ALL_METHODS if "*" in allow_methods else tuple(method.upper() for method in allow_methods)
        self._any_header = "*" in allow_headers
        self._headers = tuple(sorted({*ALWAYS_ALLOWED, *(header.lower() for header in allow_headers)} - {"*"}))
        self._credentials = allow_credentials
        self._private_network = allow_private_network
        self._exposed = ", ".join(expose_headers)
        self._max_age = str(max_age)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Answer a preflight, or mark the response."""
        origin = request.headers.get("origin")
        if origin is not None and request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return self._answer_preflight(origin, request.headers)
        mark = partial(self._mark, origin=origin)
        request.mark_errors(mark)
        response = await call_next(request)
        mark(response)
        return response

    def _allows(self, origin: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        return self._pattern is not None and self._pattern.fullmatch(origin) is not None

    def _mark(self, response: Response, origin: str | None) -> None:
        """Say who may read a response. Where that depends on who asks, caches hear of it whoever asks."""
        headers = response.headers
        self._mark_origin(headers, origin)
        if origin is not None and self._exposed and self._allows(origin):
            headers["access-control-expose-headers"] = self._exposed

    def _mark_origin(self, headers: Headers, origin: str | None) -> None:
        if "*" in self._origins and not self._credentials:
            if origin is not None:
                headers["access-control-allow-origin"] = "*"
            return
        vary_on(headers, "origin")
        if origin is not None and self._allows(origin):
            headers["access-control-allow-origin"] = origin
            if self._credentials:
                headers["access-control-allow-credentials"] = "true"

    def _answer_preflight(self, origin: str, asked: Headers) -> Response:
        method = asked["access-control-request-method"]
        names = [name.strip().lower() for name in asked.get("access-control-request-headers", "").split(",")]
        wanted = [name for name in names if name]
        refused = [] if self._allows(origin) else ["origin"]
        if method not in self._methods:
            refused.append("method")
        if not self._any_header and not set(wanted) <= set(self._headers):
            refused.append("headers")
        private = "access-control-request-private-network" in asked
        if private and not self._private_network:
            refused.append("private network")
        response = Response(status_code=204)
        if refused:
            response = PlainTextResponse(f"Not allowed across origins: {', '.join(refused)}.", 400)
        self._mark_origin(response.headers, origin)
        response.headers["access-control-allow-methods"] = ", ".join(self._methods)
        response.headers["access-control-max-age"] = self._max_age
        if self._any_header:  # with credentials "*" would be a header of that name
            vary_on(response.headers, "access-control-request-headers")
        if allowed := wanted if self._any_header else self._headers:
            response.headers["access-control-allow-headers"] = ", ".join(allowed)
        if private and self._private_network:
            response.headers["access-control-allow-private-network"] = "true"
        return response
