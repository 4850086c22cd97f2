"""Cross-origin requests (CORS, the Fetch standard, section 3.2): which other origins may read a response."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from trioweb.ground.http.headers import Headers, is_token, vary_on
from trioweb.ground.http.origins import check_origin
from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import PlainTextResponse, Response

ALL_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
ALWAYS_ALLOWED: Final = ("accept", "accept-language", "content-language", "content-type")
"""Request headers that need no permission, or hardly any: browsers ask for ``content-type`` where it is JSON."""

_ANY_SITE: Final = ("https://any-site.invalid", "http://any-site.invalid", "null")
"""Origins that only an option for every site allows. Each site has the origin ``null`` in a sandboxed frame."""


class CORS:
    """Lets pages of other origins call the app, and answers their browsers' preflight requests.

    ::

        app.middleware(CORS(allow_origins=["https://app.example"], allow_credentials=True))

    Register it before other middleware, so that pages can read the responses of these too. Error responses get the
    headers as well, also a 500 that is made outside of all middleware.

    Args:
        allow_origins: origins such as ``"https://app.example"``; ``["*"]`` for all.
        allow_methods: methods, ``["*"]`` for all.
        allow_headers: request headers, ``["*"]`` for all.
        allow_credentials: requests may carry cookies and the like. Origins must then be named, or match a pattern.
        allow_origin_regex: a pattern for the whole of further origins.
        allow_private_network: a public page may reach this app in a private network.
        expose_headers: response headers that pages may read besides the safelisted ones.
        max_age: seconds that a browser remembers the answer to a preflight; -1 for not at all.

    Raises:
        TypeError: if an option has the wrong type, such as a string instead of a list.
        ValueError: if no browser sends such an origin, method or header, or if ``"*"`` is combined with
            ``allow_credentials``.
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
        for name, given in (("allow_credentials", allow_credentials), ("allow_private_network", allow_private_network)):
            if not isinstance(given, bool):
                raise TypeError(f"CORS: {name} is True or False, got {given!r}")
        if isinstance(max_age, bool) or not isinstance(max_age, int):
            raise TypeError(f"CORS: max_age is a whole number of seconds, got {max_age!r}")
        if max_age < -1:
            raise ValueError(f"CORS: max_age is a number of seconds, or -1 to remember nothing, got {max_age!r}")
        self._origins = frozenset(_listed("allow_origins", allow_origins, _check_origin))
        methods = _listed("allow_methods", allow_methods, _check_token)
        headers = _listed("allow_headers", allow_headers, _check_token)
        exposed = _listed("expose_headers", expose_headers, _check_token)
        self._pattern = _compiled(allow_origin_regex)
        if allow_credentials and ("*" in self._origins or any(map(self._allows, _ANY_SITE))):
            raise ValueError(
                "CORS: with credentials every site could act as the user's: name the origins, as in "
                'allow_origins=["https://app.example"] or allow_origin_regex=r"https://[a-z]+\\.app\\.example", or '
                "write allow_credentials=False"
            )
        if allow_credentials and "*" in exposed:
            raise ValueError('CORS: with credentials browsers take "*" in expose_headers for a name: name the headers')
        self._methods = ALL_METHODS if "*" in methods else tuple(method.upper() for method in methods)
        self._any_header = "*" in headers
        self._headers = tuple(sorted({*ALWAYS_ALLOWED, *(header.lower() for header in headers)} - {"*"}))
        self._credentials = allow_credentials
        self._private_network = allow_private_network
        self._exposed = ", ".join(exposed)
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
        """Set the headers that let an origin read a response; and ``vary``, for every origin, if that depends on it."""
        headers = response.headers
        self._mark_origin(headers, origin)
        if origin is not None and self._exposed and self._allows(origin):
            headers["access-control-expose-headers"] = self._exposed

    def _mark_origin(self, headers: Headers, origin: str | None) -> None:
        if "*" in self._origins:
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


def _listed(name: str, given: Sequence[str], check: Callable[[str, str], None]) -> list[str]:
    """The texts of a list option, all but ``"*"`` checked."""
    if isinstance(given, str):
        raise TypeError(f"CORS: {name} is a list: write {name}=[{given!r}]")
    if not isinstance(given, Iterable):
        raise TypeError(f"CORS: {name} is a list, got {given!r}")
    texts = list(given)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"CORS: {name} is a list of str, got {text!r} in it")
        if text != "*":
            check(name, text)
    return texts


def _check_token(name: str, text: str) -> None:
    if not is_token(text):
        what = "method" if name == "allow_methods" else "header name"
        raise ValueError(
            f"CORS: {name} has {text!r}, which is not a {what}: write each as a text of its own, without spaces"
        )


def _check_origin(name: str, text: str) -> None:
    check_origin(
        f"CORS: {name} has", text, 'for several write allow_origin_regex=r"https://[a-z0-9-]+\\.app\\.example"'
    )


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is not None and not isinstance(pattern, str):
        raise TypeError(f"CORS: allow_origin_regex is a str, got {pattern!r}")
    if pattern is not None and pattern.rstrip("$").endswith("/"):
        raise ValueError(f"CORS: allow_origin_regex {pattern!r} ends in a slash, and no origin does: leave it out")
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ValueError(f"CORS: allow_origin_regex {pattern!r} does not compile: {error}") from error
