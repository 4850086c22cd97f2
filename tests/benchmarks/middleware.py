"""What middlewares cost: ``python -m tests.benchmarks.middleware [--quick]``. Needs Linux and wrk.

As ``tests.benchmarks.run``: each app under ``hypercorn -k trio`` in a process of its own, rounds interleaved, medians
of the server's CPU time. Three middlewares may cost 5 % of ``GET /``; a compressed stream no more than the same stream,
plain, and 1.2 times what zlib takes for its bytes in one call.
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
from tests.servers import Server

APPS = ("trioweb", "middleware", "compression")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.middleware", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of little, to see that it works")
    quick = parser.parse_args(arguments).quick
    rounds, rows, seconds = (1, 2_000, 1) if quick else (5, 100_000, 3)
    small: dict[str, list[float]] = {app: [] for app in APPS[:2]}
    stream: dict[str, list[float]] = {app: [] for app in (APPS[0], APPS[2])}
    alone: list[float] = []
    data = "".join(text_rows(rows)).encode()
    reader = Reader(8 * MIB)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        servers = {}
        for app in APPS:
            Path(directory, app).mkdir()
            servers[app] = Server(f"tests.benchmarks.apps.{app}_app:app", [], Path(directory, app))
            stack.callback(servers[app].stop)
            servers[app].wait_until_ready()
        for _ in range(rounds):
            for app, samples in small.items():
                before = _cpu_seconds(servers[app])
                requests, _ = _wrk(servers[app].port, seconds)
                samples.append((_cpu_seconds(servers[app]) - before) / requests * 1e6)
            for app, samples in stream.items():
                before = _cpu_seconds(servers[app])
                reader.fetch(servers[app].port, f"/async/{rows}")
                samples.append((_cpu_seconds(servers[app]) - before) * 1e3)
            begin = time.process_time()
            compressor = zlib.compressobj(wbits=31)
            compressor.compress(data)
            compressor.flush()
            alone.append((time.process_time() - begin) * 1e3)
    without, three = (median(samples) for samples in small.values())
    plain, coded = (median(samples) for samples in stream.values())
    figures = [
        f"GET /: {without:.1f} us, behind three middlewares {three:.1f} us: {three / without - 1:+.1%} (goal: +5 %)",
        (
            f"{rows:,} rows: {plain:.1f} ms, compressed {coded:.1f} ms, zlib alone {median(alone):.1f} ms: "
            f"{(coded - plain) / median(alone):.2f} times zlib's own (goal: 1.2)"
        ),
    ]
    sys.stdout.write("\n".join(figures) + "\n")


if __name__ == "__main__":
    main()
