"""Sessions in a signed cookie: what the server wants to know of a browser at its next request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from time import time as clock
from typing import Any, Final, TypedDict

import msgspec

from trioweb.ground.http.cookies import SameSite, format_cookie, needs_secure
from trioweb.ground.http.headers import vary_on
from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import Response

MAX_AGE: Final = 14 * 24 * 3600
"""Seconds that a session is valid, unless said otherwise."""


class _Attributes(TypedDict):
    path: str
    domain: str | None
    secure: bool
    httponly: bool
    samesite: SameSite


class _JSON:
    """JSON as itsdangerous wants it."""

    @staticmethod
    def dumps(value: Any) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str) -> Any:
        return msgspec.json.decode(text)


class Session(dict[str, Any]):
    """What is known of a browser: JSON values by their names. A change is kept when the response begins."""


class Sessions:
    """Keeps ``request.state.session``, a dict, in a cookie that its browser can read but not change.

    ::

        app.middleware(Sessions(os.environ["SECRET_KEY"]))

        @app.post("/login")
        async def login(request: Request, name: Annotated[str, Form]):
            request.state.session["user"] = name

    The cookie is set when something has changed, and renewed when half its time is over; an empty session deletes it.
    What a stream changes after its first chunk is lost, since the head has left. A session cannot be revoked before its
    time: keep an id in it, and the rest in a database, where that matters. Needs ``pip install trioweb[sessions]``.

    Args:
        secret_key: what it is signed with, at least 16 characters that nobody can guess; several to change it without
            an end to all sessions, the newest last.
        cookie: its name.
        max_age: seconds that a session is valid after it was written, or a ``timedelta``; ``None`` for until the
            browser closes, and for 14 days where that stays open.
        path: where on the site it is sent.
        domain: a domain whose hosts all get it; this host only unless given.
        samesite: ``"lax"``, ``"strict"`` or ``"none"``.
        secure: over HTTPS only; as the request came unless given, and always where browsers insist on it: with
            ``samesite="none"``, or ``__Host-`` or ``__Secure-`` before the name.

    Raises:
        ModuleNotFoundError: itsdangerous is not installed.
        TypeError: an argument is of a type that cannot be sent.
        ValueError: the key is too short, or browsers would throw the cookie away.
    """

    def __init__(
        self,
        secret_key: str | Sequence[str],
        cookie: str = "session",
        max_age: int | timedelta | None = MAX_AGE,
        path: str = "/",
        domain: str | None = None,
        samesite: SameSite = "lax",
        secure: bool | None = None,
    ) -> None:
        try:
            from itsdangerous import BadData, URLSafeTimedSerializer  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("Sessions needs itsdangerous: pip install trioweb[sessions]") from error
        keys = [secret_key] if isinstance(secret_key, str) else list(secret_key)
        if not keys or any(len(key) < 16 for key in keys):
            raise ValueError("a secret key has at least 16 characters: take one from secrets.token_urlsafe()")
        self._serializer: Any = URLSafeTimedSerializer(keys, salt="trioweb.sessions", serializer=_JSON)
        self._bad: type[Exception] = BadData
        if secure is None and needs_secure(cookie, samesite):
            secure = True
        format_cookie(cookie, "", max_age, None, path, domain, secure is not False, True, samesite)
        seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
        if seconds is not None and seconds <= 0:
            raise ValueError(f"Sessions: max_age is how long a session is valid, got {max_age!r}")
        self._cookie = cookie
        self._max_age = max_age
        self._seconds = MAX_AGE if seconds is None else seconds
        self._path = path
        self._domain = domain
        self._samesite: SameSite = samesite
        self._secure = secure

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Go on with a session, and keep it."""
        session, old = self._load(request)
        before = msgspec.json.encode(session)
        request.state.session = session
        response = await call_next(request)
        after = msgspec.json.encode(request.state.session)
        vary_on(response.headers, "cookie")
        if after == b"{}":
            if self._cookie in request.cookies:
                response.delete_cookie(self._cookie, **self._attributes(request))
        elif after != before or old:
            value = self._serializer.dumps(request.state.session)
            response.set_cookie(self._cookie, value, max_age=self._max_age, **self._attributes(request))
        return response

    def _load(self, request: Request) -> tuple[Session, bool]:
        """The session that came, and whether it is due to be renewed; an empty one where the cookie is not ours."""
        try:
            data, written = self._serializer.loads(
                request.cookies.get(self._cookie, ""), max_age=self._seconds, return_timestamp=True
            )
        except self._bad:
            return Session(), False
        return Session(data), clock() - written.timestamp() > self._seconds / 2

    def _attributes(self, request: Request) -> _Attributes:
        """What a browser has to be told of the cookie, be it to keep it or to forget it."""
        return {
            "path": self._path,
            "domain": self._domain,
            "secure": request.url.scheme == "https" if self._secure is None else self._secure,
            "httponly": True,
            "samesite": self._samesite,
        }
