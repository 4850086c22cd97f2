"""Bodies that come in: counted, and as forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from tests.benchmarks.contenders import BARE, OUR_SERVER, OURS, STARLETTE
from tests.benchmarks.figures import Goal, Measure
from tests.benchmarks.load import post
from tests.benchmarks.rounds import MIB, Piece, Turn

BLOCK = bytes(range(256)) * 4096
BOUNDARY = b"a boundary of a client"
FIELDS = 10_000
FIELD_SIZE = 50


def _post(turn: Turn, key: str, path: str, content_type: str, pieces: Sequence[bytes], answer: str) -> dict[str, float]:
    server = turn.running
    memory, before = server.memory(), server.cpu_seconds()
    server.forget_peak()
    seconds = post(server.port, path, content_type, pieces, answer)
    used, size = server.cpu_seconds() - before, sum(map(len, pieces)) / MIB
    grown = max(0, server.memory("VmHWM") - memory) / MIB
    return {key: size / seconds, f"{key}_cpu": used / size * 1e3, f"{key}_grown": grown}


def _count(turn: Turn) -> Mapping[str, float]:
    size = turn.bench.sizes.upload
    return _post(turn, "upload", "/count", "application/octet-stream", [BLOCK] * (size // len(BLOCK)), str(size))


def _form(key: str, path: str) -> Callable[[Turn], Mapping[str, float]]:
    def sample(turn: Turn) -> Mapping[str, float]:
        file = key.startswith("file")
        pieces, answer = _file_form(turn.bench.sizes.upload // 4) if file else _field_form()
        content_type = f'multipart/form-data; boundary="{BOUNDARY.decode()}"'
        return _post(turn, key, path, content_type, pieces, answer)

    return sample


@lru_cache
def _file_form(size: int) -> tuple[list[bytes], str]:
    head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="x.bin"\r\n\r\n' % BOUNDARY
    return [head, *[BLOCK] * (size // len(BLOCK)), b"\r\n--%s--\r\n" % BOUNDARY], f"1 {size}"


@lru_cache
def _field_form() -> tuple[list[bytes], str]:
    part = b'--%s\r\nContent-Disposition: form-data; name="field%d"\r\n\r\n%s\r\n'
    body = b"".join(part % (BOUNDARY, number, b"x" * FIELD_SIZE) for number in range(FIELDS))
    return [body + b"--%s--\r\n" % BOUNDARY], f"{FIELDS} {FIELDS * FIELD_SIZE}"


def _measures(key: str, title: str, *goals: Goal) -> tuple[Measure, ...]:
    rate = Measure(key, title, "MiB/s", more=True, goals=goals)
    cpu = Measure(f"{key}_cpu", "CPU time of a MiB", "ms", shown=False, race=False)
    grown = Measure(f"{key}_grown", "growth meanwhile", "MiB", shown=False, race=False)
    return rate, cpu, grown


COUNTED = (BARE, OURS, STARLETTE, OUR_SERVER)
FORMS = (OURS, STARLETTE, OUR_SERVER)

PIECES = (
    Piece("upload", _measures("upload", "body taken in pieces", Goal(0.9, (BARE,))), _count, only=COUNTED),
    Piece("file_form", _measures("file_form", "form with a file", Goal(2.0, (STARLETTE,))), _form("file_form", "/form"),
          only=FORMS),
    Piece("field_form", _measures("field_form", "form of 10,000 fields"), _form("field_form", "/form"), only=FORMS),
    Piece("file_parts", _measures("file_parts", "the file, by `request.parts()`"), _form("file_parts", "/parts"),
          only=(OURS, OUR_SERVER)),
)  # fmt: skip
