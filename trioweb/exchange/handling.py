"""Calls a request's handler, with what it needs.

A handler that is ``light`` needs nothing, and is called without this module.
"""

from __future__ import annotations

from typing import cast

import trio

from trioweb.exchange.call import Call, close_unsent
from trioweb.handlers.results import to_response
from trioweb.messages.response import Response


async def call_handler(call: Call) -> Response:
    """Call the handler; what calls this cancels it if its nursery fails."""
    endpoint = call.endpoint
    call.open = True
    if endpoint.takes_nursery:
        await call.open_room().opened()
    if endpoint.waits:
        call.values = {}
    value = await endpoint.call(call.params, call.the_request())
    return to_response(value, endpoint.label, endpoint.streaming, endpoint.status_code)


async def call_in_scope(call: Call) -> Response:
    """Call the handler, in a scope that its timeout and a failure of its nursery cancel.

    Raises:
        Exception: if it fails; the nursery may be open then.
    """
    response: Response | None = None
    failure: Exception | None = None
    timeout, outer = call.endpoint.timeout, call.interruptible
    with trio.CancelScope() as scope:
        if timeout is not None:
            call.due = scope.deadline = trio.current_time() + timeout
        call.interruptible = scope.cancel
        try:
            response = await call_handler(call)
        finally:
            call.interruptible = outer
    if call.interrupted:
        failure = await call.cut_short(response)
    elif scope.cancel_called:
        await close_unsent(response)
        failure = call.timed_out(started=False)
    if failure is None:
        return cast("Response", response)
    try:
        raise failure
    finally:
        del failure  # its traceback refers to this frame
