"""Compression: what is compressed and what is not, headers, and streams that stay streams."""

from __future__ import annotations

import threading
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import brotli
import pytest
import trio
import trio.testing
import zstandard

from tests.asgi import Answer, Exchange, ask, running
from trioweb import (
    App,
    Compression,
    CSVResponse,
    EventStreamResponse,
    FileResponse,
    JSONLinesResponse,
    Response,
    StreamingResponse,
)

TEXT = "compressible " * 1000

DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31).decompress,
    "br": lambda: brotli.Decompressor().process,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
}


def make(**options: Any) -> App:
    """An app behind compression."""
    app = App()
    app.middleware(Compression(**options))

    @app.get("/text")
    async def text() -> Response:
        return Response(TEXT, headers={"etag": '"v1"'})

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for _ in range(1000):
            yield "compressible "

    return app


async def get(app: App, path: str, accept: str = "gzip", method: str = "GET", **headers: str) -> Answer:
    """A request of a client that takes a coding. The test client decodes."""
    given = {"accept-encoding": accept, **headers}
    return await ask(app, path, method, headers=[(name.encode(), value.encode()) for name, value in given.items()])


async def raw(app: App, path: str, accept: str = "gzip", method: str = "GET") -> Exchange:
    """The same, its body as it goes over the wire."""
    exchange = Exchange(method, path, [(b"accept-encoding", accept.encode())])
    async with running(app):
        await exchange.run(app)
    return exchange


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("path", ["/text", "/stream"])
async def test_each_coding(path: str, coding: str) -> None:
    """Bodies and streams come back whole from every coding, smaller, with the headers that belong to it."""
    exchange = await raw(make(), path, coding)
    assert DECODERS[coding]()(exchange.body) == TEXT.encode()
    assert len(exchange.body) < 500
    assert exchange.headers["content-encoding"] == coding
    assert exchange.headers["vary"] == "accept-encoding"
    if path == "/text":
        assert exchange.headers["content-length"] == str(len(exchange.body))
        assert exchange.headers["etag"] == 'W/"v1"'
    else:
        assert "content-length" not in exchange.headers


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, br, zstd", "zstd"), ("gzip, br", "br"), ("gzip;q=1, br;q=0.5", "gzip"), ("*", "zstd"),
        ("x-gzip", "gzip"),
        ("", None), ("identity", None), ("gzip;q=0", None), ("deflate", None),
    ],
)  # fmt: skip
async def test_the_coding_is_the_clients_choice(accept: str, coding: str | None) -> None:
    """The weights of `accept-encoding` decide; caches are told so, also where nothing is compressed."""
    for path in ("/text", "/stream"):
        exchange = await raw(make(), path, accept)
        assert exchange.headers.get("content-encoding") == coding
        assert exchange.headers["vary"] == "accept-encoding"


async def test_codings_can_be_chosen() -> None:
    """Only the codings that are named are offered, in that order; one that is not there is an error."""
    app = make(codings=["gzip", "br"])
    assert (await raw(app, "/text", "br, gzip, zstd")).headers["content-encoding"] == "gzip"
    with pytest.raises(ValueError, match="no coding 'lzma'"):
        Compression(codings=["lzma"])


@pytest.mark.parametrize(
    "response",
    [
        Response("x" * 511),
        Response(bytes(5000)),
        Response(TEXT, media_type="image/png"),
        Response(TEXT, headers={"content-encoding": "br"}),
        Response(TEXT, headers={"cache-control": "public, no-transform"}),
        Response(TEXT, 206, headers={"content-range": "bytes 0-12999/20000"}),
        Response(None, 204),
    ],
)
async def test_what_is_left_alone(response: Response) -> None:
    """Small bodies, other types, what is encoded, ranges and `no-transform` go as they are, their length too."""
    app = make()
    headers, body = dict(response.headers), response.body

    @app.get("/x")
    async def x() -> Response:
        return response

    exchange = await raw(app, "/x")
    assert (exchange.body, exchange.headers) == (body, headers)


async def test_head_has_the_headers_of_get() -> None:
    """HEAD says what GET would be encoded in, and runs no compressor."""
    app = make()

    @app.get("/typed")
    async def typed() -> Response:
        return StreamingResponse(["x"], headers={"etag": '"v1"'}, media_type="text/plain")

    for path in ("/text", "/typed"):
        answer = await raw(app, path, method="HEAD")
        assert (answer.headers["content-encoding"], answer.headers["etag"], answer.body) == ("gzip", 'W/"v1"', b"")
        assert "content-length" not in answer.headers


async def test_files(tmp_path: Path) -> None:
    """A large file is compressed as a stream, its ranges are as they are, and a client can ask for news of it."""
    path = tmp_path / "file.txt"
    path.write_text(TEXT * 100)
    app = make()

    @app.get("/file")
    async def file() -> Response:
        return FileResponse(path)

    whole = await get(app, "/file")
    assert (whole.headers["content-encoding"], whole.body) == ("gzip", (TEXT * 100).encode())
    assert "accept-ranges" not in whole.headers
    part = await get(app, "/file", range="bytes=0-3")
    assert (part.status, part.body, "content-encoding" in part.headers) == (206, b"comp", False)
    same = await get(app, "/file", **{"if-none-match": whole.headers["etag"]})
    assert (same.status, same.headers["vary"]) == (304, "accept-encoding")


