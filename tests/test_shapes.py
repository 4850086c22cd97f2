"""What holds for every shape of a handler, wherever its app runs."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.shapes import Shape, depending
from tests.sites import MOMENT, PATIENCE, SITES, mounted
from trioweb import (
    App,
    CSVResponse,
    EventStreamResponse,
    FileResponse,
    HTTPError,
    JSONLinesResponse,
    Request,
    Response,
    StreamingResponse,
)
from trioweb.middleware import CallNext

USER: ContextVar[str] = ContextVar("user", default="nobody")
Log = pytest.LogCaptureFixture


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Any:
    """Where an app runs: in process, and on both servers."""
    return SITES[request.param]


def errors(caplog: Log) -> list[str]:
    """What was logged as an error."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def happens(event: trio.Event) -> None:
    """Wait for it, and not for ever."""
    with trio.fail_after(PATIENCE):
        await event.wait()


async def settle() -> None:
    """Wait until nobody has anything to do, what goes over the loopback included."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked(MOMENT)


async def stands_still(count: Callable[[], int]) -> None:
    """Wait until something that is counted has begun, and is counted no more."""
    before = 0
    with trio.fail_after(PATIENCE):
        while before == 0 or before != count():
            before = count()
            await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("value", "status", "media_type", "body"),
    [
        ("text", 200, "text/plain; charset=utf-8", b"text"),
        ({"a": 1}, 200, "application/json", b'{"a":1}'),
        (bytes(300_000), 200, "application/octet-stream", bytes(300_000)),
        (None, 204, None, b""),
        (Response("made", 201), 201, "text/plain; charset=utf-8", b"made"),
    ],
    ids=["text", "JSON", "large", "none", "response"],
)
async def test_a_value_becomes_the_response(
    app: App, shape: Shape, site: Any, value: Any, status: int, media_type: str | None, body: bytes
) -> None:
    """What a handler returns is the response; HEAD has its head alone."""

    async def handler() -> Any:
        return value

    shape.add(app, handler)
    async with site(app) as here:
        for _ in range(2):
            talk = await here.ask(shape)
            assert (talk.status, talk.headers.get("content-type"), talk.body) == (status, media_type, body)
            assert talk.whole
        if shape.method == "GET":
            talk = await here.ask(shape, method="HEAD")
            assert (talk.status, talk.headers.get("content-type"), talk.body) == (status, media_type, b"")


class KnownError(Exception):
    """What has an error handler."""


# A value, or an error


@pytest.mark.parametrize(
    ("error", "status", "logged"),
    [(HTTPError(418, "no coffee"), 418, 0), (KnownError("known"), 409, 0), (KeyError("a secret"), 500, 1)],
    ids=["HTTPError", "known", "fault"],
)
@pytest.mark.parametrize("begins", [False, True], ids=["handler", "stream"])
async def test_an_error_is_answered(
    app: App, shape: Shape, site: Any, error: Exception, status: int, logged: int, begins: bool, caplog: Log
) -> None:
    """An error handler answers what a handler raises, or a stream before its first chunk; a fault is logged once."""

    async def handler() -> str:
        raise error

    async def stream() -> AsyncIterator[str]:
        await trio.sleep(0)
        raise error
        yield ""

    @app.error_handler(KnownError)
    async def known(request: Request, error: KnownError) -> Response:
        return Response(f"{request.path}: {error}", 409)

    shape.add(app, stream if begins else handler, "/x")
    async with site(app) as here:
        talk = await here.ask(shape, "/x")
        assert (talk.status, talk.whole) == (status, True)
        await here.quiet()
    assert {418: b"no coffee", 409: b"/x: known", 500: b""}[status] in talk.body
    assert b"secret" not in talk.body
    assert len(errors(caplog)) == logged
    if logged:
        assert errors(caplog)[0].startswith(f"{shape.method} /x: ")
        assert "KeyError: 'a secret'" in caplog.text


async def test_what_a_task_fails_with_is_the_request_s(app: App, shape: Shape, site: Any) -> None:
    """A group that holds one error reaches its error handler as that error."""

    async def fail() -> None:
        raise HTTPError(409, "deep")

    async def handler() -> None:
        async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
            outer.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)

    shape.add(app, handler)
    async with site(app) as here:
        talk = await here.ask(shape)
    assert (talk.status, b"deep" in talk.body) == (409, True)


async def test_a_head_that_cannot_be_sent_is_a_500(app: App, shape: Shape, site: Any, caplog: Log) -> None:
    """A content-length that the body does not have is told in the log, and a 500."""

    async def handler() -> Response:
        return Response("abc", headers={"content-length": "10"})

    shape.add(app, handler)
    async with site(app) as here:
        assert (await here.ask(shape)).status == 500
        await here.quiet()
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize("kind", [StreamingResponse, EventStreamResponse])
async def test_a_source_that_is_not_sent_is_closed(app: App, shape: Shape, site: Any, kind: type[Response]) -> None:
    """HEAD, a status without a body and one that cannot be sent: what holds the chunks is let go of, unasked."""
    closed: list[int] = []

    class Chunks:
        """Async chunks that hold something."""

        def __init__(self, status: int) -> None:
            self.status = status

        def __aiter__(self) -> Chunks:
            return self

        async def __anext__(self) -> str:
            if self.status == 1000:  # where the head does not leave first
                return "x"
            raise AssertionError("nobody asks for one")

        async def aclose(self) -> None:
            """Let go."""
            closed.append(self.status)

    statuses = (200, 204, 304, 1000)
    for status in statuses:

        async def handler(status: int) -> Response:
            response = kind(Chunks(status))
            response.status_code = status
            return response

        shape.add(app, partial(handler, status), f"/{status}")
    async with site(app) as here:
        for status in statuses[shape.method != "GET" :]:
            talk = await here.ask(shape, f"/{status}", method="HEAD" if status == 200 else None)
            assert (talk.status, talk.whole) == (status if status < 1000 else 500, True)
        await here.quiet()
    assert closed == list(statuses)[shape.method != "GET" :]


async def test_a_file(app: App, shape: Shape, site: Any, tmp_path: Path) -> None:
    """A file is sent with its length; one that is missing is an error as any other."""
    (tmp_path / "file.txt").write_bytes(b"file" * 50_000)

    @app.error_handler(FileNotFoundError)
    async def not_found(request: Request, error: FileNotFoundError) -> Response:
        return Response("gone", 410)

    async def handler() -> Response:
        return FileResponse(tmp_path / "file.txt")

    async def missing() -> Response:
        return FileResponse(tmp_path / "missing")

    shape.add(app, handler)
    shape.add(app, missing, "/missing")
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.headers["content-length"], talk.body) == ("200000", b"file" * 50_000)
        assert talk.headers["content-type"] == "text/plain; charset=utf-8"
        assert (await here.ask(shape, "/missing")).status == 410


async def test_a_body_that_nobody_reads(app: App, shape: Shape, site: Any) -> None:
    """A request whose body is not read, or not all of it, is answered, by a value and by a stream."""

    async def handler() -> str:
        return "answered"

    async def stream() -> AsyncIterator[str]:
        yield "answ"
        await trio.sleep(0.01)
        yield "ered"

    shape.add(app, handler)
    shape.add(app, stream, "/stream")
    async with site(app) as here:
        for path in ("/", "/stream"):
            talk = await here.ask(shape, path, "POST", padding=1_000_000)
            assert (talk.status, talk.body, talk.whole) == (200, b"answered", True)


async def test_requests_do_not_mix(app: App, shape: Shape, site: Any) -> None:
    """Each of many requests at the same time has a response, and context variables, of its own."""
    names = itertools.count()
    count, waiting = 10, trio.Event()

    async def arrive() -> str:
        name = str(next(names))
        USER.set(name)
        if name == str(count - 1):
            waiting.set()
        await waiting.wait()
        return name

    async def handler() -> list[str]:
        return [await arrive(), USER.get()]

    async def stream() -> AsyncIterator[str]:
        name = await arrive()
        yield name
        await trio.sleep(0)
        yield f" {USER.get()}"

    shape.add(app, handler)
    shape.add(app, stream, "/stream")
    async with site(app) as here:
        talks = [await here.send(shape) for _ in range(count)]
        bodies = {(await talk.end()).body.decode() for talk in talks}
        assert bodies == {f'["{number}","{number}"]' for number in range(count)}
        names, waiting = itertools.count(), trio.Event()
        talks = [await here.send(shape, "/stream") for _ in range(count)]
        bodies = {(await talk.end()).body.decode() for talk in talks}
        assert bodies == {f"{number} {number}" for number in range(count)}


async def test_what_a_handler_sets(app: App, shape: Shape, site: Any) -> None:
    """A context variable that a handler sets is seen by the stream that it returns, and by what stands around it."""

    async def letters() -> AsyncIterator[str]:
        yield USER.get()
        USER.set("of the stream")
        await trio.sleep(0)
        yield f", {USER.get()}"

    async def handler() -> AsyncIterator[str]:
        USER.set("of the handler")
        return letters()

    async def note(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers["x-user"] = USER.get()
        return response

    shape.add(app, handler)
    shape.add(app, handler, "/noted", middleware=[note])
    async with site(app) as here:
        assert (await here.ask(shape)).body == b"of the handler, of the stream"
        talk = await here.ask(shape, "/noted")
        assert (talk.headers["x-user"], talk.body) == ("of the handler", b"of the handler, of the stream")


async def test_a_wait_of_a_handler_s_own(app: App, shape: Shape, site: Any) -> None:
    """What is sent and raised into a handler that waits arrives there."""

    async def handler() -> list[str]:
        steps = []
        with trio.move_on_after(0) as scope:
            await trio.sleep_forever()
        steps.append(f"moved on: {scope.cancelled_caught}")
        with pytest.raises(trio.TooSlowError), trio.fail_after(0):
            await trio.sleep_forever()
        steps.append(await trio.to_thread.run_sync(lambda: "thread"))
        return steps

    shape.add(app, handler)
    async with site(app) as here:
        assert (await here.ask(shape)).body == b'["moved on: True","thread"]'


# A client that leaves


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("method", "option", "cancelled"),
    [("GET", None, True), ("POST", None, False), ("POST", True, True), ("GET", False, False)],
)
async def test_who_is_cancelled_when_the_client_leaves(
    app: App, shape: Shape, site: Any, method: str, option: bool | None, cancelled: bool, reset: bool, caplog: Log
) -> None:
    """Handlers of safe methods are cancelled, others if they ask for it; nothing of it is an error."""
    if method not in shape.methods:
        pytest.skip("it is written for another method")
    if site is mounted and option is False:
        pytest.skip("the app around it has a say")
    begun, ended, go_on = trio.Event(), trio.Event(), trio.Event()
    ends: list[str] = []

    async def handler() -> str:
        begun.set()
        try:
            await go_on.wait()
            ends.append("done")
        except trio.Cancelled:
            ends.append("cancelled")
            raise
        finally:
            ended.set()
        return "done"

    shape.add(app, handler, cancel_on_disconnect=option)
    async with site(app) as here:
        talk = await here.send(shape, method=method)
        await happens(begun)
        await talk.leave(reset=reset)
        if not cancelled:
            await settle()
            go_on.set()
        await happens(ended)
        await here.quiet()
    assert (ends, errors(caplog)) == (["cancelled" if cancelled else "done"], [])


@pytest.mark.parametrize("where", ["sleeps", "waits for room", "before its first chunk"])
async def test_a_stream_whose_client_leaves(app: App, shape: Shape, site: Any, where: str, caplog: Log) -> None:
    """Its generator is cancelled where it is and closed in the task it lived in, whatever the method; silently."""
    ended, tasks, seen = trio.Event(), [], []
    given = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal given
        tasks.append(trio.lowlevel.current_task())
        try:
            if where != "before its first chunk":
                yield b"first"
            given += 1
            while where == "waits for room":
                yield bytes(50_000)
                given += 1
            await trio.sleep_forever()
        except BaseException as error:
            seen.append(type(error))
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            tasks.append(trio.lowlevel.current_task())
            ended.set()

    shape.add(app, stream)
    async with site(app) as here:
        for method in shape.methods:
            given, ended = 0, trio.Event()
            tasks.clear()
            seen.clear()
            talk = await here.send(shape, method=method, reads=where != "waits for room")
            await stands_still(lambda: given)  # noqa: B023
            assert 1 <= given < 500
            await talk.leave()
            await happens(ended)
            await here.quiet()
            assert (len(set(tasks)), seen) == (1, [trio.Cancelled])
    assert errors(caplog) == []


async def test_a_client_that_leaves_a_clean_up(app: App, shape: Shape, site: Any, caplog: Log) -> None:
    """A clean-up behind a shield is waited for, and nothing is said of the client that has left meanwhile."""
    cleaning, go_on, log = trio.Event(), trio.Event(), []

    async def stream() -> AsyncIterator[str]:
        try:
            yield "x"
        finally:
            cleaning.set()
            with trio.CancelScope(shield=True):
                await go_on.wait()
            log.append("cleaned up")

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.send(shape)
        await happens(cleaning)
        await talk.leave()
        await settle()
        go_on.set()
        await here.quiet()
    assert (log, errors(caplog)) == (["cleaned up"], [])


@pytest.mark.parametrize("where", ["the generator", "a dependency"])
async def test_what_must_be_done_is_done(app: App, shape: Shape, site: Any, where: str, caplog: Log) -> None:
    """What is done in a shield when the client has left is done to its end, though it waits."""
    saved, done = 0, trio.Event()

    async def save() -> None:
        nonlocal saved
        with trio.move_on_after(PATIENCE, shield=True):
            for _ in range(3):
                await trio.sleep(0.001)
                saved += 1
            done.set()

    async def given() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await save()

    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"token"
                await trio.sleep(0.001)
        finally:
            if where == "the generator":
                await save()

    write = shape.write
    if where == "a dependency":
        shape = replace(shape, write=lambda scenario: depending(write(scenario), given))
    shape.add(app, stream)
    async with site(app) as here:
        for method in shape.methods:
            saved, done = 0, trio.Event()
            talk = await here.send(shape, method=method)
            await talk.until(b"token")
            await talk.leave(reset=True)
            await happens(done)
            await here.quiet()
            assert saved == 3
    assert errors(caplog) == []


async def test_a_generator_that_swallows_its_end(app: App, shape: Shape, site: Any, caplog: Log) -> None:
    """A generator that catches all that is raised in it, for a while, is closed all the same, and silently."""
    ended, swallowed = trio.Event(), 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal swallowed
        try:
            while swallowed < 5:
                try:
                    yield b"x" * 65536
                    await trio.sleep(0)
                except BaseException:
                    swallowed += 1
        finally:
            ended.set()

    async def pass_on(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk

    async def mapped() -> Response:
        response = StreamingResponse(stream())
        response.map_stream(pass_on)
        return response

    shape.add(app, stream)
    shape.add(app, mapped, "/mapped")
    async with site(app) as here:
        for path in ("/", "/mapped"):
            ended, swallowed = trio.Event(), 0
            talk = await here.send(shape, path)
            await talk.until(b"x")
            await talk.leave()
            await happens(ended)
            await here.quiet()
            assert (swallowed, errors(caplog)) == (5, [])


async def test_what_is_raised_in_a_clean_up_is_logged(app: App, shape: Shape, site: Any, caplog: Log) -> None:
    """An error in the ``finally`` of a stream whose client has left is no departure."""

    async def stream() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep_forever()
        finally:
            raise KeyError("clean-up")

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.send(shape)
        await talk.until(b"x")
        await talk.leave()
        await here.quiet()
    assert "KeyError: 'clean-up'" in caplog.text
    assert len(errors(caplog)) == 1


# Streams


async def test_a_stream_arrives_whole(app: App, shape: Shape, site: Any) -> None:
    """All that is yielded arrives in order with its media type and its end; HEAD starts nothing."""
    begun = 0

    async def stream() -> AsyncIterator[str]:
        nonlocal begun
        begun += 1
        for number in range(500):
            yield f"{number},"
            if number % 7 == 0:
                await trio.sleep(0)
            if number % 200 == 0:
                await trio.sleep(0.01)

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.status, talk.whole) == (200, True)
        assert talk.body.decode() == "".join(f"{number}," for number in range(500))
        assert talk.headers["content-type"] == "text/plain; charset=utf-8"
        if shape.method == "GET":
            talk = await here.ask(shape, method="HEAD")
            assert (talk.status, talk.body, "content-type" in talk.headers) == (200, b"", False)
    assert begun == 1


async def letters() -> AsyncIterator[str]:
    """What most of these stream."""
    yield "a"
    await trio.sleep(0)
    yield "b"


async def same(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A map that changes nothing."""
    async for chunk in chunks:
        yield chunk


