"""How many instructions the parts without I/O take, by valgrind: that does not depend on how busy a machine is."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.environments import Environment, variables

MARK = "getppid"
"""The function of the system's library at whose calls the counters are written down, and begin anew."""
CONTROL = "import tests.benchmarks.parts as parts; print(parts.FEW, parts.MANY, *parts.PARTS, sep='\\n')"


def count(environment: Environment, names: Sequence[str] = ()) -> dict[str, float]:
    """Instructions for a unit of each part's work; nothing where valgrind is not installed.

    Args:
        environment: trioweb's.
        names: of the parts, if not all.
    """
    if shutil.which("valgrind") is None:
        return {}
    few, many, *parts = _run([str(environment.program), "-c", CONTROL]).splitlines()
    chosen = names or parts
    with tempfile.TemporaryDirectory() as directory:
        valgrind = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}"]
        valgrind.append(f"--callgrind-out-file={directory}/out")
        _run([*valgrind, str(environment.program), "-m", "tests.benchmarks.parts", *chosen])
        dumps = sorted(Path(directory).glob("out.*"), key=lambda path: int(path.suffix[1:]))
        totals = [_total(dump.read_text()) for dump in dumps]
    # Of each part: what stood before it, a few units, many.
    pairs = zip(totals[1::3], totals[2::3], strict=True)
    return {
        name: (of_many - of_few) / (int(many) - int(few)) for name, (of_few, of_many) in zip(chosen, pairs, strict=True)
    }


def text(counts: Mapping[str, float]) -> str:
    """A line of them."""
    said = ", ".join(f"{name} {instructions:,.0f}" for name, instructions in counts.items())
    return f"Instructions: {said}" if said else ""


def _total(dump: str) -> int:
    (total,) = re.findall(r"^totals: (\d+)", dump, re.MULTILINE)
    return int(total)


def _run(command: list[str]) -> str:
    return subprocess.run(command, env=variables(PYTHONHASHSEED="0"), capture_output=True, text=True, check=True).stdout
