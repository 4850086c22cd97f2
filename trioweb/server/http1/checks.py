"""Checks of a request's head: pure functions, stricter than the parser.

llhttp has checked tokens and separators. This module checks what llhttp accepts wrongly, and what decides where a
request ends. What two servers could read in two ways is refused (RFC 9112, sections 3 and 6), never repaired.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

MAX_HEADERS: Final = 256
"""Header fields of a request."""
UPGRADE_FIELDS: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})
"""Headers with which HTTP/1.1 asks for HTTP/2, and which do not belong to the request of HTTP/2."""
METHOD_LENGTH: Final = 32
"""Bytes of a method."""
LENGTH_DIGITS: Final = 18
"""Digits of a ``content-length``: any such number fits in 64 bits."""
KNOWN_HOSTS: Final = 1024
"""Values of ``Host`` that a process caches as valid: 300 KiB with at most 255 bytes each."""

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_AUTHORITY: Final = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
_HOST: Final = re.compile(_AUTHORITY)
_ABSOLUTE: Final = rb"https?://(?P<authority>" + _AUTHORITY + rb")(?P<path>/[^?]*)?(?P<query>\?.*)?"
_known_hosts: set[bytes] = set()

_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]*")
_SETTING: Final = 6  # bytes of a setting of HTTP/2: its id and its value
_SETTINGS: Final = {2: (0, 1), 4: (0, 2**31 - 1), 5: (2**14, 2**24 - 1), 8: (0, 1)}
"""Settings of HTTP/2 with a limited range (RFC 9113, section 6.5.2; RFC 8441, section 3)."""


class BadRequest(Exception):
    """An invalid request. It is refused, and its connection closed.

    Args:
        status: the status of the response.
        reason: see ``refusal``.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


def check_host(value: bytes) -> None:
    """Check a ``Host``: a name or an address, and an optional port (RFC 9110, section 7.2).

    Raises:
        BadRequest: if it is not valid.
    """
    if value in _known_hosts:
        return
    if _HOST.fullmatch(value) is None:
        raise BadRequest(400, "the Host is no host")
    if len(value) <= 255:
        if len(_known_hosts) >= KNOWN_HOSTS:
            _known_hosts.clear()
        _known_hosts.add(value)


def is_length(value: bytes) -> bool:
    """Whether this is a valid ``content-length`` (RFC 9110, section 8.6)."""
    return value.isdigit() and len(value) <= LENGTH_DIGITS


def parse_length(value: bytes) -> int:
    """Parse a ``content-length``.

    Raises:
        BadRequest: if it is not a number.
    """
    if not is_length(value):
        raise BadRequest(400, "the Content-Length is no number")
    return int(value)


def check_transfer_encoding(value: bytes, version: str) -> None:
    """Check that a body is chunked, without another coding (RFC 9112, sections 6.1 and 7).

    Raises:
        BadRequest: if there is another coding, or the version is HTTP/1.0.
    """
    if version == "1.0":
        raise BadRequest(400, "HTTP/1.0 has no Transfer-Encoding")
    if value.lower() != b"chunked":
        raise BadRequest(501, "the only Transfer-Encoding here is chunked")


def split_target(target: bytes, method: str) -> tuple[bytes, bytes, bytes | None]:
    """The path, the query and, if the target has one, the authority (RFC 9112, section 3.2).

    Raises:
        BadRequest: if the target is not valid for this method.
    """
    if b"#" in target:
        raise BadRequest(400, "a request's target has no fragment")
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return path, query, None
    if target == b"*":
        if method != "OPTIONS":
            raise BadRequest(400, "the target * is for OPTIONS")
        return target, b"", None
    found = re.fullmatch(_ABSOLUTE, target, re.IGNORECASE)  # rare, so compiled on first use
    if found is None or not found["authority"]:
        raise BadRequest(400, "the target is neither a path nor a URL")
    path = found["path"]
    if path is None:  # RFC 9112, section 3.2.4: OPTIONS of a URL without a path is about the whole server
        path = b"*" if method == "OPTIONS" and found["query"] is None else b"/"
    return path, (found["query"] or b"?")[1:], found["authority"]


def decode_path(raw: bytes) -> str:
    """A path for ASGI: percent-decoded UTF-8."""
    text = raw.decode("ascii")
    return unquote(text) if "%" in text else text


def find_h2c_settings(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The settings of an upgrade to HTTP/2; ``None`` if the request has no valid one (RFC 7540, section 3.2.1).

    There must be one ``HTTP2-Settings``, and ``Connection`` must name it and ``Upgrade``. Otherwise the request is
    answered over HTTP/1.1, also if it has a body, which would have to come before HTTP/2 begins.

    Args:
        headers: names in lower case.
    """
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.strip())
    options = {option.strip() for option in b",".join(values.get(b"connection", ())).lower().split(b",")}
    offered = [value.lower() for value in values.get(b"upgrade", ())]
    settings = values.get(b"http2-settings", ())
    if offered != [b"h2c"] or not options >= {b"upgrade", b"http2-settings"} or len(settings) != 1:
        return None
    if b"transfer-encoding" in values or b"content-length" in values:
        return None
    return _decode_settings(settings[0])


def _decode_settings(value: bytes) -> bytes | None:
    text = value.rstrip(b"=")  # padding is optional
    if _BASE64URL.fullmatch(text) is None or len(text) % 4 == 1:
        return None
    data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if len(data) % _SETTING:
        return None
    for position in range(0, len(data), _SETTING):
        number = int.from_bytes(data[position : position + 2], "big")
        low, high = _SETTINGS.get(number, (0, 2**32))
        if not low <= int.from_bytes(data[position + 2 : position + _SETTING], "big") <= high:
            return None
    return data
