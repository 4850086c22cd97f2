"""What goes wrong in one connection or request, and is to harm no other: what of it is logged, and what goes on."""

from __future__ import annotations

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.server.config import ServerConfig


async def log_fault(config: ServerConfig, error: BaseException) -> None:
    """Log what ended a connection."""
    await config.log.error(
        "a connection failed and was closed; the others go on", exc_info=(type(error), error, error.__traceback__)
    )


async def log_app_fault(config: ServerConfig, error: BaseException) -> None:
    """Log what an app raised in a request."""
    await config.log.error(
        "the app failed with %s in a request", type(error).__name__,
        exc_info=(type(error), error, error.__traceback__),
    )  # fmt: skip


def split_fault(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an exception out of an app is the server's own cancellation, and what is a fault of one request.

    Raises:
        BaseException: it is neither, as an interrupt is.
    """
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    if isinstance(error, (Exception, SystemExit, GeneratorExit)):  # of one request, whatever it asks for
        return None, error
    try:
        raise error
    finally:
        del error  # what is raised holds this frame


def is_departure(error: BaseException | None) -> bool:
    """Whether an exception is only the news that the client has left, in whatever that was wrapped."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return all(map(is_departure, error.exceptions))
        if isinstance(error, ClientDisconnected):
            return True
        error = error.__cause__ or error.__context__
    return False
