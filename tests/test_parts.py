"""Forms as a stream of parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.test_forms import LAST, MULTIPART, part, request_of
from tests.test_request import END, make, piece
from trioweb import ClientDisconnected, HTTPError, Part


async def test_parts_come_in_their_order() -> None:
    """Each part has its head, and its bytes in pieces as they arrive."""
    request = request_of(part("a", b"12", "x/ä.txt", "text/plain"), part("b", b"")[:-9], part("b", b"")[-9:], LAST)
    seen = []
    async for each in request.parts():
        seen.append((each.name, each.filename, each.content_type, [data async for data in each]))
        assert await each.read() == b""
    assert seen == [("a", "ä.txt", "text/plain", [b"12"]), ("b", None, None, [])]


async def test_a_part_arrives_before_its_end(autojump_clock: MockClock) -> None:
    """The first bytes of a part are given while the rest is still on its way."""
    whole = part("a", b"first" + b"second", "f")
    at = whole.index(b"second")
    request = make(piece(whole[:at]), 10.0, piece(whole[at:] + LAST, more=False), headers=MULTIPART, limit=10**6)
    times = [(data, trio.current_time()) async for each in request.parts() async for data in each]
    assert [data for data, _ in times] == [b"first", b"second"]
    assert times[1][1] - times[0][1] == 10


async def test_what_is_not_read_is_skipped() -> None:
    """The rest of a part is skipped when the next one is asked for; to read it then is an error that says so."""
    request = request_of(part("a", b"1" * 100), part("b", b"2"), LAST)
    parts = request.parts()
    first = await anext(parts)
    second = await anext(parts)
    assert second.name == "b"
    with pytest.raises(RuntimeError, match="the part 'a' has passed: read each part before asking for the next one"):
        await first.read()
    assert await second.text() == "2"
    assert [each async for each in parts] == []


async def test_text_and_limits() -> None:
    """A part is read as text in its charset; more than was allowed is a 413, what is no text a 400."""
    request = request_of(
        part("a", b"\xe9", kind="text/plain; charset=latin-1"),
        part("b", b"\xff"),
        part("c", b"x" * 11),
        part("d", b"x" * 10),
        LAST,
    )
    parts = request.parts()
    assert await (await anext(parts)).text() == "é"
    with pytest.raises(HTTPError, match="its byte 0 does not fit") as caught:
        await (await anext(parts)).text()
    assert caught.value.status == 400
    with pytest.raises(HTTPError, match="larger than 10 bytes") as caught:
        await (await anext(parts)).read(10)
    assert caught.value.status == 413
    assert await (await anext(parts)).read(10) == b"x" * 10


async def test_the_size_of_a_body_limits_what_is_held() -> None:
    """A part that is read whole is held to ``max_body_size``; one that is streamed is not."""
    body = [part("a", b"x" * 200), LAST]
    with pytest.raises(HTTPError, match="larger than 100 bytes"):
        await (await anext(request_of(*body, limit=100).parts())).read()
    each = await anext(request_of(*body, limit=100).parts())
    assert sum([len(data) async for data in each]) == 200


async def test_save(tmp_path: Path) -> None:
    """A part is saved as it arrives; where the client leaves, there is no file."""
    each = await anext(request_of(part("a", b"12", "f"), LAST).parts())
    assert await each.save(tmp_path / "saved") == 2
    assert (tmp_path / "saved").read_bytes() == b"12"
    each = await anext(request_of(part("a", b"12", "f"), more=[END]).parts())
    with pytest.raises(ClientDisconnected):
        await each.save(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


async def test_what_is_wrong_comes_after_what_is_right() -> None:
    """Parts before the fault are given, and then the fault, each time; a form that is cut is never whole."""
    first, second = part("a", b"1"), part("b", b"2")
    for rest, status in ((b"--X\r\nbad\r\n\r\n", 400), (second, 400), (second + first + LAST, 413)):
        parts = request_of(first + rest).parts(max_parts=2)
        assert await (await anext(parts)).read() == b"1"
        for _ in range(2):
            with pytest.raises(HTTPError) as caught:
                [each async for each in parts]
            assert caught.value.status == status


async def test_a_cancellation_loses_nothing(autojump_clock: MockClock) -> None:
    """A part whose reader gave up waiting goes on where it was."""
    whole = part("a", b"first" + b"second", "f")
    at = whole.index(b"second")
    request = make(piece(whole[:at]), 10.0, piece(whole[at:] + LAST, more=False), headers=MULTIPART, limit=10**6)
    each = await anext(request.parts())
    assert await anext(each) == b"first"
    with trio.move_on_after(5) as scope:
        await each.read()
    assert scope.cancelled_caught
    assert await each.read() == b"second"


async def test_parts_need_a_multipart_form() -> None:
    """Another content type is a 415; a second reader is told."""
    with pytest.raises(HTTPError) as caught:
        request_of(headers={"content-type": "text/plain"}).parts()
    assert caught.value.status == 415
    request = request_of(LAST)
    parts: list[Part] = [each async for each in request.parts()]
    assert parts == []
    with pytest.raises(RuntimeError, match=r"was read by request\.parts\(\) already"):
        await request.body()
