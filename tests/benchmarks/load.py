"""Clients that cost as little as can be, so that it is the server that is timed. What came is compared afterwards."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.payload import Expected
from tests.benchmarks.servers import PATIENCE, Broken

MOST = 1 << 20
"""Bytes that one read asks for."""
LAST = b"\r\n0\r\n\r\n"
"""How a chunked body ends, and nothing in the middle of those that are read here. Connections may stay open."""
AGAIN = 1.0
"""Seconds after which wrk is told once more to end."""
CONNECTIONS = 16
"""Clients that send small requests at a time."""


def request(port: int, path: str, method: str = "GET", headers: str = "") -> socket.socket:
    """A connection on which the head of a request was sent."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    return client


class Body:
    """The body of one response (RFC 9112), taken out of its framing piece by piece, compared and not kept.

    Args:
        expected: what it must be.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._head = b""
        self._line = b""  # as much of the framing as has come
        self._left = 0  # bytes of the chunk, or of all of the body, that are still to come
        self._last = False  # no framing comes after these
        self._chunked = False
        self._length = 0

    def feed(self, data: memoryview) -> None:
        """Take what was read from the connection, in any pieces.

        Raises:
            Broken: it is something else.
        """
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                if not self._expected.holds(self._length, piece):
                    raise Broken(f"wrong bytes near {self._length}: {bytes(piece[:80])!r}")
                at += len(piece)
                self._left -= len(piece)
                self._length += len(piece)
            elif self._last:
                self._line += bytes(data[at:])
                return
            else:
                at = self._read_framing(data, at)

    def check(self) -> None:
        """Compare all that came with what must come.

        Raises:
            Broken: it is something else, or not whole, or not all that came.
        """
        if not self.whole or self._length != self._expected.length or not self._head.startswith(b"HTTP/1.1 200"):
            whole = "whole" if self.whole else "not whole"
            raise Broken(f"{self._length} bytes of {self._expected.length}, {whole}: {self._head.decode()[:300]}")

    @property
    def whole(self) -> bool:
        """Whether the end has come, and nothing after it."""
        return self._last and not self._left and self._line == (b"\r\n" if self._chunked else b"")

    def _read_framing(self, data: memoryview, at: int) -> int:
        """Read the head, or the line before a chunk, as far as it is there. Returns where the rest begins."""
        before = len(self._line)
        self._line += bytes(data[at : at + (20 if self._head else 4096)])
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
            self._read_head(line)
        return at + found + len(end) - before

    def _read_head(self, head: bytes) -> None:
        self._head = head
        self._chunked = re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head) is not None
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not self._chunked:
            if length is None:
                raise Broken(f"a response of unknown length: {head.decode()[:300]}")
            self._left, self._last = int(length[1]), True


class Reader:
    """Reads responses whole into one piece of memory that is used again and again.

    Args:
        capacity: bytes of the largest response, framing included.
    """

    def __init__(self, capacity: int) -> None:
        self._memory = memoryview(bytearray(capacity))

    def fetch(self, port: int, path: str, expected: Expected) -> float:
        """Get a response and compare it; returns seconds from the request to the last byte.

        Raises:
            Broken: it is not what it must be.
        """
        memory, end = self._memory, 0
        begin = time.perf_counter()
        with request(port, path) as client:
            while b"\r\n\r\n" not in (head := bytes(memory[: min(end, 4096)])):
                if not (count := client.recv_into(memory[end : end + MOST])):
                    raise Broken(f"closed after {head!r}")
                end += count
            if b"chunked" in head.lower():
                while memory[end - len(LAST) : end] != LAST and (count := client.recv_into(memory[end : end + MOST])):
                    end += count
            else:
                whole = head.index(b"\r\n\r\n") + 4 + expected.length
                while end < whole and (count := client.recv_into(memory[end : end + MOST])):
                    end += count
            seconds = time.perf_counter() - begin
        body = Body(expected)
        body.feed(memory[:end])
        body.check()
        return seconds


def read_through(port: int, path: str, expected: Expected, pause: float = 0.0) -> None:
    """Get a response of any size without keeping it, and compare it.

    Args:
        port: the server's.
        path: what to ask for.
        expected: what it must be.
        pause: seconds before anything is read.

    Raises:
        Broken: it is something else.
    """
    body = Body(expected)
    memory = memoryview(bytearray(MOST))
    with request(port, path) as client:
        time.sleep(pause)
        while not body.whole and (count := client.recv_into(memory)):
            body.feed(memory[:count])
    body.check()


def exchange(port: int, path: str) -> str:
    """The body of a small response."""
    with request(port, path, headers="Connection: close\r\n") as client:
        return read_answer(client)


def read_answer(client: socket.socket) -> str:
    """The body of a small response that has a length."""
    data = b""
    while part := client.recv(65536):
        data += part
        head, separator, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if separator and length is not None and len(body) >= int(length[1]):
            if not head.startswith(b"HTTP/1.1 200"):
                break
            return body.decode()
    raise Broken(data[:300].decode())


def post(port: int, path: str, content_type: str, pieces: Sequence[bytes], answer: str) -> float:
    """Send a body and compare the answer; returns seconds until it was there.

    Raises:
        Broken: it is another one.
    """
    size = sum(map(len, pieces))
    begin = time.perf_counter()
    with request(port, path, "POST", f"Content-Type: {content_type}\r\nContent-Length: {size}\r\n") as client:
        for piece in pieces:
            client.sendall(piece)
        got = read_answer(client)
        seconds = time.perf_counter() - begin
    if got != answer:
        raise Broken(f"{got!r} instead of {answer!r}")
    return seconds


@dataclass(frozen=True)
class Small:
    """Small requests for wrk.

    Attributes:
        answer: a pattern of Lua's that the body of every answer must match.
        path: what to ask for; with ``{}`` for each number below ``paths`` in turn.
        paths: how many.
        body: what to post, as JSON.
    """

    answer: str
    path: str = "/"
    paths: int = 1
    body: object = None

    def script(self) -> str:
        """What wrk runs. It ends at a wrong answer."""
        lines = [f"local path, paths, n = {_lua(self.path)}, {self.paths}, 0"]
        if self.body is not None:
            lines += [f"wrk.method, wrk.body = 'POST', {_lua(json.dumps(self.body))}"]
            lines += ["wrk.headers['Content-Type'] = 'application/json'"]
        lines += ["function request() n = (n + 1) % paths; return wrk.format(nil, (path:gsub('{}', n))) end"]
        lines += ["function response(status, headers, body)"]
        lines += [f"  if status ~= 200 or not body:find({_lua(self.answer)}) then"]
        lines += ["    io.stderr:write('wrong: ', status, ' ', body, '\\n'); os.exit(1)", "  end", "end"]
        return "\n".join(lines) + "\n"


def _lua(text: str) -> str:
    return f"[==[{text}]==]"


def has_wrk() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def wrk(port: int, small: Small, seconds: float) -> tuple[int, float]:
    """Send small requests for a while; returns how many were answered, and how many a second.

    Raises:
        Broken: an answer was wrong, or there was none, also when they had more time.
    """
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "load.lua")
        script.write_text(small.script())
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d60s", "-s", str(script), f"http://127.0.0.1:{port}/"]
        for time in (seconds, seconds + 1, seconds + 5):
            requests, per_second = _run_wrk(command, time)
            if requests:
                return requests, per_second
    raise Broken("no answer")


def _run_wrk(command: list[str], seconds: float) -> tuple[int, float]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # It knows whole seconds only. A signal that comes before it sleeps does not end its sleep: the next one does.
    while process.returncode is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            output, errors = process.communicate(timeout=seconds)
        process.send_signal(signal.SIGINT)
        seconds = AGAIN
    if process.returncode or "Non-2xx" in output or "Socket errors" in output:
        raise Broken(errors + output)
    (requests,) = re.findall(r"(\d+) requests in", output)
    (per_second,) = re.findall(r"Requests/sec: +([\d.]+)", output)
    return int(requests), float(per_second)
