"""Dependencies: when they are entered and closed, and what they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.asgi import Exchange, ask, running
from trioweb import App, Form, HTTPError, Provide, Request, StreamingResponse, UploadFile
from trioweb.testing import TestClient

NOTES: list[Any] = []


@pytest.fixture(autouse=True)
def notes() -> list[Any]:
    """What has happened in this test."""
    NOTES.clear()
    return NOTES


async def database(request: Request, fails: bool = False) -> AsyncIterator[str]:
    """A dependency that is open during the request."""
    NOTES.append("db open")
    assert request.nursery
    try:
        async with trio.open_nursery() as nursery:  # its own, around the yield
            nursery.start_soon(trio.sleep_forever)
            yield "db"
            nursery.cancel_scope.cancel()
    except BaseException:
        NOTES.append("db told")
        raise
    finally:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        NOTES.append("db closed")
        if fails:
            raise OSError("while closing")


Database = Annotated[str, Provide(database)]


@asynccontextmanager
async def session(db: Database, user: str = "nobody") -> AsyncIterator[str]:
    """A dependency of a dependency."""
    NOTES.append("session open")
    try:
        yield f"{user} in {db}"
    finally:
        NOTES.append("session closed")


Session = Annotated[str, Provide(session)]


def settings() -> int:
    """A plain function, in a worker thread."""
    NOTES.append("settings")
    return trio.from_thread.run_sync(lambda: 5)


Settings = Annotated[int, Provide(settings)]
OPEN = ["db open", "session open"]
CLOSED = ["session closed", "db closed"]


async def forgiving() -> AsyncIterator[None]:
    """Catch what ends the request."""
    try:
        yield
    except HTTPError as error:
        NOTES.append(error.status)


async def refuses(db: Database) -> None:
    """Let nobody in."""
    raise HTTPError(401)


async def slow(db: Database) -> None:
    """Take long."""
    await trio.sleep(10)


async def lingers() -> AsyncIterator[None]:
    """Take long to be closed."""
    yield
    await trio.sleep(10)
    NOTES.append("lingered")


async def test_each_is_entered_once_and_closed_in_reverse() -> None:
    """Dependencies are entered before the handler, once a request however many ask, and closed in reverse order."""
    app = App()

    @app.get("/{id}")
    async def handler(s: Session, db: Database, n: Settings, again: Settings, id: int) -> list[Any]:  # noqa: A002
        NOTES.append("handler")
        return [s, db, n, again, id]

    answer = await ask(app, "/7", query_string=b"user=Ada")
    assert answer.body == b'["Ada in db","db",5,5,7]'
    assert [*OPEN, "settings", "handler", *CLOSED] == NOTES


@pytest.mark.parametrize("ending", ["leaves", "fails", "is too long"])
async def test_a_stream_that_breaks_ends_before_they_are_closed(autojump_clock: MockClock, ending: str) -> None:
    """So it is where the client leaves in the middle, or the stream fails: its clean-up has what it needs."""
    app = App()

    @app.get("/")
    async def handler(s: Session) -> StreamingResponse:
        headers = {"content-length": "14"} if ending == "is too long" else {}
        return StreamingResponse(chunks(s), headers=headers, media_type="text/plain")

    async def chunks(s: str) -> AsyncIterator[str]:
        try:
            yield s
            if ending == "is too long":
                yield s
            await (trio.sleep_forever() if ending == "leaves" else trio.sleep(1))
            raise ValueError("in the stream")
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            NOTES.append("stream closed")

    exchange = Exchange("GET", "/")
    async with running(app), trio.open_nursery() as nursery:
        nursery.start_soon(exchange.run, app)
        await trio.sleep(0.5)
        if ending == "leaves":
            exchange.leave()
    assert [*OPEN, "stream closed", "session closed", "db told", "db closed"] == NOTES
    assert not exchange.complete


async def transaction() -> AsyncIterator[None]:
    """A dependency that commits, unless it is told that something went wrong; and does not wait for anything."""
    try:
        yield
    except BaseException as error:
        NOTES.append(f"rolled back: {type(error).__name__}")
        raise
    else:
        NOTES.append("committed")


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("leaves", "rolled back: Cancelled"),
        ("takes nothing", "rolled back: Cancelled"),
        ("fails", "rolled back: ValueError"),
        ("ends", "committed"),
    ],
)
async def test_what_ends_a_stream_is_told(autojump_clock: MockClock, ending: str, told: str) -> None:
    """A dependency hears of a client that left a stream, or took nothing, also where it does not wait at its end."""
    app = App(write_timeout=5)

    @app.get("/")
    async def handler(it: Annotated[None, Provide(transaction)]) -> AsyncIterator[bytes]:
        yield b"first"
        if ending == "fails":
            raise ValueError("in the stream")
        if ending == "leaves":
            await trio.sleep_forever()
        if ending == "takes nothing":
            yield bytes(10_000_000)

    async with TestClient(app, raise_app_exceptions=False) as client, client.stream("GET", "/") as response:
        if ending == "takes nothing":
            await trio.sleep(10)
        elif ending != "leaves":
            with suppress(httpx.RemoteProtocolError):
                await response.aread()
    assert [told] == NOTES


async def test_a_handler_that_fails() -> None:
    """What ends the request is raised at the yield, before the error handler answers; the answer is the error's."""
    app = App()

    @app.get("/")
    async def handler(db: Database) -> None:
        raise HTTPError(418)

    @app.error_handler(418)
    async def answer(request: Request, error: HTTPError) -> str:
        NOTES.append("error handler")
        return "short and stout"

    assert (await ask(app, "/")).body == b"short and stout"
    assert NOTES == ["db open", "db told", "db closed", "error handler"]


