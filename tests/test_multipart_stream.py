"""Streams of parts, of which a browser shows the newest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
import trio
from multipart import MultipartParser
from trio.testing import MockClock

from trioweb import App, JSONResponse, MultipartStreamResponse, Response, StreamingResponse
from trioweb.testing import TestClient


def app_of(parts: Any, **options: Any) -> App:
    """An app that streams parts."""
    app = App()

    @app.get("/")
    async def root() -> MultipartStreamResponse:
        return MultipartStreamResponse(parts, **options)

    return app


async def test_parts_are_as_they_were_given() -> None:
    """A reader of multipart bodies finds each part, with its content type and headers."""
    parts = [b"one", "two", JSONResponse([3], headers={"content-disposition": 'form-data; name="x"'}), bytearray(b"--")]
    app = app_of(parts, part_type="image/png", media_type="multipart/mixed")
    async with TestClient(app) as client:
        response = await client.get("/")
    kind, _, boundary = response.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/mixed"
    heads = response.content.split(f"--{boundary}".encode())
    assert (heads[0], heads[-1]) == (b"", b"--\r\n")
    assert heads[1] == b"\r\ncontent-type: image/png\r\ncontent-length: 3\r\n\r\none\r\n"
    assert b"content-type: application/json\r\n" in heads[3]
    assert heads[3].endswith(b"content-length: 3\r\n\r\n[3]\r\n")


async def test_a_part_is_there_before_the_next(autojump_clock: MockClock) -> None:
    """The end of a part, and the delimiter behind it, are sent with it."""

    async def pictures() -> AsyncIterator[bytes]:
        for number in (b"1", b"2"):
            yield number
            await trio.sleep(60)

    seen = []
    async with TestClient(app_of(pictures())) as client, client.stream("GET", "/") as response:
        boundary = response.headers["content-type"].partition("boundary=")[2]
        async for chunk in response.aiter_raw():
            seen.append((trio.current_time() // 60, chunk.endswith(f"\r\n--{boundary}".encode())))
    assert [(time, whole) for time, whole in seen if whole] == [(0, True), (1, True)]
    assert seen[-1] == (2, False)


async def test_no_parts_at_all() -> None:
    """A stream without parts is a multipart body without any."""
    async with TestClient(app_of([])) as client:
        response = await client.get("/")
    boundary = response.headers["content-type"].partition("boundary=")[2]
    assert response.text in ("", f"--{boundary}--\r\n")


async def test_what_is_no_part() -> None:
    """A value that is no part, and a type that has none, are errors that say what to write."""
    for wrong in (5, StreamingResponse([])):
        async with TestClient(app_of([wrong])) as client:
            with pytest.raises(TypeError, match="a part is bytes, text or a response with a body of bytes, got"):
                await client.get("/")
    with pytest.raises(ValueError, match="has a multipart type, got 'image/jpeg': write \"multipart/mixed\""):
        MultipartStreamResponse([], media_type="image/jpeg")


async def test_a_form_reader_reads_it() -> None:
    """An independent parser takes the body apart."""
    names = [Response(f"{n}", headers={"content-disposition": f'form-data; name="f{n}"'}) for n in range(3)]
    async with TestClient(app_of(names)) as client:
        response = await client.get("/")
    boundary = response.headers["content-type"].partition("boundary=")[2]
    found = MultipartParser(BytesIO(response.content), boundary)  # type: ignore[no-untyped-call]
    assert [(part.name, part.value) for part in found] == [("f0", "0"), ("f1", "1"), ("f2", "2")]
