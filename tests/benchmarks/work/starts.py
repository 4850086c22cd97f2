"""How long until it serves."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from tests.benchmarks.contenders import BY_KEY
from tests.benchmarks.environments import variables
from tests.benchmarks.figures import Measure
from tests.benchmarks.rounds import Piece, Turn


def _start(turn: Turn) -> Mapping[str, float]:
    with turn.bench.start(turn.contender, {}) as server:
        return {"startup": server.wait_until_ready() * 1e3}


def _import(turn: Turn) -> Mapping[str, float]:
    program = (
        f"import os, time; os.sched_setaffinity(0, {turn.bench.cores}); begin = time.process_time()\n"
        f"{turn.contender.imports}; print(time.process_time() - begin)"
    )
    done = subprocess.run(
        [turn.environment.program, "-c", program],
        env=variables(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {"import": float(done.stdout) * 1e3}


IMPORTED = tuple(contender.key for contender in BY_KEY.values() if contender.imports)

PIECES = (
    Piece("startup", (Measure("startup", "start, until the first answer", "ms"),), _start, rounds=0.6, alone=True,
          warm_up=False),
    Piece("import", (Measure("import", "import, CPU time", "ms"),), _import, alone=True, only=IMPORTED),
)  # fmt: skip
