"""Sends a response that a small write cannot: streams it, watches the client, and closes a stream that is not sent.

Rules that this module alone enforces:

* With middleware a stream makes its first chunk before they get its response: they see a failure until then as any
  other, and the content type. The producer then waits until they have returned the response that is sent.
* A stream that is not sent is closed in the task that it runs in; one that has not begun runs no code.
"""

from __future__ import annotations

import math

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.policy import is_departure, together
from trioweb.exchange.watch import TASK as WATCH
from trioweb.exchange.watch import ClientWatch, watch_departure
from trioweb.exchange.whole import UnreadBody, is_bodiless, send_whole
from trioweb.ground.chunks import EVENTS_TYPE
from trioweb.ground.errors import StreamTimeout, taken
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.outbox import ENDED, Outbox
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused
from trioweb.streams.producer import Producer
from trioweb.streams.relay import relay
from trioweb.streams.sources import is_channel
from trioweb.streams.stream import Stream


class Delivery:
    """Sends the response to one request."""

    __slots__ = (
        "_begun", "_outbox", "_producer", "_request", "_response", "_streaming", "_timeout", "_unread", "_watch",
    )  # fmt: skip

    _outbox: Outbox
    _unread: UnreadBody
    _watch: ClientWatch

    def __init__(self, handling: Call) -> None:
        self._request = handling
        self._begun: Producer | None = None
        self._response: Response | None = None  # until its head is sent
        self._producer: Producer | None = None  # of the stream that is sent
        self._timeout: Exception | None = None  # the client was too slow
        self._streaming = False

    # For middleware: before the response is known that is sent

    async def begin(self, response: Response) -> None:
        """Have a stream make its first chunk, in the request's nursery.

        Left out are streams whose head does not wait for a chunk, and ranges: middleware that maps one makes it whole.

        Raises:
            Exception: if the stream fails before its first chunk.
        """
        stream = stream_of(response)
        if stream is None or stream.head_first or isinstance(response, RangeResponse):
            return
        if is_bodiless(self._request, response):
            return
        self._begun = producer = self._produce(stream)
        nursery = await self._request.open_room().opened()
        watching = trio.CancelScope()
        if not self._request.cancels_handler:  # else the exchange watches for a disconnect
            self._request.start(watch_departure, self._request.inbox, watching, self._request.left)
        try:
            with trio.move_on_after(math.inf if stream.idle_timeout is None else stream.idle_timeout) as limit:
                await producer.begin(nursery)
        except StreamTimeout as error:
            raise self._request.judged(error, started=False) from None
        finally:
            watching.cancel()
        if limit.cancelled_caught:
            await self.discard()
            raise producer.silence()
        if producer.encoder.media_type is not None:
            response.headers.setdefault("content-type", producer.encoder.media_type)

    def has_begun(self, stream: Stream) -> bool:
        """Whether ``begin`` has begun this stream, and it is not sent yet."""
        return self._begun is not None and self._begun.stream is stream

    async def discard(self) -> None:
        """Close a stream that ``begin`` has begun. Returns when its generator has ended."""
        producer, self._begun = self._begun, None
        if producer is not None:
            producer.stream.maps = []  # they have not run yet, and never will
            producer.abandon()
            with trio.CancelScope(shield=True):
                await producer.channel.finished()  # before the resources close that it may use

    # Sending

    async def deliver(self, response: Response, outbox: Outbox, unread: UnreadBody) -> None:
        """Send a response. Returns without its end if the client disconnects, or the request's nursery ends it. No
        cancellation reaches ``send``.

        Raises:
            Exception: if a stream fails before its head is sent, or the response was aborted.
        """
        request = self._request
        failure: Exception | None = None
        others: Exception | None = None
        self._outbox, self._unread = outbox, unread
        try:
            # The sender is shielded: the watch, a task in this nursery, gets a cancellation from outside.
            async with trio.open_nursery() as nursery:
                request.interruptible = self._interrupt
                self._watch = ClientWatch(self, request.inbox, outbox, request.policy.limits.write_timeout, request)
                nursery.start_soon(self._watch.run, name=WATCH)
                try:
                    sending = self._send(response, nursery)
                    del response  # the coroutine alone refers to it: its body is freed while a long stream runs
                    await sending
                except Exception as error:
                    # As a value: one that passes a nursery is in a reference cycle with the frames of trio's tasks.
                    failure = taken(error)
                finally:
                    self._watch.stop()
        except Exception as error:
            others = taken(error)
        finally:
            self._producer = request.interruptible = None
            del self._watch  # it refers to this object: no reference cycle may be left
        if failure is None or is_departure(failure):  # a slow client may also be reported as disconnected
            failure = self._timeout or failure
        failure, self._timeout = together(failure, others), None
        try:
            if failure is not None:
                raise request.judged(failure, started=outbox.started)
        finally:
            del failure, others

    async def _send(self, response: Response, nursery: trio.Nursery) -> None:
        stream = stream_of(response)
        bodiless = is_bodiless(self._request, response)
        if self._begun is not None and (bodiless or self._begun.stream is not stream):
            if is_channel(self._begun.stream.source):
                self._request.dismiss()  # first, or the tasks that send to the channel would raise BrokenResourceError
            await self.discard()
        if stream is None or bodiless:
            with trio.CancelScope(shield=True) as self._outbox.scope:
                sending = send_whole(self._request, response, self._outbox, self._unread)
                del response
                try:
                    await sending
                finally:
                    if stream is not None and not stream.begun:
                        if is_channel(stream.source):
                            self._request.dismiss()  # first, as above
                        await close_unused(stream.source)
            return
        producer, self._begun, self._response = self._begun or self._produce(stream), None, response
        self._streaming = True
        self._watch.watch_stream(producer)
        self._producer = producer
        if self._request.inbox.gone:
            producer.interrupt()
        del response, stream  # the stream may run for hours
        try:
            await relay(producer, nursery, self._outbox, self)
            await self._raise_interruption(producer)
        except Exception as error:
            if not self._outbox.started:
                raise
            failure = self._request.judged(error, started=True)
            self._request.report(self._outbox, failure)  # before the client sees the abort
            try:
                raise failure from (None if failure is not error else failure.__cause__)
            finally:
                del failure
        finally:
            self._request.policy.to_end.discard(producer)
            with trio.CancelScope(shield=True):
                await self._outbox.break_off()  # before the request's nursery ends, which may take long
                await producer.channel.finished()  # before the resources close that it may use
        await self._unread.stop()

    async def _raise_interruption(self, producer: Producer) -> None:
        """Raise the failure of the request's nursery if that has ended the stream, before the response is aborted."""
        if self._request.room is None or not self._request.room.interrupted:
            return
        ended: BaseException | None = None
        with trio.CancelScope(shield=True):
            await producer.channel.finished()
            ended = await self._request.close_room(None)
        try:
            if isinstance(ended, Exception):
                raise ended
        finally:
            del ended

    def _produce(self, stream: Stream) -> Producer:
        request = self._request
        request.policy.limits.apply(stream)
        request.cap(stream)
        return Producer(stream, request.endpoint.where)

    def head(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """See ``Opening``."""
        response, self._response = self._response, None
        assert response is not None  # noqa: S101 - called once, by `deliver`
        complete_head(self._request, response, producer, media_type)
        producer.on_end = self._request.dismiss
        stream, inbox = stream_of(response), self._request.inbox
        if stream is not None and stream.coding is not None:
            stream.coder = stream.coding(response)
        if not (inbox.wanted or inbox.complete):
            inbox.discard()
        return response.status_code, response.headers.raw

    # See ``Watched``

    def client_left(self) -> None:
        """See ``Watched``."""
        # A client that has the whole response cancels nothing: a server may report a disconnect while the end is sent.
        if self._outbox.state is not ENDED and not self._outbox.fulfilled:
            self._outbox.gone = True
            if self._streaming or self._request.cancels_handler:
                self._request.dismiss()  # first, or tasks that send to a channel source would raise BrokenResourceError
                self._interrupt()
        self._outbox.release()

    def write_timed_out(self) -> None:
        """See ``Watched``."""
        self._stop_writing(f"took nothing for the write_timeout of {self._watch.write_timeout} s")

    def write_too_slow(self) -> None:
        """See ``Watched``."""
        self._stop_writing(f"took less than {self._request.rate_for(self._watch.write_timeout):g} bytes a second")

    def _stop_writing(self, text: str) -> None:
        self._timeout = StreamTimeout(f"{self._request.endpoint.where}: the client {text}")
        self._outbox.gone = True
        self._request.dismiss()
        self._interrupt()
        self._outbox.release()

    def read_timed_out(self) -> None:
        """See ``Watched``."""
        self._timeout = self._request.inbox.overdue()
        self._interrupt()

    def _interrupt(self) -> None:
        """End the stream, if there is one. The watch goes on: it takes a cancellation for one from outside."""
        if self._producer is not None:
            self._producer.interrupt()


def complete_head(call: Call, response: Response, producer: Producer, media_type: str | None) -> None:
    """Set the content type of a stream's head, and register a stream that ends when the server stops."""
    headers = response.headers
    if media_type is not None and "content-type" not in headers:
        headers["content-type"] = media_type
    chosen = producer.stream.at_stop
    if chosen is None and call.scope["method"] == "GET":  # an `EventSource` reconnects
        is_events = headers.get("content-type", "").lower().startswith(EVENTS_TYPE)
        chosen = "end" if producer.stream.ends_on_stop or is_events else "finish"
    if chosen == "end":
        call.policy.end_on_stop(producer)
