"""The pieces of work, in the order of the table."""

from __future__ import annotations

from tests.benchmarks.rounds import Piece
from tests.benchmarks.work import bodies, costs, crowds, hubs, memory, moments, requests, starts, streams

PIECES: tuple[Piece, ...] = (
    *requests.PIECES, *streams.PIECES, *moments.PIECES, *crowds.PIECES, *hubs.PIECES, *memory.PIECES, *bodies.PIECES,
    *starts.PIECES, *costs.PIECES,
)  # fmt: skip
