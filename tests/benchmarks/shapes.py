"""CPU time of a request of each shape, beside an older checkout and peers: ``python -m tests.benchmarks.shapes -h``.

For the while that something is being changed: a minute where ``nox -s bench`` takes an hour. All servers run at once
and are asked in turn, so that a machine that is busy for a while is busy for all. A figure is the median of its rounds,
and a ratio is the median of their ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import BY_KEY, ON_UVICORN, OUR_SERVER, OURS, ROOT, Contender
from tests.benchmarks.crowd import Crowd
from tests.benchmarks.environments import Environment, prepare
from tests.benchmarks.figures import figure
from tests.benchmarks.load import Reader, Small, wrk
from tests.benchmarks.payload import expected
from tests.benchmarks.rounds import MIB
from tests.benchmarks.servers import Broken, Server, share_out_cores
from tests.benchmarks.work.requests import SHAPES

WARM_UP = 0.3
"""Seconds of each shape that do not count."""
CHUNKS, CLIENTS, EVENTS = 100_000, 200, 20
READER = Reader(16 * MIB)


@dataclass(frozen=True)
class Probe:
    """A line of the table.

    Attributes:
        title: its name there.
        plain: the key of the line that it is compared with.
        count: does its work for so many seconds, or a fixed amount, and returns how many units that was.
        settings: what the app needs to be told.
    """

    title: str
    plain: str
    count: Callable[[Server, float], int]
    settings: Mapping[str, str] = field(default_factory=dict)


def _ask(small: Small, server: Server, seconds: float) -> int:
    return wrk(server.port, small, seconds)[0]


def _read(path: str, server: Server, _: float) -> int:
    READER.fetch(server.port, f"{path}/{CHUNKS}", expected(f"{path}/{CHUNKS}"))
    return CHUNKS


def _publish(path: str, server: Server, _: float) -> int:
    with contextlib.closing(Crowd(server.port, path)) as crowd:
        crowd.grow(CLIENTS)
        for number in range(EVENTS):
            crowd.publish(number)
    return CLIENTS * EVENTS


PROBES: Mapping[str, Probe] = {
    **{shape.key: Probe(shape.title, "greet", partial(_ask, shape.small), shape.settings) for shape in SHAPES},
    "async": Probe("chunk of a stream", "async", partial(_read, "/async")),
    "async_request": Probe("the same, takes `request`", "async", partial(_read, "/request/async")),
    "event": Probe("event of a stream and its share of a start", "event", partial(_publish, "/events")),
    "event_request": Probe("the same, takes `request`", "event", partial(_publish, "/request/events")),
}


@dataclass
class Side:
    """One that is measured.

    Attributes:
        label: its column.
        contender: what it runs.
        environment: its interpreter.
        root: the checkout that it runs.
        servers: those that run, by what they were told.
        samples: microseconds by the key of the line, one a round.
    """

    label: str
    contender: Contender
    environment: Environment
    root: Path = ROOT
    servers: dict[str, Server] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, key: str, seconds: float) -> None:
        """Take a sample: the CPU time of a unit."""
        server = self.servers[str(PROBES[key].settings)]
        before = server.cpu_seconds()
        try:
            units = PROBES[key].count(server, seconds)
        except Broken as error:
            raise SystemExit(f"{self.label}, {PROBES[key].title}: {error}") from error
        self.samples.setdefault(key, []).append((server.cpu_seconds() - before) / units * 1e6)

    def times(self, key: str, other: Side, other_key: str) -> str:
        """How many times what another takes for something of its own this takes."""
        pairs = zip(self.samples[key], other.samples[other_key], strict=True)
        return f"{median(mine / theirs for mine, theirs in pairs):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    on_servers, on_clients = share_out_cores()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        sides = _sides(options, Path(name))
        os.sched_setaffinity(0, on_clients)
        for side in sides:
            for settings in {str(PROBES[key].settings): PROBES[key].settings for key in options.only}.values():
                server = Server(side.contender, side.environment, Path(name), on_servers, settings, side.root)
                side.servers[str(settings)] = stack.enter_context(server)
        running = [server for side in sides for server in side.servers.values()]
        for server in running:
            server.wait_until_ready()
        for number in range(-1, options.rounds):
            for key in options.only:
                for side in sides[:: -1 if number % 2 else 1]:  # neither always comes after the other
                    side.measure(key, options.seconds if number >= 0 else WARM_UP)
                    if number < 0:
                        side.samples.clear()
        for server in running:
            server.begin_to_stop()  # all at once; each is waited for then
    sys.stdout.write(_table(sides, options.only) + "\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.shapes", description=__doc__)
    add = parser.add_argument
    add("--against", metavar="CHECKOUT", type=Path, help="an older checkout of trioweb")
    add(
        "--peer",
        nargs="+",
        default=[],
        choices=BY_KEY,
        help="others; starlette and fastapi beside trioweb-run are on uvicorn",
    )
    add("--server", default=OUR_SERVER, choices=[OURS, OUR_SERVER], help="under which ours run")
    add("--only", nargs="+", default=PROBES, choices=PROBES, help="some of the lines")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="of each kind of request in a round")
    options = parser.parse_args(arguments)
    asked = {*options.only, *(PROBES[key].plain for key in options.only)}
    options.only = [key for key in PROBES if key in asked]
    return options


def _sides(options: argparse.Namespace, directory: Path) -> list[Side]:
    """Ours first. Ours run on this Python; peers have environments, which are made if they are not there yet."""
    ours, here = BY_KEY[options.server], Environment(Path(sys.executable))
    sides = [Side("this", ours, here)]
    if options.against is not None:
        root = directory / "against"  # its package and our apps: it need not know the shapes
        root.mkdir()
        (root / "trioweb").symlink_to((options.against / "trioweb").resolve(strict=True))
        (root / "tests").symlink_to(ROOT / "tests")
        sides.append(Side("against", ours, here, root))
    peers = [ON_UVICORN.get(key, BY_KEY[key]) if ours.key == OUR_SERVER else BY_KEY[key] for key in options.peer]
    environments = prepare(peers)
    for peer in peers:
        if environments[peer.key].missing:
            raise SystemExit(f"{peer.label}: {environments[peer.key].missing}")
        sides.append(Side(peer.label, peer, environments[peer.key]))
    return sides


def _table(sides: Sequence[Side], keys: Sequence[str]) -> str:
    """Each side's microseconds and how many times its own plain shape that is; beside others, ours to theirs."""
    ours, *others = sides
    lines = [["CPU us", "this", "x plain", *(cell for side in others for cell in (side.label, "x plain", "this/it"))]]
    for key in keys:
        line = [PROBES[key].title]
        for side in sides:
            line += [figure(median(side.samples[key])), side.times(key, side, PROBES[key].plain)]
            line += [] if side is ours else [ours.times(key, side, key)]
        lines.append(line)
    first, *rest = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join("  ".join([title.ljust(first), *map(str.rjust, cells, rest)]) for title, *cells in lines)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are stopped then, too
    main()
