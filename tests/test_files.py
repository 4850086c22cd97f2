"""Files as responses."""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio

from tests.asgi import Answer, Exchange, ask
from tests.io.test_disk import descriptors, wait_for_strong_tags
from tests.servers import PATIENCE
from trioweb import App, ContentLengthError, FileResponse, Headers, Provide, Request, Response
from trioweb.ground.http.conditions import format_date
from trioweb.io import disk
from trioweb.io.disk import DiskFile
from trioweb.io.threads import thread_work
from trioweb.testing import TestClient

SMALL = b"0123456789"
LARGE = bytes(range(256)) * 4096
LONG_AGO = 784111777


@pytest.fixture(autouse=True)
def _no_backstop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not closed stays open here: the collection of garbage closes nothing."""
    monkeypatch.delattr(DiskFile, "__del__")


@pytest.fixture(params=["small", "large"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is old enough for a strong tag, read at once or in blocks."""
    path = tmp_path / f"{request.param}.txt"
    path.write_bytes(SMALL if request.param == "small" else LARGE)
    os.utime(path, (LONG_AGO, LONG_AGO))
    wait_for_strong_tags(monkeypatch)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that is sent in several blocks."""
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def serving(path: Path, **options: Any) -> App:
    """An app that sends a file."""
    app = App()

    @app.get("/")
    async def file() -> Response:
        return FileResponse(path, **options)

    @app.error_handler(FileNotFoundError)
    async def missing(request: Request, error: FileNotFoundError) -> Response:
        return Response("not there", 404)

    return app


async def get(app: App, method: str = "GET", **headers: str) -> Answer:
    """Ask for it."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return await ask(app, "/", method, headers=pairs)


@asynccontextmanager
async def unread(app: App, count: int = 1) -> AsyncIterator[list[Exchange]]:
    """So many clients that have taken the head and the first piece, and take no more; they leave with the block."""
    exchanges = [Exchange("GET", "/", window=2) for _ in range(count)]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for exchange in exchanges:
                nursery.start_soon(exchange.run, app)
            try:
                # A task that waits for a thread counts as blocked: so it is asked until there is none.
                while thread_work().files.borrowed_tokens or any(len(one.messages) < 2 for one in exchanges):
                    await trio.sleep(0.001)
                await trio.testing.wait_all_tasks_blocked()
                yield exchanges
            finally:
                for exchange in exchanges:
                    exchange.leave()


async def test_a_file(path: Path) -> None:
    """A file comes whole, with all that a cache, a player or a resumed download needs to know of it."""
    answer = await get(serving(path, filename="n\xe4me.txt"))
    data = path.read_bytes()
    assert (answer.status, answer.body) == (200, data)
    assert {**answer.headers, "etag": ""} == {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(data)),
        "content-disposition": "attachment; filename=\"n_me.txt\"; filename*=UTF-8''n%C3%A4me.txt",
        "last-modified": format_date(LONG_AGO),
        "accept-ranges": "bytes",
        "etag": "",
    }
    assert answer.headers["etag"] == disk.Facts.of(path.stat()).etag
    assert answer.headers["etag"].startswith('"')
    assert descriptors(path) == 0


async def test_a_small_file_is_a_body_in_one_piece(path: Path) -> None:
    """A small file is read with its opening and is just bytes then, unless it has limits of its own to keep to."""
    response = await FileResponse(path).prepare()
    assert response.body == (SMALL if path.name == "small.txt" else None)
    await response.aclose()
    for options in ({"write_timeout": 5}, {"max_duration": 5}, {"headers": {"content-length": "3"}}):
        response = await FileResponse(path, **options).prepare()
        assert response.body is None
        await response.aclose()
    for method, headers in (("GET", {"range": "bytes=0-"}), ("HEAD", {})):
        response = await FileResponse(path).prepare(method, Headers(headers))
        assert response.body is None
        await response.aclose()


