"""Changes of Python files, for ``--reload``."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

import trio


async def report_changes(directories: Sequence[str], send: trio.MemorySendChannel[str]) -> None:
    """Send the path of a changed file for each batch of changes, until cancelled.

    A worker thread watches. It ends soon after the cancellation, which does not wait for it.
    """
    import watchfiles  # noqa: PLC0415 - an extra, for development

    stop = threading.Event()

    def watch() -> None:
        found = watchfiles.watch(
            *directories, watch_filter=watchfiles.PythonFilter(), stop_event=stop, raise_interrupt=False
        )
        for batch in found:
            for _, path in batch:
                _drop_bytecode(path)
            try:
                trio.from_thread.run_sync(_put, send, min(path for _, path in batch))
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
