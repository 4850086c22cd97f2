"""Listening sockets, and how the supervisor passes them to workers."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from trioweb.server.config import ServerConfig, Sockets


class ListenError(Exception):
    """An address cannot be listened on. The message says what to do."""


def listen(config: ServerConfig) -> Sockets:
    """Listen on all addresses of a configuration.

    Raises:
        ListenError: if one of them is in use, not permitted, or not valid.
    """
    # With several workers Hypercorn sets SO_REUSEPORT. Here they share one socket, and a port in use must be an error.
    workers, config.workers = config.workers, 1
    try:
        sockets = config.create_sockets()
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
            sock.listen(config.backlog)
    except OSError as error:
        raise ListenError(_explain(error, config)) from error
    except (ValueError, OverflowError) as error:
        raise ListenError(f"cannot listen on {', '.join(config.bind)}: {error}") from error
    finally:
        config.workers = workers
    return sockets


def _explain(error: OSError, config: ServerConfig) -> str:
    where = ", ".join((*config.bind, *config.insecure_bind, *config.quic_bind))
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {where}: another program does. Stop it, or choose another address with --bind"
    if error.errno == errno.EACCES:
        return f"may not listen on {where}: ports below 1024 need privileges. Choose another one with --bind"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"cannot listen on {where}: this machine has no such address"
    return f"cannot listen on {where}: {error.strerror or error}"


def addresses(sockets: Sockets) -> list[str]:
    """The URLs of the sockets."""
    found = []
    for scheme, group in (("https", sockets.secure_sockets), ("http", sockets.insecure_sockets)):
        for sock in group:
            name = _address(sock)
            found.append(name if sock.family == socket.AF_UNIX else f"{scheme}://{name}")
    return found + [f"https://{_address(sock)} (HTTP/3)" for sock in sockets.quic_sockets]


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def close(sockets: Sockets, config: ServerConfig) -> None:
    """Close the sockets, and remove the files of UNIX sockets."""
    for group in vars(sockets).values():
        for sock in group:
            sock.close()
    for bind in (*config.bind, *config.insecure_bind):
        if bind.startswith("unix:"):
            with suppress(OSError):
                os.unlink(bind.removeprefix("unix:"))  # noqa: PTH108 - Hypercorn made it from this string


def hand_over(sockets: Sockets) -> dict[str, list[int]]:
    """The descriptors to pass to a worker, for ``take_over``."""
    return {kind: [sock.fileno() for sock in group] for kind, group in vars(sockets).items()}


def take_over(config: ServerConfig, handed: Mapping[str, list[int]]) -> Sockets:
    """The sockets of descriptors that the supervisor has passed on."""
    secure, insecure, config.quic_bind = (
        [f"fd://{number}" for number in handed[f"{kind}_sockets"]] for kind in ("secure", "insecure", "quic")
    )
    config.bind, config.insecure_bind = (secure, insecure) if config.ssl_enabled else (insecure, [])
    return config.create_sockets()
