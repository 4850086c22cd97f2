"""Sends a response that a small write cannot: streams it, watches the client, and closes a stream that is not sent.

Rules that this module alone enforces:

* With middleware a stream makes its first chunk before they get its response: they see a failure until then as any
  other, and the content type. The producer then waits until they have returned the response that is sent.
* A stream that is not sent is closed in the task that it runs in; one that has not begun runs no code.
"""

from __future__ import annotations

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.clock import watch
from trioweb.exchange.policy import is_departure, together
from trioweb.exchange.streaming import Reply, produce, send_stream
from trioweb.exchange.whole import UnreadBody, is_bodiless, send_whole
from trioweb.ground.errors import taken
from trioweb.ground.pace import due
from trioweb.io.outbox import Outbox
from trioweb.io.sending import Sending
from trioweb.messages.prepared import PreparedResponse
from trioweb.messages.response import Response, stream_of
from trioweb.streams.closing import close_unused
from trioweb.streams.producer import Producer
from trioweb.streams.sender import Sender
from trioweb.streams.sources import is_channel
from trioweb.streams.stream import Stream


class Delivery:
    """Sends the response to one request, on any server."""

    __slots__ = ("_begun", "_call")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._begun: Producer | None = None

    # For middleware: before the response is known that is sent

    async def begin(self, response: Response) -> None:
        """Have a stream make its first chunk, in the request's nursery.

        Left out are streams whose head does not wait for a chunk, and ranges: middleware that maps one makes it whole.

        Raises:
            Exception: if the stream fails before its first chunk.
        """
        stream = stream_of(response)
        if stream is None or stream.head_first or isinstance(response, PreparedResponse):
            return
        if is_bodiless(self._call, response):
            return
        self._begun = producer = produce(self._call, stream)
        nursery = await self._call.open_room().opened()
        silent_due = due(trio.current_time(), stream.idle_timeout)
        stop_watching = None
        if not self._call.cancels_handler:  # else the exchange watches for a disconnect
            stop_watching = watch(self._call, self._call, self._call.own)
        try:
            with trio.CancelScope(deadline=min(silent_due, producer.ends)) as limit:
                await producer.begin(nursery)
        finally:
            if stop_watching is not None:
                stop_watching()
        if limit.cancelled_caught:
            await self.discard()
            raise self._call.judged(producer.late(), started=False)
        if producer.encoder.media_type is not None:
            response.headers.setdefault("content-type", producer.encoder.media_type)

    def has_begun(self, stream: Stream) -> bool:
        """Whether ``begin`` has begun this stream, and it is not sent yet."""
        return self._begun is not None and self._begun.stream is stream

    async def discard(self) -> None:
        """Close a stream that ``begin`` has begun. Returns when its generator has ended."""
        producer, self._begun = self._begun, None
        if producer is not None:
            producer.stream.maps = ()  # they have not run yet, and never will
            producer.abandon()
            with trio.CancelScope(shield=True):
                await producer.channel.finished()  # before the resources close that it may use

    # Sending

    async def deliver(self, response: Response, outbox: Outbox, unread: UnreadBody) -> Exception | None:
        """Send a response. Returns its failure; ``None`` also without its end, if the client disconnects, or the
        request's nursery ends it. No cancellation reaches ``send``.
        """
        call = self._call
        sending = self._sending(response, outbox)
        call.interruptible = sending.interrupt
        if call.inbox.gone:
            sending.interrupt()
        failure: Exception | None = None
        others: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                stop_watching = watch(sending, call, outbox.transport, nursery.start_soon)
                call.policy.writes.pace(sending, call.rate_for(sending.write_timeout))
                try:
                    await self._close_begun()
                    delivering = (
                        send_stream(sending, call.policy, call.scope, call, nursery)
                        if isinstance(sending, Sender)
                        else self._send_whole(response, outbox, unread)
                    )
                    del response  # the coroutine alone refers to it: its body is freed while a long stream runs
                    failure = await delivering
                    if failure is None:
                        await unread.stop()
                except Exception as error:
                    # As a value: one that passes a nursery is in a reference cycle with the frames of trio's tasks.
                    failure = taken(error)
                finally:
                    stop_watching()
                    call.policy.writes.others.discard(sending)
        except Exception as error:
            others = taken(error)
        finally:
            call.interruptible = None
        if failure is None or is_departure(failure):  # a slow client may also be reported as disconnected
            failure = sending.failure or failure
        sending.failure = None
        failure = together(failure, others)
        try:
            return None if failure is None else call.judged(failure, started=outbox.started)
        finally:
            del failure, others

    def _sending(self, response: Response, outbox: Outbox) -> Sending:
        call, stream = self._call, stream_of(response)
        if stream is None or is_bodiless(call, response):
            limit = call.policy.limits.write_timeout
            return Sending(outbox, call.endpoint.where, limit, call.dismiss if call.cancels_handler else None)
        producer = None
        if self.has_begun(stream):
            producer, self._begun = self._begun, None
        return Sender(producer or produce(call, stream), outbox, Reply(call, response, call.inbox), call.dismiss)

    async def _close_begun(self) -> None:
        """Close a stream that has begun, if another response is sent."""
        if self._begun is not None:
            if is_channel(self._begun.stream.source):
                self._call.dismiss()  # first, or the tasks that send to the channel would raise BrokenResourceError
            await self.discard()

    async def _send_whole(self, response: Response, outbox: Outbox, unread: UnreadBody) -> Exception | None:
        stream = stream_of(response)
        with outbox.shield():
            sending = send_whole(self._call, response, outbox, unread)
            del response
            try:
                await sending
            finally:
                if stream is not None and not stream.begun:
                    if is_channel(stream.source):
                        self._call.dismiss()  # first, as above
                    await close_unused(stream.source)
        return None
