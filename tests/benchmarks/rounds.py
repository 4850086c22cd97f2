"""Who takes turns: rounds are interleaved, so that a machine that is slow for a while is slow for all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.contenders import Contender
from tests.benchmarks.environments import Environment
from tests.benchmarks.figures import Measure, Row
from tests.benchmarks.load import Reader
from tests.benchmarks.servers import Broken, Server, Start, running

KIB, MIB, GIB = 2**10, 2**20, 2**30
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Parts of the work that one may do which would take too long for all of it."""


TRIES = 3
"""Samples of very little work, of which the fastest says how much more fits."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        rounds: how often each figure is taken.
        load: seconds of small requests.
        chunks: short chunks, dicts and rows of a stream.
        large: bytes of a stream in 64 KiB chunks, and of a file.
        small: bytes of a stream in 8 KiB chunks.
        crowds: idle event streams, from few to many.
        events: events to all of them.
        paced: events to a few streams, one each millisecond.
        moments: requests whose first byte is waited for, and that then leave.
        long: bytes of a stream whose memory is watched.
        unread: bytes of one that a client leaves unread for a while.
        pause: seconds that it does.
        upload: bytes of a body.
        budget: seconds that a sample of a stream may take; who would need more does less.
        growth: how much there is of what curves are made of: chunks, streams, routes, middlewares.
    """

    rounds: int
    load: float
    chunks: int
    large: int
    small: int
    crowds: tuple[int, ...]
    events: int
    paced: int
    moments: int
    long: int
    unread: int
    pause: float
    upload: int
    budget: float
    growth: Mapping[str, tuple[int, ...]]


FULL = Sizes(
    rounds=5, load=1, chunks=1_000_000, large=GIB, small=128 * MIB, crowds=(1_000, 10_000), events=5,
    paced=20_000, moments=50, long=10_000 * MIB, unread=1_000 * MIB, pause=2.0, upload=512 * MIB, budget=1.2,
    growth={"chunks": (10_000, 100_000, 1_000_000), "streams": (100, 1_000, 10_000), "routes": (10, 100, 1_000),
            "middlewares": (1, 10, 100)},
)  # fmt: skip
QUICK = Sizes(
    rounds=1, load=0.2, chunks=10_000, large=8 * MIB, small=MIB, crowds=(30, 60), events=1,
    paced=200, moments=2, long=64 * MIB, unread=32 * MIB, pause=0.2, upload=4 * MIB, budget=0.2,
    growth={"chunks": (100, 1_000, 10_000), "streams": (5, 10, 50), "routes": (1, 10), "middlewares": (1, 10)},
)  # fmt: skip


@dataclass
class Bench:
    """What all pieces of work share.

    Attributes:
        sizes: how much.
        contenders: who takes part.
        environments: where they run, by key.
        start: starts servers.
        reader: takes responses.
        cores: where servers run.
        broken: what failed, and how.
    """

    sizes: Sizes
    contenders: Sequence[Contender]
    environments: Mapping[str, Environment]
    start: Start
    reader: Reader
    cores: set[int]
    broken: dict[tuple[str, str], str] = field(default_factory=dict)

    def servers(
        self, contenders: Iterable[Contender], settings: Mapping[str, str]
    ) -> contextlib.AbstractContextManager[dict[str, Server]]:
        """Servers of these, to be used in a ``with``; those that do not start are noted."""
        return running(self.start, contenders, settings, lambda who, why: self.fail(who.key, "start", why))

    def fail(self, contender: str, piece: str, why: str) -> None:
        """Note that one has failed."""
        self.broken[contender, piece] = why
        sys.stderr.write(f"{contender} fails at {piece}: {why}\n")


