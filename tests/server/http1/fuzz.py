"""A fuzzer of connections: ``python -m tests.server.http1.fuzz MINUTES [--seed N]``, for minutes or for hours.

Clients send what nobody should, in pieces, at odd times, read or do not, half-close, reset and leave, in clear and
under TLS; apps do what apps do, and what they should not. All of it runs on real sockets in one trio loop whose clock
only the script moves on. At the end of each script nothing may be left of a connection, whatever happened; no exception
may have left one, nor the framework, but those that the apps raise; what its client has received must be responses, one
behind the other; and no script may take longer than ``PATIENCE``. The exit status is 1 where that is not so; the script
is then printed, as short as it can be made.
"""

from __future__ import annotations

import argparse
import logging
import re
import signal
import socket
import ssl
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import hypothesis
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server.http1.conftest import make_certificate, serving
from tests.server.http1.corpus import CORPUS
from tests.server.http1.fuzz_apps import BEHAVIOURS, Behaviours, MeantError
from tests.server.http1.test_parsing import PIECES
from trioweb.ground.errors import StreamTimeout

BATCH: Final = 200
"""Scripts between two looks at the time."""
JUMPS: Final = 50
"""Jumps of the clock until all times are up that something can wait for, one after the other."""
PATIENCE: Final = 30.0
"""Seconds, by the wall's clock, after which a script hangs: it takes some milliseconds."""
PIECE: Final = 65536
"""Bytes that a client asks for at a time."""
FAULT: Final = "a connection failed and was closed"
"""How the log tells of an exception that has left a connection."""
MEANT: Final = (MeantError, StreamTimeout)
"""What the framework's log may tell of: an app's own exceptions, and clients that take nothing."""

Tls = tuple[str, ssl.SSLContext]
"""A certificate with its key, in a file, and the context of a client that trusts it."""

_RESET: Final = struct.pack("ii", 1, 0)
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-9]\d\d) [^\r\n]*\r\n")


class Step(NamedTuple):
    """What a client does next.

    Attributes:
        action: "send", "wait", "read", "half-close", "reset", "stop the server".
        data: what is sent.
        amount: seconds of the clock, or bytes.
    """

    action: str
    data: bytes = b""
    amount: float = 0


class Script(NamedTuple):
    """One client.

    Attributes:
        behaviours: what the app does with its requests, in turn.
        steps: what it does; then it leaves.
        narrow: it takes little at a time.
        greets: under TLS it does a handshake first.
        orderly: all that it sends is well formed, and must be answered.
    """

    behaviours: tuple[str, ...]
    steps: tuple[Step, ...]
    narrow: bool
    greets: bool = True
    orderly: bool = False


# Bytes

_KNOWN: Final = st.sampled_from(sorted(data for data in CORPUS.values() if len(data) < 400))
_WELL_FORMED: Final = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n" + b"a" * 20_000,
        b"hello",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
    ]
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(_KNOWN))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[position : position + 1] = draw(st.binary(min_size=1, max_size=2))
            case 1:
                data[position:position] = draw(PIECES)
            case 2:
                del data[position : position + draw(st.integers(1, 8))]
            case 3:
                data[position:position] = draw(_KNOWN)[: draw(st.integers(0, 60))]
    return bytes(data)


_BYTES: Final = st.one_of(
    _WELL_FORMED, _WELL_FORMED, _KNOWN, _mutated(), st.lists(PIECES, max_size=20).map(b"".join), st.binary(max_size=100)
)
_SECONDS: Final = st.sampled_from([0.01, 0.3, 1.1, 5.1, 10.1, 16, 61, 121, 400])
_STEPS: Final = st.one_of(
    _BYTES.map(lambda data: Step("send", data)),
    st.tuples(_BYTES, st.integers(0, 200)).map(lambda pair: Step("send", pair[0][: pair[1]])),
    _SECONDS.map(lambda seconds: Step("wait", amount=seconds)),
    st.sampled_from([1, 300, 50_000, 10_000_000]).map(lambda size: Step("read", amount=size)),
    st.sampled_from([Step("half-close"), Step("reset"), Step("stop the server")]),
)
_SCRIPTS: Final = st.builds(
    Script,
    st.lists(st.sampled_from(sorted(BEHAVIOURS)), min_size=1, max_size=3).map(tuple),
    st.lists(st.one_of(_STEPS, _BYTES.map(lambda data: Step("send", data))), min_size=1, max_size=8).map(tuple),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)


