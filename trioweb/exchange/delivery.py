"""A response on its way out as it is produced; and one that was begun, and is not sent after all.

Rules that this module alone enforces:

* Behind middlewares a stream makes its first chunk before they see its response: what fails at its beginning is an
  error like any other to them, and its content type is known. It goes on when they have said what is sent.
* A stream that is not sent is closed in the task that it lives in; one that was not begun runs no code.
"""

from __future__ import annotations

import math

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.handling import Handling
from trioweb.exchange.policy import is_departure, together
from trioweb.exchange.unread import UnreadBody
from trioweb.exchange.watch import TASK as WATCH
from trioweb.exchange.watch import ClientWatch, watch_departure
from trioweb.exchange.whole import is_bodiless, send_whole
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
    """Sends the response to a request, with a watch over its client.

    Args:
        handling: the request.
    """

    __slots__ = (
        "_begun", "_outbox", "_overdue", "_producer", "_request", "_response", "_streaming", "_unread", "_watch",
    )  # fmt: skip

    _outbox: Outbox
    _unread: UnreadBody
    _watch: ClientWatch

    def __init__(self, handling: Handling) -> None:
        self._request = handling
        self._begun: Producer | None = None
        self._response: Response | None = None  # that is sent
        self._producer: Producer | None = None  # of the stream that is sent
        self._overdue: Exception | None = None
        self._streaming = False

    # Behind middleware: before it is known what is sent

    async def begin(self, response: Response) -> None:
        """Have a stream make its first chunk, in the request's nursery.

        Left out are those whose head does not wait for one, and ranges: a middleware that maps one makes it a whole.

        Raises:
            Exception: what it failed with.
        """
        stream = stream_of(response)
        if stream is None or stream.head_first or isinstance(response, RangeResponse):
            return
        if is_bodiless(self._request, response):
            return
        self._begun = producer = self._produce(stream)
        nursery = await self._request.open_room().opened()
        watching = trio.CancelScope()
        if not self._request.cancels_handler:  # else somebody does
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
        """Whether a stream was begun here, and is not sent yet."""
        return self._begun is not None and self._begun.stream is stream

    async def discard(self) -> None:
        """End a stream that was begun and is not sent; returns when it is closed."""
        producer, self._begun = self._begun, None
        if producer is not None:
            producer.stream.maps = []  # they have not been asked for anything
            producer.leave()
            with trio.CancelScope(shield=True):
                await producer.channel.finished()  # before what it may use is closed

    # Sending

    async def deliver(self, response: Response, outbox: Outbox, unread: UnreadBody) -> None:
        """Send a response. Returns without its end where the client has left, or the request's nursery ended it. No
        cancellation reaches ``send``.

        Raises:
            Exception: what it was broken off for; or what a stream failed with before its head had left.
        """
        request = self._request
        failure: Exception | None = None
        others: Exception | None = None
        self._outbox, self._unread = outbox, unread
        try:
            # The watch hears of a cancellation from outside, where the sender stands behind a shield.
            async with trio.open_nursery() as nursery:
                request.interruptible = self._interrupt
                self._watch = ClientWatch(self, request.inbox, outbox, request.policy.limits.write_timeout, request)
                nursery.start_soon(self._watch.run, name=WATCH)
                try:
                    sending = self._send(response, nursery)
                    del response  # it may take hours
                    await sending
                except Exception as error:
                    # As a value: one that passes a nursery is in a cycle with trio's frames, and with its tasks'.
                    failure = taken(error)
                finally:
                    self._watch.stop()
        except Exception as error:
            others = taken(error)
        finally:
            self._producer = request.interruptible = None
            del self._watch  # which refers to this
        if failure is None or is_departure(failure):  # a client that is given up may be told of as one that left
            failure = self._overdue or failure
        failure, self._overdue = together(failure, others), None
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
                self._request.dismiss()  # who feeds it meets no broken channel
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
                            self._request.dismiss()  # who feeds it meets no broken channel
                        await close_unused(stream.source)
            return
        producer, self._begun, self._response = self._begun or self._produce(stream), None, response
        self._streaming = True
        self._watch.watch_stream(producer)
        self._producer = producer
        if self._request.inbox.gone:
            producer.interrupt()
        del response, stream  # it may take hours
        try:
            await relay(producer, nursery, self._outbox, self)
            await self._raise_interruption(producer)
        except Exception as error:
            if not self._outbox.started:
                raise
            failure = self._request.judged(error, started=True)
            self._request.report(self._outbox, failure)  # now: who sees it broken off finds the reason in the log
            try:
                raise failure from (None if failure is not error else failure.__cause__)
            finally:
                del failure
        finally:
            self._request.policy.to_end.discard(producer)
            with trio.CancelScope(shield=True):
                await self._outbox.break_off()  # now, not after what else runs in the nursery has come to its end
                await producer.channel.finished()  # before what it may use is closed
        await self._unread.let_go()

    async def _raise_interruption(self, producer: Producer) -> None:
        """Raise what has failed in the request's nursery, if that has ended the stream: before it is broken off."""
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
        """See ``relay.Opening``."""
        response, self._response = self._response, None
        assert response is not None  # noqa: S101 - it is asked for once, by `deliver`
        complete_head(self._request, response, producer, media_type)
        producer.on_end = self._request.dismiss
        stream, inbox = stream_of(response), self._request.inbox
        if stream is not None and stream.coding is not None:
            stream.coder = stream.coding(response)
        if not (inbox.wanted or inbox.complete):
            inbox.discard()
        return response.status_code, response.headers.raw

    # The client: see ``Watched``

    def client_left(self) -> None:
        """See ``Watched``."""
        # Nothing is cancelled where the client has all: a server may report it from inside the send of the end, too.
        if self._outbox.state is not ENDED and not self._outbox.fulfilled:
            self._outbox.gone = True
            if self._streaming or self._request.cancels_handler:
                self._request.dismiss()  # before the source is closed: who feeds it meets no broken channel
                self._interrupt()
        self._outbox.release()

    def takes_nothing(self) -> None:
        """See ``Watched``."""
        self._give_up(f"took nothing for the write_timeout of {self._watch.write_timeout} s")

    def takes_too_little(self) -> None:
        """See ``Watched``."""
        self._give_up(f"took less than {self._request.rate_for(self._watch.write_timeout):g} bytes a second")

    def _give_up(self, text: str) -> None:
        self._overdue = StreamTimeout(f"{self._request.endpoint.where}: the client {text}")
        self._outbox.gone = True
        self._request.dismiss()
        self._interrupt()
        self._outbox.release()

    def sends_nothing(self) -> None:
        """See ``Watched``."""
        self._overdue = self._request.inbox.overdue()
        self._interrupt()

    def _interrupt(self) -> None:
        """End the stream, if it is one. The watch goes on: it could not tell this from a server that stops."""
        if self._producer is not None:
            self._producer.interrupt()


def complete_head(call: Call, response: Response, producer: Producer, media_type: str | None) -> None:
    """Give a stream's head what its first chunk has told. What ends at a stop is told of that."""
    headers = response.headers
    if media_type is not None and "content-type" not in headers:
        headers["content-type"] = media_type
    chosen = producer.stream.at_stop
    if chosen is None and call.scope["method"] == "GET":  # what an `EventSource` reads: it connects again
        is_events = headers.get("content-type", "").lower().startswith(EVENTS_TYPE)
        chosen = "end" if producer.stream.ends_on_stop or is_events else "finish"
    if chosen == "end":
        call.policy.end_on_stop(producer)
