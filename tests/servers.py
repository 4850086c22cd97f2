"""A real server in a process of its own, and the clients that look at it: raw sockets, curl, HTTP/2 frames."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hyperframe.frame import DataFrame

ROOT = Path(__file__).parent.parent
PATIENCE = 15.0
"""Seconds after which a server that does not do what a test waits for has failed it; far beyond what it takes."""
START = 60.0
"""The same for its start: a large library is imported meanwhile."""


RUNNERS: dict[str, tuple[str, ...]] = {
    "hypercorn": ("hypercorn", "-k", "trio"),
    "trioweb": ("trioweb", "run"),
}
"""The ways of running an app: what stands behind ``python -m``. They take the same options."""


class Server:
    """A server on a free port. Its app finds the file for ``events`` in ``EVENT_LOG``.

    Args:
        target: the app as module:name.
        options: of the command line.
        directory: for its log and its events.
        cwd: where it runs, if not in the checkout.
        runner: which of ``RUNNERS``.
        descriptors: how many it may have open in a process, if there is to be a limit.
        scheme: "https" where the options make it speak TLS.
    """

    def __init__(
        self,
        target: str,
        options: Sequence[str],
        directory: Path,
        cwd: Path | None = None,
        *,
        runner: str = "hypercorn",
        descriptors: int | None = None,
        scheme: str = "http",
    ) -> None:
        self.runner = runner
        self.decodes = False
        """Its clients ask for gzip, and decode it."""
        self._scheme = scheme
        self._reserved = reserve_port()
        self.port: int = self._reserved.getsockname()[1]
        self._events = directory / "events.log"
        self._events.touch()
        self._log = directory / "server.log"
        self._noted = self._printed = 0
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        env = {**os.environ, "EVENT_LOG": str(self._events), "PYTHONPATH": path}
        env["PYTHONUNBUFFERED"] = "1"  # as in a terminal: what is printed is seen at once
        env["TRIOWEB_H2C"] = "true"  # which Hypercorn upgrades to as well
        command = [sys.executable, "-m", *RUNNERS[runner], "--bind", f"127.0.0.1:{self.port}", *options, target]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, cwd=cwd or ROOT)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_bytes()[self._printed :].decode()

    @property
    def events(self) -> list[str]:
        """What the app has noted so far, a line each."""
        return self._events.read_bytes()[self._noted :].decode().splitlines()

    def forget(self) -> None:
        """Look only at what it prints, and its app notes, from now on."""
        self._noted, self._printed = self._events.stat().st_size, self._log.stat().st_size

    def wait_until_ready(self) -> None:
        """Wait for an answer: a worker listens before it has imported its app."""
        if self._scheme == "https":  # of what speaks TLS nothing can be asked in clear; but it says when it serves
            self.wait_for_output(" serves ")
            return
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), self.connect() as client:
                client.sendall(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if client.recv(1):
                    return
            time.sleep(0.02)
        raise AssertionError(f"the server did not start:\n{self.output}")

    def wait_for_event(self, text: str, count: int = 1) -> float:
        """Wait until the app has noted ``text`` so many times; returns how many seconds that took."""
        begin = time.monotonic()
        while time.monotonic() < begin + PATIENCE:
            if sum(text in line for line in self.events) >= count:
                return time.monotonic() - begin
            time.sleep(0.005)
        raise AssertionError(f"no {text!r} in {self.events}\n{self.output}")

    def wait_for_output(self, text: str) -> None:
        """Wait until it has printed ``text``."""
        end = time.monotonic() + PATIENCE
        while text not in self.output:
            assert time.monotonic() < end, f"no {text!r} in:\n{self.output}"
            time.sleep(0.01)

    def count(self, text: str) -> int:
        """The largest number that the app has noted after ``text``; 0 before the first."""
        found = [re.fullmatch(rf"{re.escape(text)} (\d+)", line) for line in self.events]
        return max((int(match[1]) for match in found if match), default=0)

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A connection; reads and writes on it fail after a while. The system may hold so many bytes for it."""
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE)
        try:
            client.connect(("127.0.0.1", self.port))
        except OSError:
            client.close()
            raise
        return client

    def request(
        self, path: str, method: str = "GET", headers: str = "", body: bytes = b"", version: str = "1.1"
    ) -> socket.socket:
        """A connection on which a request was sent."""
        client = self.connect()
        if self.decodes:
            headers += "Accept-Encoding: gzip\r\n"
            client = DecodingSocket(client)
        client.sendall(f"{method} {path} HTTP/{version}\r\nHost: x\r\n{headers}\r\n".encode() + body)
        return client

    def curl(self, path: str, *options: str) -> tuple[int, bytes]:
        """Curl's exit code (0: whole, 18: cut, 56: reset, 92: HTTP/2 stream reset) and what it printed."""
        if self.decodes:
            options = ("--compressed", "-H", "Accept-Encoding: gzip", *options)
        done = subprocess.run(
            ["curl", "-sS", "-m", str(PATIENCE), *options, self.url + path], capture_output=True, check=False
        )
        return done.returncode, done.stdout

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers: its children, but for the one that keeps multiprocessing's semaphores."""
        pid = self.process.pid
        # A process belongs to the thread that has started it.
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(child) for child in " ".join(lists).split() if _is_worker(child)]

    def wait_for_workers(self, count: int) -> None:
        """Wait until it has so many: it answers when the first one does."""
        end = time.monotonic() + PATIENCE
        while len(self.workers) != count:
            assert time.monotonic() < end, self.output
            time.sleep(0.01)

    @property
    def memory(self) -> int:
        """KiB that its largest worker holds."""
        return max(
            int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) for pid in self.workers
        )

    def stop(self) -> None:
        """Stop it, and all that it started."""
        workers = self.workers if self.process.poll() is None else []
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in (*workers, self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self._reserved.close()


def reserve_port() -> socket.socket:
    """A socket whose port a server can listen on, and that nobody else is given as a free one until it is closed."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def _is_worker(pid: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return False
    return command != b"" and b"resource_tracker" not in command  # one that has ended, and waits to be asked, has none


def read_all(client: socket.socket) -> bytes:
    """All that comes until the server closes; a reset raises ``ConnectionResetError``."""
    parts = []
    while part := client.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def read_until(client: socket.socket, end: bytes) -> bytes:
    """What comes until it holds ``end``."""
    data = b""
    while end not in data:
        part = client.recv(65536)
        assert part, f"closed before {end!r}: {data[-200:]!r}"
        data += part
    return data


def reset_connection(client: socket.socket) -> None:
    """Close a connection with a reset, as one does that has crashed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class DecodingSocket(socket.socket):
    """A connection whose response arrives decoded, in chunks of its own, as if it had not been compressed."""

    def __init__(self, client: socket.socket) -> None:
        timeout = client.gettimeout()
        super().__init__(fileno=client.detach())
        self.settimeout(timeout)
        self._head = b""
        self._raw = b""
        self._decode: Callable[[bytes], bytes] | None = None
        self._chunked = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """What has come, decoded. Returns nothing only at the end."""
        while part := super().recv(size, flags):
            if data := self._take(part):
                return data
        return b""

    def _take(self, part: bytes) -> bytes:
        if b"\r\n\r\n" in self._head:
            return self._decoded(part)
        self._head, separator, body = (self._head + part).partition(b"\r\n\r\n")
        self._head += separator
        if not separator:
            return b""
        self._chunked = b"chunked" in self._head
        if b"content-encoding: gzip" in self._head:
            self._decode = zlib.decompressobj(31).decompress
        return self._head + self._decoded(body)

    def _decoded(self, part: bytes) -> bytes:
        if self._decode is None:
            return part
        if not self._chunked:
            return self._decode(part)
        self._raw += part
        out = b""
        while found := re.match(rb"([0-9a-f]+)\r\n", self._raw):
            end = found.end() + int(found[1], 16)
            if len(self._raw) < end + 2:
                break
            data = self._decode(self._raw[found.end() : end])
            if data:
                out += b"%x\r\n%s\r\n" % (len(data), data)
            elif int(found[1], 16) == 0:
                out += b"0\r\n\r\n"
            self._raw = self._raw[end + 2 :]
        return out


class Reachable(Protocol):
    """What an ``H2Client`` needs of a server."""

    decodes: bool

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A connection."""
        ...


class H2Client:
    """An HTTP/2 client whose windows open only when a test says so."""

    def __init__(self, server: Reachable, receive_buffer: int | None = None) -> None:
        self._socket = server.connect(receive_buffer)
        self._decodes = server.decodes
        self.coded: dict[int, Callable[[bytes], bytes]] = {}
        self._connection = H2Connection(H2Configuration(header_encoding="utf-8"))
        # h2 takes a GOAWAY for the end of all streams; it is that of new ones only (RFC 9113, section 6.8).
        machine = self._connection.state_machine
        goes_on = (None, ConnectionState.CLIENT_OPEN)
        machine._transitions = {
            **machine._transitions,
            (ConnectionState.CLIENT_OPEN, ConnectionInputs.RECV_GOAWAY): goes_on,
        }
        self._connection.initiate_connection()
        self._flush()
        self.begun: set[int] = set()
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.hints: dict[int, dict[str, str]] = {}
        self.trailers: dict[int, dict[str, str]] = {}

    def request(self, path: str, method: str = "GET", headers: Sequence[tuple[str, str]] = (), end: bool = True) -> int:
        """Send a request; returns its stream's id."""
        stream = self._connection.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *headers]
        if self._decodes:
            fields.append(("accept-encoding", "gzip"))
        self._connection.send_headers(stream, fields, end_stream=end)
        self._flush()
        self.received[stream] = b""
        return stream

    def pump(self, until: str, stream: int, *, open_windows: bool = True, seconds: float = PATIENCE) -> None:
        """Read frames until a stream has "begun" or "ended", has "data", is "full" or was "reset"; or for "time"."""
        end = time.monotonic() + seconds
        conditions: dict[str, Callable[[], bool]] = {
            "begun": lambda: stream in self.begun,
            "data": lambda: bool(self.received[stream]),
            "full": lambda: len(self.received[stream]) >= 65535,  # and the window of a stream shut
            "ended": lambda: stream in self.ended,
            "reset": lambda: stream in self.reset,
            "time": lambda: False,
        }
        done = conditions[until]
        while not done() and time.monotonic() < end:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            for event in self._read():
                self._take(event, open_windows)
            self._flush()

    def upload(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send a piece of a body, as far as the windows let it."""
        room = min(self._connection.local_flow_control_window(stream), len(data))
        for offset in range(0, room, self._connection.max_outbound_frame_size):
            piece = data[offset : min(room, offset + self._connection.max_outbound_frame_size)]
            self._connection.send_data(stream, piece)
        if end and room == len(data):
            self._connection.end_stream(stream)
        self._flush()

    def go_away(self) -> None:
        """Say that this client is about to go."""
        self._connection.close_connection()
        self._flush()

    def cancel(self, stream: int) -> None:
        """Reset a stream, as a browser does on "stop"."""
        self._connection.reset_stream(stream, 8)
        self._flush()

    def send_after_the_end(self, stream: int, data: bytes) -> None:
        """Send a frame of a body on a stream that has ended, as a client does that has not heard of that yet."""
        frame = DataFrame(stream, data)
        self._socket.sendall(frame.serialize())

    def send_noise(self, data: bytes) -> None:
        """Send what is no frame."""
        self._socket.sendall(data)

    def close(self, *, reset: bool = False) -> None:
        """Leave, or have the connection reset."""
        if reset:
            reset_connection(self._socket)
        self._socket.close()

    def read_to_the_end(self) -> None:
        """Read frames until the server closes the connection, windows as they are."""
        self._socket.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            while data := self._socket.recv(65536):
                for event in self._connection.receive_data(data):
                    self._take(event, open_windows=False)

    def wait_until_closed(self) -> None:
        """Read until the server closes the connection, and make nothing of it."""
        self._socket.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):
            while self._socket.recv(65536):
                pass

    def _read(self) -> list[Event]:
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return []
        assert data, "the server closed the connection"
        return self._connection.receive_data(data)

    def _take(self, event: Event, open_windows: bool) -> None:
        if isinstance(event, ResponseReceived):
            self.begun.add(event.stream_id)
            if any(str(value) == "gzip" for _, value in event.headers):
                self.coded[event.stream_id] = zlib.decompressobj(31).decompress
        if isinstance(event, DataReceived):
            decode = self.coded.get(event.stream_id)
            self.received[event.stream_id] += event.data if decode is None else decode(event.data)
            if open_windows and event.stream_id not in self.reset:
                self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, InformationalResponseReceived):
            self.hints[event.stream_id] = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, TrailersReceived):
            self.trailers[event.stream_id] = {str(name): str(value) for name, value in event.headers}
        elif isinstance(event, StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, StreamReset):
            self.reset[event.stream_id] = event.error_code

    def _flush(self) -> None:
        if data := self._connection.data_to_send():
            self._socket.sendall(data)