async def test_a_row_arrives_when_it_is_yielded(autojump_clock: trio.testing.MockClock) -> None:
    """The head leaves with the first row, and each row can be decoded though the next one is an hour away."""
    app = make()

    @app.get("/rows")
    async def rows() -> Response:
        async def source() -> AsyncIterator[list[str]]:
            for number in range(3):
                yield [f"row {number}"]
                await trio.sleep(3600)

        return CSVResponse(source())

    exchange = Exchange("GET", "/rows", [(b"accept-encoding", b"gzip")])
    async with running(app), trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        decode = DECODERS["gzip"]()
        for number in range(3):
            await trio.sleep(1800)
            assert decode(exchange.chunks[number]) == f"row {number}\r\n".encode()
            await trio.sleep(1800)


async def test_rows_without_a_pause_are_compressed_together() -> None:
    """10,000 rows that come without a pause leave in a few messages, not in one each."""
    app = make()

    @app.get("/rows")
    async def rows() -> Response:
        async def source() -> AsyncIterator[dict[str, int]]:
            for number in range(10_000):
                yield {"row": number}

        return JSONLinesResponse(source())

    exchange = await raw(app, "/rows")
    assert DECODERS["gzip"]()(exchange.body).count(b"\n") == 10_000
    assert len(exchange.chunks) < 100


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_events_and_pings_arrive_one_by_one(coding: str, autojump_clock: trio.testing.MockClock) -> None:
    """An event stream's head leaves at once, then its retry, each event and each ping when it is due."""
    app = make()

    @app.get("/events")
    async def events() -> Response:
        async def source() -> AsyncIterator[str]:
            await trio.sleep(15)
            yield "one"

        return EventStreamResponse(source(), ping=10, retry=5)

    exchange = Exchange("GET", "/events", [(b"accept-encoding", coding.encode())])
    async with running(app), trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        decode = DECODERS[coding]()
        await trio.sleep(1)
        assert decode(exchange.chunks[0]) == b"retry: 5\n\n"
        await trio.sleep(10)
        assert decode(exchange.chunks[1]) == b": ping\n\n"
        await trio.sleep(5)
        assert decode(exchange.chunks[2]) == b"data: one\n\n"
    assert exchange.complete


async def test_an_error_in_a_compressed_stream_is_no_end() -> None:
    """What was accepted before an error can be decoded, and neither the coding nor the response has its end."""
    app = make()

    @app.get("/fails")
    async def fails() -> AsyncIterator[str]:
        yield "accepted"
        raise ValueError

    exchange = await raw(app, "/fails")
    decompressor = zlib.decompressobj(31)
    assert decompressor.decompress(exchange.body) == b"accepted"
    assert not decompressor.eof
    assert not exchange.complete


@pytest.mark.parametrize(("given", "complete"), [(5, True), (3, False), (9, False)])
async def test_a_declared_length_is_kept(given: int, complete: bool) -> None:
    """The length that was declared for a stream counts its plain bytes: fewer or more are no good end."""
    app = make()

    @app.get("/length")
    async def length() -> Response:
        async def source() -> AsyncIterator[str]:
            for _ in range(given):
                yield "x"
                await trio.testing.wait_all_tasks_blocked()  # each leaves by itself

        return StreamingResponse(source(), headers={"content-length": "5"}, media_type="text/plain")

    exchange = await raw(app, "/length")
    assert "content-length" not in exchange.headers
    assert DECODERS["gzip"]()(exchange.body) == b"x" * min(given, 5)
    assert exchange.complete is complete


async def test_a_map_outside_of_it_gets_plain_chunks() -> None:
    """A middleware that stands around compression and maps the stream sees what was yielded."""
    app = App()
    seen: list[bytes] = []

    @app.middleware
    async def look(request: Any, call_next: Any) -> Response:
        response: Response = await call_next(request)

        async def watch(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                seen.append(chunk)
                yield chunk

        response.map_stream(watch)  # type: ignore[arg-type]
        return response

    app.middleware(Compression())

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "plain"

    assert (await get(app, "/stream")).body == b"plain"
    assert seen == [b"plain"]


async def test_a_large_body_leaves_the_loop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large body is compressed in a worker thread."""
    threads: dict[int, bool] = {}

    class Noted:
        def finish(self, data: bytes) -> bytes:
            threads[len(data)] = threading.current_thread() is not threading.main_thread()
            return zlib.compress(data, wbits=31)

    monkeypatch.setattr("trioweb.middleware.coders._gzip", lambda _: Noted())
    app = make()

    @app.get("/large")
    async def large() -> str:
        return TEXT * 10

    assert (await get(app, "/large")).body == (TEXT * 10).encode()
    assert (await get(app, "/text")).body == TEXT.encode()
    assert threads == {len(TEXT) * 10: True, len(TEXT): False}
