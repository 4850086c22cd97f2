"""Errors of one request or connection: they are logged, and must not affect any other."""

from __future__ import annotations

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.server.config import ServerConfig


async def log_fault(config: ServerConfig, error: BaseException) -> None:
    """Log what ended a connection."""
    await config.log.error("a connection failed and was closed; the others go on", exc_info=error)


async def log_app_fault(config: ServerConfig, error: BaseException) -> None:
    """Log what an app raised in a request."""
    await config.log.error("the app failed with %s in a request", type(error).__name__, exc_info=error)


def split_fault(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Split an app's exception into the server's own cancellation and an error of the request.

    Raises:
        BaseException: if it is neither, such as a ``KeyboardInterrupt``.
    """
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    if isinstance(error, (Exception, SystemExit, GeneratorExit)):  # a request must not end the server
        return None, error
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame


def is_departure(error: BaseException | None) -> bool:
    """Whether an exception only says that the client has disconnected, also as a cause or in a group."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return all(map(is_departure, error.exceptions))
        if isinstance(error, ClientDisconnected):
            return True
        error = error.__cause__ or error.__context__
    return False
