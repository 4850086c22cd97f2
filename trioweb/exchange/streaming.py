"""Sends a stream, and ends it for its request.

Rules that this module alone enforces:

* A stream whose writes need no wait (``Transport.is_direct``) is sent by the request's own task, which refers to the
  request only if there is something to close.
* A stream that fails is logged before the client sees the abort.
* A generator has ended before the resources close that it may use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.ending import end, give_up
from trioweb.exchange.policy import Policy, report_sent
from trioweb.exchange.whole import is_bodiless
from trioweb.ground.chunks import EVENTS_TYPE
from trioweb.ground.errors import forget, taken
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import Transport
from trioweb.messages.response import Response, stream_of
from trioweb.streams.direct import DirectSender
from trioweb.streams.producer import Producer
from trioweb.streams.sender import Sender
from trioweb.streams.sources import READY, is_async
from trioweb.streams.stream import Stream

Finish = Callable[[Call, Exception], Awaitable[None]]
"""Answers a failure, and ends the request."""


class Reply:
    """Gives the head of a stream: dropped after that, since a request would be most of the memory of an idle stream."""

    __slots__ = ("_call", "_finish", "_inbox", "_response")

    def __init__(
        self, call: Call, response: Response, inbox: Inbox | None = None, finish: Finish | None = None
    ) -> None:
        self._call = call
        self._response = response
        self._inbox = inbox  # if the client may still send a body
        self._finish = finish  # without an owner that does

    def __call__(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """See ``Opening``. Registers a stream that ends when the server stops."""
        call, response, stream, inbox = self._call, self._response, producer.stream, self._inbox
        headers = response.headers
        if media_type is not None and "content-type" not in headers:
            headers["content-type"] = media_type
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

    def answer(self, failure: Exception) -> Awaitable[None]:
        """Have a failure answered, before the head is sent."""
        assert self._finish is not None  # noqa: S101 - given by `send_alone`
        return self._finish(self._call, failure)


def produce(call: Call, stream: Stream) -> Producer:
    """A producer for a stream, within the limits of its app and route."""
    call.policy.limits.apply(stream)
    call.cap(stream)
    return Producer(stream, call.endpoint.where)


def is_simple(call: Call, response: Response, own: Transport) -> bool:
    """Whether a response is a stream that the request's task can send alone."""
    stream = stream_of(response)
    return (
        stream is not None
        and own.is_direct(call.send)
        and (is_async(stream.source) or isinstance(stream.source, READY))
        and not (stream.maps or stream.coding or stream.pulled or stream.buffered)
        and not response.headers.has(b"content-length")
        and not is_bodiless(call, response)
    )


def send_alone(call: Call, response: Response, own: Transport, finish: Finish) -> Callable[[], Awaitable[object]]:
    """Return what sends a stream that ``is_simple``; it refers to the request only if there is something to close."""
    stream = stream_of(response)
    assert stream is not None  # noqa: S101 - by `is_simple`
    producer = produce(call, stream)
    own.hold_to(call.rate_for(stream.write_timeout))
    outbox = Outbox(call.send, call.scope["http_version"])
    outbox.transport = own
    reply = Reply(call, response, finish=finish)
    if call.request is None and call.room is None:
        request = {"method": call.scope["method"], "raw_path": call.scope["raw_path"]}
        return partial(send_stream, DirectSender(producer, outbox, reply), call.policy, request)
    sender = DirectSender(producer, outbox, reply, call.dismiss)
    call.interruptible = sender.interrupt
    return partial(send_stream, sender, call.policy, call.scope, call)


async def send_stream(
    sender: Sender,
    policy: Policy,
    request: Scope,
    call: Call | None = None,
    nursery: trio.Nursery | None = None,
) -> Exception | None:
    """Send a stream. Returns when it is sent or aborted, and its generator has ended.

    Args:
        sender: the stream's.
        policy: the app's.
        request: the part of the scope that the log needs.
        call: the request, if it has something to close.
        nursery: runs the producer. Without one this task sends the stream alone, and ends the request.

    Returns:
        The failure, if there is a nursery.
    """
    outbox = sender.outbox
    failure: Exception | None = None
    try:
        await (sender.run(nursery) if nursery is not None else cast("DirectSender", sender).run_alone())
        if call is not None and call.room is not None and call.room.interrupted:
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
            await _break_off(sender, request, call, failure)
    try:
        if nursery is not None:
            return failure
        ending = _ending(sender, call, failure)
    finally:
        failure = None  # its traceback refers to this frame, and an error handler may raise it again
    if ending is not None:
        await ending
    await trio.lowlevel.checkpoint_if_cancelled()
    return None


async def _failure_of_room(sender: Sender, call: Call) -> Exception | None:
    """The failure of a nursery that has ended a stream; none if user code has cancelled it, and the head is sent."""
    ended: BaseException | None = None
    with trio.CancelScope(shield=True):
        await sender.producer.channel.finished()
        ended = await call.close_room(None)
    if isinstance(ended, Exception):
        return ended
    return None if sender.outbox.started else call.endpoint.cut_short()


async def _break_off(sender: Sender, request: Scope, call: Call | None, failure: Exception | None) -> None:
    """Log a failure, and abort the response, before the request's nursery ends, which may take long."""
    outbox = sender.outbox
    if failure is not None and outbox.started:
        report_sent(failure, request, outbox)
        if call is not None:
            call.reported = failure
    del failure
    with trio.CancelScope(shield=True):
        await outbox.break_off()
        await sender.producer.channel.finished()


def _ending(sender: Sender, call: Call | None, failure: Exception | None) -> Awaitable[None] | None:
    """What is left to await after a stream that the request's task has sent alone."""
    if failure is not None and not sender.outbox.started:
        return cast("Reply", sender.opening).answer(failure)
    if call is not None:
        return end(call, failure, sender.outbox, left=sender.outbox.gone)
    forget(failure)
    return None
