"""Where tasks wait: the frames of each, through all that it awaits."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Final

import trio

from trioweb.ground.places import is_users

NAMED: Final = 5
"""Tasks that a message names; it only counts further ones."""
LISTED: Final = 100
"""Tasks of a tree that are listed."""

_OWN: Final = "trioweb."
"""Prefix of the names of this framework's own tasks."""


def at_work(nursery: trio.Nursery) -> str:
    """The app's tasks in a nursery, and where each waits, for an error message."""
    places = [
        f"{task.name} {where}"
        for child in nursery.child_tasks
        for task in tasks_below(child)
        if (where := _where(task)) is not None
    ]
    more = f"; and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return "; ".join(places[:NAMED]) + more if places else "no task of its own"


def task_tree(tasks: Iterable[trio.lowlevel.Task]) -> list[str]:
    """The app's tasks of these, and in their nurseries, each in a line with where it waits, indented by its depth.

    Not all: at most ``LISTED``, and a line that counts the others.
    """
    lines = list(_branches(tasks, ""))
    return lines if len(lines) <= LISTED else [*lines[:LISTED], f"and {len(lines) - LISTED} more"]


def _branches(tasks: Iterable[trio.lowlevel.Task], indent: str) -> Iterator[str]:
    current = trio.lowlevel.current_task()
    for task in sorted(tasks, key=lambda task: task.name):
        where = "has failed" if task is current else _where(task)
        if where is not None:
            yield f"{indent}{task.name} {where}"
        for nursery in task.child_nurseries:
            yield from _branches(nursery.child_tasks, indent if where is None else indent + "    ")


def _where(task: trio.lowlevel.Task) -> str | None:
    """The innermost line of the user's code in a task; ``None`` for a task of this framework."""
    frames = list(await_frames(task))
    users = [frame for frame in frames if is_users(frame.f_code.co_filename)]
    if not users:
        return None if task.name.startswith(_OWN) else "(started by the app, in code of others)"
    return f"({users[-1].f_code.co_filename}:{users[-1].f_lineno}, in {users[-1].f_code.co_name})"


def tasks_below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """A task and all its descendants."""
    tasks = [task]
    while tasks:
        task = tasks.pop()
        yield task
        for nursery in task.child_nurseries:
            tasks += nursery.child_tasks


def await_frames(task: trio.lowlevel.Task) -> Iterator[FrameType]:
    """The frames of a waiting task, from its function to the innermost."""
    awaited: object = task.coro
    frame: FrameType | None
    following: object
    seen: set[int] = set()
    while awaited is not None and id(awaited) not in seen:
        seen.add(id(awaited))
        if isinstance(awaited, CoroutineType):
            frame, following = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, AsyncGeneratorType):
            frame, following = awaited.ag_frame, awaited.ag_await
        elif isinstance(awaited, GeneratorType):
            frame, following = awaited.gi_frame, awaited.gi_yieldfrom
            if following is None and frame is not None:  # it may drive a coroutine by hand: a local variable then
                following = next(filter(_is_awaited, frame.f_locals.values()), None)
        else:  # the step of an async generator, or a wrapper by `__await__`: only its references show what it awaits
            frame, following = None, next(filter(_is_awaited, gc.get_referents(awaited)), None)
        if frame is not None:
            yield frame
        awaited = following


def _is_awaited(value: object) -> bool:
    return isinstance(value, (CoroutineType, AsyncGeneratorType, GeneratorType))
