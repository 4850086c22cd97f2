"""Forms: fields and files, their limits, and what a cancellation or a client that leaves does to them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.test_request import END, make, piece
from trioweb import ClientDisconnected, FormData, HTTPError, Request, UploadFile
from trioweb.exchange.ending import close_request
from trioweb.messages.forms import FormLimits, parse_urlencoded
from trioweb.messages.uploads import SPOOL_SIZE

MULTIPART = {"content-type": "multipart/form-data; boundary=X"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


def part(name: str, content: bytes, filename: str | None = None, kind: str = "") -> bytes:
    """A part as a client writes it."""
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = f"--X\r\nContent-Disposition: {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
    return head.encode() + b"\r\n" + content + b"\r\n"


LAST = b"--X--\r\n"


def request_of(*chunks: bytes, limit: int = 10**9, headers: dict[str, str] = MULTIPART, more: Any = ()) -> Request:
    """A request whose body comes in chunks."""
    pieces = [piece(chunk) for chunk in chunks]
    return make(*pieces, *(more or [piece(b"", more=False)]), headers=headers, limit=limit)


async def shown(form: FormData) -> list[tuple[str, Any]]:
    """What is in a form."""
    pairs: list[tuple[str, Any]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            pairs.append((name, (value.filename, value.content_type, await value.read())))
        else:
            pairs.append((name, value))
    return pairs


async def test_a_multipart_form() -> None:
    """Fields are text and files are files, in their order, names repeated; as often as it is asked for."""
    request = request_of(
        part("a", b"1"), part("f", b"file", "ä.txt", "text/plain"), part("a", "é".encode()), part("g", b"", ""), LAST
    )
    form = await request.form()
    assert await request.form() is form
    assert form["a"] == "é"
    assert form.getlist("a") == ["1", "é"]
    assert list(form) == ["a", "f", "g"]
    assert await shown(form) == [
        ("a", "1"), ("f", ("ä.txt", "text/plain", b"file")), ("a", "é"), ("g", ("", None, b"")),
    ]  # fmt: skip
    await close_request(request)


async def test_a_large_file_goes_to_disk() -> None:
    """Files past 1 MiB are on disk, and come back as they were; fields between them are not touched."""
    first, second = b"1" * (SPOOL_SIZE + 7), bytes(range(256)) * 9000
    request = request_of(part("a", first, "a"), part("n", b"x"), part("b", second, "b"), LAST)
    form = await request.form()
    assert await shown(form) == [("a", ("a", None, first)), ("n", "x"), ("b", ("b", None, second))]
    await close_request(request)
    with pytest.raises(RuntimeError, match="gone when its request has ended"):
        await shown(form)


async def test_a_urlencoded_form() -> None:
    """A URL-encoded form is one as well; its body can be asked for too."""
    request = request_of(b"a=1&b=%C3%A9+x&a=2&&c&=y", headers=URLENCODED)
    form = await request.form()
    assert form.multi_items() == [("a", "1"), ("b", "é x"), ("a", "2"), ("c", ""), ("", "y")]
    assert await request.body() == b"a=1&b=%C3%A9+x&a=2&&c&=y"
    assert (await request_of(b"", headers=URLENCODED).form()).multi_items() == []


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)).filter(any), max_size=6))
def test_what_is_written_is_read(pairs: list[tuple[str, str]]) -> None:
    """Whatever a client URL-encodes comes back."""
    from urllib.parse import urlencode  # noqa: PLC0415

    body = urlencode([(name.encode("utf-8", "replace"), value.encode("utf-8", "replace")) for name, value in pairs])
    expected = [tuple(text.encode("utf-8", "replace").decode() for text in pair) for pair in pairs]
    assert parse_urlencoded(body.encode(), FormLimits()).multi_items() == expected


@given(st.binary(max_size=40))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    """Any bytes are a URL-encoded form or a 400."""
    try:
        parse_urlencoded(body, FormLimits())
    except HTTPError as error:
        assert error.status == 400  # noqa: PT017


@pytest.mark.parametrize(
    ("chunks", "headers", "status"),
    [
        ([b"a=%ff"], URLENCODED, 400),
        ([b"\xff=a"], URLENCODED, 400),
        ([part("a", b"\xff"), LAST], MULTIPART, 400),
        ([part("a", b"x", kind="text/plain; charset=klingon"), LAST], MULTIPART, 400),
        ([part("a", b"x", kind="text/plain; charset=hex"), LAST], MULTIPART, 400),
        ([part("a", b"x", kind="text/plain; charset=ascii")[:-3] + b"\xe9\r\n", LAST], MULTIPART, 400),
        ([part("a", b"x")], MULTIPART, 400),
        ([b"x"], {"content-type": "multipart/form-data"}, 400),
        ([b"a=1"], {"content-type": "text/plain"}, 415),
        ([b"a=1"], {"content-type": "multipart/mixed; boundary=X"}, 415),
        ([b"a=1"], {}, 415),
    ],
)
async def test_what_is_no_form(chunks: list[bytes], headers: dict[str, str], status: int) -> None:
    """What is malformed is a 400, what is no form's content type a 415; each time it is asked for."""
    request = request_of(*chunks, headers=headers)
    for _ in range(2):
        with pytest.raises(HTTPError) as caught:
            await request.form()
        assert caught.value.status == status