def fed() -> trio.MemoryReceiveChannel[str]:
    """A channel with two values."""
    send, receive = trio.open_memory_channel[str](2)
    send.send_nowait("a")
    send.send_nowait("b")
    send.close()
    return receive


def mapped() -> Response:
    """A response with a map."""
    response = Response(content=letters())
    response.map_stream(same)
    return response


TEXT = "text/plain; charset=utf-8"
KINDS: dict[str, tuple[Callable[[], Any], str, bytes]] = {
    "generator": (letters, TEXT, b"ab"),
    "sync": (lambda: iter("ab"), TEXT, b"ab"),
    "channel": (fed, TEXT, b"ab"),
    "list": (lambda: StreamingResponse(["a", "b"]), TEXT, b"ab"),
    "function": (lambda: StreamingResponse(letters), TEXT, b"ab"),
    "length": (lambda: StreamingResponse(letters(), headers={"content-length": "2"}), TEXT, b"ab"),
    "mapped": (mapped, TEXT, b"ab"),
    "events": (lambda: EventStreamResponse(letters()), "text/event-stream", b"data: a\n\ndata: b\n\n"),
    "CSV": (lambda: CSVResponse([], header=["a"]), "text/csv; charset=utf-8", b"a\r\n"),
    "lines": (lambda: JSONLinesResponse(letters()), "application/x-ndjson", b'"a"\n"b"\n'),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_all_that_streams_arrives_whole(app: App, shape: Shape, site: Any, kind: str) -> None:
    """A stream of any kind arrives whole, with its media type."""
    make, media_type, body = KINDS[kind]

    async def handler() -> Any:
        return make()

    shape.add(app, handler)
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.status, talk.headers["content-type"], talk.body, talk.whole) == (200, media_type, body, True)


