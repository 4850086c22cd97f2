"""Changes of Python files, for ``--reload``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

import trio

from trioweb.server.process.snapshot import Snapshot, changes_since

FIRST_LOOK: Final = 200
"""Milliseconds until the system surely watches: then what has changed before is looked for, once."""


async def report_changes(directories: Sequence[str], send: trio.MemorySendChannel[str], before: Snapshot) -> None:
    """Send the path of a changed file for each batch of changes, until cancelled.

    A worker thread watches. It ends soon after the cancellation, which does not wait for it.

    Args:
        directories: what is watched.
        send: takes the paths.
        before: the files before any of them was imported: a change between that and the watch is one, too.
    """
    import watchfiles  # noqa: PLC0415 - an extra, for development

    stop = threading.Event()

    def watch() -> None:
        found = watchfiles.watch(
            *directories, watch_filter=watchfiles.PythonFilter(), stop_event=stop, raise_interrupt=False,
            yield_on_timeout=True, rust_timeout=FIRST_LOOK,
        )  # fmt: skip
        looked = False
        for batch in found:
            paths = [path for _, path in batch] or ([] if looked else changes_since(before, directories))
            looked = True
            for path in paths:
                _drop_bytecode(path)
            try:
                if paths:
                    trio.from_thread.run_sync(_put, send, min(paths))
            except (trio.Cancelled, trio.RunFinishedError):
                return

    try:
        await trio.to_thread.run_sync(watch, abandon_on_cancel=True)
    finally:
        stop.set()


def _put(send: trio.MemorySendChannel[str], path: str) -> None:
    with suppress(trio.WouldBlock):  # a change that is not handled yet has the same effect
        send.send_nowait(path)


def _drop_bytecode(path: str) -> None:
    """Remove a file's bytecode: Python takes it for current if size and second of the source are the same."""
    with suppress(OSError, NotImplementedError):
        Path(cache_from_source(path)).unlink()
