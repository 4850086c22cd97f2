"""Runs a coroutine step by step inside a trio task, and can call a function before each of its waits.

A coroutine waits by yielding a value, a trap, to trio's loop, and is resumed with a result. Both are passed on, so that
trio sees one task, whose cancel scopes, nurseries and deadlines work as usual. Values that are no traps of trio, as
while the coroutine is run by another loop, are no waits.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Final, TypeVar

import trio

T = TypeVar("T")


def _trap_of(wait: Coroutine[object, object, object]) -> object:
    trap = wait.send(None)
    wait.close()
    return trap


_CHECKPOINT: Final = _trap_of(trio.lowlevel.cancel_shielded_checkpoint())  # noqa: ASYNC105 - only its trap is used
"""The trap of a checkpoint: the task goes on after others have run."""
_WAIT: Final = type(_trap_of(trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)))  # noqa: ASYNC105
"""The type of the traps of all other waits."""


@types.coroutine
def stepping(
    coroutine: Coroutine[object, object, T], on_wait: Callable[[bool], None] | None = None, trap: object = None
) -> Generator[object, object, T]:
    """Await a coroutine.

    Args:
        coroutine: it has not begun, or its first step has given ``trap``.
        on_wait: called before each of its waits, with whether it is only a checkpoint. Must neither block nor raise.
        trap: that of its first step.
    """
    reply = None
    try:
        if trap is None:
            trap = coroutine.send(None)
        while True:
            if on_wait is None:
                pass
            elif trap is _CHECKPOINT:
                on_wait(True)
            elif type(trap) is _WAIT:
                on_wait(False)
            try:
                reply = yield trap
            except BaseException as raised:
                trap = coroutine.throw(raised)
            else:
                trap = coroutine.send(reply)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    finally:
        del reply  # it may be an exception of trio's, whose traceback refers to this frame


def run_at_once(coroutine: Coroutine[object, object, None]) -> None:
    """Run a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("this server keeps the head of a response waiting")
