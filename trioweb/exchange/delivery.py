"""A response on its way out: in one piece, or as it is produced; and one that was begun, and is not sent after all.

Rules that this module alone enforces:

* Behind middlewares a stream makes its first chunk before they see its response: what fails at its beginning is an
  error like any other to them, and its content type is known. It goes on when they have said what is sent.
* A stream that is not sent is closed in the task that it lives in; one that was not begun runs no code.
"""

from __future__ import annotations

from typing import Any, cast

import trio

from trioweb.exchange.call import Call, may_have_body
from trioweb.exchange.deadline import Deadline
from trioweb.exchange.policy import is_departure
from trioweb.exchange.unread import UnreadBody
from trioweb.exchange.watch import ClientWatch
from trioweb.ground.chunks import EVENTS_TYPE
from trioweb.ground.errors import BrokenOff, ClientDisconnected, StreamTimeout
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.outbox import ENDED, Outbox, checked_headers
from trioweb.io.transport import PLAIN
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.response import BODILESS, Response, stream_of
from trioweb.streams.producer import Producer, Stream
from trioweb.streams.relay import relay
from trioweb.streams.sources import close_unused, is_channel


class Delivery:
    """Sends the response of one attempt to answer a request.

    Args:
        call: the request's.
        nursery: where a stream's producer runs.
        watch: over the client; it is told of the stream.
        outbox: where the response leaves.
        unread: what is left of the request's body then.
        deadline: the route's.
        left_behind: gets the channels that are not sent, and that a task of the request's may feed.

    Attributes:
        streaming: a stream is on its way, or has begun: a client that leaves ends it.
    """

    __slots__ = (
        "_begun", "_call", "_deadline", "_left_behind", "_nursery", "_outbox", "_response", "_unread", "_watch",
        "streaming",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        nursery: trio.Nursery,
        watch: ClientWatch,
        outbox: Outbox,
        unread: UnreadBody,
        deadline: Deadline,
        left_behind: list[Any],
    ) -> None:
        self._call = call
        self._nursery = nursery
        self._watch = watch
        self._outbox = outbox
        self._unread = unread
        self._deadline = deadline
        self._left_behind = left_behind
        self._begun: Producer | None = None
        self._response: Response | None = None  # that is sent
        self.streaming = False

    async def begin(self, response: Response) -> None:
        """Have a stream make its first chunk.

        Left out are those whose head does not wait for one, and ranges: a middleware that maps one makes it a whole.

        Raises:
            Exception: what it failed with.
        """
        stream = stream_of(response)
        if stream is None or stream.head_first or isinstance(response, RangeResponse):
            return
        if is_bodiless(self._call, response):
            return
        self._begun = producer = self._produce(stream)
        await producer.begin(self._nursery)
        if producer.encoder.media_type is not None:
            response.headers.setdefault("content-type", producer.encoder.media_type)

    async def discard(self) -> None:
        """End a stream that was begun and is not sent; returns when it is closed."""
        producer, self._begun = self._begun, None
        if producer is None:
            return
        self.streaming = False
        self._watch.watch_stream(None)
        producer.leave()
        with trio.CancelScope(shield=True):
            await producer.channel.finished()  # before what it may use is closed

    async def deliver(self, response: Response, *, held: bool) -> None:
        """Send a response, and close what was begun if that is another. No cancellation reaches ``send``.

        Args:
            response: what to send.
            held: something is open that a producer may use: its end is waited for.
        """
        stream = stream_of(response)
        bodiless = is_bodiless(self._call, response)
        if self._begun is not None and (bodiless or self._begun.stream is not stream):
            await self._replace(self._begun)
        if stream is None or bodiless:
            with trio.CancelScope(shield=True) as self._outbox.scope:
                sending = send_whole(self._call, response, self._outbox, self._unread)
                del response
                await sending
                if stream is not None and not stream.begun:
                    await self._close(stream)
            return
        producer, self._begun, self._response = self._begun or self._produce(stream), None, response
        if self._call.inbox.gone:
            self._nursery.cancel_scope.cancel()
        policy = self._call.policy
        del response, stream  # it may take hours
        try:
            await relay(producer, self._nursery, self._outbox, self)
        except StreamTimeout as error:
            if not (self._outbox.started and self._deadline.passed):
                self._note(error)
                raise
            failure = self._deadline.outlasted(started=True)
            self._note(failure)
            try:
                raise failure from None
            finally:
                del failure
        except Exception as error:
            self._note(error)
            raise
        finally:
            policy.to_end.discard(producer)
            with trio.CancelScope(shield=True):
                await self._outbox.break_off()  # now, not after what else runs in the nursery has come to its end
                if held:
                    await producer.channel.finished()  # before that is closed
        if self._outbox.state is not ENDED:
            await trio.lowlevel.checkpoint_if_cancelled()  # what ended the request is raised in its resources
        await self._unread.let_go()

    def _note(self, error: Exception) -> None:
        if self._outbox.started:
            self._call.report(self._outbox, error)  # now: who sees that it is broken off finds the reason in the log

    def _produce(self, stream: Stream) -> Producer:
        self.streaming = True
        self._call.policy.limits.apply(stream)
        self._deadline.cap(stream)
        producer = Producer(stream, self._call.endpoint.where)
        self._watch.watch_stream(producer)
        return producer

    async def _replace(self, begun: Producer) -> None:
        if not is_channel(begun.stream.source):
            await self.discard()
            return
        # Until the nursery is cancelled, so that whoever feeds it meets no broken channel.
        self._begun, self.streaming = None, False
        self._watch.watch_stream(None)
        begun.stream.maps = []
        begun.start(self._nursery)
        self._left_behind.append(begun.stream.source)

    async def _close(self, stream: Stream) -> None:
        if is_channel(stream.source):
            self._left_behind.append(stream.source)
        else:
            await close_unused(stream.source)

    def head(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """See ``relay.Opening``."""
        response, self._response = self._response, None
        assert response is not None  # noqa: S101 - it is asked for once, by `deliver`
        complete_head(self._call, response, producer, media_type)
        stream, inbox = stream_of(response), self._call.inbox
        if stream is not None and stream.coding is not None:
            stream.coder = stream.coding(response)
        if not (inbox.wanted or inbox.complete):
            inbox.discard()
        return response.status_code, response.headers.raw


def complete_head(call: Call, response: Response, producer: Producer, media_type: str | None) -> None:
    """Give a stream's head what its first chunk has told. What streams events ends at a stop, however it was made."""
    headers = response.headers
    if media_type is not None and "content-type" not in headers:
        headers["content-type"] = media_type
    if producer.stream.ends_on_stop or headers.get("content-type", "").lower().startswith(EVENTS_TYPE):
        call.policy.end_on_stop(producer)


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
    await unread.take()
    sending = outbox.whole(body)
    del body, response  # trio's frames are in a cycle with what a write to a client that has left raises, and with this
    await sending
    await unread.let_go()


async def send_small(call: Call, response: Response, outbox: Outbox, unread: UnreadBody) -> Exception | None:
    """As ``send_whole``, for what is sent at once, and without a nursery. Returns the news that the client has left."""
    writes = call.policy.writes
    with trio.CancelScope(shield=True) as shield:
        writes.add(shield, call)
        try:
            sending = send_whole(call, response, outbox, unread)
            del response
            await sending
        except ClientDisconnected as left:
            return left
        finally:
            writes.now.pop(shield, None)
    return None


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


def raise_untold(failure: Exception | None, outbox: Outbox) -> None:
    """Raise what a response was broken off for, where the server cannot be told in another way.

    Raises:
        Exception: that.
    """
    try:
        if isinstance(failure, BrokenOff):
            failure = cast("Exception | None", failure.__cause__)
        silent = outbox.started and outbox.transport is PLAIN
        if silent and failure is not None and not is_departure(failure):
            raise failure
    finally:
        del failure  # where it is raised, it holds this frame
