"""What differs between machines, out of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Self

import msgspec

PREFIX = "GATEWAY_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The variables ``GATEWAY_...``.

    Attributes:
        keys: who may ask, and by which key: ``ada=secret,bob=another``.
        upstream: the URL of a server of OpenAI's API.
        upstream_key: the gateway's own key there.
        directory: for the database and the documents.
        redis: the URL that several workers meet at; without one there is one worker.
        rate: requests a minute of each address.
    """

    keys: Annotated[str, msgspec.Meta(pattern=r"^[^=,]+=[^=,]{6,}(,[^=,]+=[^=,]{6,})*$")]
    upstream: Annotated[str, msgspec.Meta(pattern="^https?://")] = "http://localhost:9000"
    upstream_key: str = ""
    directory: str = "."
    redis: str = ""
    rate: Annotated[int, msgspec.Meta(ge=1)] = 600

    def __repr__(self) -> str:
        """The names alone: a key must not be in a log."""
        return f"Settings({', '.join(self.__struct_fields__)})"

    def users(self) -> dict[str, str]:
        """Names by their keys."""
        return {key: name for name, _, key in (pair.partition("=") for pair in self.keys.split(","))}

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings; exits where a variable is missing, wrong or unknown, and says which."""
        given = {name[len(PREFIX) :].lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
        if unknown := given.keys() - set(cls.__struct_fields__):
            raise SystemExit(f"there is no setting {', '.join(sorted(unknown))}: a misprint?")
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SystemExit(f"the {PREFIX} variables are wrong: {error}") from None
