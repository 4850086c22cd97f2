"""The way in for every request, and the short way through for handlers that need no more.

A handler that takes neither the request nor a nursery cannot tell whether it has one; a typed JSON body that it takes
is read before it is called. It runs in a single cancel scope,
which is also the shield of the response, and is down while the handler waits; only then is the client watched, since a
handler that returns at once leaves nothing to cancel. A server may have such a scope already, and need no shield. Where
what such a handler returned is a stream, one task may be enough for that, too: see ``direct``. All else is an
``Exchange``.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import Any, TypeVar, cast

import trio

from trioweb.exchange.call import Call, may_have_body
from trioweb.exchange.direct import begin, is_simple, send_stream
from trioweb.exchange.exchange import Exchange
from trioweb.exchange.policy import report
from trioweb.ground.errors import taken
from trioweb.ground.http.asgi import Scope
from trioweb.handlers.endpoint import to_response
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import CLIENT_LEFT, SLICE, check_status, checked_headers, sendable
from trioweb.io.transport import PLAIN, DirectTransport, Transport, own_transport
from trioweb.messages.connection import Connection
from trioweb.messages.response import BODILESS, Response

T = TypeVar("T")


async def serve(call: Call) -> Callable[[], Awaitable[None]] | None:
    """Answer a request with a handler, or say what does so: what is under way for long keeps nothing of this.

    A cancellation from outside cancels the handler; it never reaches ``send``. Where the app's lifespan does not run, a
    client that leaves could be watched nowhere.
    """
    endpoint, scope = call.endpoint, call.scope
    light = endpoint.light and call.policy.nursery is not None
    if not light or (may_have_body(scope) and not (endpoint.waits and _sends_json(scope))):
        return Exchange(call).run
    own = own_transport(scope)
    answer: Response | Exception | None = None
    if own is not None and own.cancels is not None:
        answer = await _attempt(call, own.cancels, False, own)
    else:
        # Up from the start: nothing can be cancelled in a coroutine's first step, and most handlers have no other.
        with trio.CancelScope(shield=True) as shield:
            answer = await _attempt(call, shield, True, own or PLAIN)
        if shield.cancelled_caught and shield.deadline <= trio.current_time():
            answer = call.inbox.overdue()
    if answer is None:
        return None
    if isinstance(answer, Response) and is_simple(call, answer, own):
        inline = begin(call, answer, cast("DirectTransport", own))
        request = {"method": scope["method"], "raw_path": scope["raw_path"]}
        return partial(send_stream, inline, call.policy, request)
    try:
        return partial(Exchange(call).run, answer)
    finally:
        del answer  # an exception's traceback may have this frame


async def failed_to_send(failure: object, call: Call) -> None:
    """After a response that was begun and could not be sent whole."""
    if isinstance(failure, CLIENT_LEFT):
        await call.find_transport().drop()
    elif isinstance(failure, Exception):
        report(failure, call.scope, "sending the response failed")


def _sends_json(scope: Scope) -> bool:
    """Whether the body is JSON over HTTP/1: it is read to its end, or refused, before the handler is called.

    A form has files to remove, and HTTP/2 a body that may go on.
    """
    if scope["http_version"][0] != "1":
        return False
    for name, value in scope["headers"]:
        if name == b"content-type":
            return bool(value.startswith(b"application/json"))
    return False


async def _attempt(  # noqa: C901, PLR0912 - the way of every request: a call less is what it is for
    call: Call, cancels: trio.CancelScope, shields: bool, transport: Transport
) -> Response | Exception | None:
    """Call the handler, and send what is small. Returns what is left to be answered with."""
    endpoint = call.endpoint
    started = False
    connection: Connection | None = None
    try:
        if endpoint.waits:  # with a body only for one that takes it
            connection = call.make_request()
            if shields:
                call.inbox.timer = cancels
        elif endpoint.reads:
            connection = Connection(call.scope, call.policy.app, call.params)
        coroutine = endpoint.call(call.params, connection)
        try:
            trap = coroutine.send(None)
        except StopIteration as done:
            value = done.value
        else:
            if shields:
                cancels.shield = False
            start = None if call.policy.nursery is None else call.policy.nursery.start_soon
            value = await rest_of(coroutine, trap, call, cancels, start)
            if shields:
                cancels.shield = True
        answer = to_response(value, endpoint.label, endpoint.streaming)
        connection = value = None  # what has been read of the body is not needed to send this
        body = answer.body
        if body is None or len(body) > SLICE:
            return answer
        status, headers = answer.status_code, answer.headers.raw
        if call.scope["method"] == "HEAD" or status in BODILESS:
            body, headers = b"", sendable(headers, "1.1", status)
        else:
            headers = checked_headers(headers, "1.1", status, len(body))
        check_status(status)
        started = True
        call.policy.writes.add(cancels, call)
        await transport.respond(call.send, status, headers, body)
    except Exception as group:
        if not started:
            return taken(group)
        await failed_to_send(taken(group), call)
    finally:
        connection = None
        if started:
            call.policy.writes.now.pop(cancels, None)
    return None


async def rest_of(
    coroutine: Coroutine[Any, Any, T],
    trap: Any,
    call: Call,
    scope: trio.CancelScope,
    start: Callable[..., None] | None,
) -> T:
    """Go on with what has taken its first step and waits for ``trap``, and cancel ``scope`` when its client leaves.

    Args:
        coroutine: what to go on with.
        trap: what it waits for.
        call: whose client it is.
        scope: around the coroutine.
        start: starts a task, to see whether the client leaves; ``None`` where somebody sees that already.
    """
    watching = trio.CancelScope()
    if start is not None and call.cancels_handler:
        start(_cancel_when_gone, call.inbox, scope, watching)
    try:
        value = await _resumed(coroutine, trap)
    finally:
        watching.cancel()
    # A client that left in this very moment: a scope that is cancelled already would be no shield for its response.
    await trio.lowlevel.checkpoint_if_cancelled()
    return value


async def _cancel_when_gone(inbox: Inbox, scope: trio.CancelScope, watch: trio.CancelScope) -> None:
    with watch:
        await inbox.departed()
        if not watch.cancel_called:  # else the handler has returned meanwhile, and the scope is a shield
            scope.cancel()


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, T], trap: Any) -> Generator[Any, Any, T]:
    """Await the rest of a coroutine whose first step has been taken."""
    reply = None
    try:
        while True:
            try:
                reply = yield trap
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as raised:
                trap = coroutine.throw(raised)
            else:
                trap = coroutine.send(reply)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        del reply  # it may be what trio raises, whose traceback has this frame
