"""What a request must be before anything is done with it: pure functions, stricter than the parser.

llhttp has found tokens and separators; here is what it lets through and what decides where a request ends. Whatever
two servers could read in two ways is refused (RFC 9112, sections 3 and 6): a request is not repaired.
"""

from __future__ import annotations

import re
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
_ABSOLUTE: Final = re.compile(
    rb"https?://(?P<authority>" + _AUTHORITY + rb")(?P<path>/[^?]*)?(?P<query>\?.*)?", re.IGNORECASE
)
_known_hosts: set[bytes] = set()


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
    found = _ABSOLUTE.fullmatch(target)
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