async def test_a_stream_without_a_chunk(app: App, shape: Shape, site: Any) -> None:
    """It is an empty 200 without a content type."""

    async def stream() -> AsyncIterator[str]:
        await trio.sleep(0)
        if not app:
            yield ""

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.status, talk.body, talk.whole, "content-type" in talk.headers) == (200, b"", True, False)


async def test_a_chunk_waits_for_no_other(app: App, shape: Shape, site: Any) -> None:
    """What was yielded before a wait has left by then, whatever is waited for: time, an event, a task, a thread."""
    go_on = trio.Event()

    async def child() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on.wait)

    async def stream() -> AsyncIterator[str]:
        for wait in (go_on.wait, child):
            yield "a"
            yield "b"
            await wait()
        yield "c"

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.send(shape)
        for text in (b"ab", b"abab"):
            await talk.until(text)
            assert talk.body == text
            go_on.set()
            go_on = trio.Event()
        assert (await talk.end()).body == b"ababc"


async def test_what_piles_up_leaves_as_one(app: App, shape: Shape, site: Any) -> None:
    """Chunks without a wait between them are few messages, and a large one leaves in slices."""

    async def stream() -> AsyncIterator[bytes]:
        await trio.sleep(0)
        for _ in range(1000):
            yield b"x"

    async def large() -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield bytes(range(256)) * 400

        return StreamingResponse(chunks(), buffer_size=10_000)

    shape.add(app, stream)
    shape.add(app, large, "/large")
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.body, len(talk.chunks) < 20) == (b"x" * 1000, True)
        talk = await here.ask(shape, "/large")
        assert talk.body == bytes(range(256)) * 400
        assert max(map(len, talk.chunks)) <= 2 * 10_000


