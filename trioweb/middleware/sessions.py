"""Sessions in a signed cookie: what the server wants to know of a browser at its next request."""

from __future__ import annotations

from collections.abc import Sequence
from time import time as clock
from typing import Any, Final

import msgspec

from trioweb.ground.cookies import SameSite
from trioweb.ground.headers import vary_on
from trioweb.layers import CallNext
from trioweb.request import Request
from trioweb.responses import Response

MAX_COOKIE: Final = 4093
"""Bytes of a cookie, its name included, that all browsers keep."""
MAX_AGE: Final = 14 * 24 * 3600
"""Seconds that a session is valid, unless said otherwise."""


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
        max_age: seconds that a session is valid after it was written.
        path: where on the site it is sent.
        domain: a domain whose hosts all get it; this host only unless given.
        samesite: ``"lax"``, ``"strict"`` or ``"none"``.
        secure: over HTTPS only; as the request came unless given.

    Raises:
        ModuleNotFoundError: itsdangerous is not installed.
        ValueError: the key is too short.
    """

    def __init__(
        self,
        secret_key: str | Sequence[str],
        cookie: str = "session",
        max_age: int = MAX_AGE,
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
        self._cookie = cookie
        self._max_age = max_age
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
                response.delete_cookie(self._cookie, self._path, self._domain)
        elif after != before or old:
            self._keep(request, response)
        return response

    def _load(self, request: Request) -> tuple[Session, bool]:
        """The session that came, and whether it is due to be renewed; an empty one where the cookie is not ours."""
        try:
            data, written = self._serializer.loads(
                request.cookies.get(self._cookie, ""), max_age=self._max_age, return_timestamp=True
            )
        except self._bad:
            return Session(), False
        return Session(data), clock() - written.timestamp() > self._max_age / 2

    def _keep(self, request: Request, response: Response) -> None:
        value = self._serializer.dumps(request.state.session)
        if len(self._cookie) + len(value) > MAX_COOKIE:
            raise ValueError(
                f"the session of {request.path} makes a cookie of {len(value)} bytes, and browsers keep {MAX_COOKIE}: "
                "keep an id in it and the rest in a database"
            )
        response.set_cookie(
            self._cookie,
            value,
            max_age=self._max_age,
            path=self._path,
            domain=self._domain,
            secure=request.url.scheme == "https" if self._secure is None else self._secure,
            httponly=True,
            samesite=self._samesite,
        )
