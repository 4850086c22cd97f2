"""A crowd of clients that hold event streams open, and hear of an event at once."""

from __future__ import annotations

import re
import select
import socket
import time

from tests.benchmarks.load import read_answer, request
from tests.benchmarks.payload import OPENING, event
from tests.benchmarks.servers import PATIENCE, Broken

END_OF_HEAD = b"\r\n\r\n"
AT_ONCE = 50
"""Connections that are opened before the first of them is waited for; servers keep so many waiting."""


class Crowd:
    """Clients of a server's event streams. To be closed.

    Args:
        port: the server's.
        path: that of the streams.
        opening: what a stream begins with; if it is nothing, its head is waited for.
    """

    def __init__(self, port: int, path: str = "/events", opening: str = OPENING) -> None:
        self._port = port
        self._path = path
        self._opening = opening
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
            self._wait(new, self._opening.encode() or END_OF_HEAD)

    def publish(self, number: int, path: str = "/publish/{}") -> float:
        """Ask for an event; returns the seconds until the last client has it."""
        self._events.append(event(number))
        begin = time.perf_counter()
        with request(self._port, path.format(number), headers="Connection: close\r\n") as control:
            self._wait(set(self._clients), event(number).encode())
            seconds = time.perf_counter() - begin
            read_answer(control)
        return seconds

    def hear_many(self, path: str, count: int) -> str:
        """Ask for many events, and take them as they come; returns the answer, when all clients have all."""
        numbers = range(len(self._events), len(self._events) + count)
        self._events += map(event, numbers)
        with request(self._port, path, headers="Connection: close\r\n") as control:
            self._wait(set(self._clients), event(numbers[-1]).encode())
            return read_answer(control)

    def check(self) -> None:
        """Compare what every client got with what it must have; comments keep a connection alive and do not count.

        Raises:
            Broken: one has something else.
        """
        for descriptor, got in self._got.items():
            wanted = self._opening + "".join(self._events[self._heard[descriptor] :])
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
                if got.find(text, -len(part) - len(text)) >= 0:
                    waiting.discard(descriptor)
