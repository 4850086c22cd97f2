"""A crowd of clients that hold event streams open, and hear of an event at once."""

from __future__ import annotations

import re
import select
import socket
import time

from tests.benchmarks.load import read_answer, request
from tests.benchmarks.payload import OPENING, event
from tests.benchmarks.servers import PATIENCE, Broken

AT_ONCE = 50
"""Connections that are opened before the first of them is waited for; servers keep so many waiting."""


class Crowd:
    """Clients of a server's event streams. To be closed.

    Args:
        port: the server's.
        path: that of the streams.
    """

    def __init__(self, port: int, path: str = "/events") -> None:
        self._port = port
        self._path = path
        self._clients: dict[int, socket.socket] = {}
        self._got: dict[int, bytearray] = {}
        self._poll = select.epoll()
        self._events: list[str] = []
        self._heard: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def grow(self, to: int) -> None:
        """Open as many more as are missing, and wait until their streams have begun."""
        while len(self) < to:
            new = set()
            for _ in range(min(AT_ONCE, to - len(self))):
                client = request(self._port, self._path)
                client.setblocking(False)
                self._clients[client.fileno()], self._got[client.fileno()] = client, bytearray()
                self._heard[client.fileno()] = len(self._events)
                self._poll.register(client.fileno(), select.EPOLLIN)
                new.add(client.fileno())
            self._wait(new, OPENING.encode())

    def publish(self, number: int) -> float:
        """Ask for an event; returns the seconds until the last client has it."""
        self._events.append(event(number))
        begin = time.perf_counter()
        with request(self._port, f"/publish/{number}", headers="Connection: close\r\n") as control:
            self._wait(set(self._clients), event(number).encode())
            seconds = time.perf_counter() - begin
            read_answer(control)
        return seconds

    def check(self) -> None:
        """Compare what every client got with what it must have; comments keep a connection alive and do not count.

        Raises:
            Broken: one has something else.
        """
        for descriptor, got in self._got.items():
            wanted = OPENING + "".join(self._events[self._heard[descriptor] :])
            body = "".join(re.findall(r"(?:event|data): .*\n\n", got.decode()))
            if body != wanted:
                raise Broken(f"an event stream has {body[-100:]!r} instead of {wanted[-100:]!r}")

    def close(self) -> None:
        """Leave."""
        self._poll.close()
        for client in self._clients.values():
            client.close()

    def _wait(self, waiting: set[int], text: bytes) -> None:
        end = time.monotonic() + PATIENCE
        while waiting:
            ready = self._poll.poll(1.0, 1024)
            if not ready and time.monotonic() > end:
                raise Broken(f"{len(waiting)} of {len(self)} clients wait for {text!r}")
            for descriptor, _ in ready:
                part = self._clients[descriptor].recv(4096)
                if not part:
                    raise Broken(f"an event stream has ended after {bytes(self._got[descriptor][-100:])!r}")
                got = self._got[descriptor]
                got += part
                if text in got:
                    waiting.discard(descriptor)
