"""How a worker's process is started, and what it and its supervisor say to each other.

What stands on the line between them: ``READY`` when the worker serves, ``DRAINED`` when its last connection has ended.
The line's end means that the other side is gone: a worker without a supervisor stops, so that none is left behind.

The first worker is forked, before its supervisor has a loop or a thread: it has read the options and the libraries that
these need, and both load trio at the same time. Any other is a program of its own, so that it has what has changed
on the disk meanwhile: the configuration, and all code.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from trioweb.server.config import Sockets
from trioweb.server.process.sockets import hand_over

READY, DRAINED = b"r", b"d"
OK, FAILED, CANNOT_START = 0, 1, 3
"""Exit statuses: it ended as it was told; something failed; the app cannot be started at all."""
HANDED: Final = "TRIOWEB_WORKER"
"""The environment variable by which a supervisor hands a worker its descriptors."""


class Process:
    """A process that this one has started.

    Attributes:
        pid: its number.
        returncode: how it has ended, below zero by which signal; ``None`` as long as nobody has seen that.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """See whether it has ended. Does not block."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Launched(NamedTuple):
    """A worker's process, and the supervisor's end of the line to it."""

    process: Process
    line: socket.socket


def fork() -> Launched | socket.socket:
    """Start the first worker: returns it to its supervisor, and to the worker the other end of the line."""
    sys.stdout.flush()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started us may ignore it: then no child's end is kept
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        return theirs
    theirs.close()
    return Launched(Process(pid), ours)


def launch(sockets: Sockets, arguments: Sequence[str]) -> Launched:
    """Start another worker.

    Args:
        sockets: where it listens.
        arguments: of the command.

    Raises:
        OSError: no processes or descriptors are left.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            theirs.set_inheritable(True)  # as those that listen are
            handed: dict[str, Any] = {**hand_over(sockets), "line": theirs.fileno()}
            command = [*_python(), "-m", "trioweb", "run", *arguments]
            pid = os.posix_spawn(command[0], command, {**os.environ, HANDED: json.dumps(handed)})
    except BaseException:
        ours.close()
        raise
    return Launched(Process(pid), ours)


def _python() -> list[str]:
    """Python, with nothing of the working directory before what is installed: there may be a trio.py of the user's."""
    is_here = Path.cwd() == Path(__file__).parents[3]  # a checkout that is not installed
    return [sys.executable] if is_here else [sys.executable, "-P"]
