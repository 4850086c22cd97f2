"""What Python files are like at a moment, for ``--reload``. The command loads it before trio: it must not load that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

Snapshot: TypeAlias = "dict[str, tuple[int, int, int]]"
"""Of each file by its path: the time of its last change, which no program sets; its size and inode."""


def take_snapshot(directories: Sequence[str]) -> Snapshot:
    """The Python files below directories, without those that ``watchfiles`` leaves out."""
    from watchfiles import Change, PythonFilter  # noqa: PLC0415 - an extra, for development

    is_watched = PythonFilter()
    found: Snapshot = {}
    for top in directories:
        for directory, folders, names in os.walk(Path(top).absolute()):
            folders[:] = [name for name in folders if name not in is_watched.ignore_dirs]
            for path in (Path(directory, name) for name in names):
                if is_watched(Change.modified, str(path)):
                    with suppress(OSError):  # it is gone again
                        stat = path.stat()
                        found[str(path)] = stat.st_ctime_ns, stat.st_size, stat.st_ino
    return found


def changes_since(before: Snapshot, directories: Sequence[str]) -> list[str]:
    """The paths of files that have changed, are new, or are gone."""
    now = take_snapshot(directories)
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
