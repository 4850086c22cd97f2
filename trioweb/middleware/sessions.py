"""Sessions in a signed cookie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import time as clock
from typing import Any, Final, TypedDict, Unpack

import msgspec

from trioweb.ground.encoding import encode_json
from trioweb.ground.http.cookies import SameSite, format_cookie, needs_secure
from trioweb.ground.http.headers import vary_on
from trioweb.handlers.layers import CallNext
from trioweb.messages.connection import ACCEPTED
from trioweb.messages.request import Request
from trioweb.messages.response import Response
from trioweb.middleware.late import TOO_LATE, LateChanges, Session, kept_by

MAX_AGE: Final = 14 * 24 * 3600
"""Seconds that a session is valid unless given."""


class _Attributes(TypedDict):
    path: str
    domain: str | None
    secure: bool
    httponly: bool
    samesite: SameSite
    partitioned: bool


class CookieOptions(TypedDict, total=False):
    """The cookie of a session: keywords of all that keep sessions.

    Attributes:
        cookie: its name; ``"session"`` unless given.
        max_age: seconds that a session is valid after it was written, or a ``timedelta``; 14 days unless given, and
            ``None`` for a cookie that is deleted when the browser closes, and valid for 14 days.
        path: the path that it is sent to; all unless given.
        domain: a domain whose hosts all receive it; this host only unless given.
        samesite: ``"lax"``, ``"strict"`` or ``"none"``; ``"lax"`` unless given.
        secure: over HTTPS only. Unless given: if the request came over HTTPS, and always if browsers require it: with
            ``samesite="none"``, ``partitioned``, or a name that begins with ``__Host-`` or ``__Secure-``.
        partitioned: in a frame on another site, the session is one of its own for that site (CHIPS); needs
            ``samesite="none"``, or browsers do not send it there.
    """

    cookie: str
    max_age: int | timedelta | None
    path: str
    domain: str | None
    samesite: SameSite
    secure: bool | None
    partitioned: bool


class SessionCookie(ABC):
    """Middleware that keeps ``request.state.session`` for the browser that has a cookie: see ``CookieOptions``.

    Args:
        kind: the name of the class, for messages.
    """

    def __init__(
        self,
        kind: str,
        cookie: str = "session",
        max_age: int | timedelta | None = MAX_AGE,
        path: str = "/",
        domain: str | None = None,
        samesite: SameSite = "lax",
        secure: bool | None = None,
        partitioned: bool = False,
    ) -> None:
        if secure is None and needs_secure(cookie, samesite, partitioned):
            secure = True
        format_cookie(cookie, "", max_age, None, path, domain, secure is not False, True, samesite, partitioned)
        seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
        if seconds is not None and seconds <= 0:
            raise ValueError(f"{kind}: max_age is how long a session is valid, got {max_age!r}")
        self._cookie = cookie
        self._max_age = max_age
        self._seconds = MAX_AGE if seconds is None else seconds
        self._path = path
        self._domain = domain
        self._samesite: SameSite = samesite
        self._secure = secure
        self._partitioned = partitioned

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next with a session, and save it."""
        value = request.cookies.get(self._cookie)
        found = None if value is None else await self._load(value)
        session, old = found or (Session(), False)
        before = encode_json(session)
        request.state.session = session
        response = await call_next(request)
        kept, after = kept_by(request)
        vary_on(response.headers, "cookie")
        ended = after == b"{}"
        goes_on = response.status_code == ACCEPTED or response.body is None
        late = LateChanges(self._refuse_late, self._save_late, request, goes_on and not ended, after)
        for each in (session, kept):
            if isinstance(each, Session):
                each.begin(late)
        known = None if found is None else value
        if after != before or ended or old or session.renewed:
            if known is not None and (ended or session.renewed or kept is not session):
                await self._end(known)
                known = None
            known = None if ended else await self._save(after, known)
            if known is not None:
                response.set_cookie(self._cookie, known, max_age=self._max_age, **self._attributes(request))
            elif value is not None:
                response.delete_cookie(self._cookie, **self._attributes(request))
        late.cookie = known
        if response.status_code == ACCEPTED:
            late.watch()
        return response

    @abstractmethod
    def _refuse_late(self, *, has_one: bool) -> None:
        """Refuse a change after the response has begun, if it cannot be saved.

        Args:
            has_one: the browser has a session, and the response goes on.

        Raises:
            RuntimeError: if it cannot.
        """

    @abstractmethod
    async def _save_late(self, known: str, data: bytes, kept: Mapping[str, object]) -> None:
        """Save what has changed since the response began, if there is still a session.

        Args:
            known: its cookie.
            data: what it was then, as JSON.
            kept: its values now.
        """

    @abstractmethod
    async def _load(self, value: str) -> tuple[Session, bool] | None:
        """The session of a cookie, and whether to save it anew; ``None`` if it is not valid."""

    @abstractmethod
    async def _save(self, data: bytes, value: str | None) -> str | None:
        """Save a session.

        Args:
            data: its values, as JSON.
            value: its cookie; ``None`` for a new one.

        Returns:
            The cookie; ``None`` if the session has ended meanwhile.
        """

    @abstractmethod
    async def _end(self, value: str) -> None:
        """End the session of a cookie."""

    def _attributes(self, request: Request) -> _Attributes:
        """The cookie's attributes, the same to set it and to delete it."""
        return {
            "path": self._path,
            "domain": self._domain,
            "secure": request.url.scheme == "https" if self._secure is None else self._secure,
            "httponly": True,
            "samesite": self._samesite,
            "partitioned": self._partitioned,
        }


