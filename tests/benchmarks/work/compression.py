"""What compressing a stream costs above what zlib takes for its bytes in one call."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Mapping

from tests.benchmarks.contenders import OURS
from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.load import request
from tests.benchmarks.payload import text_rows
from tests.benchmarks.rounds import Piece, Turn
from tests.benchmarks.servers import Broken


def _sample(turn: Turn) -> Mapping[str, float]:
    rows = turn.bench.sizes.chunks // 10
    plain = "".join(text_rows(rows)).encode()
    before = turn.running.cpu_seconds()
    with request(turn.running.port, f"/async/{rows}") as client:
        response = http.client.HTTPResponse(client)
        response.begin()
        coded = response.read()
    used = turn.running.cpu_seconds() - before
    if response.headers["content-encoding"] != "gzip" or zlib.decompress(coded, 31) != plain:
        raise Broken("not what was compressed")
    begin = time.process_time()
    compressor = zlib.compressobj(wbits=31)
    compressor.compress(plain)
    compressor.flush()
    return {"compression": used / (time.process_time() - begin)}


PIECES = (
    Piece(
        "compression",
        (Measure("compression", "compressed stream, to zlib alone", "x", goals=(Goal(1.3),), shown=False, race=False),),
        _sample, settings={"BENCHMARK_COMPRESSION": "1"}, only=(OURS,),
    ),
)  # fmt: skip
