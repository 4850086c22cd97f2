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

    __slots__ = ("_finish", "_handling", "_inbox", "_response")

    def __init__(
        self, handling: Call, response: Response, inbox: Inbox | None = None, finish: Finish | None = None
    ) -> None:
        self._handling = handling
        self._response = response
        self._inbox = inbox  # if the client may still send a body
        self._finish = finish  # without an owner that does

    def __call__(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """See ``Opening``. Registers a stream that ends when the server stops."""
        handling, response, stream, inbox = self._handling, self._response, producer.stream, self._inbox
        headers = response.headers
        if media_type is not None and "content-type" not in headers:
            headers["content-type"] = media_type
        chosen = stream.at_stop
        if chosen is None and handling.scope["method"] == "GET":  # an `EventSource` reconnects
            is_events = headers.get("content-type", "").lower().startswith(EVENTS_TYPE)
            chosen = "end" if stream.ends_on_stop or is_events else "finish"
        if chosen == "end":
            handling.policy.end_on_stop(producer)
        if stream.coding is not None:
            stream.coder = stream.coding(response)
        if inbox is not None and not (inbox.wanted or inbox.complete):
            inbox.discard()
        return response.status_code, headers.raw

    def answer(self, failure: Exception) -> Awaitable[None]:
        """Have a failure answered, before the head is sent."""
        assert self._finish is not None  # noqa: S101 - given by `send_alone`
        return self._finish(self._handling, failure)


def produce(handling: Call, stream: Stream) -> Producer:
    """A producer for a stream, within the limits of its app and route."""
    handling.policy.limits.apply(stream)
    handling.cap(stream)
    return Producer(stream, handling.endpoint.where)


def is_simple(handling: Call, response: Response, own: Transport) -> bool:
    """Whether a response is a stream that the request's task can send alone."""
    stream = stream_of(response)
    return (
        stream is not None
        and own.is_direct(handling.send)
        and (is_async(stream.source) or isinstance(stream.source, READY))
        and not (stream.maps or stream.coding or stream.pulled or stream.buffered)
        and not response.headers.has(b"content-length")
        and not is_bodiless(handling, response)
    )


def send_alone(handling: Call, response: Response, own: Transport, finish: Finish) -> Callable[[], Awaitable[object]]:
    """Return what sends a stream that ``is_simple``; it refers to the request only if there is something to close."""
    stream = stream_of(response)
    assert stream is not None  # noqa: S101 - by `is_simple`
    producer = produce(handling, stream)
    own.hold_to(handling.rate_for(stream.write_timeout))
    outbox = Outbox(handling.send, handling.scope["http_version"])
    outbox.transport = own
    reply = Reply(handling, response, finish=finish)
    if handling.request is None and handling.room is None:
        request = {"method": handling.scope["method"], "raw_path": handling.scope["raw_path"]}
        return partial(send_stream, DirectSender(producer, outbox, reply), handling.policy, request)
    sender = DirectSender(producer, outbox, reply, handling.dismiss)
    handling.interruptible = sender.interrupt
    return partial(send_stream, sender, handling.policy, handling.scope, handling)


async def send_stream(
    sender: Sender,
    policy: Policy,
    request: Scope,
    handling: Call | None = None,
    nursery: trio.Nursery | None = None,
) -> Exception | None:
    """Send a stream. Returns when it is sent or aborted, and its generator has ended.

    Args:
        sender: the stream's.
        policy: the app's.
        request: the part of the scope that the log needs.
        handling: the request, if it has something to close.
        nursery: runs the producer. Without one this task sends the stream alone, and ends the request.

    Returns:
        The failure, if there is a nursery.
    """
    outbox = sender.outbox
    failure: Exception | None = None
    try:
        await (sender.run(nursery) if nursery is not None else cast("DirectSender", sender).run_alone())
        if handling is not None and handling.room is not None and handling.room.interrupted:
            failure = await _failure_of_room(sender, handling)
    except Exception as error:
        failure = taken(error)
        if handling is not None:
            failure = handling.judged(failure, started=outbox.started)
    except BaseException as ended:
        if handling is not None and nursery is None:
            with trio.CancelScope(shield=True):
                await give_up(handling, ended, outbox)
        raise
    finally:
        sender.failure = None  # its traceback may refer to the sender
        policy.to_end.discard(sender.producer)
        if outbox.state is not ENDED or failure is not None:
            await _break_off(sender, request, handling, failure)
    try:
        if nursery is not None:
            return failure
        ending = _ending(sender, handling, failure)
    finally:
        failure = None  # its traceback refers to this frame, and an error handler may raise it again
    if ending is not None:
        await ending
    await trio.lowlevel.checkpoint_if_cancelled()
    return None


async def _failure_of_room(sender: Sender, handling: Call) -> Exception | None:
    """The failure of a nursery that has ended a stream; none if user code has cancelled it, and the head is sent."""
    ended: BaseException | None = None
    with trio.CancelScope(shield=True):
        await sender.producer.channel.finished()
        ended = await handling.close_room(None)
    if isinstance(ended, Exception):
        return ended
    return None if sender.outbox.started else handling.endpoint.cut_short()


async def _break_off(sender: Sender, request: Scope, handling: Call | None, failure: Exception | None) -> None:
    """Log a failure, and abort the response, before the request's nursery ends, which may take long."""
    outbox = sender.outbox
    if failure is not None and outbox.started:
        report_sent(failure, request, outbox)
        if handling is not None:
            handling.reported = failure
    del failure
    with trio.CancelScope(shield=True):
        await outbox.break_off()
        await sender.producer.channel.finished()


def _ending(sender: Sender, handling: Call | None, failure: Exception | None) -> Awaitable[None] | None:
    """What is left to await after a stream that the request's task has sent alone."""
    if failure is not None and not sender.outbox.started:
        return cast("Reply", sender.opening).answer(failure)
    if handling is not None:
        return end(handling, failure, sender.outbox, left=sender.outbox.gone)
    forget(failure)
    return None