class _JSON:
    """JSON with the interface that itsdangerous calls."""

    @staticmethod
    def dumps(value: object) -> str:
        return msgspec.json.encode(value).decode()

    loads = staticmethod(msgspec.json.decode)


class Sessions(SessionCookie):
    """Keeps ``request.state.session``, a dict, in a cookie that the browser can read but not change.

    ::

        app.middleware(Sessions(os.environ["SECRET_KEY"]))

        @app.post("/login")
        async def login(request: Request, name: Annotated[str, Form]):
            request.state.session["user"] = name

    The cookie is set when the session has changed, and renewed when half of its lifetime is over; an empty session
    deletes it. A change that a stream makes after its first chunk, or a WebSocket's handler after it has accepted, is a
    ``RuntimeError``, since the head is sent. A session cannot be revoked: if that matters, take
    ``trioweb.security.MemorySessions`` or ``RedisSessions``. Needs ``pip install trioweb[sessions]``.

    Args:
        secret_key: what it is signed with, at least 16 characters that nobody can guess; several, the newest last, to
            rotate keys and keep existing sessions.
        options: the cookie.

    Raises:
        ModuleNotFoundError: if itsdangerous is not installed.
        TypeError: if an argument has a type that cannot be sent.
        ValueError: if a key is too short, or browsers would reject the cookie.
    """

    def __init__(self, secret_key: str | Sequence[str], **options: Unpack[CookieOptions]) -> None:
        super().__init__("Sessions", **options)
        try:
            from itsdangerous import BadData, URLSafeTimedSerializer  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("Sessions needs itsdangerous: pip install trioweb[sessions]") from error
        keys = [secret_key] if isinstance(secret_key, str) else list(secret_key)
        if not keys or any(len(key) < 16 for key in keys):
            raise ValueError("a secret key has at least 16 characters: take one from secrets.token_urlsafe()")
        self._serializer: Any = URLSafeTimedSerializer(keys, salt="trioweb.sessions", serializer=_JSON)
        self._bad = BadData

    async def _load(self, value: str) -> tuple[Session, bool] | None:
        try:
            data, written = self._serializer.loads(value, max_age=self._seconds, return_timestamp=True)
        except self._bad:
            return None
        return Session(data), clock() - written.timestamp() > self._seconds / 2

    async def _save(self, data: bytes, value: str | None) -> str | None:
        del value
        return str(self._serializer.dumps(msgspec.Raw(data)))

    async def _end(self, value: str) -> None:
        """Nothing is kept."""

    def _refuse_late(self, *, has_one: bool) -> None:
        del has_one
        raise RuntimeError(
            f"the session was changed {TOO_LATE}, and is in a cookie, which was sent: change it before, or take "
            "MemorySessions or RedisSessions"
        )

    async def _save_late(self, known: str, data: bytes, kept: Mapping[str, object]) -> None:
        """Nothing is saved: ``_refuse_late`` raises."""
