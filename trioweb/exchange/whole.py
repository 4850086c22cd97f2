"""Sends a response in one piece: its head and its body.

Rules that this module alone enforces:

* ``content-length`` is the length of the body. ``HEAD`` and some statuses have none (RFC 9110, section 6.4.1).
* A small response has no watch of its own: the app's sweep aborts writes that exceed the write timeout.
"""

from __future__ import annotations

from trioweb.exchange.call import Call
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import SLICE, Outbox, checked_headers
from trioweb.messages.response import BODILESS, Response, stream_of


def is_bodiless(call: Call, response: Response) -> bool:
    """Whether a response has no body, by the request's method or the response's status."""
    return call.scope["method"] == "HEAD" or response.status_code in BODILESS


class UnreadBody:
    """The rest of a request's body that its handler has not read, if one is ``expected`` at all.

    Some clients stop sending when they have the whole response; others lose it, if the connection is reset while they
    send.
    """

    __slots__ = ("_inbox", "_waited", "expected")

    def __init__(self, inbox: Inbox, *, expected: bool) -> None:
        self._inbox = inbox
        self._waited = False  # `read_rest` has
        self.expected = expected

    async def read_rest(self) -> bool:
        """Read and drop the rest before the end of a response, for a limited time, so that the client is not reset.

        Returns whether all of it was read, or the client has disconnected.
        """
        inbox = self._inbox
        if self.expected and not (inbox.complete or self._waited):
            self._waited = True
            inbox.discard()
            await inbox.discarded()
            inbox.discard(unbounded=True)
        return inbox.complete or inbox.gone

    async def stop(self) -> None:
        """After the end of a response: let the server stop reading the body."""
        if self.expected and not self._inbox.complete:
            await self._inbox.over()


async def send_whole(call: Call, response: Response, outbox: Outbox, unread: UnreadBody) -> None:
    """Send a response in one piece; for a stream, only a head without a body. The caller holds a shield."""
    headers = response.headers.raw
    bodiless = is_bodiless(call, response)
    body = b"" if bodiless else response.body or b""
    if not bodiless:
        checked_headers(headers, call.scope["http_version"], response.status_code, len(body))
    await outbox.start(response.status_code, headers, bodiless=bodiless)
    if call.scope["http_version"][0] != "1":  # an HTTP/2 client may stop its upload at the body, and wait for the end
        await unread.read_rest()
    sending = outbox.whole(body)
    del body, response  # the exception of a lost client is in a reference cycle with trio's frames, and with this one
    await sending


def is_small(call: Call, response: Response) -> bool:
    """Whether a response is sent in one small message, which the sweep watches.

    Not over HTTP/2 where a write may wait for a flow-control window, and does not notice a disconnect meanwhile.
    """
    is_message = stream_of(response) is None and len(response.body or b"") <= SLICE
    wakes = call.scope["http_version"][0] == "1" or call.own.wakes_writes
    return is_message and call.policy.nursery is not None and wakes


async def send_small(call: Call, response: Response, outbox: Outbox, unread: UnreadBody) -> None:
    """As ``send_whole``, for a response that ``is_small``: without a nursery, watched by the sweep."""
    writes = call.policy.writes
    with call.make_scope(shield=True):
        writes.add(outbox, call)
        try:
            sending = send_whole(call, response, outbox, unread)
            del response
            await sending
            await unread.stop()
        finally:
            writes.now.pop(outbox, None)
