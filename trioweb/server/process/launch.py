"""The start of worker processes, and their protocol with the supervisor.

A socket pair connects them. A worker sends ``READY`` when it serves, and ``DRAINED`` when its last connection has
ended. When the other end closes, the other process has ended: a worker then stops, so that none outlives its
supervisor.

The first worker is forked before the supervisor runs a loop or a thread: options and libraries are then loaded once,
and both processes load trio at the same time. Later workers are started anew, with the configuration and code that are
on the disk then.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from trioweb.server.config import Sockets
from trioweb.server.process.sockets import hand_over

READY, DRAINED = b"r", b"d"
OK, FAILED, CANNOT_START = 0, 1, 3
"""Exit statuses: stopped as requested; an error; the app cannot be started."""
HELD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that are blocked from before the supervisor listens until it handles them: none is lost in between."""
HANDED: Final = "TRIOWEB_WORKER"
"""The environment variable that passes descriptors to a worker, as JSON."""


Launched: TypeAlias = tuple[int, socket.socket]
"""A worker's process id, and the supervisor's socket to it."""


def fork() -> Launched | socket.socket:
    """Fork the first worker. Returns it to the supervisor; in the worker it returns the socket to the supervisor."""
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it was ignored, no exit status would be kept
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        return theirs
    theirs.close()
    return pid, ours


def launch(sockets: Sockets, arguments: Sequence[str]) -> Launched:
    """Start another worker.

    Args:
        sockets: its listening sockets.
        arguments: those of the command.

    Raises:
        OSError: if no process or descriptor is left.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            theirs.set_inheritable(True)  # as the listening sockets are
            handed: dict[str, list[int] | int] = {**hand_over(sockets), "line": theirs.fileno()}
            command = [*_python(), "-m", "trioweb", "run", *arguments]
            pid = os.posix_spawn(command[0], command, {**os.environ, HANDED: json.dumps(handed)}, setsigmask=())
    except BaseException:
        ours.close()
        raise
    return pid, ours


def _python() -> list[str]:
    """Python, without the working directory in front of the installed packages: it may hold a ``trio.py``."""
    is_here = Path.cwd() == Path(__file__).parents[3]  # maybe a checkout that is not installed
    return [sys.executable] if is_here else [sys.executable, "-P"]
