"""How fast trioweb is beside what its users would run instead: ``python -m tests.benchmarks.run [--quick]``.

Every app runs under ``hypercorn -k trio`` in a process of its own, all servers on one core and all clients on another
where the system allows that. Rounds are interleaved, so that a machine that is slow for a while is slow for all; the
figures are medians, and a time far above its CPU time was taken while somebody else used the cores. Every response is
compared, by length and hash, with what it must be. A goal that is missed is printed, not raised: only wrong bytes, or a
server that does not start, end this with an error. Needs Linux, Starlette, Litestar, and wrk for the small requests.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.benchmarks.client import Reader, WrongBytes, download, read_through
from tests.benchmarks.payload import fingerprint
from tests.servers import Server

KIB, MIB = 2**10, 2**20

OURS, STARLETTE, LITESTAR, BARE = "trioweb", "starlette", "litestar", "bare"
APPS = (OURS, STARLETTE, LITESTAR, BARE)
STREAMING = (OURS, STARLETTE, BARE)
"""The apps that have all routes."""

CONNECTIONS = 16
"""Clients that send small requests at a time."""
CONTENT_BLOCK = 64 * KIB
"""Bytes of a chunk of the streams whose memory is watched."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        rounds: how often each figure is taken; three times as often where a round takes less than a second.
        rows: short chunks of a stream.
        large: bytes of a stream in 64 KiB chunks.
        small: bytes of a stream in 8 KiB chunks.
        load: seconds of small requests.
        long: bytes of a stream whose memory is watched.
        short: bytes of one that warms up, and of one that a client leaves unread for a while.
        pause: seconds that it does.
        file: bytes of a sparse file.
    """

    rounds: int
    rows: int
    large: int
    small: int
    load: int
    long: int
    short: int
    pause: float
    file: int


FULL = Sizes(5, 100_000, 256 * MIB, 32 * MIB, 3, 10_000 * MIB, 1_000 * MIB, 5.0, 4096 * MIB)
QUICK = Sizes(1, 2_000, 4 * MIB, MIB, 1, 64 * MIB, 32 * MIB, 0.5, 64 * MIB)


@dataclass(frozen=True)
class Goal:
    """What our median may be at most: so many times another app's, or, without one, so much."""

    most: float
    of: str | None = None

    def __str__(self) -> str:
        return f"{self.most:g}" if self.of is None else f"{_ratio(self.most)} of {self.of}"


@dataclass
class Row:
    """A line of the table: the same figure of each app, a sample a round.

    Attributes:
        name: what was measured.
        unit: what the figures are in.
        goals: what is wanted of their medians, where less is better.
        compared: ratios to other apps' figures say something.
        samples: the figures, by app.
    """

    name: str
    unit: str
    goals: tuple[Goal, ...] = ()
    compared: bool = True
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, app: str, value: float) -> None:
        """Add what one round gave."""
        self.samples.setdefault(app, []).append(value)

    def median(self, app: str) -> float | None:
        """What counts of an app's figures."""
        return median(self.samples[app]) if app in self.samples else None

    def ratio(self, other: str) -> float | None:
        """Our median to another app's."""
        ours, theirs = self.median(OURS), self.median(other)
        return None if not self.compared or ours is None or not theirs else ours / theirs

    def wanted(self) -> str:
        """Its goals, in words."""
        return ", ".join(f"{goal} {self.unit}" if goal.of is None else str(goal) for goal in self.goals)

    def verdict(self) -> str:
        """Whether all its goals are met."""
        for goal in self.goals:
            value = self.median(OURS) if goal.of is None else self.ratio(goal.of)
            if value is not None and value > goal.most:
                return "below goal"
        return "goal met" if self.goals else ""


# What is measured


def streams(
    name: str, path: str, goals: tuple[Goal, ...], servers: Mapping[str, Server], rounds: int, reader: Reader
) -> list[Row]:
    """Time a streamed response to a client that reads as fast as it can."""
    expected = fingerprint(path)
    wall, cpu = Row(name, "ms", goals), Row("   CPU of it", "ms")
    for number in range(-1, rounds):  # the first warms up
        for app in STREAMING:
            before = _cpu_seconds(servers[app])
            seconds = reader.fetch(servers[app].port, path)
            used = _cpu_seconds(servers[app]) - before
            reader.check(expected)
            if number >= 0:
                wall.add(app, seconds * 1e3)
                cpu.add(app, used * 1e3)
    return [wall, cpu]