async def test_one_that_catches_the_error_undoes_nothing() -> None:
    """A dependency that catches what the handler raised does not turn it into an answer."""
    app = App()

    @app.get("/")
    async def handler(it: Annotated[None, Provide(forgiving)]) -> None:
        raise HTTPError(404)

    assert (await ask(app, "/")).status == 404
    assert NOTES == [404]


async def test_one_that_cannot_be_had() -> None:
    """An error in a dependency is the request's answer; those before it are closed, the handler never runs."""
    app = App()

    @app.post("/")
    async def handler(it: Annotated[None, Provide(refuses)], name: Annotated[str, Form]) -> None:
        NOTES.append("handler")

    answer = await ask(app, "/", "POST", body=[b"not even a form"])
    assert answer.status == 401  # before the body was looked at
    assert NOTES[0] == "db open"
    assert NOTES[-1] == "db closed"
    assert "handler" not in NOTES


async def test_an_error_while_one_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """After the response has been sent it is logged; the client has its answer."""
    app = App()

    @app.get("/")
    async def handler(db: Database) -> str:
        return "sent"

    exchange = Exchange("GET", "/", query_string=b"fails=on")
    await exchange.run(app)
    assert exchange.body == b"sent"
    assert exchange.complete
    assert "while closing" in caplog.text


async def test_a_timeout_covers_them(autojump_clock: MockClock) -> None:
    """A handler that is cancelled by its timeout has its dependencies closed, and so has one that is slow to be had."""
    app = App(timeout=3)

    @app.get("/handler")
    async def handler(db: Database) -> None:
        await trio.sleep(10)

    @app.get("/dependency")
    async def dependent(it: Annotated[None, Provide(slow)]) -> None: ...

    for path in ("/handler", "/dependency"):
        NOTES.clear()
        assert (await ask(app, path)).status == 503
        assert NOTES == ["db open", "db told", "db closed"]


async def test_a_handler_may_answer_with_what_they_hold(autojump_clock: MockClock) -> None:
    """A timeout is for the handler: a stream that takes longer than it did still has what it needs."""
    app = App()

    @app.get("/", timeout=5)
    async def handler(db: Database) -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            for _ in range(3):
                await trio.sleep(1)
                yield db

        return StreamingResponse(chunks())

    assert (await ask(app, "/")).body == b"dbdbdb"
    assert NOTES == ["db open", "db closed"]


async def test_a_plain_handler_and_a_file() -> None:
    """A plain `def` gets a form's files too, and reads them from its thread; afterwards they are gone."""
    app = App()
    kept: list[UploadFile] = []

    @app.post("/")
    def handler(file: UploadFile, n: Settings) -> bytes:
        kept.append(file)
        return trio.from_thread.run(file.read)

    body = b'--X\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 2_000_000 + b"\r\n--X--"
    headers = [(b"content-type", b"multipart/form-data; boundary=X")]
    assert (await ask(app, "/", "POST", headers=headers, body=[body])).body == b"x" * 2_000_000
    await kept[0].seek(0)
    with pytest.raises(RuntimeError, match="gone when its request has ended"):
        await kept[0].read()


async def test_a_timeout_does_not_cut_their_end_short(autojump_clock: MockClock) -> None:
    """A timeout is for the handler and its response: what is closed after that may take its time."""
    app = App(timeout=3)

    @app.get("/")
    async def handler(it: Annotated[None, Provide(lingers)]) -> str:
        return "sent"

    assert (await ask(app, "/")).body == b"sent"
    assert NOTES == ["lingered"]
