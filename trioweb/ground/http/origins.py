"""Origins, as browsers send them (the URL standard, section 4.5): they are compared as text."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from trioweb.ground.http.urls import parse_authority

_ORIGIN: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?:[/?#].*)?", re.DOTALL)
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """An origin.

    Attributes:
        scheme: in lower case.
        host: as in ``Authority``.
        port: the port, or ``None`` for that of the scheme.
    """

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port else "")


def parse_origin(text: str) -> Origin | None:
    """The origin of a URL; ``None`` if it has none."""
    found = _ORIGIN.fullmatch(text)
    authority = found and parse_authority(found["authority"])
    if not (found and authority):
        return None
    scheme = found["scheme"].lower()
    return Origin(scheme, authority.host, None if authority.port == DEFAULT_PORTS.get(scheme) else authority.port)


def check_origin(where: str, text: str, several: str = "") -> None:
    """Refuse an origin that is not written as browsers send it.

    Args:
        where: for messages, before the text.
        text: the origin.
        several: what to write for several, instead of a ``*``.

    Raises:
        ValueError: if no browser sends it; the message says what to write instead.
    """
    if text == "null":
        return
    found = parse_origin(text)
    if found is None:
        hint = several if several and "*" in text else 'write it as browsers send it, as in "https://app.example"'
        raise ValueError(f"{where} {text!r}, which is not an origin: {hint}")
    if str(found) != text:
        raise ValueError(f"{where} {text!r}, which no browser sends: write {str(found)!r}")
