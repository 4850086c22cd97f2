"""Where trioweb's time goes, for each piece of work: its server under cProfile, in the thread that runs the app."""

from __future__ import annotations

import dataclasses
import io
import pstats
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.contenders import BY_KEY, OUR_SERVER, OURS, Contender
from tests.benchmarks.rounds import Bench, Piece, Turn
from tests.benchmarks.servers import Server

SHOWN = 12
"""Functions of a piece of work that are printed."""
KEPT = 60
"""Those that are written down."""
PATIENCE = 60.0
"""Seconds that a piece may take, with the profiler in it."""


def profile(bench: Bench, pieces: Sequence[Piece], output: Path) -> None:
    """Do each piece once and print what took longest; all of it goes to ``profile`` in the output directory."""
    directory = output / "profile"
    directory.mkdir(parents=True, exist_ok=True)
    for contender in bench.contenders:
        if contender.key not in {OURS, OUR_SERVER}:
            continue
        for piece in pieces:
            if not piece.asks(contender):
                continue
            path = directory / f"{contender.key}-{piece.key}.txt"
            found = _imports(bench, contender) if piece.key == "import" else _profile(bench, contender, piece, path)
            path.write_text(found)
            shown = "\n".join(found.splitlines()[: SHOWN + 8])
            sys.stdout.write(f"\n== {contender.label}, {piece.key}: {path}\n{shown}\n")


def _profile(bench: Bench, contender: Contender, piece: Piece, path: Path) -> str:
    dump = path.with_suffix(".pstats")
    settings = {**piece.settings, "BENCHMARK_PROFILE": str(dump)}

    def start(who: Contender, told: Mapping[str, str]) -> Server:
        return bench.start(who, {**settings, **told})

    watched = dataclasses.replace(bench, start=start, sizes=dataclasses.replace(bench.sizes, budget=PATIENCE))
    if piece.alone:
        piece.sample(Turn(watched, contender, None))
    else:
        with start(contender, {}) as server:
            server.wait_until_ready()
            piece.sample(Turn(watched, contender, server))
    text = io.StringIO()
    stats = pstats.Stats(str(dump), stream=text)
    stats.strip_dirs().sort_stats("tottime").print_stats(KEPT)
    return text.getvalue().strip() + "\n"


def _imports(bench: Bench, contender: Contender) -> str:
    """Modules, those that take longest by themselves first."""
    python = bench.environments[contender.key].program
    command = [str(python), "-X", "importtime", "-c", BY_KEY[OURS].imports]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    head, *rest = (line.removeprefix("import time:") for line in lines)
    rest.sort(key=lambda line: -int(line.split("|")[0]) if line.split("|")[0].strip().isdigit() else 0)
    return "\n".join([head, *rest[:KEPT]]) + "\n"
