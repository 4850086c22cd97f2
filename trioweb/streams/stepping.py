"""Runs a coroutine step by step inside a trio task, and calls a function before each of its waits.

A coroutine waits by yielding a value, a trap, to trio's loop, and is resumed with a result. Both are passed on, so that
trio sees one task, whose cancel scopes, nurseries and deadlines work as usual. Values that are no traps of trio, as
while the coroutine is run by another loop, are no waits.
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


_CHECKPOINT: Final = _trap_of(trio.lowlevel.cancel_shielded_checkpoint())  # noqa: ASYNC105 - only its trap is used
"""The trap of a checkpoint: the task goes on after others have run."""
_WAIT: Final = type(_trap_of(trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)))  # noqa: ASYNC105
"""The type of the traps of all other waits."""


@types.coroutine
def stepping(
    coroutine: Coroutine[object, object, None], on_wait: Callable[[bool], None]
) -> Generator[object, object, None]:
    """Await a coroutine, and call ``on_wait`` before each of its waits, with whether it is only a checkpoint.

    ``on_wait`` must neither block nor raise.
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
        del reply  # it may be an exception of trio's, whose traceback refers to this frame
