"""What parts of trioweb cost above what they are held against: middlewares above none, compression above zlib."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Mapping

from tests.benchmarks.contenders import OURS
from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.load import has_wrk, request, wrk
from tests.benchmarks.payload import text_rows
from tests.benchmarks.rounds import Piece, Turn
from tests.benchmarks.servers import Broken, Server
from tests.benchmarks.work.requests import GREET

LAYERS = 3


def _three(turn: Turn) -> Mapping[str, float]:
    if not has_wrk():
        turn.notes = {"layers": "needs wrk"}
        return {}
    start, contender = turn.bench.start, turn.contender
    with start(contender, {}) as without, start(contender, {"BENCHMARK_MIDDLEWARES": str(LAYERS)}) as behind:
        for server in (without, behind):
            server.wait_until_ready()
        costs = [(_cost(turn, behind), _cost(turn, without)) for _ in range(turn.bench.sizes.rounds)]
    return {"layers": min(cost for cost, _ in costs) / min(cost for _, cost in costs)}


def _cost(turn: Turn, server: Server) -> float:
    before = server.cpu_seconds()
    requests, _ = wrk(server.port, GREET, turn.bench.sizes.load)
    return (server.cpu_seconds() - before) / requests


def _compress(turn: Turn) -> Mapping[str, float]:
    rows = turn.bench.sizes.chunks // 10
    plain = "".join(text_rows(rows)).encode()
    start, contender = turn.bench.start, turn.contender
    with start(contender, {}) as sending, start(contender, {"BENCHMARK_COMPRESSION": "1"}) as compressing:
        for server in (sending, compressing):
            server.wait_until_ready()
            _stream(server, rows, plain)
        costs = [
            (_stream(compressing, rows, plain), _stream(sending, rows, plain), _zlib_alone(plain))
            for _ in range(max(1, turn.bench.sizes.rounds))
        ]
    coded, uncoded, alone = (min(column) for column in zip(*costs, strict=True))
    return {"compression": (coded - uncoded) / alone}


def _stream(server: Server, rows: int, plain: bytes) -> float:
    """Seconds of the server's CPU for all rows."""
    before = server.cpu_seconds()
    with request(server.port, f"/async/{rows}") as client:
        response = http.client.HTTPResponse(client)
        response.begin()
        body = response.read()
    used = server.cpu_seconds() - before
    if response.headers["content-encoding"] == "gzip":
        body = zlib.decompress(body, 31)
    if body != plain:
        raise Broken("not what was sent")
    return used


def _zlib_alone(plain: bytes) -> float:
    begin = time.process_time()
    compressor = zlib.compressobj(wbits=31)
    compressor.compress(plain)
    compressor.flush()
    return time.process_time() - begin


def _times(key: str, title: str, most: float) -> tuple[Measure, ...]:
    return (Measure(key, title, "x", goals=(Goal(most),), shown=False, race=False),)


PIECES = (
    Piece("layers", _times("layers", f"`GET /` behind {LAYERS} middlewares, CPU, to none", 1.05), _three, rounds=0.2,
          alone=True, warm_up=False, only=(OURS,)),
    Piece("compression", _times("compression", "what compression adds to a stream, CPU, to zlib alone", 1.2), _compress,
          rounds=0.2, alone=True, warm_up=False, only=(OURS,)),
)  # fmt: skip