async def test_a_slow_client_gets_all(app: App, shape: Shape, site: Any) -> None:
    """A client that reads now and then gets every byte, while the generator waits for room, and for else."""

    async def stream() -> AsyncIterator[bytes]:
        for number in range(60):
            yield b"%06d" % number * 5000
            if number % 20 == 0:
                await trio.sleep(0.01)

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.send(shape, reads=False)
        while not talk.over:
            await talk.more()
            if len(talk.body) % 7 == 0:
                await trio.sleep(0.001)
        assert talk.body == b"".join(b"%06d" % number * 5000 for number in range(60))


@pytest.mark.parametrize("what", ["deadline", "nursery", "cancelled"])
async def test_a_yield_is_an_await(app: App, shape: Shape, site: Any, what: str) -> None:
    """What happens while a generator waits for room is raised at its `yield`; no chunk is lost, and it goes on."""
    passed = trio.Event()
    given = 0

    async def fail() -> None:
        await trio.sleep(0.1)
        raise KeyError("child")

    async def stream() -> AsyncIterator[bytes]:
        nonlocal given
        if what == "nursery":
            with pytest.raises(ExceptionGroup) as caught:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fail)
                    while True:
                        given += 1
                        yield b"[%06d]" % given * 1250
            assert caught.group_contains(KeyError)
        else:
            scopes.append(trio.CancelScope(deadline=trio.current_time() + 0.1 if what == "deadline" else math.inf))
            with scopes[0]:
                while True:
                    given += 1
                    yield b"[%06d]" % given * 1250
        passed.set()
        yield b"[END]"

    scopes: list[trio.CancelScope] = []
    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.send(shape, reads=False)
        if what == "cancelled":
            await stands_still(lambda: given)
            scopes[0].cancel()
        await happens(passed)
        await talk.end()
    assert talk.whole
    assert talk.body == b"".join(b"[%06d]" % number * 1250 for number in range(1, given + 1)) + b"[END]"