def small_requests(servers: Mapping[str, Server], rounds: int, seconds: int) -> list[Row]:
    """Many small requests. The CPU time of one is what counts: how many there are a second varies more."""
    expected = fingerprint("/")
    goals = (Goal(1 / 0.9, BARE), Goal(1, STARLETTE), Goal(1, LITESTAR))
    cpu, rate = Row(f"GET /, {CONNECTIONS} at a time, CPU", "us", goals), Row("   requests a second", "")
    for number in range(-1, rounds):
        for app, server in servers.items():
            read_through(server.port, "/").check(expected)
            before = _cpu_seconds(server)
            requests, per_second = _wrk(server.port, seconds if number >= 0 else 1)
            used = _cpu_seconds(server) - before
            if number >= 0:
                cpu.add(app, used / requests * 1e6)
                rate.add(app, per_second)
    return [cpu, rate]


def _wrk(port: int, seconds: int) -> tuple[int, float]:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise WrongBytes(output)
    (requests,) = re.findall(r"(\d+) requests in", output)
    (per_second,) = re.findall(r"Requests/sec: +([\d.]+)", output)
    return int(requests), float(per_second)


def memory(servers: Mapping[str, Server], sizes: Sizes) -> list[Row]:
    """How far a worker grows above what it held after a first stream."""
    short, long = (f"/blocks/{CONTENT_BLOCK}/{size // CONTENT_BLOCK}" for size in (sizes.short, sizes.long))
    expected = {path: fingerprint(path) for path in (short, long)}
    goals = (Goal(2.0),)
    reading = Row(f"memory: {sizes.long / 1e9:.1f} GB, read", "MiB", goals, compared=False)
    silent = Row(f"memory: unread for {sizes.pause:g} s", "MiB", goals, compared=False)
    for app in STREAMING:
        server = servers[app]
        read_through(server.port, short).check(expected[short])
        before = _memory(server, "VmRSS")
        for row, path, pause in ((reading, long, 0.0), (silent, short, sizes.pause)):
            _forget_peak(server)
            read_through(server.port, path, pause).check(expected[path])
            row.add(app, max(0, _memory(server, "VmHWM") - before) / MIB)
    return [reading, silent]


def large_file(servers: Mapping[str, Server], sizes: Sizes) -> list[Row]:
    """Time the download of a sparse file, and watch the worker's memory; the bare app sends as much from memory.

    The system has the file in its own memory after the first round, which warms up.
    """
    size, path = sizes.file, f"/file/{sizes.file}"
    name = f"{size / 2**30:.3g} GiB file, 64 KiB blocks in bare"
    wall, cpu = Row(name, "ms", (Goal(1 / 0.9, BARE),)), Row("   CPU of it", "ms")
    grown = Row("   memory", "MiB", (Goal(4.0),), compared=False)
    for number in range(-1, sizes.rounds):
        for app in (OURS, BARE):
            server = servers[app]
            held, before = _memory(server, "VmRSS"), _cpu_seconds(server)
            _forget_peak(server)
            seconds = download(server.port, path, size, check=number < 0)
            if number >= 0:
                wall.add(app, seconds * 1e3)
                cpu.add(app, (_cpu_seconds(server) - before) * 1e3)
                grown.add(app, max(0, _memory(server, "VmHWM") - held) / MIB)
    return [wall, cpu, grown]


# What the system tells of a server's workers


def _cpu_seconds(server: Server) -> float:
    # The clock that clock_getcpuclockid(3) finds for a process. /proc/PID/stat has the same in hundredths of a second,
    # which is as long as some of these responses take. It is exact while the process sleeps.
    time.sleep(0.01)
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in server.workers)


def _memory(server: Server, name: str) -> int:
    return sum(int(_status(pid, name)) * KIB for pid in server.workers)


