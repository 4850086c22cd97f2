"""Bodies that are read piece by piece: JSON lines."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.test_request import END, make, piece
from trioweb import ClientDisconnected, HTTPError, InputError


class Item(msgspec.Struct):
    """A line."""

    n: int


async def test_values_come_as_their_lines_do(autojump_clock: MockClock) -> None:
    """A value is there as soon as its line is; blank lines and the ends of lines do not matter."""
    body = (b'{"n": 1}\r\n{"n"', b": 2}\n\n \t\n", b'{"n": 3}')
    request = make(piece(body[0]), 5.0, piece(body[1]), 5.0, piece(body[2], more=False))
    lines = request.json_lines(Item)
    seen = [(item.n, lines.line, trio.current_time()) async for item in lines]
    begin = seen[0][2]
    assert [(n, line, time - begin) for n, line, time in seen] == [(1, 1, 0), (2, 2, 5), (3, 5, 10)]


@given(st.lists(st.dictionaries(st.text(max_size=4), st.integers(-5, 5) | st.text(max_size=4), max_size=3)), st.data())
async def test_lines_do_not_depend_on_pieces(values: list[Any], data: st.DataObject) -> None:
    """Any values come back, wherever the body is cut."""
    body = b"".join(msgspec.json.encode(value) + b"\n" for value in values)
    at = data.draw(st.integers(0, len(body)))
    for pieces in ((body[:at], body[at:]), [body[i : i + 1] for i in range(len(body))]):
        request = make(*map(piece, pieces), piece(b"", more=False))
        assert [value async for value in request.json_lines()] == values


@pytest.mark.parametrize(
    ("line", "status", "detail"),
    [
        (b"{", 400, "Line 3 is not JSON: it ends too early (byte 1)."),
        (b'{"n": 1} {}', 400, "Line 3 is not JSON: it is malformed (byte 10)"),
        (b'{"n": 1', 400, "Line 3 is not JSON"),
        (b"\xff", 400, "Line 3 is not JSON: it is not UTF-8 (byte 0)."),
        (b"[" * 90, 422, "The request does not fit. body.2: Expected `object`, got `array`"),
        (b'{"n": "x"}', 422, "The request does not fit. body.2.n: Expected `int`, got `str`"),
        (b" " * 101, 413, "Line 3 of the request body is longer than 100 bytes."),
    ],
)
async def test_a_line_that_is_wrong(line: bytes, status: int, detail: str) -> None:
    """The values before a wrong line are given; then an error says which line it is, each time."""
    request = make(piece(b'{"n": 1}\n{"n": 2}\n' + line + b'\n{"n": 4}\n', more=False))
    lines = request.json_lines(Item, max_line_size=100)
    assert [(await anext(lines)).n, (await anext(lines)).n] == [1, 2]
    for _ in range(2):
        with pytest.raises(HTTPError) as caught:
            await anext(lines)
        assert caught.value.status == status
        assert (caught.value.detail or "").startswith(detail)
    if isinstance(caught.value, InputError):
        assert caught.value.errors[0]["loc"][:2] == ["body", 2]


async def test_deep_nesting() -> None:
    """A line that is nested too deeply is a 400."""
    lines = make(piece(b"[" * 50_000 + b"]" * 50_000 + b"\n", more=False)).json_lines()
    with pytest.raises(HTTPError, match="Line 1 is not JSON: it is nested too deeply"):
        await anext(lines)


async def test_a_client_that_leaves() -> None:
    """Lines that are whole are given; the last, which may be half of one, is not, and the client's leaving is told."""
    lines = make(piece(b"1\n2\n3"), END).json_lines()
    assert [await anext(lines), await anext(lines)] == [1, 2]
    with pytest.raises(ClientDisconnected):
        await anext(lines)


async def test_it_is_a_stream() -> None:
    """A body is read as lines once."""
    request = make(piece(b"1\n2", more=False))
    assert [value async for value in request.json_lines()] == [1, 2]
    with pytest.raises(RuntimeError, match=r"was read by request\.json_lines\(\) already"):
        request.stream()
    request = make(piece(b"1\n2", more=False))
    await request.body()
    assert [value async for value in request.json_lines(int)] == [1, 2]
