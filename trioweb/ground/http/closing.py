"""Why a WebSocket is closed: the codes that may be sent, and how long the words beside them may be."""

from __future__ import annotations

from typing import Final

NORMAL: Final = 1000
"""What there was to say is said."""
GOING_AWAY: Final = 1001
"""The server stops, or a browser leaves the page."""
UNACCEPTABLE: Final = 1003
"""Bytes came where only text is understood."""
NO_CODE: Final = 1005
"""The peer closed and gave no code; never sent."""
BROKEN: Final = 1006
"""The connection ended without a close; never sent."""
INCONSISTENT: Final = 1007
"""A message does not hold what its kind promises."""
TOO_BIG: Final = 1009
"""A message has more bytes than the server takes."""
FAULT: Final = 1011
"""The server's own mistake."""

MAX_REASON: Final = 123
"""Bytes of a reason in UTF-8: a close is a control frame, of at most 125 bytes, and two are the code's."""

_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


def check_close(code: object, reason: str) -> None:
    """Refuse what cannot stand in a close (RFC 6455, sections 5.5 and 7.4).

    Raises:
        ValueError: the code is none that may be sent, or the reason is too long.
    """
    if not isinstance(code, int) or not (code in _SENDABLE or 3000 <= code <= 4999):
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
    """A reason of ours, cut to what a close can hold."""
    return reason.encode()[:MAX_REASON].decode(errors="ignore")
