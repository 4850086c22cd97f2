"""What differs between machines, out of the environment."""

import os
from collections.abc import Mapping
from typing import Annotated, Self

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The variables ``GATEWAY_...``."""

    keys: Annotated[str, msgspec.Meta(pattern=r"^[^=,]+=[^=,]{6,}(,[^=,]+=[^=,]{6,})*$")]  # ada=secret,bob=another
    upstream: Annotated[str, msgspec.Meta(pattern="^https?://")] = "http://localhost:9000"
    upstream_key: str = ""  # the gateway's own
    directory: str = "."  # for the database and the documents
    redis: str = ""  # the URL that several workers meet at; without one there is one worker
    rate: Annotated[int, msgspec.Meta(ge=1)] = 600  # requests a minute of each address

    def __repr__(self) -> str:
        """The names alone: a key must not be in a log."""
        return f"Settings({', '.join(self.__struct_fields__)})"

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings; exits where a variable is missing, wrong or unknown, and says which."""
        named = ((name.partition("GATEWAY_"), value) for name, value in environ.items())
        given = {name.lower(): value for (before, found, name), value in named if found and not before}
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SystemExit(f"the GATEWAY_ variables are wrong: {error}") from None