@dataclass
class Turn:
    """One contender's turn at a piece of work.

    Attributes:
        bench: what all share.
        contender: whose.
        server: its server, unless the piece starts its own.
        counts: how much work a sample is, by measure.
        less: those of them that are less than was wanted.
        notes: why there is no figure, by measure.
        warm_up: its figures do not count.
    """

    bench: Bench
    contender: Contender
    server: Server | None
    counts: dict[str, int] = field(default_factory=dict)
    less: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    warm_up: bool = False

    @property
    def running(self) -> Server:
        """Its server."""
        if self.server is None:
            raise Broken("has no server")
        return self.server

    @contextlib.contextmanager
    def fresh_server(self) -> Iterator[Server]:
        """A server that has done nothing yet, where there is time for one."""
        if self.server is not None:
            yield self.server
            return
        with self.bench.start(self.contender, {}) as server:
            server.wait_until_ready()
            yield server

    @property
    def environment(self) -> Environment:
        """Where it runs."""
        return self.bench.environments[self.contender.key]

    def share(self, measure: str, full: int, budget: float, try_out: Callable[[int], float]) -> int:
        """How much of some work fits into a sample; found out in its first turn.

        Args:
            measure: of what.
            full: how much it would be.
            budget: seconds that it may take.
            try_out: does some, and returns the seconds that it took.
        """
        if measure not in self.counts:
            little = max(1, int(full * SHARES[-1]))
            a_second = little / min(try_out(little) for _ in range(TRIES))
            fitting = (int(full * share) for share in SHARES if full * share <= a_second * budget)
            self.counts[measure] = next(fitting, little)
            if self.counts[measure] < full:
                self.less[measure] = self.counts[measure]
        return self.counts[measure]


@dataclass(frozen=True)
class Piece:
    """Some work, and the figures that it gives.

    Attributes:
        key: its name.
        measures: the figures.
        sample: does it once; returns figures by the measures' keys.
        rounds: how often, for each of ``Sizes.rounds``.
        settings: what the apps need to be told for it; then it has servers of its own.
        alone: it starts its servers itself, if it is given none.
        warm_up: it is done once more, first.
        only: the contenders that it says something of, if not all.
    """

    key: str
    measures: tuple[Measure, ...]
    sample: Callable[[Turn], Mapping[str, float]]
    rounds: float = 1.0
    settings: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    warm_up: bool = True
    only: tuple[str, ...] | None = None

    def asks(self, contender: Contender) -> bool:
        """Whether a contender is measured in it."""
        mine = self.only is None or contender.key in self.only
        return mine and (contender.only is None or self.key in contender.only)


def measure(piece: Piece, bench: Bench, servers: Mapping[str, Server]) -> list[Row]:
    """Have all contenders do a piece of work in turn.

    Args:
        piece: the work.
        bench: what all share.
        servers: those that run, by contender.
    """
    rows = {measure.key: Row(measure) for measure in piece.measures}
    turns: list[Turn] = []
    for contender in bench.contenders:
        why = _excuse(piece, bench, contender, servers)
        if why is None:
            turns.append(Turn(bench, contender, servers.get(contender.key)))
        elif why:
            for row in rows.values():
                row.notes[contender.key] = why
    rounds = max(1, round(piece.rounds * bench.sizes.rounds))
    for number in range(-1 if piece.warm_up and rounds > 1 else 0, rounds):
        for turn in list(turns):
            turn.warm_up = number < 0
            if not _take(turn, piece, rows):
                turns.remove(turn)
    return list(rows.values())


def _take(turn: Turn, piece: Piece, rows: Mapping[str, Row]) -> bool:
    """Have one contender do it once; returns whether it could."""
    key = turn.contender.key
    try:
        got = piece.sample(turn)
    except (Broken, OSError) as error:
        turn.bench.fail(key, piece.key, f"{type(error).__name__}: {error}")
        turn.notes = dict.fromkeys(rows, "fails")
        got = {}
    for name, row in rows.items():
        if name in turn.notes:
            row.notes[key] = turn.notes[name]
        if name in turn.less:
            row.counts[key] = turn.less[name]
        if name in got and not turn.warm_up:
            row.add(key, got[name])
    return bool(got)


def _excuse(piece: Piece, bench: Bench, contender: Contender, servers: Mapping[str, Server]) -> str | None:
    """Why a contender does not take part, "" if nobody would ask, or None."""
    missing = bench.environments[contender.key].missing
    if missing:
        return missing
    if piece.key in contender.cannot:
        return contender.cannot[piece.key]
    if not piece.asks(contender):
        return ""
    return None if piece.alone or contender.key in servers else "does not start"
