"""Responses of which a client may have a part."""

from __future__ import annotations

import email
import email.policy
import io
import itertools
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.asgi import Answer, Exchange, ask
from trioweb import App, ContentLengthError, Headers, HTTPError, RangeResponse, Request, Response
from trioweb.testing import TestClient

DATA = bytes(itertools.islice(itertools.cycle(range(251)), 1000))
ETAG = '"v1"'
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


async def agenerator(start: int, stop: int) -> AsyncIterator[bytes]:
    """An async generator over DATA, in odd pieces."""
    for at in range(start, stop, 7):
        yield DATA[at : min(at + 7, stop)]


def generator(start: int, stop: int) -> Iterator[bytes]:
    """A generator over DATA."""
    for at in range(start, stop, 7):
        yield DATA[at : min(at + 7, stop)]


async def opener(start: int, stop: int) -> list[bytes]:
    """A function that has to wait before it gives the chunks."""
    await trio.lowlevel.checkpoint()
    return [DATA[start:stop]]


SOURCES: dict[str, Any] = {
    "async generator": lambda: agenerator,
    "generator": lambda: generator,
    "coroutine": lambda: opener,
    "bytes": lambda: DATA,
    "memoryview": lambda: memoryview(DATA),
    "file object": lambda: io.BytesIO(DATA),
}


def serving(make: Any = lambda: agenerator, **options: Any) -> App:
    """An app that answers with a range response."""
    app = App()

    @app.route("/", methods=["GET", "POST"])
    async def content() -> Response:
        source = make()
        size = len(DATA) if callable(source) else None
        headers = {"etag": ETAG, "last-modified": DATE, **options.pop("headers", {})}
        return RangeResponse(source, size, headers=headers, **options)

    return app


