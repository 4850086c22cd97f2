"""Credentials of requests and WebSockets, as dependencies that describe themselves (RFC 6750, RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.headers import is_token
from trioweb.handlers.signatures import name_of
from trioweb.messages.connection import Connection
from trioweb.openapi import security
from trioweb.security.checks import ANY, Check, check_of, checked, inputs_of

Known: TypeAlias = "str | Iterable[str] | Mapping[str, object] | Check"
"""Secrets: one, several, or values by secrets; or a function of a secret."""
Users: TypeAlias = "Mapping[str, str] | Check"
"""Passwords by users, or a function of both."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""A bearer token (RFC 6750, section 2.1)."""
_REALM: Final = re.compile(r"[ !#-\[\]-~]+")
"""Text that needs no escapes in a quoted string (RFC 9110, section 5.6.4)."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
"""What neither name nor password has (RFC 7617, section 2)."""


class BasicCredentials(NamedTuple):
    """What a client has sent for ``BasicAuth``.

    Attributes:
        user: the name, without a colon.
        password: the password.
    """

    user: str
    password: str


class Credential(ABC):
    """A dependency that takes one kind of credential.

    Args:
        check: see ``check_of``; ``ANY`` for none.
        optional: a connection without credentials passes, as ``None``.
        name: that of the scheme in OpenAPI.
        scheme: the scheme, as OpenAPI writes one.
        challenge: the ``www-authenticate`` header of a 401.

    Attributes:
        optional: a connection without credentials passes.
    """

    _parts: ClassVar[str]

    def __init__(
        self, check: object, *, optional: bool, name: str, scheme: Mapping[str, object], challenge: str
    ) -> None:
        kind, count = type(self).__name__, len(self._parts.split(", "))
        self._check = check_of(kind, check, count, self._parts)
        own = Parameter("_connection", Parameter.KEYWORD_ONLY, annotation=Connection)
        self.__signature__ = Signature([own, *inputs_of(self._check, count)])
        self.__qualname__ = kind if self._check is None else f"{kind}({name_of(self._check, qualified=True)})"
        self.optional = optional
        self._challenge = challenge
        security(name, scheme, optional=optional)(self)

    async def __call__(self, _connection: Connection, **inputs: object) -> Any:
        """What is known of the credential.

        Waits for the check.

        Args:
            inputs: what the check takes besides.

        Raises:
            HTTPError: 401 if it is missing, malformed or not known.
        """
        parts = self._find(_connection)
        if parts is None:
            if self.optional:
                return None
            raise self.missing()
        if self._check is None:
            return BasicCredentials(*parts) if len(parts) == 2 else parts[0]
        found = await checked(self._check, *parts, **inputs)
        if found is None or found is False:
            raise self.refused()
        return parts[0] if found is True else found

    def refused(self, detail: str = "The credentials are not valid.") -> HTTPError:
        """The error for a credential that is not valid: a 401, for a dependency of your own to raise.

        Args:
            detail: why, for the client.
        """
        return HTTPError(401, detail, {"www-authenticate": self._challenge})

    def missing(self) -> HTTPError:
        """The error for a connection without credentials: a 401, as ``refused``, for one that is ``optional`` here."""
        return self.refused("This needs credentials.")

    @abstractmethod
    def _find(self, connection: Connection) -> tuple[str, ...] | None:
        """The parts of the credential; ``None`` if there is none.

        Raises:
            HTTPError: 401 if it is malformed.
        """

    def _authorization(self, connection: Connection, scheme: str) -> str | None:
        """The credentials of an ``authorization`` header of a scheme (RFC 9110, section 11.4)."""
        values = connection.headers.getlist("authorization")
        if len(values) > 1:
            raise self.refused("There are several authorization headers.")
        if not values:
            return None
        given, _, credentials = values[0].partition(" ")
        return credentials.strip(" ") if given.lower() == scheme else None


class BearerToken(Credential):
    """A dependency that takes the token of an ``authorization: Bearer`` header (RFC 6750).

    ::

        async def find_user(token: str):
            return {"secret": "ada"}.get(token)

        @app.get("/me")
        async def me(user: Annotated[str, Provide(BearerToken(find_user))]):
            return user

    It works for WebSockets as well, but browsers send no such header with a handshake. The routes are described with
    the scheme, and a 401.

    Args:
        check: what is valid: a token, several, or a mapping of tokens to what the dependency provides, all compared in
            constant time; or a function of the token that returns that, ``None`` or ``False`` for an invalid one, an
            ``async def``, or a ``def``, which runs in a worker thread. It may take more, as a dependency does:
            ``request: Request``, ``Annotated[Pool, Provide(find_pool)]``; that is there before a token is looked for.
            Without ``check`` each token is provided as it came: check it in a dependency of your own, which raises
            ``refused()``.
        optional: a request without a token passes, and ``None`` is provided; an invalid token is refused all the same.
        realm: what the token is for, in the challenge.
        name: the name of the scheme in the description of the API.
        format: how tokens are made, for readers of it, such as ``"JWT"``.

    Raises:
        TypeError: if ``check`` is something else.
        ValueError: if a token is empty, or the realm cannot be sent.
    """

    _parts = "token"

    def __init__(
        self,
        check: Known = ANY,
        *,
        optional: bool = False,
        realm: str | None = None,
        name: str = "bearer",
        format: str | None = None,  # noqa: A002 - as in OpenAPI
    ) -> None:
        scheme = {"type": "http", "scheme": "bearer", **({} if format is None else {"bearerFormat": format})}
        self._plain = "Bearer" if realm is None else f'Bearer realm="{_checked_realm(realm)}"'
        invalid = self._plain + ("" if realm is None else ",") + ' error="invalid_token"'
        super().__init__(check, optional=optional, name=name, scheme=scheme, challenge=invalid)

    def missing(self) -> HTTPError:
        """The error for a request without a token: a challenge without an error (RFC 6750, section 3.1)."""
        return HTTPError(401, "This needs a token.", {"www-authenticate": self._plain})

    def _find(self, connection: Connection) -> tuple[str, ...] | None:
        token = self._authorization(connection, "bearer")
        if token is None:
            return None
        if not _TOKEN.fullmatch(token):
            raise self.refused("The token is malformed.")
        return (token,)


class BasicAuth(Credential):
    """A dependency that takes the user and password of an ``authorization: Basic`` header (RFC 7617): browsers ask for
    them. Use it over HTTPS only, since anybody in between could read them.

    ::

        admin = BasicAuth({"ada": os.environ["ADMIN_PASSWORD"]})

        @app.get("/admin")
        async def page(user: Annotated[str, Provide(admin)]):
            return user

    Args:
        check: the passwords by users, compared in constant time: then the user's name is provided; or a function of
            user and password, as that of ``BearerToken``, for passwords that are hashed. Without it
            ``BasicCredentials`` are provided as they came.
        optional: as for ``BearerToken``.
        realm: what the password is for: browsers show it.
        name: the name of the scheme in the description of the API.

    Raises:
        TypeError: if ``check`` is something else.
        ValueError: if a password is empty, or the realm cannot be sent.
    """

    _parts = "user, password"

    def __init__(self, check: Users = ANY, *, optional: bool = False, realm: str = "here", name: str = "basic") -> None:
        challenge = f'Basic realm="{_checked_realm(realm)}", charset="UTF-8"'
        super().__init__(
            check, optional=optional, name=name, scheme={"type": "http", "scheme": "basic"}, challenge=challenge
        )

    def _find(self, connection: Connection) -> tuple[str, ...] | None:
        encoded = self._authorization(connection, "basic")
        if encoded is None:
            return None
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise self.refused("The credentials are malformed.") from None
        user, colon, password = text.partition(":")
        if not colon or _CONTROL.search(text):
            raise self.refused("The credentials are malformed.")
        return user, password


class APIKey(Credential):
    """A dependency that takes a key from a header, the query string or a cookie.

    ::

        key = APIKey({os.environ["SHOP_KEY"]: "shop"}, header="x-api-key")

        @app.post("/orders")
        async def order(client: Annotated[str, Provide(key)]):
            return client

    A key in the query string is in logs and histories: it is for clients that can send nothing else, such as a
    browser's WebSockets. One in a cookie is sent by pages of other sites too: see ``CSRF``.

    Args:
        check: as for ``BearerToken``.
        header: the name of the header; or
        query: the name in the query string; or
        cookie: the name of the cookie: one of these three.
        optional: as for ``BearerToken``.
        name: the name of the scheme in the description of the API; that of header, field or cookie unless given.

    Raises:
        TypeError: if ``check`` is something else, or not exactly one place is named.
        ValueError: if a key is empty, or a name cannot be sent.
    """

    _parts = "key"

    def __init__(
        self,
        check: Known = ANY,
        *,
        header: str | None = None,
        query: str | None = None,
        cookie: str | None = None,
        optional: bool = False,
        name: str | None = None,
    ) -> None:
        places = {"header": header, "query": query, "cookie": cookie}
        given = [(place, key) for place, key in places.items() if key is not None]
        if len(given) != 1:
            raise TypeError('APIKey takes one place: write APIKey(..., header="x-api-key"), or query=, or cookie=')
        [(self._place, self._key)] = given
        if not self._key or (self._place != "query" and not is_token(self._key)):
            raise ValueError(f"APIKey: {self._key!r} is not the name of a {self._place}")
        scheme = {"type": "apiKey", "in": self._place, "name": self._key}
        super().__init__(check, optional=optional, name=name or self._key, scheme=scheme, challenge="APIKey")

    def _find(self, connection: Connection) -> tuple[str, ...] | None:
        if self._place == "cookie":
            values = [connection.cookies[self._key]] if self._key in connection.cookies else []
        else:
            values = (connection.headers if self._place == "header" else connection.query).getlist(self._key)
        if len(values) > 1:
            raise self.refused("There are several keys.")
        return (values[0],) if values and values[0] else None


def _checked_realm(realm: str) -> str:
    if not isinstance(realm, str) or not _REALM.fullmatch(realm):
        raise ValueError(f"a realm is ASCII text without quotes and backslashes, got {realm!r}")
    return realm
