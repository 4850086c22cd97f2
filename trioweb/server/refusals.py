"""What a client gets whose request the server refuses itself, whatever protocol it speaks: a problem document."""

from __future__ import annotations

from typing import Final

from trioweb.ground.http.headers import RawHeaders
from trioweb.ground.problems import render_problem

BUSY: Final = 503, "the server is busy"
"""There are as many requests as the server works on at once."""
LATE_HEAD: Final = 408, "the request head did not come"
LATE_BODY: Final = 408, "the request body did not come"
UNNAMED: Final = 404, "no server of this name is here"
RETRY_AFTER: Final = 1
"""Seconds after which a client that finds the server busy may try again."""


def refusal(status: int, reason: str = "") -> tuple[RawHeaders, bytes]:
    """The headers and the body of a refusal: the same document that an app of this package would send.

    Args:
        status: the status.
        reason: what is wrong, as the beginning of a sentence.
    """
    body, media_type = render_problem(status, f"{reason[0].upper()}{reason[1:]}." if reason else None, None, page=False)
    headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
    if status == BUSY[0]:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER))
    return headers, body
