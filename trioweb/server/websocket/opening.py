"""The opening handshake of a WebSocket: whether to refuse it, and what accepts it (RFC 6455, section 4.2)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from trioweb.ground.http.headers import RawHeaders

VERSION: Final = b"13"
"""The only supported version of the protocol (RFC 6455, section 4.1)."""
EXTENSIONS, PROTOCOLS = b"sec-websocket-extensions", b"sec-websocket-protocol"
LISTS: Final = frozenset({b"connection", EXTENSIONS, PROTOCOLS})
"""Lists of tokens, which are ASCII."""

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NO_VERSION: Final = "the handshake of a WebSocket asks for version 13"
_NO_KEY: Final = "the handshake of a WebSocket has one key of 16 bytes, and no body"
_NO_TOKENS: Final = "the handshake of a WebSocket has lists of tokens, which are ASCII"


def values_of(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """The values of each field by its name, in lower case."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.strip())
    return values


def check_handshake(values: Mapping[bytes, list[bytes]], http_version: str) -> tuple[int, str, RawHeaders] | None:
    """Why to refuse a handshake: status, reason and headers; ``None`` if it is valid (RFC 6455, section 4.2.1).

    Args:
        values: those of its fields.
        http_version: "1.0", "1.1" or "2".
    """
    versions = values.get(b"sec-websocket-version", [])
    if versions != [VERSION]:
        spoken = (b"sec-websocket-version", VERSION)  # section 4.4: so that the client can try again
        if http_version != "1.1" or not versions:
            return HTTPStatus.BAD_REQUEST, _NO_VERSION, [spoken]
        offer = [spoken, (b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        return HTTPStatus.UPGRADE_REQUIRED, _NO_VERSION, offer
    if not all(value.isascii() for name in LISTS & values.keys() for value in values[name]):
        return HTTPStatus.BAD_REQUEST, _NO_TOKENS, []
    if http_version[0] == "1":
        keys = values.get(b"sec-websocket-key", [])
        # A body would be taken for frames, by this server or by a proxy.
        has_body = b"transfer-encoding" in values or any(length != b"0" for length in values.get(b"content-length", []))
        if http_version == "1.0" or len(keys) != 1 or _KEY.fullmatch(keys[0]) is None or has_body:
            return HTTPStatus.BAD_REQUEST, _NO_KEY, []
    return None


def subprotocols_of(values: Mapping[bytes, list[bytes]]) -> list[str]:
    """The subprotocols that a valid handshake offers, best first."""
    offered = b",".join(values.get(PROTOCOLS, [])).decode().split(",")
    return [name.strip() for name in offered if name.strip()]


def accept_token(key: bytes) -> bytes:
    """The ``sec-websocket-accept`` for a ``sec-websocket-key`` (RFC 6455, section 4.2.2)."""
    return b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
