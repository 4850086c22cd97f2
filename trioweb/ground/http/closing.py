"""The close codes of WebSockets, and the limits of a close frame."""

from __future__ import annotations

from typing import Final

NORMAL: Final = 1000
"""The conversation is complete."""
GOING_AWAY: Final = 1001
"""The server stops, or a browser leaves the page."""
PROTOCOL: Final = 1002
"""A frame broke the protocol."""
UNACCEPTABLE: Final = 1003
"""A binary message arrived where only text is accepted."""
NO_CODE: Final = 1005
"""The peer closed without a code; never sent."""
BROKEN: Final = 1006
"""The connection ended without a close frame; never sent."""
INCONSISTENT: Final = 1007
"""A message is not what its type says: text that is not UTF-8, or not the expected JSON."""
TOO_BIG: Final = 1009
"""A message has more bytes than the server accepts."""
FAULT: Final = 1011
"""An error in the server."""

MAX_REASON: Final = 123
"""Bytes of a reason in UTF-8: a control frame has at most 125 bytes, and the code takes two."""

_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


def may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code (RFC 6455, section 7.4)."""
    return code in _SENDABLE or 3000 <= code <= 4999


def check_close(code: object, reason: str) -> None:
    """Check the code and reason of a close frame (RFC 6455, sections 5.5 and 7.4).

    Raises:
        ValueError: if the code may not be sent, or the reason is too long.
    """
    if not isinstance(code, int) or not may_be_sent(code):
        raise ValueError(
            f"a WebSocket cannot be closed with code {code!r}: take 1000, another of RFC 6455 (1001 to 1003, 1007 to "
            "1014), or one of your own from 4000 to 4999"
        )
    size = len(reason.encode())
    if size > MAX_REASON:
        raise ValueError(
            f"the reason of a close has at most {MAX_REASON} bytes, got {size}: send it as a message before"
        )


def shortened(reason: str) -> str:
    """A reason, cut to the length that a close frame allows."""
    return reason.encode()[:MAX_REASON].decode(errors="ignore")
