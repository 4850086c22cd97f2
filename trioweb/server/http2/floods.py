"""Counts what costs a client nothing and the server work: pure, without I/O (RFC 9113, section 10.5).

A client has a credit of frames that carry nothing: settings, pings, empty data, small windows, resets. It grows with
time, and with what the client takes, since it opens windows for that.
"""

from __future__ import annotations

from typing import Final

from trioweb.server.http2.frames import Code, ConnectionFault

CREDIT: Final = 1000
"""Frames that carry nothing, in a row."""
PER_SECOND: Final = 100
"""By which the credit grows again."""
PER_FRAME: Final = 2
"""By which it grows with a DATA frame to the client: two windows are opened for it."""
RESETS: Final = 100
"""Streams that a client may reset, or have the server reset, more than it has had answered."""


class Floods:
    """Counts one client's frames."""

    __slots__ = ("_credit", "_resets", "_since")

    def __init__(self, now: float) -> None:
        self._credit = float(CREDIT)
        self._since = now
        self._resets = 0

    def idle_frame(self, now: float) -> None:
        """A frame that carries nothing has come.

        Raises:
            ConnectionFault: if there were too many.
        """
        if self._credit < 1:
            self._credit = min(CREDIT, self._credit + (now - self._since) * PER_SECOND)
            self._since = now
            if self._credit < 1:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that carry nothing")
        self._credit -= 1

    def sent(self) -> None:
        """A DATA frame was sent as large as it could be."""
        if self._credit < CREDIT:
            self._credit += PER_FRAME

    def reset(self) -> None:
        """A stream has ended without an answer, by the client's doing.

        Raises:
            ConnectionFault: if there were too many.
        """
        self._resets += 1
        if self._resets > RESETS:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many streams were reset")

    def answered(self) -> None:
        """A stream was answered."""
        if self._resets:
            self._resets -= 1