async def test_a_head_opens_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A HEAD has the headers of the GET, and the file is not opened for it."""
    whole = await get(serving(path))
    monkeypatch.setattr(disk, "DiskFile", lambda *_: pytest.fail("opened"))
    answer = await get(serving(path), "HEAD", range="bytes=0-1")
    assert (answer.status, answer.body) == (200, b"")
    assert dict(answer.headers) == dict(whole.headers)
    assert (await get(serving(path), "HEAD", if_none_match=whole.headers["etag"])).status == 304


async def test_parts_and_conditions(path: Path) -> None:
    """Ranges, conditions and both together work on a file, and leave it closed."""
    app, data = serving(path), path.read_bytes()
    whole = await get(app)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]
    middle = await get(app, range="bytes=3-6", if_range=etag)
    assert (middle.status, middle.body, middle.headers["etag"]) == (206, data[3:7], etag)
    assert (await get(app, range="bytes=3-6", if_range=modified)).body == data[3:7]
    several = await get(app, range="bytes=0-0,-1")
    assert several.headers["content-length"] == str(len(several.body))
    assert several.body.count(b"text/plain") == 2
    assert (await get(app, if_none_match=etag)).status == 304
    assert (await get(app, if_modified_since=modified)).status == 304
    assert (await get(app, if_match='"x"')).status == 412
    assert (await get(app, if_unmodified_since=format_date(LONG_AGO - 1))).status == 412
    assert (await get(app, range="bytes=9999999-")).status == 416
    assert descriptors(path) == 0


async def test_a_new_file_has_a_weak_tag(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another change could go unseen the tag is weak: good for a 304, not for putting parts together."""
    monkeypatch.setattr(disk, "time", time)
    app = serving(path)
    etag = (await get(app)).headers["etag"]
    assert etag.startswith('W/"')
    assert (await get(app, if_none_match=etag)).status == 304
    assert (await get(app, range="bytes=0-1", if_range=etag)).status == 200


async def test_a_changed_file_has_another_tag(path: Path) -> None:
    """A file that was changed is another to its clients, also where its size and time were made the same."""
    app = serving(path)
    etag = (await get(app)).headers["etag"]
    data = path.read_bytes()
    path.write_bytes(data[::-1])
    os.utime(path, (LONG_AGO, LONG_AGO))
    answer = await get(app, if_none_match=etag)
    assert (answer.status, answer.body) == (200, data[::-1])
    assert (await get(app, range="bytes=0-1", if_range=etag)).status == 200


async def test_a_time_that_is_ahead(path: Path) -> None:
    """A file from the future was not modified after its response (RFC 9110, section 8.8.2.1)."""
    os.utime(path, (time.time() + 1e6, time.time() + 1e6))
    answer = await get(serving(path))
    assert answer.headers["last-modified"] in {format_date(time.time()), format_date(time.time() - 1)}
    assert answer.headers["etag"].startswith('W/"')


async def test_what_the_user_says_of_it(path: Path) -> None:
    """Validators that the user gives are used in the place of the file's own; a length that is given is kept to."""
    app = serving(path, headers={"ETag": '"mine"', "Last-Modified": format_date(5), "Cache-Control": "no-cache"})
    answer = await get(app, if_none_match='"mine"')
    assert (answer.status, dict(answer.headers)) == (304, {"etag": '"mine"', "cache-control": "no-cache"})
    assert (await get(app)).headers["last-modified"] == format_date(5)
    exchange = Exchange("GET", "/", [(b"range", b"bytes=0-1")])
    await exchange.run(serving(path, headers={"content-length": "3"}))
    assert (exchange.status, exchange.body, exchange.headers["content-length"]) == (200, b"012"[:3], "3") or (
        exchange.body == LARGE[:3]
    )


async def test_what_is_no_file(tmp_path: Path) -> None:
    """What is not there, or is no regular file, is an error before the response starts, for error handlers."""
    answer = await get(serving(tmp_path / "nothing"))
    assert (answer.status, answer.body) == (404, b"not there")
    assert (await get(serving(tmp_path))).status == 500
    with pytest.raises(IsADirectoryError, match="is not a regular file"):
        await FileResponse(tmp_path).prepare()
    assert (await get(serving(tmp_path / "nothing"), "HEAD")).status == 404


async def test_other_statuses_have_no_validators(path: Path) -> None:
    """A file that is a page for an error is just its content: neither conditions nor ranges concern it."""
    answer = await get(serving(path, status_code=404), range="bytes=0-1", if_modified_since=format_date(time.time()))
    assert (answer.status, answer.body) == (404, path.read_bytes())
    assert set(answer.headers) == {"content-type", "content-length"}


