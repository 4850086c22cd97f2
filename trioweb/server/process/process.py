"""The process of a worker: its start, its messages to the supervisor, and the signals that stop it."""

from __future__ import annotations

import gc
import logging
import math
import signal
import socket
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from trioweb.ground.errors import unwrap
from trioweb.ground.http.asgi import ASGIApp
from trioweb.ground.traces import format_trace
from trioweb.server.config import ServerConfig, Sockets
from trioweb.server.loading import NoAppError, load_app
from trioweb.server.logs.setup import complain, set_up
from trioweb.server.process.launch import CANNOT_START, DRAINED, FAILED, HELD, OK, READY
from trioweb.server.process.lifespan import LifespanError
from trioweb.server.process.sockets import addresses
from trioweb.server.process.worker import Worker

SAME_SIGNAL: Final = 0.25
"""Seconds within which a second signal is ignored: systemd signals all processes of a service, so a worker gets one
signal from systemd and one from its supervisor.
"""
COLLECTIONS: Final = (1_000, 10, 100)
"""Thresholds of the garbage collector. With Python's own an event to ten thousand streams runs several full collections
of half a second each. Requests leave no reference cycles of this package. But trio's frames form one if an error passes
a user's nursery in which a task still waits, with all that the task holds; so young collections must not be rarer than
Python's: a thousand objects are about ten such requests.
"""
_logger: Final = logging.getLogger("hypercorn.error")
_DEFAULT: Final = gc.get_threshold()


def serve(config: ServerConfig, sockets: Sockets, line: socket.socket | None = None) -> int:
    """Serve in this process. Returns its exit status.

    Args:
        config: the configuration.
        sockets: listening sockets.
        line: the socket to the supervisor, if there is one.
    """
    if line is not None:  # only the supervisor stops it: a terminal sends Ctrl+C and hang-up to all of its processes
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    try:
        set_up(config)
    except OSError as error:
        complain(str(error))
        return CANNOT_START
    app = _load(config)
    if app is None:
        return CANNOT_START
    if gc.get_threshold() == _DEFAULT:  # else the app has set its own
        gc.set_threshold(*COLLECTIONS)
    gc.freeze()  # what start-up has made stays; without a collection now, which would take a twentieth of the start
    reasons: list[str] = []
    status = trio.run(_main, app, config, sockets, line, reasons)
    if status != CANNOT_START or not config.use_reloader:
        return status
    return trio.run(_main, _unloaded(config, reasons[0]), config, sockets, line, [])


def _load(config: ServerConfig) -> ASGIApp | None:
    """The app; if it cannot be imported, with ``--reload`` one that says why, else ``None``."""
    target = config.application_path
    try:
        return load_app(target, config.wsgi_max_body_size)
    except (NoAppError, SystemExit) as error:
        is_code = isinstance(error, SystemExit) and not isinstance(error.code, str)
        reason = f"{target} has called sys.exit({error})" if is_code else str(error)
        complain(reason)
        return _unloaded(config, reason) if config.use_reloader else None
    except Exception as error:
        _logger.error(  # noqa: TRY400 - only the frames from the user's code on
            "importing %s failed\n%s", target, format_trace(error).rstrip()
        )
        return _unloaded(config, f"importing {target} failed", error) if config.use_reloader else None


def _unloaded(config: ServerConfig, reason: str, error: Exception | None = None) -> ASGIApp:
    from trioweb.server.process.unloaded import unloaded  # noqa: PLC0415 - for development

    _logger.info("%s cannot be started: every request gets the reason, until a change", config.application_path)
    return unloaded(reason, error)


async def _main(
    app: ASGIApp, config: ServerConfig, sockets: Sockets, line: socket.socket | None, reasons: list[str]
) -> int:
    """Serve. Returns the exit status, and adds the reason why an app cannot be started."""

    def tell(word: bytes) -> None:
        if line is not None:
            with suppress(OSError):  # the supervisor has ended: see `_stop_without_supervisor`
                line.send(word)
        elif word == READY:
            where = " and ".join(addresses(sockets))
            _logger.info("trioweb serves %s at %s (Ctrl+C stops it)", config.application_path, where)

    worker = Worker(app, config, sockets)
    async with trio.open_nursery() as nursery:
        if line is None:
            nursery.start_soon(_stop_on_signals, worker, signal.SIGTERM, signal.SIGINT)
        else:
            nursery.start_soon(_stop_on_signals, worker, signal.SIGTERM)
            nursery.start_soon(_stop_without_supervisor, worker, line)
        try:
            await worker.serve(partial(tell, READY), partial(tell, DRAINED))
        except LifespanError as error:
            await config.log.error("%s", error)  # noqa: TRY400 - the app's error is logged already
            reasons.append(str(error))
            return FAILED if worker.started else CANNOT_START
        except Exception as error:
            await config.log.error("the worker failed", exc_info=unwrap(error))  # noqa: TRY400 - the unwrapped one
            return FAILED
        finally:
            nursery.cancel_scope.cancel()
    return OK


async def _stop_on_signals(worker: Worker, *signals: signal.Signals) -> None:
    with trio.open_signal_receiver(*signals) as received:
        first = math.inf
        async for _ in received:
            worker.stop()
            first = min(first, trio.current_time())
            if trio.current_time() - first > SAME_SIGNAL:
                worker.hurry()


async def _stop_without_supervisor(worker: Worker, line: socket.socket) -> None:
    with trio.socket.from_stdlib_socket(line.dup()) as waiting:
        with suppress(OSError):
            while await waiting.recv(1):
                pass
        worker.stop()