async def test_what_was_given_leaves_while_the_generator_waits(app: App, shape: Shape, site: Any) -> None:
    """What the client has not taken yet leaves when it reads on, though the generator waits for something else."""
    go_on = trio.Event()

    async def stream() -> AsyncIterator[bytes]:
        yield bytes(5_000_000) + b"!"
        await go_on.wait()
        yield b"?"

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.send(shape, reads=False)
        await trio.sleep(0.01)
        while len(talk.body) <= 5_000_000:
            await talk.more()
        assert talk.body.endswith(b"\0!")
        go_on.set()
        await talk.end()
        assert (len(talk.body), talk.whole) == (5_000_002, True)


async def test_one_that_only_lets_others_run(app: App, shape: Shape, site: Any) -> None:
    """Chunks between checkpoints leave while the generator goes on, and other requests are answered meanwhile."""
    go_on = False

    async def stream() -> AsyncIterator[str]:
        yield "x"
        while not go_on:
            await trio.lowlevel.checkpoint()
        yield "y"

    async def flood() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    async def handler() -> str:
        return "plain"

    shape.add(app, stream)
    shape.add(app, flood, "/flood")
    shape.add(app, handler, "/plain")
    async with site(app) as here:
        greedy = await here.send(shape, "/flood")
        await greedy.until(b"xx")
        for _ in range(10):
            await greedy.more()
            assert (await here.ask(shape, "/plain")).body == b"plain"
        await greedy.leave()
        talk = await here.send(shape)
        await talk.until(b"x")
        go_on = True
        assert (await talk.end()).body == b"xy"


