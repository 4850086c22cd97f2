"""``trioweb run``: parses the command line, serves, and returns an exit status."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from trioweb.server.config import ServerConfig, Sockets
from trioweb.server.logs.setup import complain, set_up
from trioweb.server.options import UsageError, parse
from trioweb.server.process import sockets as listening
from trioweb.server.process.launch import HANDED, HELD, fork, launch
from trioweb.server.process.snapshot import take_snapshot
from trioweb.server.process.sockets import ListenError

MISUSED: Final = 2
"""Exit status: an option is not valid, or an address cannot be listened on."""


def run(arguments: Sequence[str]) -> int:
    """Serve an app until a signal stops it. Returns the process's exit status.

    0: stopped by a signal; 1: an error; 2: an option or address is not valid; 3: the app cannot be started.
    """
    handed = os.environ.pop(HANDED, None)  # the app's child processes must not see it
    try:
        config = parse(arguments, os.environ)
        if handed is not None:
            from trioweb.server.process.process import serve  # noqa: PLC0415 - the supervisor need not load it

            found = json.loads(handed)
            return serve(config, listening.take_over(config, found), socket.socket(fileno=found["line"]))
        if config.use_reloader:
            import watchfiles  # noqa: F401, PLC0415 - an extra
        set_up(config)
        return _serve(config, arguments)
    except ModuleNotFoundError as error:
        complain(f"--reload needs {error.name}: pip install 'trioweb[reload]'")
    except (UsageError, ListenError) as error:
        complain(str(error))
    except OSError as error:  # of a log file, or the pid file
        complain(f"cannot open {error.filename!r}: {error.strerror}")
    return MISUSED


def _serve(config: ServerConfig, arguments: Sequence[str]) -> int:
    own = os.getpid()
    pid_file = None if config.pid_path is None else Path(config.pid_path)
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    sockets: Sockets | None = None
    try:
        sockets = listening.listen(config)
        if pid_file is not None:
            pid_file.write_text(str(own))
        before = take_snapshot(config.reload_dirs) if config.use_reloader else {}
        first = None if config.workers == 0 else launch(sockets, arguments) if config.use_reloader else fork()
        if not isinstance(first, tuple):
            from trioweb.server.process.process import serve  # noqa: PLC0415 - as above

            return serve(config, sockets, first)
        import trio  # noqa: PLC0415 - loaded while the worker starts

        from trioweb.server.process.supervisor import Supervisor  # noqa: PLC0415

        return trio.run(Supervisor(config, sockets, arguments, first, before).run)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        if os.getpid() == own and sockets is not None:  # not in a forked worker
            listening.close(sockets, config)
            if pid_file is not None:
                with suppress(OSError):
                    pid_file.unlink()
