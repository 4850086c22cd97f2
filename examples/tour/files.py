"""Where the tour keeps its files, and how they come into being: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

CODE: Final = Path(__file__).parent
"""Where this code is."""
PAGE: Final = CODE / "page"
"""Where the files of the page are."""
DATA: Final = Path(os.environ.get("TOUR_DATA", CODE))
"""Where the files that the tour makes are."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write a file under, which becomes ``path`` only when the block has ended well.

    A start that breaks halfway leaves nothing that the next one would take for the real thing. The process id is part
    of the name because several workers may start at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{os.getpid()}-{path.name}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