async def test_a_task_of_the_generator_s_own(app: App, shape: Shape, site: Any) -> None:
    """A nursery of the generator's own feeds it, and closes before the stream ends."""

    async def feed(send: trio.MemorySendChannel[str]) -> None:
        with send:
            for letter in "abc":
                await trio.sleep(0.001)
                await send.send(letter)

    async def stream() -> AsyncIterator[str]:
        send, receive = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, send)
            async for letter in receive:
                yield letter

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.body, talk.whole) == (b"abc", True)


@pytest.mark.parametrize("waits", [False, True])
async def test_an_error_after_the_first_chunk(app: App, shape: Shape, site: Any, waits: bool, caplog: Log) -> None:
    """What was accepted arrives, the end does not; it is logged once, with how far the response has come."""
    tasks = []

    async def stream() -> AsyncIterator[str]:
        tasks.append(trio.lowlevel.current_task())
        try:
            yield "0123456789"
            if waits:
                await trio.sleep(0.01)
            raise KeyError("late")
        finally:
            tasks.append(trio.lowlevel.current_task())

    shape.add(app, stream)
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.status, talk.body, talk.whole) == (200, b"0123456789", False)
        await here.quiet()
    assert errors(caplog) == [f"{shape.method} /: the response was broken off after 10 bytes"]
    assert "KeyError: 'late'" in caplog.text
    assert tasks[0] is tasks[1]


