"""Sends a stream in the request's own task: see ``trioweb.streams.inline``.

This needs a server that reports disconnects by itself, no middleware, and a source that the event loop can iterate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.delivery import complete_head
from trioweb.exchange.ending import end, give_up
from trioweb.exchange.finishing import Finishing
from trioweb.exchange.policy import Policy, report
from trioweb.exchange.whole import is_bodiless
from trioweb.ground.errors import ClientDisconnected, forget, taken
from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import DirectTransport, Transport
from trioweb.messages.response import Response, stream_of
from trioweb.streams.inline import InlineStream
from trioweb.streams.producer import Producer
from trioweb.streams.sources import READY, is_async


class Reply:
    """Gives the head of a stream: dropped after that, since a request would be most of the memory of an idle stream."""

    __slots__ = ("_response", "handling")

    def __init__(self, handling: Call, response: Response) -> None:
        self.handling = handling
        self._response = response

    def head(self, producer: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """See ``Opening``."""
        complete_head(self.handling, self._response, producer, media_type)
        return self._response.status_code, self._response.headers.raw


def is_simple(handling: Call, response: Response, own: Transport) -> bool:
    """Whether a response is a stream that the request's task can send alone."""
    stream = stream_of(response)
    return (
        stream is not None
        and isinstance(own, DirectTransport)
        and own.is_direct(handling.send)
        and (is_async(stream.source) or isinstance(stream.source, READY))
        and not (stream.maps or stream.coding or stream.pulled or stream.buffered)
        and not response.headers.has(b"content-length")
        and not is_bodiless(handling, response)
    )


def send_inline(handling: Call, response: Response, own: DirectTransport) -> Callable[[], Awaitable[None]]:
    """Return what sends a stream that ``is_simple``; it refers to the request only if there is something to close."""
    stream = stream_of(response)
    assert stream is not None  # noqa: S101 - by `is_simple`
    handling.policy.limits.apply(stream)
    handling.cap(stream)
    own.hold_to(handling.rate_for(stream.write_timeout))
    outbox = Outbox(handling.send, handling.scope["http_version"])
    outbox.transport = own
    inline = InlineStream(stream, handling.endpoint.where, outbox, own, Reply(handling, response))
    if handling.request is None and handling.room is None:
        request = {"method": handling.scope["method"], "raw_path": handling.scope["raw_path"]}
        return partial(_send, inline, handling.policy, request, None)
    handling.interruptible = inline.interrupt
    inline.on_end = handling.dismiss
    return partial(_send, inline, handling.policy, handling.scope, handling)


async def _send(inline: InlineStream, policy: Policy, request: Scope, handling: Call | None) -> None:
    """Send a stream. Returns when it is sent and its generator has ended.

    A cancellation from outside cancels the generator, and aborts the response.

    Args:
        inline: the stream.
        policy: the app's.
        request: the part of the scope that the log needs.
        handling: the request, if it has something to close.
    """
    outbox = inline.outbox
    failure: Exception | None = None
    left = False
    try:
        await inline.relay()
    except ClientDisconnected:
        left = True
    except Exception as error:
        failure = taken(error)
        if handling is not None:
            failure = handling.judged(failure, started=outbox.started)
        if outbox.started:  # before the client sees the abort
            report(failure, request, f"the response was broken off after {outbox.sent} bytes")
            if handling is not None:
                handling.reported = failure
    except BaseException as ended:
        if handling is not None:
            with trio.CancelScope(shield=True):
                await give_up(handling, ended, outbox)
        raise
    finally:
        policy.to_end.discard(inline)
        if outbox.state is not ENDED:
            with trio.CancelScope(shield=True):
                await outbox.break_off()
    try:
        await _conclude(inline, handling, failure, left=left)
    finally:
        forget(failure)
        del failure
    await trio.lowlevel.checkpoint_if_cancelled()


async def _conclude(inline: InlineStream, handling: Call | None, failure: Exception | None, *, left: bool) -> None:
    if handling is not None and handling.room is not None and handling.room.interrupted:
        left = False
        if not inline.outbox.started:
            failure = await handling.cut_short(None)
    if failure is not None and not inline.outbox.started:
        answering = Finishing(cast("Reply", inline.opening).handling).run(failure)
        del failure  # an error handler may raise it again: its traceback would refer to this frame
        await answering
    elif handling is not None:
        await end(handling, failure, inline.outbox, left=left)
