"""Answers failures: by the user's error handlers, or by the default response."""

from __future__ import annotations

from trioweb.exchange.call import Call
from trioweb.exchange.policy import report
from trioweb.ground.errors import chained, forget, taken
from trioweb.handlers.results import to_response
from trioweb.handlers.signatures import Function, Kind, call_in_thread, kind_of, label_of
from trioweb.messages.request import Request
from trioweb.messages.response import Response


async def answer_error(call: Call, failure: Exception, *, outermost: bool) -> tuple[Response, bool]:
    """Answer a failure by its error handler; if that fails, by the error handler of the new failure.

    Args:
        call: the request, or a WebSocket before its handshake is answered.
        failure: its failure.
        outermost: no middleware is outside: a failure that is not expected is reported and answered, not raised; and if
            the response cannot be sent, its error handler is not called again.

    Returns:
        The response, and whether it is the default one.

    Raises:
        Exception: if the failure is not expected, unless ``outermost``.
    """
    policy, label = call.policy, call.endpoint.label
    call.open = True
    try:
        while True:
            if not call.expects(failure):
                if not outermost:
                    raise failure
                call.report(None, failure, label)
            found = policy.handler_for(failure, call.failed)
            if found is None:
                return policy.default_answer(failure, call.scope), True
            handler, label = found
            try:
                response = to_response(await _ask(handler, call.the_request(), failure), label, streaming=False)
                if response.body is None and call.scope["type"] == "websocket":
                    raise TypeError(f"{label} answered a handshake with a stream: give it a body in one piece")
                response = await call.prepared(response)
            except Exception as error:
                call.failed += (found,)
                failure = chained(taken(error), failure)
            else:
                call.failed += (found,) if outermost else ()
                return response, False
    finally:
        forget(failure)
        del failure


async def _ask(handler: Function, request: Request, error: Exception) -> object:
    """Call an error handler: an ``async def`` or generator function here, a plain ``def`` in a worker thread."""
    kind = kind_of(handler)
    held = [error]  # emptied before the call: a handler may raise the error, whose traceback would refer to this frame
    del error
    if kind is Kind.COROUTINE:
        return await handler(request, held.pop())
    if kind is Kind.GENERATOR:
        return handler(request, held.pop())
    return await call_in_thread(lambda: handler(request, held.pop()))


def mark_error(request: Request, response: Response) -> None:
    """Let middlewares change a response that is made outside of them: see ``Request.mark_errors``."""
    for mark in reversed(request._marks or ()):
        try:
            mark(response)
        except Exception as error:
            report(error, request.scope, f"{label_of(mark)}, which marks errors, failed")