# Clients


class Client:
    """One client, which plays its script.

    Args:
        script: what it plays.
        port: the server's.
        context: of TLS, where that is spoken.
    """

    def __init__(self, script: Script, port: int, context: ssl.SSLContext | None) -> None:
        self._script = script
        self._socket = socket.socket()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a piece leaves when its script says so
        if script.narrow:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self.received = b""
        self.speaks_http1 = context is None or script.greets
        self._handshake: Callable[[], None] | None = None
        if context is not None and script.greets:
            secure = context.wrap_socket(self._socket, server_hostname="localhost", do_handshake_on_connect=False)
            self._socket, self._handshake = secure, secure.do_handshake

    async def play(self, clock: trio.testing.MockClock, stop: Callable[[], None]) -> None:
        """Do what the script says, and leave."""
        if not await self._greet():
            self._socket.close()
            return
        for step in self._script.steps:
            match step.action:
                case "send":
                    self.speaks_http1 &= b"PRI * HTTP/2.0" not in step.data and b"pgrade" not in step.data
                    with suppress(OSError):
                        self._socket.send(step.data)
                case "wait":
                    clock.jump(step.amount)
                case "read":
                    self._read(int(step.amount))
                case "half-close":
                    with suppress(OSError):
                        socket.socket.shutdown(self._socket, socket.SHUT_WR)  # TLS's own would be the end of reading
                case "reset":
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self._socket.close()
                    return
                case "stop the server":
                    stop()
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            self._read(10_000_000)
            await trio.testing.wait_all_tasks_blocked()
        self._socket.close()

    async def _greet(self) -> bool:
        """Make a handshake, where that is to be made. Returns whether there is a connection."""
        while self._handshake is not None:
            try:
                self._handshake()
                break
            except ssl.SSLWantReadError:
                await trio.testing.wait_all_tasks_blocked()
            except OSError:  # the server stops
                return False
        return True

    def _read(self, size: int) -> None:
        with suppress(OSError):
            while size > 0 and (data := self._socket.recv(min(size, PIECE))):
                self.received += data
                size -= len(data)


class NotHTTPError(Exception):
    """What a client has received is no sequence of responses."""


def check_responses(received: bytes, methods: list[str]) -> None:
    """See that bytes are whole responses to these requests, and perhaps the beginning of one, and nothing else.

    Raises:
        NotHTTPError: they are not.
    """
    rest, ended = received, False
    methods = list(methods)
    while rest:
        if ended:
            raise NotHTTPError(f"behind the last response: {rest[:80]!r}")
        head, end, rest = rest.partition(b"\r\n\r\n")
        if not end:
            return
        found = _STATUS.match(head + b"\r\n")
        if found is None:
            raise NotHTTPError(f"no status line: {head[:80]!r}")
        status = int(found[1])
        fields = [line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:]]
        if any(len(field) != 2 for field in fields):
            raise NotHTTPError(f"no fields: {head!r}")
        if status < 200:
            continue
        names = [field[0] for field in fields]
        if names.count(b"content-length") + names.count(b"transfer-encoding") > 1 or names.count(b"date") != 1:
            raise NotHTTPError(f"a head that says too much: {head!r}")
        values = {field[0]: field[1] for field in fields}
        ended = values.get(b"connection") == b"close"
        method = methods.pop(0) if methods else "GET"
        if method != "HEAD" and status not in (204, 304):
            rest = _skip_body(rest, values, ended=ended)


def _skip_body(rest: bytes, values: dict[bytes, bytes], *, ended: bool) -> bytes:
    if b"content-length" in values:
        return rest[int(values[b"content-length"]) :]
    if b"transfer-encoding" not in values:
        if not ended:
            raise NotHTTPError(f"a body without an end: {rest[:80]!r}")
        return b""
    while rest:
        line, end, behind = rest.partition(b"\r\n")
        if not end:
            return b""
        if re.fullmatch(rb"[0-9a-f]+", line) is None:
            raise NotHTTPError(f"no chunk: {rest[:80]!r}")
        size = int(line, 16)
        if size == 0:
            trailers, end, rest = rest.partition(b"\r\n\r\n")
            return rest if end and len(trailers) >= 1 else b""
        if len(behind) >= size + 2 and behind[size : size + 2] != b"\r\n":
            raise NotHTTPError(f"a chunk that does not end: {behind[size : size + 80]!r}")
        rest = behind[size + 2 :]
    return b""


