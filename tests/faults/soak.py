"""Mixed clients with faults at random, for as long as one likes: at the end nothing of the server's may have grown.

``python -m tests.faults.soak MINUTES [--seed N] [--runner hypercorn|trioweb]``. What each client does follows from the
seed; when it does it does not. The exit status is 1 if a task or a descriptor is left, if memory has grown, if a
worker has died, or if an error was logged that is none.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from tests.faults.clients import GARBAGE
from tests.faults.conftest import TARGET
from tests.servers import RUNNERS, Server
from tests.state import Load, get_state, settle

CLIENTS = 24
"""Clients at a time."""
WARM_UP = 0.4
"""Part of the time after which memory is measured for the first time."""
RECOVERY = 20.0
"""Seconds in which the server must be back to what it was, once the last client has left."""
MEMORY_BOUND = 6 * 1024
"""KiB that a worker may hold more at the end than after the warm-up. Its allocator gives back no page that holds one
small object; ten thousand requests that each left a kilobyte behind would go beyond it."""

MEANT = re.compile(r"(\S+ \S+ \[\d+\] ERROR )?(GET|POST) /(fails|bad-finally/\w+|error|limited)\S*: ")
"""How lines begin that the app under test has asked for."""

GETS = (
    "/", "/small/100", "/small/60000", "/large", "/thread", "/waits", "/error", "/flood", "/flood/sync", "/limited",
    "/sleepy", "/late", "/events", "/download/declared", "/download/chunked", "/paced/5", "/fails", "/swallows",
    "/bad-finally/end", "/bad-finally/wait", "/slow-finally", "/nowhere",
)  # fmt: skip
POSTS = ("/ignored", "/reads", "/echo", "/unread", "/fails")
SHORT = ("/", "/small/100", "/small/60000", "/paced/3", "/nowhere")
"""What comes to its end by itself: behind these a client may pipeline."""


CONTAINING = frozenset({"trioweb"})
"""Runners whose workers contain a fault in a connection's own task. Elsewhere one such fault ends the worker, whatever
the app does; so what is known to lead to one is left out there."""


class Peer:
    """A client's connection, and what it draws from the seed."""

    def __init__(self, stream: trio.SocketStream, rng: random.Random, contained: bool) -> None:
        self.stream = stream
        self.rng = rng
        self.contained = contained

    async def send(self, data: bytes) -> None:
        """Send in one piece, in several, or byte by byte."""
        size = self.rng.choice([len(data), len(data), 1000, 7] + [1] * (len(data) < 200))
        for offset in range(0, len(data), max(1, size)):
            await self.stream.send_all(data[offset : offset + size])

    async def read(self) -> None:
        """Read all that comes, slowly, a little, or nothing; then wait until it is time to leave."""
        manner = self.rng.choice(["all", "all", "slowly", "a little", "nothing"])
        if manner == "a little":
            await self.stream.receive_some(self.rng.randint(1, 5000))
        elif manner != "nothing":
            while await self.stream.receive_some(65536 if manner == "all" else 100):
                await trio.sleep(0 if manner == "all" else 0.02)
            return
        await trio.sleep_forever()


