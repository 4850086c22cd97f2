"""The end of a request: closes its nursery, and releases what it holds, after its response or in its place.

Rules that this module alone enforces:

* A failure is logged before the client sees that the response is aborted.
* After the whole response a disconnect cancels nothing.
"""

from __future__ import annotations

from typing import cast

import trio

from trioweb.exchange.call import Call
from trioweb.exchange.policy import is_departure, report, split_cancelled
from trioweb.ground.errors import BrokenOff, forget, taken
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import PLAIN
from trioweb.messages.request import Request


async def end(call: Call, failure: Exception | None, outbox: Outbox, *, left: bool = False) -> None:
    """Close the nursery, report a failure, and release the connection, after a response or in its place.

    Args:
        call: the request.
        failure: its failure.
        outbox: has sent its response, or a part of it.
        left: the client has disconnected, so that the tasks in the nursery are cancelled.

    Raises:
        Exception: as ``Finishing.run``.
    """
    try:
        if left or (call.cancels_handler and (call.inbox.gone or outbox.gone) and outbox.state is not ENDED):
            call.dismiss()
        closing = call.close_room(failure)
        failure = None
        failure = await closing
        del closing
        call.open = False
        await call.close_files()
        if failure is not None:
            call.report(outbox, failure)  # before the client sees the abort
        if outbox.state is not ENDED:
            await _abort(call, outbox)
            _raise_to_server(failure, outbox)
    finally:
        forget(failure)
        failure = None
        await _release(call)


async def give_up(call: Call, ended: BaseException, outbox: Outbox | None = None) -> None:
    """Close the nursery of a request that was cancelled. The caller has closed its stream, and holds a shield.

    Args:
        call: the request.
        ended: the cancellation, maybe in a group with failures.
        outbox: has sent a part of its response.
    """
    await call.cancel_room(outbox)
    call.open = False
    failure = split_cancelled(ended)[1]
    if failure is not None:
        call.report(outbox, failure)
    forget(failure)
    del failure, ended
    await call.close_files()
    await _release(call)


async def _release(call: Call) -> None:
    request, call.request = call.request, None
    call.reported = call.interruptible = None
    call.values = {}
    if request is not None and request._ends:
        await close_request(request)


async def close_request(request: Request) -> None:
    """Call what waits for the end of a request, each whatever becomes of the others; errors are logged."""
    with trio.CancelScope(shield=True):
        for function in request._ends:
            try:
                await function()
            except Exception as error:
                report(taken(error), request.scope, "what was to be done at its end failed")
    request._ends = ()


async def _abort(call: Call, outbox: Outbox) -> None:
    """Abort a response that did not end: nothing in the server may wait for its end, or for a reader of the body."""
    with trio.CancelScope(shield=True):
        await outbox.break_off()
        call.inbox.gone |= await outbox.transport.drop()
    if call.inbox.gone and call.may_have_body:
        # On the lost connection the server may be blocked on its full queue for this request, and all others with it.
        await call.inbox.drain()


def _raise_to_server(failure: Exception | None, outbox: Outbox) -> None:
    """Raise why a response was aborted, if the server has no other way to be told that it was.

    Raises:
        Exception: the failure.
    """
    try:
        if isinstance(failure, BrokenOff):
            failure = cast("Exception | None", failure.__cause__)
        silent = outbox.started and outbox.transport is PLAIN
        if silent and failure is not None and not is_departure(failure):
            raise failure
    finally:
        del failure  # its traceback refers to this frame
