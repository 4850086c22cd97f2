"""A handler's stream where one task is enough for all of it: see ``trioweb.streams.inline``.

That is so where the server can do its part, and nobody could tell: the handler has seen no nursery, and what it streams
is iterated by the event loop as it is.
"""

from __future__ import annotations

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.delivery import complete_head, is_bodiless
from trioweb.exchange.exchange import Exchange
from trioweb.exchange.policy import Policy, report
from trioweb.ground.errors import ClientDisconnected, forget, taken
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import DirectTransport, Transport
from trioweb.messages.response import Response, stream_of
from trioweb.streams.inline import InlineStream
from trioweb.streams.producer import Producer
from trioweb.streams.sources import READY, is_async


def is_simple(call: Call, response: Response, own: Transport | None) -> bool:
    """Whether a response is a stream that one task can send."""
    stream = stream_of(response)
    return (
        stream is not None
        and isinstance(own, DirectTransport)
        and own.is_direct(call.send)
        and (is_async(stream.source) or isinstance(stream.source, READY))
        and not (stream.maps or stream.coding or stream.pulled or stream.buffered)
        and not response.headers.has(b"content-length")
        and not is_bodiless(call, response)
    )


class Reply:
    """What a stream needs until its head leaves: kept for hours, it would be most of what an idle one holds.

    Args:
        call: what is answered.
        response: the answer.
    """

    __slots__ = ("_call", "_response")

    def __init__(self, call: Call, response: Response) -> None:
        self._call = call
        self._response = response

    def head(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """See ``wire.relay``."""
        complete_head(self._call, self._response, producer, media_type)
        return self._response.status_code, self._response.headers.raw

    async def fail(self, failure: Exception) -> None:
        """See ``wire.inline``."""
        answering = Exchange(self._call).run(failure)
        del failure  # an error handler may raise it again, and its traceback may then have this frame
        await answering


def begin(call: Call, response: Response, own: DirectTransport) -> InlineStream:
    """A stream that ``is_simple``, to be sent by ``send_stream``."""
    stream = stream_of(response)
    assert stream is not None  # noqa: S101 - it is simple
    call.policy.limits.apply(stream)
    own.hold_to(call.rate_for(stream.write_timeout))
    outbox = Outbox(call.send, call.scope["http_version"])
    outbox.transport = own
    return InlineStream(stream, call.endpoint.where, outbox, own, Reply(call, response))


async def send_stream(inline: InlineStream, policy: Policy, request: Scope) -> None:
    """Send a stream. Returns when all of it is sent, and its generator has ended.

    A cancellation from outside cancels the generator, and breaks the response off.

    Args:
        inline: the stream.
        policy: of the app.
        request: as much of the request's scope as the log tells.
    """
    outbox = inline.outbox
    failure: Exception | None = None
    try:
        await inline.relay()
    except ClientDisconnected:
        pass
    except Exception as error:
        failure = taken(error)
        if outbox.started:  # now: who sees that it is broken off finds the reason in the log
            report(failure, request, f"the response was broken off after {outbox.sent} bytes")
    finally:
        policy.to_end.discard(inline)
        if outbox.state is not ENDED:
            with trio.CancelScope(shield=True):
                await outbox.break_off()
    try:
        if failure is not None and inline.opening is not None:
            await inline.opening.fail(failure)
    finally:
        forget(failure)
        del failure
    await trio.lowlevel.checkpoint_if_cancelled()
