"""How fast trioweb is beside what its users would run instead: ``python -m tests.benchmarks.run [--quick]``.

Every contender has an environment and a process of its own, all servers on one core and all clients on another where
the system allows that. Rounds are interleaved; the figures are medians. Every response is compared with what it must
be. A goal that is missed is printed, not raised: only a wrong answer of our own ends this with an error. Needs Linux,
and wrk for small requests; node and valgrind are used where they are.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import chart, growth, instructions, profiling, report, table, work
from tests.benchmarks.contenders import BARE, CONTENDERS, OUR_SERVER, OURS, ROOT
from tests.benchmarks.environments import prepare
from tests.benchmarks.figures import Row
from tests.benchmarks.load import Reader
from tests.benchmarks.payload import block
from tests.benchmarks.rounds import FULL, MIB, QUICK, Bench, Piece, measure
from tests.benchmarks.servers import Server, share_out_cores
from tests.benchmarks.work.streams import BLOCK, file_sizes

OUTPUT = ROOT / "build" / "bench"
MEASURES = {measure.key: measure for piece in work.PIECES for measure in piece.measures}
SETTINGS = {name: value for piece in work.PIECES if piece.only is None for name, value in piece.settings.items()}
"""What servers need to be told that do everything."""
EXTRAS = ("growth", "instructions")  # the last one takes too long for --quick
DESCRIPTORS = 25_000
"""Connections that a crowd needs, and its server."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write down."""
    options = _options(arguments)
    if options.read is None:
        result, failed = _run(options)
    else:
        result, failed = report.Report.read(options.read, MEASURES), []
    sys.stdout.write(_text(result) + "\n")
    if not options.profile:
        result.write(options.output / "bench.json")
        (options.output / "bench.svg").write_text(chart.draw(result))
    if options.readme:
        result.write(ROOT / "docs" / "bench.json")
        (ROOT / "docs" / "bench.svg").write_text(chart.draw(result))
        table.write_readme(result, ROOT / "README.md")
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    keys = [piece.key for piece in work.PIECES] + list(EXTRAS)
    parser.add_argument("--quick", action="store_true", help="one round of little, to see that it works")
    parser.add_argument("--contenders", metavar="KEY,...", help=", ".join(one.key for one in CONTENDERS))
    parser.add_argument("--only", metavar="KEY,...", help=f"pieces of work: {', '.join(keys)}")
    parser.add_argument("--fresh", action="store_true", help="make all environments anew, with the newest versions")
    parser.add_argument("--here", action="store_true", help="make no environments, take what this Python has")
    parser.add_argument("--profile", action="store_true", help="where trioweb's time goes, for each piece of work")
    parser.add_argument("--output", metavar="DIRECTORY", type=Path, default=OUTPUT, help="where JSON and chart go")
    parser.add_argument("--readme", action="store_true", help="write table and chart into the README and docs, too")
    parser.add_argument("--read", metavar="FILE", type=Path, help="measure nothing, show what an earlier run has found")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",") if options.only else keys[: -1 if options.quick else None]
    options.contenders = options.contenders.split(",") if options.contenders else [one.key for one in CONTENDERS]
    return options


def _run(options: argparse.Namespace) -> tuple[report.Report, list[str]]:
    """Measure what was asked for; also which answers of our own were wrong."""
    begin, load, cores = time.monotonic(), os.getloadavg()[0], os.sched_getaffinity(0)
    _allow_connections()
    chosen = [one for one in CONTENDERS if one.key in options.contenders]
    environments = prepare(chosen, fresh=options.fresh, here=options.here)
    found = report.begin(environments, load)
    sizes = QUICK if options.quick else FULL
    on_servers, on_clients = share_out_cores()
    os.sched_setaffinity(0, on_clients)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cores)
        directory = Path(name)
        for size in file_sizes(sizes):
            (directory / str(size)).write_bytes(block(BLOCK) * (size // BLOCK))
        settings = {"BENCHMARK_FILES": name}
        bench = Bench(
            sizes, chosen, environments,
            lambda who, told: Server(who, environments[who.key], directory, on_servers, {**settings, **told}),
            Reader(sizes.large + 64 * MIB), on_servers,
        )  # fmt: skip
        if options.profile:
            profiling.profile(bench, [piece for piece in work.PIECES if piece.key in options.only], options.output)
            return found, []
        rows = _measure(bench, options.only)
        dataclasses.replace(found, rows=rows).write(options.output / "bench.json")  # whatever comes of the rest
        curves = growth.curves(bench) if {"growth", OUR_SERVER} <= {*options.only, *environments} else []
        counts = {}
        if {"instructions", OURS} <= {*options.only, *environments}:
            counts = instructions.count(environments[OURS])
    seconds = round(time.monotonic() - begin)
    failed = [key for key, _ in bench.broken if key in {OURS, OUR_SERVER, BARE}]
    return dataclasses.replace(
        found, rows=rows, curves=curves, instructions=counts, seconds=seconds, judged=not options.quick
    ), failed


def _measure(bench: Bench, only: Sequence[str]) -> list[Row]:
    """All rows. Pieces that need nothing of their own share servers, which are gone when the others have theirs."""
    rows: dict[str, list[Row]] = {}
    usable = [one for one in bench.contenders if not bench.environments[one.key].missing]
    pieces = [piece for piece in work.PIECES if piece.key in only]
    quick = bench.sizes is QUICK
    with bench.servers([one for one in usable if one.only is None], SETTINGS if quick else {}) as servers:
        for piece in pieces:
            if (quick and piece.settings.items() <= SETTINGS.items()) or not (piece.alone or piece.settings):
                rows[piece.key] = _told(piece, measure(piece, bench, servers))
    for piece in pieces:
        if piece.key in rows:
            continue
        if piece.alone:
            rows[piece.key] = _told(piece, measure(piece, bench, {}))
        else:
            asked = list(filter(piece.asks, usable))
            with bench.servers(asked, piece.settings) as servers:
                rows[piece.key] = _told(piece, measure(piece, bench, servers))
    return [row for piece in pieces for row in rows[piece.key]]


def _told(piece: Piece, rows: list[Row]) -> list[Row]:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {piece.key}\n")
    return rows


def _allow_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in ((DESCRIPTORS, max(DESCRIPTORS, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, wanted)
        except (ValueError, PermissionError):
            continue
        return
    sys.stderr.write(f"only {soft} descriptors: a crowd may not fit\n")


def _text(result: report.Report) -> str:
    parts = [
        f"{result.date}, {result.machine}, load {result.load:.1f} before\n{result.named_versions()}",
        table.tables(result), table.less(result), table.curves(result), instructions.text(result.instructions),
        "\n".join(["Falls short:", *table.falls_short(result)]) if result.judged else "Too little to judge by.",
        f"{result.seconds:.0f} s",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped then, too
    sys.exit(main())