async def test_opened_once(path: Path, tmp_path: Path) -> None:
    """What was measured is what is sent, also where another file takes its place meanwhile."""
    data = path.read_bytes()
    app = App()

    @app.get("/")
    async def file(request: Request) -> Response:
        response = await FileResponse(path).prepare(request.method, request.headers)
        other = tmp_path / "other"
        other.write_bytes(b"another, of another length")
        other.rename(path)
        return response

    answer = await get(app)
    assert (answer.body, answer.headers["content-length"]) == (data, str(len(data)))


async def test_a_file_that_becomes_shorter(large: Path) -> None:
    """A file that is cut while it is sent breaks the response off; one that grows does not show."""
    app = serving(large)
    async with unread(app) as [exchange]:
        os.truncate(large, 500_000)
        exchange.open_window()
        await exchange.done.wait()
    assert not exchange.complete
    assert len(exchange.body) < len(LARGE)
    assert LARGE.startswith(exchange.body)
    large.write_bytes(LARGE)
    async with unread(app) as [exchange]:
        with large.open("ab") as more:
            more.write(b"more")
        exchange.open_window()
        await exchange.done.wait()
    assert exchange.complete
    assert exchange.body == LARGE
    assert descriptors(large) == 0


async def test_a_client_that_leaves_closes_the_file(large: Path) -> None:
    """A file is closed when its client leaves in the middle, whatever is cancelled at the same time."""
    app = serving(large)
    async with unread(app):
        assert descriptors(large) == 1
    assert descriptors(large) == 0
    with trio.CancelScope() as scope:
        async with unread(app):
            assert descriptors(large) == 1
            scope.cancel()
    assert descriptors(large) == 0


