"""Which connections have something to read: the system is asked once for all those of a worker.

Trio's own wait for one descriptor costs a registration a wait, and 1.3 KiB while it lasts; this one costs neither, and
tells also who reads nothing that its client has left. One trio task waits, for the descriptor of all the others.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Protocol

import trio

CAN_POLL = hasattr(select, "epoll")
"""The system is Linux; elsewhere each connection waits for itself."""
READ, LEFT = (1, 0x2018) if not CAN_POLL else (
    select.EPOLLIN,
    select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR,
)  # fmt: skip
"""Events: something has come; the other end has said that nothing more will, or the connection is broken."""


class Listener(Protocol):
    """Who wants to hear of a descriptor."""

    def heard(self, events: int) -> None:
        """Hear what is new: it is told once. Does not block."""
        ...

    def deserted(self) -> None:
        """Hear that nothing will be told any more: the worker gives its connections up. Does not block."""
        ...


class Poller:
    """Tells listeners of their descriptors. ``run`` is a task of the worker."""

    __slots__ = ("_epoll", "_listeners")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._listeners: dict[int, Listener] = {}

    def add(self, fd: int, listener: Listener) -> None:
        """Tell of a descriptor: of what is there already, and of all that is new, until ``discard``."""
        if self._epoll.closed:
            listener.deserted()
            return
        self._listeners[fd] = listener
        self._epoll.register(fd, READ | select.EPOLLRDHUP | select.EPOLLET)

    def discard(self, fd: int) -> None:
        """Tell of it no more. Call it before the descriptor is closed: a forked process may hold it open."""
        if self._listeners.pop(fd, None) is not None:
            with suppress(OSError, ValueError):
                self._epoll.unregister(fd)

    async def run(self) -> None:
        """Tell, until cancelled. Then all hear that nobody tells them any more."""
        fd, poll, listeners = self._epoll.fileno(), self._epoll.poll, self._listeners
        try:
            while True:
                found = poll(0)
                if not found:
                    await trio.lowlevel.wait_readable(fd)
                    continue
                for known, events in found:
                    listener = listeners.get(known)
                    if listener is not None:
                        listener.heard(events)
                await trio.lowlevel.checkpoint()  # where many speak there is more by then, and no need to wait for it
        finally:
            self._epoll.close()
            for listener in list(listeners.values()):
                listener.deserted()