async def get(app: App, method: str = "GET", **headers: str) -> Answer:
    """Ask for it."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return await ask(app, "/", method, headers=pairs)


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """The parts of a multipart/byteranges body, as a MIME parser finds them."""
    head = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode("latin-1")
    message = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    boundary = message.get_boundary()
    assert boundary is not None
    pieces = answer.body.split(b"--" + boundary.encode())
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    found = []
    for piece in pieces[1:-1]:
        fields, _, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        part = email.message_from_bytes(fields + b"\r\n\r\n")
        assert part["content-type"] == "application/octet-stream"
        found.append((part["content-range"], data.removesuffix(b"\r\n")))
    return found


@pytest.mark.parametrize("kind", SOURCES)
async def test_all_of_it(kind: str) -> None:
    """Without a range all of it is sent, with its length and the news that there could be one."""
    answer = await get(serving(SOURCES[kind]))
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["content-length"] == "1000"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("value", "start", "stop"), [("0-0", 0, 1), ("990-", 990, 1000), ("-5", 995, 1000)])
async def test_a_part(kind: str, value: str, start: int, stop: int) -> None:
    """One range is a 206 with that part, from any source."""
    answer = await get(serving(SOURCES[kind]), range=f"bytes={value}")
    assert (answer.status, answer.body) == (206, DATA[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/1000"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["etag"] == ETAG


@pytest.mark.parametrize("kind", SOURCES)
async def test_several_parts(kind: str) -> None:
    """Several ranges are the parts of one body, in the order asked for, with the right length."""
    answer = await get(serving(SOURCES[kind]), range="bytes=-10,0-99,50-149,2000-")
    assert answer.status == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "content-range" not in answer.headers
    assert parts_of(answer) == [("bytes 990-999/1000", DATA[990:]), ("bytes 0-149/1000", DATA[:150])]


async def test_no_part() -> None:
    """Where no range is within it the answer is a 416 that says how long it is."""
    answer = await get(serving(), range="bytes=1000-,-0")
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */1000"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("value", ["items=0-1", "bytes=b-a", "bytes=" + "0-0," * 200])
async def test_ranges_that_are_ignored(value: str) -> None:
    """An unknown unit, nonsense and too many are answered with the whole."""
    assert (await get(serving(), range=value)).body == DATA


async def test_two_range_headers() -> None:
    """A range header that is there twice is none."""
    headers = [(b"range", b"bytes=0-1"), (b"range", b"bytes=2-3")]
    assert (await ask(serving(), "/", headers=headers)).status == 200


@given(st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 300)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_ranges(pairs: list[tuple[int, int]]) -> None:
    """Whatever ranges are asked for, the parts are exactly those bytes, and the lengths are right."""
    value = ",".join(f"{start}-{start + more}" for start, more in pairs)
    answer = trio.run(lambda: get(serving(), range=f"bytes={value}"))
    wanted = {at for start, more in pairs for at in range(start, min(start + more + 1, 1000))}
    if not wanted:
        assert answer.status == 416
        return
    assert answer.status == 206
    assert answer.headers["content-length"] == str(len(answer.body))
    single = answer.headers.get("content-range")
    found = [(single, answer.body)] if single else parts_of(answer)
    seen: list[int] = []
    for text, data in found:
        first, last = map(int, text.removeprefix("bytes ").removesuffix("/1000").split("-"))
        assert data == DATA[first : last + 1]
        seen += range(first, last + 1)
    assert sorted(seen) == sorted(wanted)


@pytest.mark.parametrize("headers", [{"if_none_match": ETAG}, {"if_modified_since": DATE}])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_not_modified(method: str, headers: dict[str, str]) -> None:
    """What the client has is a 304 without a body or a word about one, before any range."""
    app = serving(headers={"cache-control": "no-cache", "vary": "x", "content-language": "en"}, filename="x")
    answer = await get(app, method, range="bytes=0-1", **headers)
    assert (answer.status, answer.body) == (304, b"")
    assert dict(answer.headers) == {
        "etag": ETAG, "cache-control": "no-cache", "vary": "x", "content-disposition": 'attachment; filename="x"',
    }  # fmt: skip


async def test_not_modified_without_a_tag() -> None:
    """A 304 has the time of modification where there is no entity tag."""
    app = App()

    @app.get("/")
    async def content() -> Response:
        return RangeResponse(DATA, headers={"last-modified": DATE})

    answer = await get(app, if_modified_since=DATE)
    assert (answer.status, dict(answer.headers)) == (304, {"last-modified": DATE})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_condition_that_fails(method: str) -> None:
    """A condition that does not hold is a 412, before a 304 and before a 416."""
    answer = await get(serving(), method, if_match='"v2"', if_none_match=ETAG, range="bytes=5000-")
    assert answer.status == 412


async def test_if_range() -> None:
    """With if-range a part comes only from what the client has the rest of."""
    assert (await get(serving(), range="bytes=0-1", if_range=ETAG)).status == 206
    assert (await get(serving(), range="bytes=0-1", if_range=DATE)).status == 206
    for other in ('"v2"', "W/" + ETAG, "Sun, 06 Nov 1994 08:49:36 GMT", "nonsense"):
        answer = await get(serving(), range="bytes=0-1", if_range=other)
        assert (answer.status, answer.body) == (200, DATA)
    assert (await get(serving(), range="bytes=5000-", if_range='"v2"')).status == 200


async def test_head() -> None:
    """A HEAD has the head of the whole, and starts no source."""
    app = serving(lambda: lambda *_: pytest.fail("started"))
    answer = await get(app, "HEAD", range="bytes=0-1")
    assert (answer.status, answer.body) == (200, b"")
    assert (answer.headers["content-length"], answer.headers["accept-ranges"]) == ("1000", "bytes")


async def test_other_methods() -> None:
    """The answer to a POST is about what it did: neither ranges nor conditions have to do with it."""
    answer = await get(serving(), "POST", range="bytes=0-1", if_none_match=ETAG, if_match='"v2"')
    assert (answer.status, answer.body) == (200, DATA)
    assert "accept-ranges" not in answer.headers


@pytest.mark.parametrize("status", [201, 404])
async def test_other_statuses(status: int) -> None:
    """Only a 200 has ranges."""
    answer = await get(serving(status_code=status), range="bytes=0-1")
    assert (answer.status, answer.body, "accept-ranges" in answer.headers) == (status, DATA, False)
    answer = await get(serving(status_code=status), if_none_match=ETAG)
    assert answer.status == (304 if status == 201 else 404)


async def test_ranges_that_are_switched_off() -> None:
    """With accept-ranges: none, or a length of the user's own, there are no ranges."""
    answer = await get(serving(headers={"accept-ranges": "none"}), range="bytes=0-1")
    assert (answer.status, answer.headers["accept-ranges"]) == (200, "none")
    answer = await get(serving(headers={"content-length": "1000"}), range="bytes=0-1")
    assert (answer.status, answer.body) == (200, DATA)


async def test_nothing() -> None:
    """What is empty is a 200 whatever range is asked for."""
    app = App()

    @app.get("/")
    async def content() -> Response:
        return RangeResponse(b"")

    answer = await get(app, range="bytes=0-")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    ("source", "size", "error", "text"),
    [
        (agenerator, None, TypeError, "give size="),
        (agenerator, -1, ValueError, "got -1"),
        (agenerator, 1.5, ValueError, "got 1.5"),
        (5, None, TypeError, "cannot read int from any position"),
        ("text", None, TypeError, "cannot read str from any position"),
        ([b""], None, TypeError, "cannot read list from any position"),
    ],
)
def test_sources_that_are_none(source: Any, size: Any, error: type[Exception], text: str) -> None:
    """What cannot be read from any position is refused where the response is made, with what to write."""
    with pytest.raises(error, match=text):
        RangeResponse(source, size)