async def ask(peer: Peer) -> None:
    """Ask for anything."""
    version = peer.rng.choice(["1.1", "1.1", "1.0"])
    await peer.send(f"GET {peer.rng.choice(GETS)} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
    await peer.read()


async def pipeline(peer: Peer) -> None:
    """Ask for many things at once."""
    paths = peer.rng.choices(SHORT, k=peer.rng.randint(2, 50))
    await peer.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
    await peer.read()


async def half_close(peer: Peer) -> None:
    """Ask, and close the sending side."""
    await peer.send(f"GET {peer.rng.choice(GETS)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await peer.stream.send_eof()
    await peer.read()


async def upload(peer: Peer) -> None:
    """Send a body, whole or not, of a declared length or in chunks."""
    path = peer.rng.choice(POSTS)
    size = peer.rng.choice([0, 1, 1000, 100_000, 1_000_000])
    if peer.rng.random() < 0.5:
        await peer.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        await peer.stream.send_all(bytes(peer.rng.choice([size, size // 2])))
    else:
        await peer.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(min(size, 2000)):
            await peer.stream.send_all(b"1\r\nx\r\n")
        if peer.rng.random() < 0.5:
            await peer.stream.send_all(b"0\r\n\r\n")
    await peer.read()


async def send_garbage(peer: Peer) -> None:
    """Send what is no request, or a part of one."""
    data = peer.rng.choice([*GARBAGE.values(), peer.rng.randbytes(300), b"GET / HTTP/1.1\r\nHo", b""])
    await peer.stream.send_all(data)
    await peer.read()


async def speak_http2(peer: Peer) -> None:
    """Have many streams, reset some, and open the windows or not."""
    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    opens, resets = peer.rng.random() < 0.6, peer.rng.random() < 0.5
    streams = []
    for _ in range(peer.rng.randint(1, 30)):
        stream = connection.get_next_available_stream_id()
        posts = peer.contained and peer.rng.random() < 0.2
        path = peer.rng.choice(("/ignored", "/reads", "/echo") if posts else GETS)
        method = "POST" if posts else "GET"
        head = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        connection.send_headers(stream, head, end_stream=not posts)
        if posts:
            connection.send_data(stream, bytes(1000), end_stream=True)
        streams.append(stream)
    await peer.stream.send_all(connection.data_to_send())
    while data := await peer.stream.receive_some(65536):
        for event in connection.receive_data(data):
            if isinstance(event, DataReceived) and opens:
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (StreamEnded, StreamReset)) and event.stream_id in streams:
                streams.remove(event.stream_id)
        if resets and streams and peer.rng.random() < 0.2:
            connection.reset_stream(streams.pop(), ErrorCodes.CANCEL)
        if peer.contained and peer.rng.random() < 0.01:
            connection.close_connection()
        await peer.stream.send_all(connection.data_to_send())


SCENARIOS: tuple[Callable[[Peer], Awaitable[None]], ...] = (
    ask, ask, ask, pipeline, half_close, upload, upload, send_garbage, speak_http2, speak_http2,
)  # fmt: skip


async def be_a_client(port: int, seed: str, counts: Counter[str], contained: bool) -> None:
    """Connect, do something, and leave at a random moment, politely or with a reset."""
    rng = random.Random(seed)
    scenario = rng.choice(SCENARIOS)
    patience, small = rng.choice([0.02, 0.2, 1.0]) * rng.random(), rng.random() < 0.3
    # What is closed politely goes on sending what the kernel has taken, for as long as nobody reads it.
    reset = rng.random() < 0.4 or scenario is upload
    counts[scenario.__name__] += 1
    connected = trio.socket.socket()
    if small:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await connected.connect(("127.0.0.1", port))
        with trio.move_on_after(patience):
            await scenario(Peer(trio.SocketStream(connected), rng, contained))
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError):
        pass  # the server was right to end it
    finally:
        if reset:  # also when the soak's time is over in the middle of it
            with suppress(OSError):  # closed: it was connecting
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connected.close()


async def be_clients(port: int, seed: str, seconds: float, counts: Counter[str], contained: bool) -> None:
    """Be so many clients at a time, one after the other, for so long."""

    async def one_after_the_other(line: int) -> None:
        number = 0
        while True:
            await be_a_client(port, f"{seed}/{line}/{number}", counts, contained)
            number += 1

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for line in range(CLIENTS):
                nursery.start_soon(one_after_the_other, line)


@dataclass
class Result:
    """What became of one server."""

    runner: str
    clients: Counter[str]
    memory: tuple[int, int, int]
    grown: list[str]


def wait_for_calm(server: Server, before: Load) -> dict[str, int]:
    """Wait until it holds no more than before; returns what it holds more, for good."""
    end = time.monotonic() + RECOVERY
    while (more := Load.of(server).beyond(before)) and time.monotonic() < end:
        time.sleep(0.1)
    return more


def soak(runner: str, seconds: float, seed: int) -> Result:
    """Soak one server."""
    clients: Counter[str] = Counter()
    grown: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        server = Server(TARGET, ["--keep-alive", "1"], Path(directory), runner=runner)
        try:
            server.wait_until_ready()
            before, workers = settle(server), server.workers
            memory = [get_state(server)["memory"]]
            for part, share in (("warm-up", WARM_UP), ("main", 1 - WARM_UP)):
                trio.run(be_clients, server.port, f"{seed}/{part}", share * seconds, clients, runner in CONTAINING)
                more = wait_for_calm(server, before)
                grown += [f"{count} more {name} after the {part}" for name, count in more.items()]
                grown += [f"    {line}" for line in get_state(server, "/stacks") if more]
                memory.append(get_state(server)["memory"])
            if memory[2] - memory[1] > MEMORY_BOUND:
                grown.append(f"{memory[2] - memory[1]} KiB of memory after the warm-up, of {MEMORY_BOUND} allowed")
            if server.workers != workers:
                grown.append(f"a worker has died: {workers} were started, {server.workers} are there")
        except (OSError, AssertionError) as error:
            grown.append(f"the server does not answer: {error!r}\n{_last_lines(server.output)}")
            memory = [0, 0, 0]
        finally:
            server.stop()
        grown += unexpected(server.output)
    return Result(runner, clients, (memory[0], memory[1], memory[2]), grown)


def say(text: str) -> None:
    """Print a line, now."""
    print(text, flush=True)  # noqa: T201 - what this program is for


def _last_lines(output: str) -> str:
    return "\n".join(line[:200] for line in output.splitlines()[-40:])


def unexpected(output: str) -> list[str]:
    """What was logged as an error and is none that the app under test has asked for."""
    lines = [
        line for line in output.splitlines() if re.match(r"[A-Z]+ \S+: |Exception|Task ", line) or "[ERROR]" in line
    ]
    return [f"logged: {line}" for line in lines if not MEANT.match(line)]


def main(arguments: list[str] | None = None) -> int:
    """Soak the servers, print a table, and say by the exit status whether anything has grown."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=5.0, help="in all; 5 unless said otherwise")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--runner", choices=sorted(RUNNERS), action="append", help="both unless said otherwise")
    options = parser.parse_args(arguments)
    runners = options.runner or sorted(RUNNERS)
    say(f"seed {options.seed}, {options.minutes:g} minutes, {CLIENTS} clients at a time")
    results = [soak(runner, options.minutes * 60 / len(runners), options.seed) for runner in runners]
    say(f"{'':12}{'clients':>10}{'MiB at start':>14}{'after warm-up':>15}{'at the end':>12}")
    for result in results:
        start, warm, end = (kib / 1024 for kib in result.memory)
        say(f"{result.runner:12}{result.clients.total():>10}{start:>14.1f}{warm:>15.1f}{end:>12.1f}")
        for kind, count in sorted(result.clients.items()):
            say(f"    {kind:18}{count:>6}")
    grown = [f"{result.runner}: {text}" for result in results for text in result.grown]
    say("\n".join(grown) if grown else "no task, descriptor or memory has grown")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
