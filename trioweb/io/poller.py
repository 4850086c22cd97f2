"""One epoll for many connections: tells which of them are readable, and which clients have disconnected.

Trio's ``wait_readable`` registers the descriptor for each wait, and takes 1.3 KiB while it lasts. Here a descriptor is
registered once, edge-triggered, and a disconnect is reported even if no task reads. One trio task waits for the epoll.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Protocol

import trio

CAN_POLL = hasattr(select, "epoll")
"""Only on Linux; elsewhere each connection calls ``wait_readable``."""
READ, LEFT = (1, 0x2018) if not CAN_POLL else (
    select.EPOLLIN,
    select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR,
)  # fmt: skip
"""Events: data has come; the other end has shut down for writing, or the connection is broken."""


class Listener(Protocol):
    """Receives the events of a descriptor."""

    def heard(self, events: int) -> None:
        """Take events, which are reported once. Must not block."""
        ...

    def deserted(self) -> None:
        """No more events will come, since the worker ends. Must not block."""
        ...


class Poller:
    """Passes events to listeners. ``run`` is a task of the worker.

    Args:
        events: what to report beside ``LEFT``.
    """

    __slots__ = ("_epoll", "_events", "_listeners")

    def __init__(self, events: int = READ) -> None:
        self._epoll = select.epoll()
        self._events = events | select.EPOLLRDHUP | select.EPOLLET
        self._listeners: dict[int, Listener] = {}

    def add(self, fd: int, listener: Listener) -> None:
        """Report events of a descriptor, also those that are pending, until ``discard``."""
        if self._epoll.closed:
            listener.deserted()
            return
        register = self._epoll.modify if fd in self._listeners else self._epoll.register
        register(fd, self._events)
        self._listeners[fd] = listener

    def discard(self, fd: int, listener: Listener | None = None) -> None:
        """Stop reporting. Call it before the descriptor is closed: epoll keeps it if a forked process has it open.

        If another than ``listener`` has taken the descriptor over, that one keeps it.
        """
        if (listener is None or self._listeners.get(fd) is listener) and self._listeners.pop(fd, None) is not None:
            with suppress(OSError, ValueError):
                self._epoll.unregister(fd)

    async def run(self) -> None:
        """Report events until cancelled; then call ``deserted`` of all listeners."""
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
                listener = None  # or the last connection would be kept until another one has news
                await trio.lowlevel.checkpoint()  # on a busy worker more events have come by then: no wait
        finally:
            self._epoll.close()
            for listener in list(listeners.values()):
                listener.deserted()
