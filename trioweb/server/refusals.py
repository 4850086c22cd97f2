"""Requests that the server itself refuses, over any protocol: the client receives a problem document."""

from __future__ import annotations

from typing import Final

from trioweb.ground.http.headers import RawHeaders
from trioweb.ground.problems import render_problem

BUSY: Final = 503, "the server is busy"
"""The limit of requests in flight is reached."""
LATE_HEAD: Final = 408, "the request head did not come"
LATE_BODY: Final = 408, "the request body did not come"
UNNAMED: Final = 404, "no server of this name is here"
RETRY_AFTER: Final = 1
"""Seconds after which a client may repeat a request that was refused with ``BUSY``."""


def refusal(status: int, reason: str = "") -> tuple[RawHeaders, bytes]:
    """The headers and the body of a refusal: the document that an app of this package would send.

    Args:
        status: the status.
        reason: the reason, as a sentence without capital and full stop.
    """
    body, media_type = render_problem(status, f"{reason[0].upper()}{reason[1:]}." if reason else None, None, page=False)
    headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
    if status == BUSY[0]:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER))
    return headers, body
