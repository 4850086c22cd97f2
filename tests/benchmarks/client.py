"""Clients that cost as little as can be, so that it is the server that is timed. What came is looked at afterwards."""

from __future__ import annotations

import hashlib
import re
import socket
import time

from tests.benchmarks.payload import Fingerprint

PATIENCE = 30.0
"""Seconds without a byte after which a response has failed."""
MOST = 1 << 20
"""Bytes that one read asks for."""
LAST = b"\r\n0\r\n\r\n"
"""How a chunked body ends, and nothing in the middle of those that are read here. Connections may stay open."""


class WrongBytes(Exception):
    """A response is not what it must be: its time means nothing."""


def request(port: int, path: str) -> socket.socket:
    """A connection on which a request was sent."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def download(port: int, path: str, length: int, *, check: bool) -> float:
    """Get a file of nothing but zeros, and keep none of it; returns seconds from the request to the last byte.

    Args:
        port: the server's.
        path: what to ask for.
        length: bytes of the file.
        check: look at every byte.

    Raises:
        WrongBytes: it is something else.
    """
    memory, zeros = memoryview(bytearray(MOST)), bytes(MOST)
    begin = time.perf_counter()
    with request(port, path) as client:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(MOST)
        head, _, rest = head.partition(b"\r\n\r\n")
        got = len(rest)
        while got < length and (count := client.recv_into(memory)):
            got += count
            if check and memory[:count] != zeros[:count]:
                raise WrongBytes("a file of zeros came as something else")
        seconds = time.perf_counter() - begin
    if got != length or f"content-length: {length}".encode() not in head.lower():
        raise WrongBytes(f"expected {length} bytes, got {got}:\n{head.decode()}")
    return seconds


class Reader:
    """Reads responses whole into one piece of memory that is used again and again.

    Args:
        capacity: bytes of the largest response, framing included.
    """

    def __init__(self, capacity: int) -> None:
        self._memory = memoryview(bytearray(capacity))
        self._end = 0

    def fetch(self, port: int, path: str) -> float:
        """Get a chunked response; returns seconds from the request to the last byte."""
        memory, end = self._memory, 0
        begin = time.perf_counter()
        with request(port, path) as client:
            while count := client.recv_into(memory[end : end + MOST]):
                end += count
                if memory[end - len(LAST) : end] == LAST:
                    break
            seconds = time.perf_counter() - begin
        self._end = end
        return seconds

    def check(self, expected: Fingerprint) -> None:
        """Compare the last response with what it must be.

        Raises:
            WrongBytes: it is something else.
        """
        body = Body()
        body.feed(self._memory[: self._end])
        body.check(expected)


class Body:
    """The body of one response (RFC 9112), taken out of its framing piece by piece and not kept."""

    def __init__(self) -> None:
        self._head = b""
        self._line = b""  # as much of the framing as has come
        self._left = 0  # bytes of the chunk, or of all of the body, that are still to come
        self._last = False  # no framing comes after these
        self._length = 0
        self._digest = hashlib.sha256()

    def feed(self, data: memoryview) -> None:
        """Take what was read from the connection, in any pieces."""
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                self._length += len(piece)
                self._digest.update(piece)
            elif self._last:
                self._line += bytes(data[at:])
                return
            else:
                at = self._read_framing(data, at)

    def check(self, expected: Fingerprint) -> None:
        """Compare it with what it must be.

        Raises:
            WrongBytes: it is something else, or not whole, or not all that came.
        """
        got = Fingerprint(self._length, self._digest.hexdigest())
        if got != expected or not self.whole or not self._head.startswith(b"HTTP/1.1 200"):
            whole = "whole" if self.whole else "not whole"
            raise WrongBytes(f"expected {expected}, got {got}, {whole}:\n{self._head.decode()}")

    @property
    def whole(self) -> bool:
        """Whether the end has come, and nothing after it."""
        return self._last and not self._left and self._line == (b"\r\n" if self._is_chunked else b"")

    @property
    def _is_chunked(self) -> bool:
        return b"chunked" in self._head.lower()

    def _read_framing(self, data: memoryview, at: int) -> int:
        """Read the head, or the line before a chunk, as far as it is there. Returns where the rest begins."""
        before = len(self._line)
        self._line += bytes(data[at : at + 64])
        end = b"\r\n" if self._head else b"\r\n\r\n"
        begin = 2 if self._length else 0  # the line end after the chunk before this one
        found = self._line.find(end, begin)
        if found < 0:
            return at + len(self._line) - before
        line, self._line = self._line[:found], b""
        if self._head:
            self._left = int(line, 16)
            self._last = not self._left
        else:
            self._head = line
            if not self._is_chunked:
                self._left = int(re.findall(rb"(?i)content-length: *(\d+)", line)[0])
                self._last = True
        return at + found + len(end) - before


def read_through(port: int, path: str, pause: float = 0.0) -> Body:
    """Get a response of any size without keeping it.

    Args:
        port: the server's.
        path: what to ask for.
        pause: seconds before anything is read.
    """
    body = Body()
    memory = memoryview(bytearray(MOST))
    with request(port, path) as client:
        time.sleep(pause)
        while count := client.recv_into(memory):
            body.feed(memory[:count])
            if body.whole:
                break
    return body