@pytest.mark.parametrize(
    ("limits", "chunks"),
    [
        ({"max_fields": 2}, [part("a", b"")] * 3),
        ({"max_fields": 0}, [part("a", b"")]),
        ({"max_files": 2}, [part("a", b"", "f")] * 3),
        ({"max_field_size": 10}, [part("a", b"x" * 11)]),
        ({"max_file_size": 10}, [part("a", b"x" * 11, "f")]),
        ({"max_part_line": 60}, [part("a", b"", "f" * 61)]),
        ({"max_part_lines": 1}, [part("a", b"", "f", "text/plain")]),
    ],
)
async def test_limits(limits: dict[str, int], chunks: list[bytes]) -> None:
    """Each limit is a 413 when it is passed; a little less is taken."""
    request = request_of(*chunks, LAST)
    for _ in range(2):
        with pytest.raises(HTTPError) as caught:
            await request.form(**limits)
        assert caught.value.status == 413
    larger: Any = {name: value + 1 for name, value in limits.items()}
    if "max_part_line" in limits:
        larger = {"max_part_line": 200}
    assert await request_of(*chunks, LAST).form(**larger)


@pytest.mark.parametrize(
    ("limits", "body"),
    [({"max_fields": 2}, b"a&b&c"), ({"max_field_size": 3}, b"a=xxxx"), ({"max_field_size": 3}, b"a=" + b"x" * 100)],
)
async def test_limits_of_a_urlencoded_form(limits: Any, body: bytes) -> None:
    """Fields of a URL-encoded form are counted and measured as well."""
    with pytest.raises(HTTPError) as caught:
        await request_of(body, headers=URLENCODED).form(**limits)
    assert caught.value.status == 413
    assert len(await request_of(b"a=%61%61%61&b", headers=URLENCODED).form(max_fields=2, max_field_size=3)) == 2


@pytest.mark.parametrize("name", FormLimits.__struct_fields__)
async def test_a_limit_that_is_none(name: str) -> None:
    """A limit that is no number is refused, by its name."""
    with pytest.raises(ValueError, match=f"{name} must be a whole number from 0 on, got -1"):
        await request_of(LAST).form(**{name: -1})


@pytest.mark.parametrize("announced", [True, False])
async def test_a_form_over_the_size_of_a_body(announced: bool) -> None:
    """A form is no larger than a body may be, its files too; unread where its length was announced."""
    headers = {**MULTIPART, "content-length": "101"} if announced else MULTIPART
    chunks = [] if announced else [part("a", b"x" * 60, "f"), LAST]
    with pytest.raises(HTTPError, match="larger than 100 bytes") as caught:
        await request_of(*chunks, headers=headers, limit=100).form()
    assert caught.value.status == 413
    assert await request_of(part("a", b"x", "f"), LAST, limit=100).form()


async def test_a_client_that_leaves() -> None:
    """A form that did not arrive whole is never taken for one."""
    for headers, body in ((MULTIPART, part("a", b"x") + LAST), (URLENCODED, b"a=1")):
        request = request_of(body, headers=headers, more=[END])
        with pytest.raises(ClientDisconnected):
            await request.form()


@pytest.mark.parametrize("headers", [MULTIPART, URLENCODED])
async def test_a_form_that_is_cancelled_can_be_asked_for_again(
    autojump_clock: MockClock, headers: dict[str, str]
) -> None:
    """Where ``form`` was cancelled, what had arrived is not lost for the next call."""
    chunks = [part("a", b"x")[:20], part("a", b"x")[20:] + LAST] if headers is MULTIPART else [b"a=", b"x"]
    request = make(piece(chunks[0]), 10.0, piece(chunks[1], more=False), headers=headers, limit=1000)
    with trio.move_on_after(5) as scope:
        await request.form()
    assert scope.cancelled_caught
    assert (await request.form()).multi_items() == [("a", "x")]


async def test_two_tasks_ask_for_a_form(autojump_clock: MockClock) -> None:
    """Two tasks that ask at the same time get the same form."""
    request = make(1.0, piece(part("a", b"x")), 1.0, piece(LAST, more=False), headers=MULTIPART, limit=1000)
    found = []

    async def ask() -> None:
        found.append(await request.form())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    assert found[0] is found[1]


async def test_a_body_is_read_in_one_way() -> None:
    """A multipart form is read once: what asks for the body after it is told by what it was read."""
    request = request_of(part("a", b"x"), LAST)
    await request.form()
    with pytest.raises(RuntimeError, match=r"was read by request\.form\(\) already: keep what that gives"):
        await request.body()
    with pytest.raises(RuntimeError, match=r"was read by request\.form\(\) already"):
        request.parts()
    request = request_of(part("a", b"x"), LAST)
    await request.body()
    assert (await request.form())["a"] == "x"
