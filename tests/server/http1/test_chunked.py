"""Chunked bodies: what their lines may hold, and that what is no data is bounded however it comes."""

from __future__ import annotations

import pytest

from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.chunked import CHUNK_OVERHEAD, ChunkDecoder


def decode(data: bytes, step: int) -> tuple[bytes, bytes, bool]:
    """What is in a body that comes in pieces, what follows it, and whether it has ended."""
    decoder = ChunkDecoder()
    found = rest = b""
    for at in range(0, len(data), step):
        if decoder.complete:
            rest += data[at : at + step]
        else:
            body, rest = decoder.decode(data[at : at + step])
            found += body
    return found, rest, decoder.complete


LINES = [
    b"3 ; a = b", b"3\t;\ta\t=\tb", b"3;a", b"3 ;a", b"3; a", b"3;a =b", b"3;a= b", b"3;a;b=c ; d", b'3 ; a = "x ; y"',
    b'3;a=""', b'3;a="\\"\\\\"', b'3;a="\xe9\t"', b"0003 ; a", b"3" + b" " * 500 + b";" + b"\t" * 500 + b"a",
    b'3;chunk-signature="=,;"', b"3;a=0;b=0\t;\tc",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_extensions(line: bytes, step: int) -> None:
    """An extension is passed over, white space around its separators included, at the last chunk too."""
    body = line + b"\r\nabc\r\n" + line.replace(b"3", b"0", 1) + b"\r\nA: b\r\n\r\n"
    assert decode(body + b"rest", step) == (b"abc", b"rest", True)


@pytest.mark.parametrize(
    "line",
    [b"3 ", b"3\t", b" 3", b"3;", b"3 ;", b"3; ", b"3;a ", b"3;a=b ", b"3;a\x0b=b", b"3;a=b c", b'3;a="b', b'3;a="b"c',
     b"3;a==b", b"3 a", b"3,a", b"3;a=\xe9", b'3;a="\x7f"', b'3;a="\\\x00"', b"3\x0c;a", b"3;a\xa0=b"],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 10_000])
def test_what_is_no_extension(line: bytes, step: int) -> None:
    """What the grammar does not have is refused, since somebody before this server may read it otherwise."""
    with pytest.raises(BadRequest):
        decode(line + b"\r\nabc\r\n0\r\n\r\n", step)


@pytest.mark.parametrize(
    "start", [b"g", b"\n", b"3\n", b";a", b"3;a\r\r", b"3\r\nabcX", b"3\r\nabc\rX", b"0\r\n A: b\r"]
)
def test_what_cannot_become_a_body_is_refused_at_once(start: bytes) -> None:
    """A client that sends no CRLF at all is not waited for."""
    with pytest.raises(BadRequest):
        decode(start, 1)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("step", [1, 6, 65536])
def test_small_chunks_are_taken_for_as_long_as_they_come(count: int, step: int) -> None:
    """A client may stream some bytes a chunk for ever, whether they come one by one or many at once."""
    chunks = 5 * CHUNK_OVERHEAD
    body, _, complete = decode(b"%x\r\n%b\r\n" % (count, b"\r" * count) * chunks + b"0\r\n\r\n", step)
    assert (len(body), complete) == (count * chunks, True)


@pytest.mark.parametrize(
    "unit",
    [b"1;" + b"a" * 20 + b"\r\nx\r\n", b"1;a" + b" " * 30 + b"=b\r\nx\r\n", b"0000000000000001\r\nx\r\n"],
)
@pytest.mark.parametrize("step", [1, 65536])
def test_what_is_no_data_is_bounded(unit: bytes, step: int) -> None:
    """Lines that are long for the data that they bring are refused once ``CHUNK_OVERHEAD`` is used up."""
    decoder = ChunkDecoder()
    fed = 0
    body = unit * (CHUNK_OVERHEAD // 4)
    with pytest.raises(BadRequest, match="too little data"):
        for at in range(0, len(body), step):
            decoder.decode(body[at : at + step])
            fed = at
    assert fed < CHUNK_OVERHEAD * len(unit)


@pytest.mark.parametrize("before", [b"", b"ffff\r\n" + bytes(0xFFFF) + b"\r\n"], ids=["at first", "after much data"])
@pytest.mark.parametrize("unit", [b"1;" + b"a" * 64, b"0\r\n" + b"A: b\r\n" * 64, b"0\r\nA: " + b"b" * 64])
@pytest.mark.parametrize("step", [100, 65536])
def test_an_endless_line_is_bounded_whatever_came_before(before: bytes, unit: bytes, step: int) -> None:
    """Neither a line nor trailers can take more than ``CHUNK_OVERHEAD``, however much data has been sent."""
    endless = unit + unit[-6:] * CHUNK_OVERHEAD
    with pytest.raises(BadRequest, match="too little data"):
        decode(before + endless, step)


def test_a_size_is_bounded() -> None:
    """A size has sixteen digits at most: a number that no body reaches, and that fits 64 bits."""
    decoder = ChunkDecoder()
    assert decoder.decode(b"f" * 16 + b"\r\nabc") == (b"abc", b"")
    with pytest.raises(BadRequest):
        decode(b"0" * 16 + b"1\r\na\r\n", 100)