def _status(pid: int, name: str) -> str:
    (value,) = re.findall(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return str(value)


def _forget_peak(server: Server) -> None:
    for pid in server.workers:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextlib.contextmanager
def _running(file_size: int) -> Iterator[dict[str, Server]]:
    """All servers, on a core that the clients do not use."""
    cores = sorted(os.sched_getaffinity(0))
    servers: dict[str, Server] = {}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        try:
            os.environ["BENCHMARK_FILES"] = directory
            with Path(directory, str(file_size)).open("wb") as file:
                file.truncate(file_size)
            os.sched_setaffinity(0, cores[:1])
            for app in APPS:
                place = Path(directory, app)
                place.mkdir()
                servers[app] = Server(f"tests.benchmarks.apps.{app}_app:app", [], place)
                stack.callback(servers[app].stop)
        finally:
            os.sched_setaffinity(0, cores[1:2] or cores)
        for server in servers.values():
            server.wait_until_ready()
        yield servers


# The table

_WIDTHS = (34, 13, 13, 13, 13, 13, 8)


def _say(name: str, *cells: str) -> None:
    columns = [name.ljust(_WIDTHS[0]), *(cell.rjust(width) for cell, width in zip(cells, _WIDTHS[1:], strict=False))]
    sys.stdout.write("  ".join(["".join(columns), *cells[len(_WIDTHS) - 1 :]]).rstrip() + "\n")
    sys.stdout.flush()


def _report(rows: Sequence[Row], *, judged: bool) -> Sequence[Row]:
    for row in rows:
        figures = [_figure(row.median(app), row.unit) for app in APPS]
        ratios = [_ratio(row.ratio(app)) for app in (STARLETTE, BARE)]
        _say(row.name, *figures, *ratios, row.wanted(), row.verdict() if judged else "")
    return rows


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.{0 if value >= 1000 else 1}f} {unit}".rstrip()


def _ratio(value: float | None) -> str:
    if not value:
        return ""
    return f"1/{1 / value:.3g}" if value < 0.5 else f"{value:.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little, to see that it works")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all samples to FILE")
    options = parser.parse_args(arguments)
    sizes, judged = (QUICK, False) if options.quick else (FULL, True)
    reader = Reader(sizes.large + 8 * MIB)
    rows: list[Row] = []
    with _running(sizes.file) as servers:
        _say("", *APPS, "/ starlette", "/ bare", "goal")
        for name, path, goal in (
            (f"{sizes.rows:,} x 46 B, async generator", f"/async/{sizes.rows}", Goal(1 / 100, STARLETTE)),
            (f"{sizes.rows:,} x 46 B, sync generator", f"/sync/{sizes.rows}", Goal(1 / 40, STARLETTE)),
            (f"{sizes.rows:,} dicts as JSON lines", f"/json/{sizes.rows}", Goal(1 / 40, STARLETTE)),
            (f"{sizes.large // MIB} MiB in 64 KiB", f"/blocks/65536/{sizes.large // 65536}", Goal(1 / 0.9, BARE)),
            (f"{sizes.small // MIB} MiB in 8 KiB", f"/blocks/8192/{sizes.small // 8192}", Goal(1 / 0.9, BARE)),
        ):
            times = sizes.rounds * 3 if goal.of == BARE else sizes.rounds
            rows += _report(streams(name, path, (goal,), servers, times, reader), judged=judged)
        if shutil.which("wrk"):
            rows += _report(small_requests(servers, sizes.rounds, sizes.load), judged=judged)
        else:
            _say("GET /: needs wrk, which is not installed")
        rows += _report(memory(servers, sizes), judged=judged)
        rows += _report(large_file(servers, sizes), judged=judged)
    if options.json is not None:
        options.json.write_text(json.dumps([_record(row, judged=judged) for row in rows], indent=2) + "\n")


def _record(row: Row, *, judged: bool) -> dict[str, object]:
    return {
        "name": row.name.strip(),
        "unit": row.unit,
        "medians": {app: row.median(app) for app in row.samples},
        "samples": row.samples,
        "goals": row.wanted(),
        "verdict": row.verdict() if judged else "",
    }


if __name__ == "__main__":
    main()
