"""Several credentials of which a client needs one."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from trioweb.ground.errors import HTTPError
from trioweb.handlers.markers import Provide
from trioweb.handlers.signatures import label_of
from trioweb.openapi.security import Alternatives
from trioweb.security.credentials import Credential


class AnyOf(Alternatives):
    """A dependency that takes one of several credentials: a token or a session, a key in a header or a cookie.

    ::

        by_token = BearerToken({"secret": "ada"}, optional=True)
        by_key = APIKey({"key": "shop"}, header="x-api-key", optional=True)

        @app.get("/me")
        async def me(user: Annotated[str, Provide(AnyOf(by_token, by_key))]):
            return user

    It provides what the first one provides that is not ``None``; all are asked, so one that is not valid is refused by
    itself. Where there is none, it is a 401 with the challenges of all. The routes are described with each as a way to
    be let in.

    Args:
        credentials: dependencies that provide ``None`` where there is nothing: ``BearerToken(..., optional=True)``
            and its like, or functions of your own, which ``trioweb.openapi.security`` describes.
        optional: a request with none of them passes, and ``None`` is provided.

    Raises:
        TypeError: if there are fewer than two, or one is not optional or cannot be called.
    """

    def __init__(self, *credentials: Callable[..., object], optional: bool = False) -> None:
        if len(credentials) < 2:
            raise TypeError("AnyOf takes two credentials or more: write AnyOf(BearerToken(..., optional=True), other)")
        super().__init__(optional=optional)
        for each in credentials:
            if not callable(each) or isinstance(each, type):
                raise TypeError(f"AnyOf takes dependencies, got {each!r}: write BearerToken(..., optional=True)")
            if isinstance(each, Credential) and not each.optional:
                name = type(each).__name__
                raise TypeError(f"AnyOf asks each, and {label_of(each)} refuses: write {name}(..., optional=True)")
        self._credentials = credentials
        inputs = [
            Parameter(f"found_{number}", Parameter.KEYWORD_ONLY, annotation=Annotated[Any, Provide(each)])
            for number, each in enumerate(credentials)
        ]
        self.__signature__ = Signature(inputs)

    async def __call__(self, **found: object) -> Any:
        """What the first credential provides that is there.

        Raises:
            HTTPError: 401 if there is none.
        """
        for value in found.values():
            if value is not None:
                return value
        if self.optional:
            return None
        raise self.missing()

    def missing(self) -> HTTPError:
        """The error for a connection with none of them: a 401, as that of ``BearerToken``."""
        own = [dict(each.missing().headers or ()) for each in self._credentials if isinstance(each, Credential)]
        challenges = dict.fromkeys(value for headers in own for value in headers.values())
        headers = {"www-authenticate": ", ".join(challenges)} if challenges else None
        return HTTPError(401, "This needs credentials.", headers)
