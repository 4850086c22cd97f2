"""What apps under test note for a test in another process: lines of the file that ``EVENT_LOG`` names."""

from __future__ import annotations

import atexit
import os

LOG = open(os.environ.get("EVENT_LOG", os.devnull), "a")  # noqa: PTH123, SIM115 - open as long as the process
atexit.register(LOG.close)


def note(*words: object) -> None:
    """Write a line, for ``Server.wait_for_event``."""
    print(*words, file=LOG, flush=True)