async def test_nobody_reads_for_who_has_left(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all is cancelled around the app, no send is interrupted, and no more of the file is read."""
    app = serving(large)
    reads = 0
    own_read = DiskFile.read_ready

    def note(self: DiskFile, *args: Any) -> int | None:
        nonlocal reads
        reads += 1
        return own_read(self, *args)

    monkeypatch.setattr(DiskFile, "read_ready", note)
    with trio.CancelScope() as scope:
        async with unread(app) as [exchange]:
            before = reads
            exchange.leave = lambda: None  # type: ignore[method-assign]
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
                exchange.open_window()
    assert exchange.cancelled_sends == 0
    assert not exchange.complete
    assert reads <= before + 1
    assert descriptors(large) == 0


async def test_a_request_that_cancels_itself(large: Path) -> None:
    """A file whose request is cancelled by its own nursery is broken off, also where its client reads on."""
    app = App()
    cancel = trio.Event()

    @app.get("/")
    async def file(nursery: trio.Nursery) -> Response:
        async def cancel_when_told() -> None:
            await cancel.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel_when_told)
        return FileResponse(large)

    async with unread(app) as [exchange]:
        cancel.set()
        await trio.testing.wait_all_tasks_blocked()
        exchange.open_window()
        await exchange.done.wait()
    assert not exchange.complete
    assert len(exchange.body) < len(LARGE)
    assert descriptors(large) == 0


async def database() -> AsyncIterator[str]:
    """What is open as long as its request is."""
    try:
        yield "db"
    finally:
        OPEN.clear()


OPEN: list[str] = []


async def test_what_is_provided_is_closed_after_a_file(large: Path) -> None:
    """What a handler was given is open while its file is sent, and is closed then."""
    app = App()

    @app.get("/")
    async def file(db: Annotated[str, Provide(database)]) -> Response:
        OPEN.append(db)
        return FileResponse(large)

    async with unread(app) as [exchange]:
        assert OPEN == ["db"]
        exchange.open_window()
        await exchange.done.wait()
    assert exchange.complete
    assert OPEN == []


@pytest.mark.parametrize("ranges", ["bytes=0-1", "bytes=0-1,4-4", "bytes=0-"])
async def test_a_response_that_is_not_sent(path: Path, ranges: str) -> None:
    """A file that was opened for a response is closed with the request, also where no byte of it was sent."""
    app = App()

    @app.get("/")
    async def file(nursery: trio.Nursery) -> Response:
        nursery.cancel_scope.cancel()  # opened all the same, then nothing can be sent
        return FileResponse(path)

    exchange = Exchange("GET", "/", [(b"range", ranges.encode())])
    await exchange.run(app)
    assert exchange.status == 500
    assert descriptors(path) == 0
    response = await FileResponse(path).prepare("GET", Headers({"range": ranges}))
    await response.aclose()
    await response.aclose()
    assert descriptors(path) == 0
    for method, headers in (("HEAD", {}), ("GET", {"if-modified-since": format_date(time.time())})):
        await FileResponse(path).prepare(method, Headers(headers))
        assert descriptors(path) == 0


async def test_a_response_leaves_no_garbage(path: Path) -> None:
    """What a response held is gone with it, without a collection of garbage: it may be large."""

    class Seen(FileResponse):
        __slots__ = ("__weakref__",)

    gc.disable()
    try:
        for method, headers in (("GET", {}), ("GET", {"range": "bytes=0-3"}), ("HEAD", {})):
            response = await Seen(path).prepare(method, Headers(headers))
            seen = weakref.ref(response)
            await response.aclose()
            del response
            for _ in range(1000):  # a thread lets go of its work after it has said that it is done
                if seen() is None:
                    break
                await trio.sleep(0.001)
            assert seen() is None
    finally:
        gc.enable()


async def test_an_error_while_it_is_sent(path: Path) -> None:
    """A file is closed where a map of the response fails, and where the request's nursery does."""
    app = App()

    async def failing(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk
            raise ValueError("in the map")

    @app.get("/map")
    async def mapped() -> Response:
        response = FileResponse(path)
        response.map_stream(failing)
        return response

    @app.get("/nursery")
    async def nursery(nursery: trio.Nursery) -> Response:
        async def fail() -> None:
            raise ValueError("in the nursery")

        nursery.start_soon(fail)
        return FileResponse(path)

    for target in ("/map", "/nursery"):
        exchange = Exchange("GET", target)
        await exchange.run(app)
        whole = exchange.complete and exchange.status == 200
        assert not whole or exchange.body == SMALL  # which was sent before anything failed
        assert descriptors(path) == 0


def _hand_over(response: FileResponse) -> FileResponse:
    return response


async def test_what_is_mapped(path: Path) -> None:
    """A mapped file has neither length nor ranges nor a strong tag, and still says when it has not changed."""

    async def double(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk + chunk

    for when in ("before", "after", "after a range"):
        response = FileResponse(path)
        if when == "after":
            response = await response.prepare()
        elif when == "after a range":
            response = await response.prepare("GET", Headers({"range": "bytes=5-6"}))
            assert response.status_code == 206
        response.map_stream(double)
        app = App()
        app.get("/")(partial(_hand_over, response))
        answer = await get(app, range="bytes=0-1")
        assert answer.status == 200
        assert len(answer.body) == 2 * path.stat().st_size
        assert answer.headers["etag"].startswith('W/"')
        assert not {"content-length", "content-range", "accept-ranges"} & set(answer.headers)


async def test_many_slow_clients_hold_no_threads(large: Path) -> None:
    """200 clients that do not read hold a file open each, and no thread."""
    app = serving(large)
    async with unread(app, 200) as exchanges:
        assert thread_work().files.borrowed_tokens == 0
        assert descriptors(large) == 200
        for exchange in exchanges:
            exchange.open_window()
            await exchange.done.wait()
    assert all(exchange.complete and exchange.body == LARGE for exchange in exchanges)
    assert descriptors(large) == 0


async def test_handlers_that_hold_up_threads_hold_up_no_file(path: Path) -> None:
    """Files have threads of their own: all of trio's may be taken."""
    limiter = trio.to_thread.current_default_thread_limiter()
    for number in range(int(limiter.total_tokens)):
        limiter.acquire_on_behalf_of_nowait(number)
    try:
        with trio.fail_after(PATIENCE):
            assert (await get(serving(path))).body == path.read_bytes()
    finally:
        for number in range(int(limiter.total_tokens)):
            limiter.release_on_behalf_of(number)


async def test_the_error_names_what_happened(large: Path) -> None:
    """A file that was cut is an error that says so, for the log."""
    app = App()

    @app.get("/")
    async def file(request: Request) -> Response:
        response = await FileResponse(large).prepare(request.method, request.headers)
        os.truncate(large, 100_000)
        return response

    async with TestClient(app) as client:
        with pytest.raises(ContentLengthError, match="the file became shorter while it was sent"):
            await client.get("/")
