"""A coroutine that is run by hand, inside of a trio task: who does that hears of each wait before it begins.

A coroutine waits by handing a word to trio's loop, a trap, and goes on with the answer. Here both pass as they are, so
that trio sees one task which does what it always did: its cancel scopes, nurseries and deadlines are those of the task.
A coroutine may say other things too, while it is detached from trio and run by another loop: those are no waits.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

import trio


def _trap_of(wait: Coroutine[object, object, object]) -> Any:
    trap = wait.send(None)
    wait.close()
    return trap


_CHECKPOINT: Final = _trap_of(trio.lowlevel.cancel_shielded_checkpoint())  # noqa: ASYNC105 - it is looked at, not run
"""Said by a task that goes on as soon as others have run."""
_WAIT: Final = type(_trap_of(trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)))  # noqa: ASYNC105
"""The kind of what all other waits say."""


@types.coroutine
def stepping(
    coroutine: Coroutine[object, object, None], on_wait: Callable[[bool], None]
) -> Generator[object, object, None]:
    """Await a coroutine, and call a function each time that it is about to wait.

    Args:
        coroutine: what to run.
        on_wait: called with whether it only lets others run. It must neither block nor raise.
    """
    reply = None
    try:
        trap = coroutine.send(None)
        while True:
            if trap is _CHECKPOINT:
                on_wait(True)
            elif type(trap) is _WAIT:
                on_wait(False)
            try:
                reply = yield trap
            except BaseException as raised:
                trap = coroutine.throw(raised)
            else:
                trap = coroutine.send(reply)
    except StopIteration:
        return
    finally:
        del reply  # it may be what trio raises, whose traceback has this frame
