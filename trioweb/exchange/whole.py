"""A response in one piece: its head, its body, and what the client still sends.

Rules that this module alone enforces:

* The headers say the body's length. What a status or ``HEAD`` forbids is not sent (RFC 9110, section 6.4.1).
* A response in one message needs no watch of its own: the sweep over all of them ends a write that takes too long.
"""

from __future__ import annotations

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.policy import report
from trioweb.exchange.unread import UnreadBody
from trioweb.io.outbox import CLIENT_LEFT, SLICE, Outbox, checked_headers
from trioweb.messages.response import BODILESS, Response, stream_of


def is_bodiless(call: Call, response: Response) -> bool:
    """Whether nothing follows the head of a response: by the request's method, or the response's status."""
    return call.scope["method"] == "HEAD" or response.status_code in BODILESS


async def send_whole(call: Call, response: Response, outbox: Outbox, unread: UnreadBody) -> None:
    """Send a response in one piece; of one that streams, the head of what has no body. The caller holds a shield."""
    headers = response.headers.raw
    bodiless = is_bodiless(call, response)
    body = b"" if bodiless else response.body or b""
    if not bodiless:
        checked_headers(headers, call.scope["http_version"], response.status_code, len(body))
    await outbox.start(response.status_code, headers, bodiless=bodiless)
    if call.scope["http_version"][0] != "1":  # a client may stop its upload at a body, and wait for the end
        await unread.take()
    sending = outbox.whole(body)
    del body, response  # trio's frames are in a cycle with what a write to a client that has left raises, and with this
    await sending
    await unread.let_go()


def is_small(call: Call, response: Response) -> bool:
    """Whether a response is sent in one message, so that the sweep over all small ones is watch enough.

    Over HTTP/2 it is not: a write may wait for a window, and does not hear of a client that has left.
    """
    is_message = stream_of(response) is None and len(response.body or b"") <= SLICE
    return is_message and call.policy.nursery is not None and call.scope["http_version"][0] == "1"


async def failed_to_send(failure: object, call: Call) -> None:
    """After a response that was begun and could not be sent whole."""
    if isinstance(failure, CLIENT_LEFT):
        await call.find_transport().drop()
    elif isinstance(failure, Exception):
        report(failure, call.scope, "sending the response failed")


async def send_small(call: Call, response: Response, outbox: Outbox, unread: UnreadBody) -> None:
    """As ``send_whole``, for what ``is_small``, and without a nursery."""
    writes = call.policy.writes
    with trio.CancelScope(shield=True) as shield:
        writes.add(shield, call)
        try:
            sending = send_whole(call, response, outbox, unread)
            del response
            await sending
        finally:
            writes.now.pop(shield, None)
