"""Sends a stream by the request's own task alone: see ``DirectSender``.

Rules that this module alone enforces:

* The task refers to the request only if there is something to close, or code of the user's may use it: in a generator,
  not in a feed.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import cast

from trioweb.exchange.call import Call
from trioweb.exchange.ending import end
from trioweb.exchange.finishing import Finishing
from trioweb.exchange.streaming import Reply, produce, send_stream
from trioweb.exchange.whole import is_bodiless
from trioweb.ground.errors import forget
from trioweb.ground.http.asgi import Scope
from trioweb.io.outbox import Outbox
from trioweb.io.transport import Transport
from trioweb.messages.response import Response, stream_of
from trioweb.streams.direct import DirectSender
from trioweb.streams.feed import Feed
from trioweb.streams.sender import Sender
from trioweb.streams.sources import READY, is_async
from trioweb.streams.stream import Stream


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


def send_alone(call: Call, response: Response, own: Transport) -> Callable[[], Awaitable[object]]:
    """Return what sends a stream that ``is_simple``; it refers to the request only if there is something to close."""
    stream = stream_of(response)
    assert stream is not None  # noqa: S101 - by `is_simple`
    producer = produce(call, stream)
    own.hold_to(call.rate_for(stream.write_timeout))
    outbox = Outbox(call.send, call.scope["http_version"])
    outbox.transport = own
    reply = Reply(call, response)
    if call.room is None and call.kept is None and (call.request is None or _is_over(call, stream)):
        call.open = False  # nothing would close a nursery
        line = _line_of(call.scope["method"], call.scope["raw_path"])
        return partial(send_stream, DirectSender(producer, outbox, reply), call.policy, line, ending=_ending)
    sender = DirectSender(producer, outbox, reply, call.dismiss)
    call.interruptible = sender.interrupt
    return partial(send_stream, sender, call.policy, call.scope, call, ending=_ending)


def _is_over(call: Call, stream: Stream) -> bool:
    """Whether a request is of no more use when the head of its response is sent."""
    request = call.request
    return isinstance(stream.source, Feed) and call.due == math.inf and (request is None or not request._ends)


@lru_cache(256)
def _line_of(method: str, raw_path: bytes) -> Scope:
    """What the log needs of a request: one object for many streams."""
    return {"method": method, "raw_path": raw_path}


def _ending(sender: Sender, call: Call | None, failure: Exception | None) -> Awaitable[None] | None:
    """What is left to await after a stream that the request's task has sent alone."""
    if failure is not None and not sender.outbox.started:
        return Finishing(cast("Reply", sender.opening).call).run(failure)
    if call is not None:
        return end(call, failure, sender.outbox, left=sender.outbox.gone)
    forget(failure)
    return None
