"""Sends a stream, and ends it for its request.

Rules that this module alone enforces:

* A stream that fails is logged before the client sees the abort.
* A generator has ended before the resources close that it may use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, cast

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.ending import give_up
from trioweb.exchange.policy import Policy, report_sent
from trioweb.ground.chunks import EVENTS_TYPE
from trioweb.ground.errors import taken
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import ENDED
from trioweb.messages.response import Response
from trioweb.streams.direct import DirectSender
from trioweb.streams.producer import Producer
from trioweb.streams.sender import Sender
from trioweb.streams.stream import NO_STORE, PING_SECONDS, Stream

TRAILERS: Final = "http.response.trailers"
"""The extension of an ASGI scope in which a server says that it can send trailers, and the client takes them."""
Ending: TypeAlias = "Callable[[Sender, Call | None, Exception | None], Awaitable[None] | None]"
"""Returns what is left to await for a request, if anything, after its stream and its failure."""


class Reply:
    """Gives the head of a stream: dropped after that, since a request would be most of the memory of an idle stream."""

    __slots__ = ("_inbox", "_response", "call")

    def __init__(self, call: Call, response: Response, inbox: Inbox | None = None) -> None:
        self.call = call
        self._response = response
        self._inbox = inbox  # if the client may still send a body

    def __call__(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """See ``Opening``. Registers a stream that ends when the server stops."""
        call, response, stream, inbox = self.call, self._response, producer.stream, self._inbox
        headers = response.headers
        if media_type is not None:
            if not headers.has(b"content-type"):
                headers["content-type"] = media_type
            if media_type == EVENTS_TYPE and stream.ping is None:  # as with an `EventStreamResponse`
                stream.ping = PING_SECONDS
                headers.setdefault("cache-control", NO_STORE)
        if stream.trailers is not None:
            self._announce(stream)
        chosen = stream.at_stop
        if chosen is None and call.scope["method"] == "GET":  # an `EventSource` reconnects
            is_events = headers.get("content-type", "").lower().startswith(EVENTS_TYPE)
            chosen = "end" if stream.ends_on_stop or is_events else "finish"
        if chosen == "end":
            call.policy.end_on_stop(producer)
        if stream.coding is not None:
            stream.coder = stream.coding(response)
        if inbox is not None and not (inbox.wanted or inbox.complete):
            inbox.discard()
        return response.status_code, headers.raw

    def _announce(self, stream: Stream) -> None:
        """Announce the trailers of a stream (RFC 9110, section 6.6.2); drop them if the server cannot send any."""
        headers = self._response.headers
        if stream.trailers and TRAILERS in (self.call.scope.get("extensions") or {}):
            if headers.has(b"content-length"):
                raise RuntimeError("a body with a content-length has no trailers over HTTP/1.1: leave one of them out")
            headers.setdefault("trailer", ", ".join(stream.trailers))
        else:
            stream.trailers = None


def produce(call: Call, stream: Stream) -> Producer:
    """A producer for a stream, within the limits of its app and route."""
    call.policy.limits.apply(stream)
    call.cap(stream)
    return Producer(stream, call.endpoint.where)


async def send_stream(
    sender: Sender,
    policy: Policy,
    scope: Scope,
    call: Call | None = None,
    nursery: trio.Nursery | None = None,
    ending: Ending | None = None,
) -> Exception | None:
    """Send a stream. Returns when it is sent or aborted, and its generator has ended.

    Args:
        sender: the stream's.
        policy: the app's.
        scope: the part of it that the log needs.
        call: the request, if it has something to close.
        nursery: runs the producer; without one this task sends the stream alone.
        ending: ends the request.

    Returns:
        The failure, without an ``ending``.
    """
    outbox = sender.outbox
    failure: Exception | None = None
    try:
        await (sender.run(nursery) if nursery is not None else cast("DirectSender", sender).run_alone())
        if call is not None and call.interrupted:
            failure = await _failure_of_room(sender, call)
    except Exception as error:
        failure = taken(error)
        if call is not None:
            failure = call.judged(failure, started=outbox.started)
    except BaseException as ended:
        if call is not None and nursery is None:
            with trio.CancelScope(shield=True):
                await give_up(call, ended, outbox)
        raise
    finally:
        sender.failure = None  # its traceback may refer to the sender
        policy.to_end.discard(sender.producer)
        if outbox.state is not ENDED or failure is not None:
            await _break_off(sender, scope, call, failure)
    try:
        if ending is None:
            return failure
        rest = ending(sender, call, failure)
    finally:
        failure = None  # its traceback refers to this frame, and an error handler may raise it again
    if rest is not None:
        await rest
    await trio.lowlevel.checkpoint_if_cancelled()
    return None


async def _failure_of_room(sender: Sender, call: Call) -> Exception | None:
    """The failure of a nursery that has ended a stream; none if user code has cancelled it, and the head is sent."""
    failure: Exception | None = None
    with trio.CancelScope(shield=True):
        await sender.producer.channel.finished()
        failure = await call.close_room(None)
    try:
        return failure or (None if sender.outbox.started else call.endpoint.cut_short())
    finally:
        del failure


async def _break_off(sender: Sender, scope: Scope, call: Call | None, failure: Exception | None) -> None:
    """Log a failure, and abort the response, before the request's nursery ends, which may take long."""
    outbox = sender.outbox
    if failure is not None and outbox.started:
        report_sent(failure, scope, outbox)
        if call is not None:
            call.reported = failure
    del failure
    with trio.CancelScope(shield=True):
        await outbox.break_off()
        await sender.producer.channel.finished()
