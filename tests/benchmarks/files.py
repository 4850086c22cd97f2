"""How fast a large file is beside as many bytes from memory: ``python -m tests.benchmarks.files [--quick]``.

A ``FileResponse`` against a bare ASGI app that sends such blocks from memory: under ``hypercorn -k trio`` and under
``trioweb run``, of 64 KiB, and of 128 KiB, which is what a file is read in where the system does not send it by itself.
The file is sparse, so that it takes no disk; or full, and in the system's memory. Goals: 0.9 of the bare app's speed,
and no more than 4 MiB of memory. Rounds are interleaved, and the figures are medians. Needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import BARE, BY_KEY, HYPERCORN_SERVER, OURS, OWN_SERVER
from tests.benchmarks.environments import prepare
from tests.benchmarks.servers import KIB, Broken, Server, share_out_cores

MIB = 2**20
SERVERS = {"hypercorn -k trio": HYPERCORN_SERVER, "trioweb run": OWN_SERVER}
SPEED = 0.9
"""How fast a file is to be, as a part of the bare app's speed."""
MEMORY = 4.0
"""MiB by which a worker may grow with a file."""


@dataclasses.dataclass
class Sample:
    """One download: seconds, seconds of the server's CPU time, MiB by which its workers grew."""

    seconds: float
    cpu: float
    grown: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.files", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little, to see that it works")
    rounds, size = (1, 64 * MIB) if parser.parse_args(arguments).quick else (7, 4096 * MIB)
    for name, server in SERVERS.items():
        with _running(server, size) as servers:
            _compare(name, servers, size, rounds)


def _compare(name: str, servers: Sequence[Server], size: int, rounds: int) -> None:
    ours, bare = servers
    full = size // 4
    asked = {
        "blocks of 64 KiB from memory": (bare, f"/{64 * KIB}/{size}", size),
        "blocks of 128 KiB from memory": (bare, f"/{128 * KIB}/{size}", size),
        "sparse file": (ours, "/sparse", size),
        "full file": (ours, "/full", full),
    }
    samples: dict[str, list[Sample]] = {what: [] for what in asked}
    for number in range(-1, rounds):  # the first warms up
        for what, (server, path, length) in asked.items():
            sample = _measure(server, path, length)
            if number >= 0:
                samples[what].append(sample)
    sys.stdout.write(f"{name}, {size / 2**30:.3g} GiB sparse, {full / 2**30:.3g} GiB full\n")
    rates = {what: median(asked[what][2] / sample.seconds for sample in found) for what, found in samples.items()}
    costs = {what: median(sample.cpu / asked[what][2] * 2**30 for sample in found) for what, found in samples.items()}
    for what, found in samples.items():
        grown = max(sample.grown for sample in found)
        line = f"  {what:30}{rates[what] / MIB:8,.0f} MiB/s   {costs[what]:6.3f} s of CPU a GiB   {grown:+.1f} MiB"
        if asked[what][0] is ours:
            against = [rates[what] / rates[other] for other in asked if asked[other][0] is bare]
            met = min(against) >= SPEED and grown <= MEMORY
            line += f"   {' and '.join(f'{ratio:.2f}' for ratio in against)} of bare: "
            line += "goals met" if met else f"below goals ({SPEED} and {MEMORY:g} MiB)"
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _measure(server: Server, path: str, size: int) -> Sample:
    held, used = server.memory(), server.cpu_seconds()
    server.forget_peak()
    seconds = _download(server.port, path, size)
    return Sample(seconds, server.cpu_seconds() - used, max(0, server.memory("VmHWM") - held) / MIB)


def _download(port: int, path: str, size: int) -> float:
    """Get so many bytes and keep none; returns the seconds from the request to the last."""
    memory = memoryview(bytearray(MIB))
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(KIB)
        got = len(head.partition(b"\r\n\r\n")[2])
        while got < size and (count := client.recv_into(memory)):
            got += count
    if got != size or f"content-length: {size}\r\n".encode() not in head.lower():
        raise Broken(f"{got} of {size} bytes came:\n{head.decode('latin-1')}")
    return time.perf_counter() - begin


@contextlib.contextmanager
def _running(command: tuple[str, ...], size: int) -> Iterator[list[Server]]:
    """Our app and the bare one, on a core that the client does not use."""
    contenders = [
        dataclasses.replace(BY_KEY[key], module=module, server=command)
        for key, module in ((OURS, "files_app"), (BARE, "files_bare_app"))
    ]
    environments = prepare(contenders, here=True)
    cores = os.sched_getaffinity(0)
    theirs, own = share_out_cores()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        with (directory / "sparse").open("wb") as file:
            file.truncate(size)
        with (directory / "full").open("wb") as file:
            for _ in range(size // 4 // MIB):
                file.write(os.urandom(MIB))
        stack.callback(os.sched_setaffinity, 0, cores)
        os.sched_setaffinity(0, own)
        settings = {"BENCHMARK_FILES": name}
        servers = [
            stack.enter_context(Server(contender, environments[contender.key], directory, theirs, settings))
            for contender in contenders
        ]
        for server in servers:
            server.wait_until_ready()
        yield servers


if __name__ == "__main__":
    main()
