"""What a request must be before anything is done with it: pure functions, stricter than the parser.

llhttp has found tokens and separators; here is what it lets through and what decides where a request ends. Whatever
two servers could read in two ways is refused (RFC 9112, sections 3 and 6): a request is not repaired.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

METHOD_LENGTH: Final = 32
"""Bytes of a method's name."""
LENGTH_DIGITS: Final = 18
"""Digits of a ``content-length``: what a 64-bit number holds in any case."""
KNOWN_HOSTS: Final = 1024
"""Values of ``Host`` that are remembered as valid. A process; with at most 255 bytes each, 300 KiB."""

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_AUTHORITY: Final = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
_HOST: Final = re.compile(_AUTHORITY)
_ABSOLUTE: Final = rb"https?://(?P<authority>" + _AUTHORITY + rb")(?P<path>/[^?]*)?(?P<query>\?.*)?"
_known_hosts: set[bytes] = set()

_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]*")
_SETTING: Final = 6  # bytes of a setting of HTTP/2: its number, and its value
_SETTINGS: Final = {2: (0, 1), 4: (0, 2**31 - 1), 5: (2**14, 2**24 - 1), 8: (0, 1)}
"""Settings of HTTP/2 that not every value is one for (RFC 9113, section 6.5.2; RFC 8441, section 3)."""


class BadRequest(Exception):
    """A request that is refused, after which nothing on its connection can be trusted.

    Args:
        status: how it is answered.
        reason: what is wrong with it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


def check_host(value: bytes) -> None:
    """See that a ``Host`` is one: a name or an address, and perhaps a port (RFC 9110, section 7.2).

    Raises:
        BadRequest: it is not.
    """
    if value in _known_hosts:
        return
    if _HOST.fullmatch(value) is None:
        raise BadRequest(400, "the Host is no host")
    if len(value) <= 255:
        if len(_known_hosts) >= KNOWN_HOSTS:
            _known_hosts.clear()
        _known_hosts.add(value)


def parse_length(value: bytes) -> int:
    """A ``content-length`` (RFC 9110, section 8.6): digits, once.

    Raises:
        BadRequest: it is anything else.
    """
    if not value.isdigit() or len(value) > LENGTH_DIGITS:
        raise BadRequest(400, "the Content-Length is no number")
    return int(value)


def check_transfer_encoding(value: bytes, version: str) -> None:
    """See that a body is chunked, and nothing else (RFC 9112, sections 6.1 and 7).

    Raises:
        BadRequest: another coding, or HTTP/1.0, which has none.
    """
    if version == "1.0":
        raise BadRequest(400, "HTTP/1.0 has no Transfer-Encoding")
    if value.lower() != b"chunked":
        raise BadRequest(501, "the only Transfer-Encoding here is chunked")


def split_target(target: bytes, method: str) -> tuple[bytes, bytes, bytes | None]:
    """The path, the query and, where the target names one, the host of a request (RFC 9112, section 3.2).

    Raises:
        BadRequest: the target is of no form that this method has.
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
    found = re.fullmatch(_ABSOLUTE, target, re.IGNORECASE)  # few clients are those of a proxy: compiled when one is
    if found is None or not found["authority"]:
        raise BadRequest(400, "the target is neither a path nor a URL")
    path = found["path"]
    if path is None:  # RFC 9112, section 3.2.4: OPTIONS of a URL without a path is about the whole server
        path = b"*" if method == "OPTIONS" and found["query"] is None else b"/"
    return path, (found["query"] or b"?")[1:], found["authority"]


def decode_path(raw: bytes) -> str:
    """A path as ASGI has it: percent-decoded UTF-8."""
    text = raw.decode("ascii")
    return unquote(text) if "%" in text else text


def find_h2c_settings(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The settings of a client that asks to go on in HTTP/2; ``None`` where it does not, or not as RFC 7540 has it.

    By section 3.2.1 there is one ``HTTP2-Settings``, and ``Connection`` names it, beside ``Upgrade``. Who asks in any
    other way is answered over HTTP/1.1, and so is a request with a body, which would have to come before HTTP/2 begins.

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
    text = value.rstrip(b"=")  # which may be left out
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
