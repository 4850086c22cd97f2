"""Notes on exceptions that say what to write instead, where the message of Python or trio leaves that to be guessed.

Rules that this module alone enforces:

* A hint is exact: where an exception may have another reason there is none.
* It is a note of the exception (PEP 678), so that every log, test and tool shows it.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from trioweb.ground.places import is_users

_FORGOTTEN: Final = re.compile(
    "['\"]coroutine['\"]|object coroutine can't|got coroutine$|non-iterable coroutine object|coroutine found$"
)
"""Python's messages about a coroutine that was used instead of its result."""
_AWAIT: Final = "Hint: an async function was called and not awaited: write `await` before the call."

_NO_LOOP: Final = re.compile("no running event loop|There is no current event loop in thread ")
_NONE_AS_LOOP: Final = re.compile("'NoneType' object has no attribute '(create_future|create_task|call_[a-z_]+)'")
"""What asyncio says without a loop of its own: by itself, and where it does not check."""
_WAITED: Final = re.compile(r"trio\.run received unrecognized yield message (<\w*(?:Future|Task) |None\.)")
"""What trio says of a coroutine that waits for asyncio; ``None`` is what ``asyncio.sleep(0)`` waits for."""
_INSTEAD: Final = {
    "sleep": "await trio.sleep(seconds)",
    "wait_for": "with trio.fail_after(seconds): ...",
    "timeouts": "with trio.fail_after(seconds): ...",
    "tasks": "async with trio.open_nursery() as nursery: nursery.start_soon(function)",
    "taskgroups": "async with trio.open_nursery() as nursery: nursery.start_soon(function)",
    "locks": "trio.Lock(), trio.Event(), trio.Semaphore(...) or trio.Condition()",
    "queues": "trio.open_memory_channel(size)",
    "threads": "await trio.to_thread.run_sync(function)",
    "streams": "await trio.open_tcp_stream(host, port)",
    "subprocess": "await trio.run_process(command)",
}
"""What to write, by a function of asyncio, or by its module."""
_OURS: Final = ("trio", "trioweb", "outcome")
_OTHERWISE: Final = "what trio has for it: trio.sleep, trio.open_nursery, trio.to_thread.run_sync"
_LIBRARY: Final = (
    "use one that runs on trio (httpx for HTTP), call its sync interface by trio.to_thread.run_sync(...), "
    "or run it by trio-asyncio"
)


def add_hints(error: BaseException) -> None:
    """Add a note to an exception, and to those of a group and to causes, where there is a hint for it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        hint = _hint(each)
        if hint is not None and hint not in getattr(each, "__notes__", ()):  # it may be raised for each request
            each.add_note(hint)
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        if each.__cause__ is not None:  # not the context: what was caught may have been expected
            waiting.append(each.__cause__)


def _hint(error: BaseException) -> str | None:
    if not isinstance(error, (TypeError, AttributeError, RuntimeError)):
        return None
    text = str(error)
    if _FORGOTTEN.search(text):
        return _AWAIT
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = bool(frames) and _asyncio_module(frames[-1]) is not None
    waited = _WAITED.match(text) if isinstance(error, TypeError) else None
    if waited is not None:
        inside = inside or waited[1] != "None."
    elif isinstance(error, AttributeError):
        inside = inside and bool(_NONE_AS_LOOP.match(text))
    else:
        inside = isinstance(error, RuntimeError) and bool(_NO_LOOP.match(text))
    if not inside:
        return None
    called = next(_calls(frames), None)
    if waited is not None and waited[1] == "<_GatheringFuture ":
        called = "tasks"
    return f"Hint: this app runs on trio, and {_caller(frames)} waits for asyncio: {_advice(frames, called)}"


def _calls(frames: list[FrameType]) -> Iterator[str]:
    """The functions of asyncio in a traceback, outermost first, and their modules."""
    for frame in frames:
        module = _asyncio_module(frame)
        if module is not None:
            yield from (name for name in (frame.f_code.co_name, module) if name in _INSTEAD)


def _asyncio_module(frame: FrameType) -> str | None:
    path = Path(frame.f_code.co_filename)
    return path.stem if path.parent.name == "asyncio" and not is_users(frame.f_code.co_filename) else None


def _caller(frames: list[FrameType]) -> str:
    """The user's function, by its name and place."""
    frame = next((frame for frame in reversed(frames) if is_users(frame.f_code.co_filename)), None)
    if frame is None:
        return "this"
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"


def _advice(frames: list[FrameType], called: str | None) -> str:
    """What to write instead: of asyncio, or of a library that uses it."""
    outside = [frame for frame in frames if _asyncio_module(frame) is None]
    name = str(outside[-1].f_globals.get("__name__", "")).partition(".")[0] if outside else ""
    if outside and name not in _OURS and not is_users(outside[-1].f_code.co_filename):
        return f"{name} needs its event loop: {_LIBRARY}"
    return f"write {_INSTEAD[called] if called else _OTHERWISE} instead"