async def test_an_error_in_band(app: App, shape: Shape, site: Any, caplog: Log) -> None:
    """What `on_error` makes of an error ends the stream whole; where it fails, or says `None`, it is broken off."""

    async def chunks() -> AsyncIterator[str]:
        yield "x"
        raise KeyError("late")

    def fail(error: Exception) -> str:
        raise ValueError("in on_error")

    for path, on_error in (("/told", lambda _: "!"), ("/none", lambda _: None), ("/fails", fail)):

        async def handler(on_error: Any = on_error) -> Response:
            return StreamingResponse(chunks(), on_error=on_error)

        shape.add(app, partial(handler, on_error), path)
    async with site(app) as here:
        talks = [await here.ask(shape, path) for path in ("/told", "/none", "/fails")]
        await here.quiet()
    assert [(talk.body, talk.whole) for talk in talks] == [(b"x!", True), (b"x", False), (b"x", False)]
    assert len(errors(caplog)) == 3
    assert "in on_error" in caplog.text


@pytest.mark.parametrize("chunk", [3, b"y", object()])
async def test_a_chunk_of_another_kind(app: App, shape: Shape, site: Any, chunk: object, caplog: Log) -> None:
    """What cannot be sent is raised where it was yielded; uncaught, it is an error as any other."""
    caught: list[str] = []

    async def stream() -> AsyncIterator[Any]:
        yield "x"
        try:
            yield chunk
        except TypeError as error:
            caught.append(str(error))
        yield "z"

    async def uncaught() -> AsyncIterator[Any]:
        yield "x"
        yield chunk

    shape.add(app, stream)
    shape.add(app, uncaught, "/uncaught")
    async with site(app) as here:
        talk = await here.ask(shape)
        assert (talk.body, talk.whole) == (b"xz", True)
        talk = await here.ask(shape, "/uncaught")
        assert (talk.body, talk.whole) == (b"x", False)
        await here.quiet()
    [text] = caught
    assert text.startswith(f"{shape.method} /: ")
    assert type(chunk).__name__ in text
    assert len(errors(caplog)) == 1


async def test_a_generator_that_has_ended(app: App, shape: Shape, site: Any, caplog: Log) -> None:
    """A generator that is returned twice is an error that says so, and not an empty body that looks whole."""

    async def letters() -> AsyncIterator[str]:
        yield "a"

    kept = letters()

    async def handler() -> AsyncIterator[str]:
        return kept

    shape.add(app, handler)
    async with site(app) as here:
        assert (await here.ask(shape)).body == b"a"
        assert (await here.ask(shape)).status == 500
        await here.quiet()
    assert "has ended already: make one for each response" in caplog.text


@pytest.mark.parametrize("ends", ["well", "badly", "left"])
async def test_the_order_of_closing(app: App, shape: Shape, site: Any, ends: str) -> None:
    """A stream's generator ends first, then the work in the request's nursery, and last what dependencies hold."""
    log: list[str] = []

    async def work() -> None:
        try:
            await finish.wait()
        finally:
            log.append("task")

    async def held(nursery: trio.Nursery) -> AsyncIterator[None]:
        nursery.start_soon(work)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            log.append("dependency")

    async def stream() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep(0.01)
            if ends == "badly":
                raise KeyError("late")
            if ends == "left":
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            log.append("generator")
            finish.set()

    finish = trio.Event()
    shape.add(app, stream, dependency=held)
    async with site(app) as here:
        talk = await here.send(shape)
        await talk.until(b"x")
        if ends == "left":
            await talk.leave()
        else:
            assert (await talk.end()).whole is (ends == "well")
        await here.quiet()
    if ends == "well":
        assert log == ["generator", "task", "dependency"]
    else:  # whose tasks are cancelled at once
        assert sorted(log) == ["dependency", "generator", "task"]
        assert log.index("generator") < log.index("dependency")


# Limits