@pytest.mark.parametrize("given", [0, 500, 998, 1200])
@pytest.mark.parametrize("ranges", ["", "bytes=0-9,500-999"])
async def test_a_source_that_is_wrong_about_its_size(given: int, ranges: str) -> None:
    """A source that gives fewer or more bytes than it was asked for breaks the response off."""

    async def source(start: int, stop: int) -> AsyncIterator[bytes]:
        yield bytes((stop - start) * given // 1000)

    app = App()

    @app.get("/")
    async def content() -> Response:
        return RangeResponse(source, 1000)

    async with TestClient(app) as client:
        with pytest.raises(ContentLengthError):
            await client.get("/", headers={"range": ranges} if ranges else {})


async def test_an_error_of_the_source() -> None:
    """An error before the first chunk is an ordinary error, also in the function that opens."""

    async def source(start: int, stop: int) -> AsyncIterator[bytes]:
        raise HTTPError(503, f"{start}-{stop}")
        yield b""

    assert (await get(serving(lambda: source), range="bytes=5-")).status == 503
    assert (await get(serving(lambda: source), range="bytes=5-9,20-29")).status == 503


@pytest.mark.parametrize("ranges", ["", "bytes=0-99,500-999"])
async def test_a_source_is_told_what_happens(ranges: str) -> None:
    """A cancel scope around the source's own yield ends that, in one part as in several (rule 2)."""
    told: list[str] = []

    async def source(start: int, stop: int) -> AsyncGenerator[bytes, None]:
        with trio.CancelScope() as scope:
            yield DATA[start : start + 1]
            scope.cancel()
            for at in range(start + 1, stop):
                yield DATA[at : at + 1]
        if scope.cancelled_caught:
            told.append("cancelled")
            yield DATA[at + 1 : stop]

    app = App()

    @app.get("/")
    async def content() -> Response:
        return RangeResponse(source, 1000, buffer_size=64)

    exchange = Exchange("GET", "/", [(b"range", ranges.encode())] if ranges else [])
    await exchange.run(app)
    assert exchange.complete
    assert told == ["cancelled"] * (2 if ranges else 1)
    assert sum(map(len, exchange.chunks)) == int(exchange.headers["content-length"])


async def test_a_file_object_is_closed() -> None:
    """A file object is closed when the request ends, whatever was sent of it, and also where nothing was."""
    for headers in ({}, {"range": "bytes=1-2"}, {"range": "bytes=5000-"}, {"if-none-match": ETAG}):
        file = io.BytesIO(DATA)
        await ask(serving(lambda file=file: file), "/", headers=[(k.encode(), v.encode()) for k, v in headers.items()])
        assert file.closed, headers
    file = io.BytesIO(DATA)
    await ask(serving(lambda: file), "/", "HEAD")
    assert file.closed


class Failing(io.BytesIO):
    """A file object whose second block is late, or broken."""

    def __init__(self, seconds: float) -> None:
        super().__init__(bytes(10_000_000))
        self._seconds = seconds

    def read(self, size: int | None = -1) -> bytes:
        """A block."""
        if self.tell():
            if not self._seconds:
                raise OSError("no such sector")
            time.sleep(self._seconds)
        return super().read(size)


async def test_an_error_of_a_file_object() -> None:
    """A file object that fails in the middle ends as on_error says, as any stream does."""
    app = App()

    @app.get("/")
    async def content() -> Response:
        headers = {"content-length": str(131_072 + 14)}
        return RangeResponse(Failing(0), headers=headers, on_error=lambda error: str(error).encode())

    answer = await get(app)
    assert (answer.status, answer.body) == (200, bytes(131_072) + b"no such sector")


async def test_a_file_object_that_is_late() -> None:
    """A file object that gives nothing for its idle_timeout is broken off."""
    app = App()

    @app.get("/")
    async def content() -> Response:
        return RangeResponse(Failing(0.5), idle_timeout=0.05)

    exchange = Exchange("GET", "/")
    await exchange.run(app)
    assert not exchange.complete
    assert len(exchange.body) <= 2 * 131_072  # nothing comes after the one that was late


async def test_what_is_not_sent_is_closed() -> None:
    """What was opened for a response is closed also where no byte of that is sent."""
    app = App()

    @app.get("/")
    async def content(nursery: trio.Nursery) -> Response:
        nursery.cancel_scope.cancel()  # it is prepared all the same, and then nothing is sent of it
        return RangeResponse(file, size=1000)

    file = io.BytesIO(DATA)
    assert (await get(app)).status == 500
    assert file.closed
    file = io.BytesIO(DATA)
    assert (await get(serving(lambda: file, status_code=205))).body == b""
    assert file.closed
    for method, headers in (("HEAD", {}), ("GET", {"if-none-match": ETAG})):
        file = io.BytesIO(DATA)
        await RangeResponse(file, headers={"etag": ETAG}).prepare(method, Headers(headers))
        assert file.closed


async def test_a_part_that_would_be_too_long() -> None:
    """Of a part for which its source gives too much nothing is sent: what follows would be taken for that."""

    async def source(start: int, stop: int) -> AsyncIterator[bytes]:
        yield DATA[start : stop + 1]

    exchange = Exchange("GET", "/", [(b"range", b"bytes=0-1,5-6")])
    await exchange.run(serving(lambda: source))
    assert exchange.status == 500
    assert b"content-range" not in exchange.body


async def test_an_async_file(tmp_path: Path) -> None:
    """A file of trio's can be had in parts too."""
    path = tmp_path / "x"
    path.write_bytes(DATA)
    app = App()

    @app.get("/")
    async def content() -> Response:
        return RangeResponse(await trio.open_file(path, "rb"), media_type="audio/x")

    answer = await get(app, range="bytes=10-19")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (206, DATA[10:20], "audio/x")


async def test_a_response_is_sent_again() -> None:
    """What one client asked for leaves the response as it was for the next."""
    response = RangeResponse(agenerator, 1000, headers={"etag": ETAG})
    app = App()

    @app.get("/")
    async def content() -> Response:
        return response

    assert (await get(app, range="bytes=0-1")).status == 206
    assert (await get(app, if_none_match=ETAG)).status == 304
    assert (await get(app)).body == DATA
    assert response.status_code == 200
    assert "content-length" not in response.headers


async def test_preparing_twice() -> None:
    """A response that was prepared, by a middleware for instance, is what is sent."""
    response = await RangeResponse(DATA).prepare("GET", Headers({"range": "bytes=0-1"}))
    assert response.status_code == 206
    assert await response.prepare("GET", Headers()) is response
    assert isinstance(response, RangeResponse)
    response.body = b"x"
    assert await response.prepare() is response


async def shout(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A map that leaves no byte where it was."""
    packer = zlib.compressobj()
    async for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


@pytest.mark.parametrize("ranges", ["bytes=0-1", "bytes=0-1,5-6", "bytes=0-"])
@pytest.mark.parametrize("kind", SOURCES)
async def test_what_is_mapped_has_no_ranges(kind: str, ranges: str) -> None:
    """A response that is mapped, before or after it was prepared, is whole, of unknown length, with a weak tag."""
    for early in (True, False):
        app = App()

        @app.get("/")
        async def content(request: Request, early: bool = early) -> Response:
            source = SOURCES[kind]()
            response = RangeResponse(source, len(DATA) if callable(source) else None, headers={"etag": ETAG})
            if not early:
                response = await response.prepare(request.method, request.headers)
                assert response.status_code == 206
            response.map_stream(shout)
            return response

        answer = await get(app, range=ranges)
        assert answer.status == 200
        assert zlib.decompress(answer.body) == DATA
        assert answer.headers["etag"] == "W/" + ETAG
        assert answer.headers["content-type"] == "application/octet-stream"
        assert not {"content-length", "content-range", "accept-ranges"} & set(answer.headers)


async def test_what_is_mapped_has_conditions() -> None:
    """The weak tag of what is mapped is still good for a 304, and for no strong comparison."""
    app = App()

    @app.get("/")
    async def content() -> Response:
        response = RangeResponse(DATA, headers={"etag": ETAG})
        response.map_stream(shout)
        return response

    assert (await get(app, if_none_match="W/" + ETAG)).status == 304
    assert (await get(app, if_match=ETAG)).status == 412
    assert (await get(app, range="bytes=0-1", if_range="W/" + ETAG)).status == 200


async def test_a_mapped_source_that_ends_early() -> None:
    """Also where a map hides the length, a source that is too short breaks the response off."""

    async def source(start: int, stop: int) -> AsyncIterator[bytes]:
        yield DATA[start : stop - 1]

    app = App()

    @app.get("/")
    async def content() -> Response:
        response = RangeResponse(source, 1000)
        response.map_stream(shout)
        return response

    async with TestClient(app) as client:
        with pytest.raises(ContentLengthError):
            await client.get("/")
