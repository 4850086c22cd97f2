"""Fuzzes WebSockets: frames in any order, broken and cut anywhere, to an app that echoes.

``python -m tests.server.websocket.fuzz MINUTES [SEED]``. What must hold: the reader raises nothing but
``BrokenFrameError``, finds the same in the bytes however they are cut, and holds no more than it may.
"""

from __future__ import annotations

import random
import sys
import time

from tests.server.websocket.wire import MASK, deflated, frame
from trioweb.server.websocket.frames import BrokenFrameError, Frame, FrameReader

LIMIT = 4096


def script(chance: random.Random) -> bytes:
    """Bytes of a client that mostly knows what it does."""
    parts = []
    for _ in range(chance.randrange(1, 12)):
        size = chance.choice((0, 1, 5, 125, 126, 127, 1000, LIMIT, LIMIT + 1, 65536))
        text = "".join(chance.choice("a\u00df\u20ac\U0001f600") for _ in range(min(size, 200))).encode()
        data = chance.choice((bytes(size), text, chance.randbytes(min(size, 300)), b"\x03\xe8" + text[:50]))
        opcode = chance.choice((0, 0, 1, 1, 2, 2, 8, 9, 9, 10, 10, chance.randrange(16)))
        compressed = chance.random() < 0.3
        part = frame(
            opcode,
            deflated(data) if compressed else data,
            end=chance.random() < 0.7,
            reserved=4 if compressed else 0 if chance.random() < 0.95 else chance.randrange(8),
            mask=MASK if chance.random() < 0.97 else None,
        )
        if chance.random() < 0.1:
            broken = bytearray(part)
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            part = bytes(broken)
        parts.append(part)
    return b"".join(parts)


def found_in(pieces: list[bytes], *, inflates: bool) -> list[Frame]:
    """What the reader finds, and whether something breaks it."""
    reader = FrameReader(LIMIT, inflates=inflates)
    found: list[Frame] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (each := reader.next()) is not None:
                assert len(each[1]) <= LIMIT
                found.append(each)
    except BrokenFrameError:  # of two faults in a message the one that is met first depends on the cuts
        found.append((-1, ""))
    return found


def check(seed: int) -> None:
    """One script, whole and cut."""
    chance = random.Random(seed)
    data, inflates = script(chance), chance.random() < 0.5
    whole = found_in([data], inflates=inflates)
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 20)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    cut = found_in(pieces, inflates=inflates)
    single = found_in([data[at : at + 1] for at in range(len(data))], inflates=inflates) if len(data) < 3000 else cut
    assert whole == cut == single, f"seed {seed}: {whole[-2:]!r} whole, {cut[-2:]!r} cut at {cuts}, {single[-2:]!r}"


def main() -> None:
    """Fuzz for some minutes."""
    end = time.monotonic() + float(sys.argv[1]) * 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    count = 0
    while time.monotonic() < end:
        check(seed + count)
        count += 1
    print(f"{count} scripts, the last one {seed + count - 1}")  # noqa: T201 - the report


if __name__ == "__main__":
    main()