async def test_the_timeout_of_a_route(app: App, shape: Shape, site: Any, caplog: Log) -> None:
    """A handler that has not answered is cancelled, for a 503; a stream on its way is broken off."""
    log: list[str] = []

    async def handler() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("handler")

    async def stream() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep_forever()
        finally:
            log.append("stream")

    async def late() -> AsyncIterator[str]:
        await trio.sleep_forever()
        yield "x"

    for path, scenario in (("/", handler), ("/stream", stream), ("/late", late)):
        shape.add(app, scenario, path, timeout=0.05)
    async with site(app) as here:
        assert (await here.ask(shape)).status == 503
        assert (await here.ask(shape, "/late")).status == 503
        assert errors(caplog) == []
        talk = await here.ask(shape, "/stream")
        assert (talk.status, talk.body, talk.whole) == (200, b"x", False)
        await here.quiet()
    assert log == ["handler", "stream"]
    assert f"{shape.method} /stream took longer than its timeout of 0.05 s" in caplog.text


@pytest.mark.parametrize("limit", ["idle_timeout", "max_duration", "write_timeout"])
async def test_the_limits_of_a_stream(app: App, shape: Shape, site: Any, limit: str, caplog: Log) -> None:
    """A stream that outlasts one is broken off, its generator closed, and the log names the limit."""
    ended = trio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            while limit != "idle_timeout":
                yield bytes(50_000) if limit == "write_timeout" else b"x"
                await trio.sleep(0)
            await trio.sleep_forever()
        finally:
            ended.set()

    async def handler() -> Response:
        return StreamingResponse(chunks(), **{limit: 0.1})  # type: ignore[arg-type]

    shape.add(app, handler)
    async with site(app) as here:
        talk = await here.send(shape, reads=limit != "write_timeout")
        if limit != "write_timeout":
            await talk.end()
        await happens(ended)
        if limit == "write_timeout":
            await talk.end()
        assert not talk.whole
        await here.quiet()
    assert f"{limit} of 0.1 s" in caplog.text
    assert len(errors(caplog)) == 1


# A server that stops


@pytest.mark.parametrize("at_stop", [None, "end", "finish"])
async def test_a_stop_and_events(app: App, shape: Shape, site: Any, at_stop: Any) -> None:
    """Events that answer a GET end at a stop, others finish, and `at_stop` says otherwise; all end cleanly."""

    async def events() -> AsyncIterator[str]:
        yield "first"
        await app.stopping.wait()
        await trio.sleep(0.05)
        yield "last"

    async def handler() -> EventStreamResponse:
        return EventStreamResponse(events()) if at_stop is None else EventStreamResponse(events(), at_stop=at_stop)

    shape.add(app, handler)
    async with site(app) as here:
        if not here.served:
            pytest.skip("nobody stops")
        talk = await here.send(shape)
        await talk.until(b"data: first\n\n")
        here.stop()
        await talk.end()
        finishes = at_stop == "finish" or (at_stop is None and shape.method == "POST")
        assert (talk.whole, b"data: last" in talk.body) == (True, finishes)


async def test_a_stop_and_other_streams(app: App, shape: Shape, site: Any) -> None:
    """They come to their end within the grace."""

    async def stream() -> AsyncIterator[str]:
        yield "first"
        await app.stopping.wait()
        await trio.sleep(0.01)
        yield "last"

    shape.add(app, stream)
    async with site(app) as here:
        if not here.served:
            pytest.skip("nobody stops")
        talk = await here.send(shape)
        await talk.until(b"first")
        here.stop()
        talk = await talk.end()
        assert (talk.body, talk.whole) == (b"firstlast", True)


async def test_pings(app: App, shape: Shape, site: Any) -> None:
    """The head of an event stream leaves at once with its retry, and pings come while it has nothing to say."""
    go_on = trio.Event()

    async def events() -> AsyncIterator[str]:
        await go_on.wait()
        yield "late"

    async def handler() -> Response:
        return EventStreamResponse(events(), ping=0.02, retry=1000)

    shape.add(app, handler)
    async with site(app) as here:
        talk = await here.send(shape)
        await talk.until(b"retry: 1000\n\n: ping\n\n: ping\n\n")
        go_on.set()
        await talk.end()
        assert talk.headers["content-type"] == "text/event-stream"
    assert talk.body.replace(b": ping\n\n", b"") == b"retry: 1000\n\ndata: late\n\n"