Check = Callable[[Client, Script, list[str]], None]
"""Looks at what a client has received of a script, and raises an error if that is wrong."""


# Scripts


class HangError(BaseException):
    """A script does not come to its end. No ``Exception``: nothing may take it for a fault of its own."""


class _Faults(logging.Handler):
    """Notes what left a connection, or the framework, and was not meant to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        error = record.exc_info[1] if record.exc_info else None
        if FAULT in record.getMessage() or (record.name == "trioweb" and not isinstance(error, MEANT)):
            self.found.append(logging.Formatter().format(record))


@contextmanager
def patience() -> Iterator[None]:
    """Interrupt what is inside when it hangs, be it in a loop of its own, or in a wait for what does not come."""

    def interrupt(number: int, frame: object) -> None:
        raise HangError(f"a script takes more than {PATIENCE:g} s")

    old = signal.signal(signal.SIGALRM, interrupt)
    before, _ = signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, before)
        signal.signal(signal.SIGALRM, old)


def _check(client: Client, script: Script, methods: list[str]) -> None:
    if client.speaks_http1:
        check_responses(client.received, methods)


async def _play(
    scripts: list[Script], tls: Tls | None, clock: trio.testing.MockClock, check: Check, options: dict[str, object]
) -> None:
    behaviours = Behaviours()
    async with serving(behaviours, tls, graceful_timeout=2.0, h11_max_incomplete_size=4096, **options) as site:
        clients = [Client(script, site.port, tls and tls[1]) for script in scripts]
        for client, script in zip(clients, scripts, strict=True):
            behaviours.of[client.port] = list(script.behaviours)
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.play, clock, site.worker.stop)
        for _ in range(JUMPS):
            await trio.testing.wait_all_tasks_blocked()
            if not site.worker._connections:
                break
            clock.jump(500)
        else:
            raise AssertionError(f"{len(site.worker._connections)} connections are left")
        for client, script in zip(clients, scripts, strict=True):
            check(client, script, behaviours.methods.get(client.port, []))


def run(scripts: list[Script], tls: Tls | None = None, *, check: Check = _check, **options: object) -> None:
    """Play scripts, side by side, in clear or with this certificate.

    Args:
        scripts: what they do.
        tls: the certificate.
        check: looks at what a client has received.
        options: of the server.

    Raises:
        AssertionError: a connection is left, or a fault has left one.
        HangError: it takes too long.
        NotHTTPError: a client has received what is none.
    """
    faults = _Faults()
    loggers = [logging.getLogger(name) for name in ("hypercorn.error", "trioweb")]
    for logger in loggers:
        logger.addHandler(faults)
    clock = trio.testing.MockClock()
    try:
        with patience():
            trio.run(_play, scripts, tls, clock, check, options, clock=clock)
    finally:
        for logger in loggers:
            logger.removeHandler(faults)
    if faults.found:
        raise AssertionError("\n".join(faults.found))


def make_test(
    count: int,
    tls: Tls,
    scripts: st.SearchStrategy[Script] = _SCRIPTS,
    play: Callable[[list[Script], Tls | None], None] = run,
) -> Callable[[], None]:
    """A test of so many scripts, some with this certificate and some without."""

    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False,
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(st.lists(scripts, min_size=1, max_size=3), st.booleans())
    def test(scripts: list[Script], secure: bool) -> None:
        play(scripts, tls if secure else None)

    return test


def main(
    arguments: list[str] | None = None,
    make: Callable[[int, Tls], Callable[[], None]] = make_test,
    *,
    program: str = "tests.server.http1.fuzz",
    description: str | None = __doc__,
) -> None:
    """Fuzz for so many minutes, with the tests that ``make`` makes."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=None, help="the first of the seeds, which are counted up")
    options = parser.parse_args(arguments)
    for name in ("hypercorn.error", "trioweb"):
        logging.getLogger(name).propagate = False
    seed = first = options.seed if options.seed is not None else int(time.time())
    with tempfile.TemporaryDirectory() as directory:
        tls = make_certificate(Path(directory))
        end = time.monotonic() + options.minutes * 60
        while time.monotonic() < end:
            hypothesis.seed(seed)(make(BATCH, tls))()
            seed += 1
    sys.stdout.write(f"{(seed - first) * BATCH} scripts, of seeds {first} to {seed - 1}: nothing was found\n")


if __name__ == "__main__":
    main()
