"""What is sent without a producer: a response in one piece, and what is left to do after one that did not end."""

from __future__ import annotations

import trio

from trioweb.call import Call, may_have_body
from trioweb.ground.asgi import Scope
from trioweb.responses import BODILESS, Response
from trioweb.unread import UnreadBody
from trioweb.wire.outbox import Outbox, checked_headers
from trioweb.wire.transport import PLAIN


def is_bodiless(scope: Scope, response: Response) -> bool:
    """Whether nothing follows the head of a response: by the request's method, or the response's status."""
    return scope["method"] == "HEAD" or response.status_code in BODILESS


async def send_whole(response: Response, scope: Scope, outbox: Outbox, unread: UnreadBody) -> None:
    """Send a response in one piece; of one that streams, the head of what has no body. The caller holds a shield."""
    headers = response.headers.raw
    bodiless = is_bodiless(scope, response)
    body = b"" if bodiless else response.body or b""
    if not bodiless:
        checked_headers(headers, scope["http_version"], response.status_code, len(body))
    await outbox.start(response.status_code, headers, bodiless=bodiless)
    await unread.take()
    await outbox.whole(body)
    await unread.let_go()


async def leave(call: Call, outbox: Outbox, unread: UnreadBody) -> None:
    """After a response that did not end: see that nothing in the server waits for that, or for a body's reader."""
    if outbox.transport is PLAIN:  # an answer that needed no nursery
        outbox.transport = call.find_transport()
    with trio.CancelScope(shield=True):
        await outbox.break_off()
        call.inbox.gone |= await outbox.transport.drop()
    if call.inbox.gone:
        unread.expected = may_have_body(call.scope)
        await unread.abandon()
