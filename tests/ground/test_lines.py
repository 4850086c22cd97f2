"""Lines of a body, whatever pieces they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.errors import HTTPError
from trioweb.ground.lines import LineSplitter


def split(pieces: list[bytes], max_size: int = 1000) -> list[bytes]:
    """The lines of a body in pieces."""
    splitter = LineSplitter(max_size)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    lines += splitter.end()
    assert splitter.count == len(lines)
    return lines


@given(st.binary(max_size=60).map(lambda data: data.replace(b"a", b"\n").replace(b"b", b"\r\n")), st.data())
def test_lines_do_not_depend_on_pieces(body: bytes, data: st.DataObject) -> None:
    """Lines are the same in one piece, in two, and byte by byte; without their ends, joined they are the body."""
    at = data.draw(st.integers(0, len(body)))
    lines = split([body])
    assert lines == split([body[:at], body[at:]]) == split([body[i : i + 1] for i in range(len(body))])
    whole = body.replace(b"\r\n", b"\n")
    assert b"\n".join(lines) == (whole[:-1] if whole.endswith(b"\n") else whole).removesuffix(b"\r")


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_of_the_limit(end: bytes) -> None:
    """A line of exactly the limit is taken, whatever its end."""
    for pieces in ([b"x" * 10 + end], [b"x" * 5, b"x" * 5, end], [b"x" * 10 + end[:1], end[1:]]):
        assert split(pieces, 10) == [b"x" * 10]


@pytest.mark.parametrize(
    "pieces", [[b"x" * 11 + b"\n"], [b"x" * 12], [b"x" * 6, b"x" * 6], [b"x" * 6, b"x" * 5], [b"x" * 10 + b"\r", b"x"]]
)
def test_a_line_beyond_the_limit(pieces: list[bytes]) -> None:
    """A line that is longer is a 413 that says which, before all of it is held; those before it are given."""
    splitter = LineSplitter(10)
    taken = list(splitter.feed(b"first\n"))
    with pytest.raises(HTTPError, match="Line 2 of the request body is longer than 10 bytes") as caught:
        taken += [line for piece in pieces for line in splitter.feed(piece)] + list(splitter.end())
    assert caught.value.status == 413
    assert taken == [b"first"]


def test_a_line_without_an_end_is_not_held() -> None:
    """A line that is too long is refused when it is, not at its end, which may never come."""
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"x" * 6)) == []
    with pytest.raises(HTTPError):
        list(splitter.feed(b"x" * 6))
