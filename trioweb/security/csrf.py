"""Requests that another site's page makes a browser send, with the user's cookies (cross-site request forgery)."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from trioweb.exchange.call import SAFE
from trioweb.ground.errors import HTTPError
from trioweb.ground.http.cookies import format_cookie
from trioweb.ground.http.headers import Headers, is_token, vary_on
from trioweb.ground.http.origins import DEFAULT_PORTS, check_origin, parse_origin
from trioweb.ground.http.urls import parse_authority
from trioweb.handlers.layers import CallNext
from trioweb.messages.connection import FORM_TYPE, URLENCODED_TYPE, Connection, media_type_of
from trioweb.messages.request import Request
from trioweb.messages.response import Response

SIZE: Final = 32
"""Bytes of a browser's secret."""


class CSRF:
    """Refuses requests of other sites' pages that could change something, and their WebSockets, with a 403.

    ::

        app.middleware(CSRF())

        @app.get("/transfer")
        async def form(token: Annotated[str, Provide(csrf_token)]):
            return HTMLResponse(f'<form method="post"><input type="hidden" name="csrf_token" value="{token}"></form>')

        @app.post("/transfer")
        async def transfer():
            return "done"

    Whose page has sent a request the browser says itself: by ``sec-fetch-site`` (Fetch Metadata), else by ``origin``.
    It concerns handshakes and all methods but GET, HEAD and OPTIONS, whatever the content type. Of a request that says
    neither, and has cookies or a password by which a browser is known, the token is demanded, in a header or a field
    of the form; its secret is in a cookie of its own (a "double submit"). All browsers since 2023 say one of them, so
    the token is for older ones. Requests with neither cookies nor password pass: no browser has lent them anything.

    A form's field is looked for in requests of such browsers only, and reads their body: a handler that streams it gets
    the token by the header.

    Args:
        origins: other origins whose pages may send requests, such as ``"https://app.example"``.
        cookie: the name of the cookie; over HTTPS ``__Host-`` is put before it, so that no subdomain can set it.
        field: the name of the form's field.
        header: the name of the header.

    Raises:
        TypeError: if ``origins`` is a string.
        ValueError: if no browser sends such an origin, or a name cannot be sent.
    """

    def __init__(
        self,
        origins: Sequence[str] = (),
        *,
        cookie: str = "csrf",
        field: str = "csrf_token",
        header: str = "x-csrf-token",
    ) -> None:
        if isinstance(origins, str):
            raise TypeError(f"CSRF takes a list: write CSRF([{origins!r}])")
        for origin in origins:
            if origin == "null":
                raise ValueError("CSRF: every site can have the origin 'null', by a sandboxed frame: leave it out")
            check_origin("CSRF: origins has", origin)
        format_cookie("__Host-" + cookie, "", secure=True)
        if not is_token(header):
            raise ValueError(f"CSRF: {header!r} is not the name of a header")
        self._origins = frozenset(origins)
        self._cookie = cookie
        self._field = field
        self._header = header

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next for a request that no other site's page has sent."""
        secure = request.url.scheme == "https"
        name = f"__Host-{self._cookie}" if secure else self._cookie
        secret = _decoded(request.cookies.get(name, ""))
        if (request.method not in SAFE or request.is_websocket) and not self._is_own(request):
            await self._demand_token(request, secret)
        request.state.csrf = token = _Token(secret)
        response = await call_next(request)
        if token.asked:
            vary_on(response.headers, "cookie")
            if secret is None:
                response.set_cookie(name, _encoded(token.secret), secure=secure, httponly=True, samesite="lax")
        return response

    def _is_own(self, request: Request) -> bool:
        """Whether the browser says that the request is its user's or that of an own page; ``False`` if it says nothing.

        Raises:
            HTTPError: 403 if it is that of another site's page.
        """
        headers = request.headers
        site, origins = headers.get("sec-fetch-site"), headers.getlist("origin")
        if site is None and not origins:
            return False
        if len(origins) == 1 and origins[0] in self._origins:
            return True
        if site is not None:
            if site in {"same-origin", "none"}:
                return True
        elif len(origins) == 1 and _is_host(origins[0], headers, request.url.scheme):
            return True
        raise HTTPError(403, "This was sent by a page of another site.")

    async def _demand_token(self, request: Request, secret: bytes | None) -> None:
        """Refuse a request without the token, if it has something that a browser may have lent it.

        Raises:
            HTTPError: 403 if the token is missing or wrong.
        """
        headers = request.headers
        scheme = headers.get("authorization", "").partition(" ")[0].lower()
        if request.is_websocket or ("cookie" not in headers and scheme in {"", "bearer"}):
            return  # all browsers say the origin of a handshake (RFC 6455, section 4.1)
        given: object = headers.get(self._header)
        if given is None and secret is not None and media_type_of(request) in {FORM_TYPE, URLENCODED_TYPE}:
            given = (await request.form()).get(self._field)
        if secret is None or not isinstance(given, str) or not _fits(given, secret):
            raise HTTPError(403, "The form has expired: load its page again.")


async def csrf_token(connection: Connection) -> str:
    """A dependency: the token for a form, behind ``CSRF``. It is another one for each request, and valid for as long as
    the browser is open.

    Raises:
        RuntimeError: if there is no ``CSRF`` around the route.
    """
    token: _Token | None = getattr(connection.state, "csrf", None)
    if token is None:
        raise RuntimeError("csrf_token needs its middleware: write app.middleware(CSRF())")
    token.asked = True
    return token.masked()


class _Token:
    """What a response is about to hand out.

    Attributes:
        secret: the browser's.
        asked: a token was asked for.
    """

    __slots__ = ("asked", "secret")

    def __init__(self, secret: bytes | None) -> None:
        self.secret = secret or secrets.token_bytes(SIZE)
        self.asked = False

    def masked(self) -> str:
        """A token that differs from all others: the sizes of compressed pages tell nothing of it (BREACH)."""
        mask = secrets.token_bytes(SIZE)
        return _encoded(mask + _mixed(mask, self.secret))


def _fits(given: str, secret: bytes) -> bool:
    token = _decoded(given, 2 * SIZE)
    return token is not None and hmac.compare_digest(_mixed(token[:SIZE], token[SIZE:]), secret)


def _mixed(mask: bytes, secret: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(mask, secret, strict=True))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decoded(text: str, size: int = SIZE) -> bytes | None:
    """The bytes of a token or secret; ``None`` if it is none."""
    try:
        value = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == size else None


def _is_host(origin: str, headers: Headers, scheme: str) -> bool:
    """Whether an origin is that of the host which was asked. A proxy may have ended TLS: its scheme may be better."""
    found, hosts = parse_origin(origin), headers.getlist("host")
    asked = parse_authority(hosts[0]) if len(hosts) == 1 else None
    if found is None or asked is None or (scheme == "https" and found.scheme != "https"):
        return False
    port = DEFAULT_PORTS.get(found.scheme)
    return (found.host, found.port or port) == (asked.host, asked.port or port)
