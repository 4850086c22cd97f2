"""What middlewares cost: ``python -m tests.benchmarks.middleware [--quick]``. Needs Linux and wrk.

As ``tests.benchmarks.run``: each app in a process of its own, rounds interleaved, medians of the server's CPU time.
Three middlewares may cost 5 % of ``GET /`` under ``hypercorn -k trio``; under ``trioweb run``, where a request takes an
eighth of that, the same microseconds are more of it. A compressed stream may cost no more than the same stream, plain,
and 1.2 times what zlib takes for its bytes in one call.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.benchmarks.client import Reader
from tests.benchmarks.payload import text_rows
from tests.benchmarks.run import MIB, _cpu_seconds, _wrk
from tests.servers import RUNNERS, Server

APPS = ("trioweb", "middleware", "compression")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.middleware", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little, to see that it works")
    quick = parser.parse_args(arguments).quick
    rounds, rows, seconds = (1, 2_000, 1) if quick else (5, 100_000, 3)
    small: dict[tuple[str, str], list[float]] = {(runner, app): [] for runner in RUNNERS for app in APPS[:2]}
    stream: dict[str, list[float]] = {app: [] for app in (APPS[0], APPS[2])}
    alone: list[float] = []
    data = "".join(text_rows(rows)).encode()
    reader = Reader(8 * MIB)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        servers = {}
        for runner, app in [*small, ("hypercorn", APPS[2])]:
            place = Path(directory, runner, app)
            place.mkdir(parents=True)
            servers[runner, app] = server = Server(f"tests.benchmarks.apps.{app}_app:app", [], place, runner=runner)
            stack.callback(server.stop)
            server.wait_until_ready()
        for _ in range(rounds):
            for way, samples in small.items():
                before = _cpu_seconds(servers[way])
                requests, _ = _wrk(servers[way].port, seconds)
                samples.append((_cpu_seconds(servers[way]) - before) / requests * 1e6)
            for app, samples in stream.items():
                server = servers["hypercorn", app]
                before = _cpu_seconds(server)
                reader.fetch(server.port, f"/async/{rows}")
                samples.append((_cpu_seconds(server) - before) * 1e3)
            begin = time.process_time()
            compressor = zlib.compressobj(wbits=31)
            compressor.compress(data)
            compressor.flush()
            alone.append((time.process_time() - begin) * 1e3)
    figures = []
    for runner, goal in (("hypercorn", "goal: +5 %"), ("trioweb", "no goal")):
        without, three = (median(small[runner, app]) for app in APPS[:2])
        cost = f"behind three middlewares {three:.1f} us: {three / without - 1:+.1%} ({goal})"
        figures.append(f"GET / under {runner}: {without:.1f} us, {cost}")
    plain, coded = (median(samples) for samples in stream.values())
    cost = f"{(coded - plain) / median(alone):.2f} times zlib's own (goal: 1.2)"
    figures.append(
        f"{rows:,} rows: {plain:.1f} ms, compressed {coded:.1f} ms, zlib alone {median(alone):.1f} ms: {cost}"
    )
    sys.stdout.write("\n".join(figures) + "\n")


if __name__ == "__main__":
    main()
