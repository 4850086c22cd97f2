"""A mock clock and threads: time stands still while one is at work, whoever has started it, and only then."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import anyio
import anyio.to_thread
import pytest
import trio
import trio.testing
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route as StarletteRoute

from trioweb import App, FileResponse, Provide, Request, Response
from trioweb.testing import TestClient
from trioweb.testing.clock import PATIENCE

Clock = trio.testing.MockClock

WORK = 0.03
"""Real seconds that a thread is at work: long enough for a clock that jumps to jump far."""


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


@pytest.fixture
async def client(app: App) -> AsyncIterator[TestClient]:
    """A client of the app."""
    async with TestClient(app) as client:
        yield client


# What the app runs for a handler


async def test_threads_hold_the_clock(app: App, client: TestClient, autojump_clock: Clock, tmp_path: Any) -> None:
    """A mock clock that jumps waits for the app's threads: for a plain function, a sync generator, and a file."""
    (tmp_path / "file").write_bytes(bytes(500_000))

    @app.get("/plain")
    def plain() -> str:
        time.sleep(0.02)
        return "done"

    @app.get("/stream")
    def stream() -> Iterator[str]:
        for _ in range(5):
            time.sleep(0.005)
            yield "x" * 40_000

    @app.get("/file")
    async def file() -> Response:
        return FileResponse(tmp_path / "file")

    for each in (client, app.test_client()):
        assert (await each.get("/plain")).text == "done"
        assert len((await each.get("/stream")).content) == 200_000
        assert len((await each.get("/file")).content) == 500_000
    assert trio.current_time() == 0


async def test_a_thread_may_wait_for_the_clock(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A plain function that sleeps by trio's clock is not waited for in real time for ever."""

    @app.get("/")
    def handler() -> str:
        trio.from_thread.run(trio.sleep, 100)
        return str(trio.from_thread.run_sync(trio.current_time))

    assert (await client.get("/")).text == "100.0"


async def test_a_thread_may_wait_for_the_clock_often(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A plain function, and a generator, that sleep by trio's clock again and again take none of real time for it."""

    @app.get("/plain")
    def plain() -> str:
        for _ in range(100):
            trio.from_thread.run(trio.sleep, 10)
        return "done"

    @app.get("/stream")
    def stream() -> Iterator[str]:
        for _ in range(100):
            yield "."
            trio.from_thread.run(trio.sleep, 10)

    begin = time.perf_counter()
    assert (await client.get("/plain")).text == "done"
    assert trio.current_time() == 1000
    assert (await client.get("/stream")).text == "." * 100
    assert trio.current_time() == 2000
    assert time.perf_counter() - begin < PATIENCE * 10  # of 200 sleeps


async def test_a_thread_that_takes_its_time(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A plain function that works for a second is waited for, by the clock too."""

    @app.get("/")
    def handler() -> str:
        time.sleep(1)
        return "done"

    assert (await client.get("/")).text == "done"
    assert trio.current_time() == 0


# What a user runs


class Limiter:
    """A limiter as trio asks for one, of another kind than trio's own."""

    async def acquire_on_behalf_of(self, borrower: object) -> None:  # noqa: ARG002
        """See trio."""
        await trio.lowlevel.checkpoint()

    def release_on_behalf_of(self, borrower: object) -> None:
        """See trio."""


class Awaited:
    """What is awaited by way of another coroutine, as clients of databases have it."""

    def __await__(self) -> Any:
        return trio.to_thread.run_sync(time.sleep, WORK).__await__()


async def rows() -> AsyncIterator[int]:
    """A generator whose items come out of a thread."""
    await trio.to_thread.run_sync(time.sleep, WORK)
    yield 1


async def read_rows() -> None:
    """Iterate it."""
    async for _ in rows():
        pass


async def read_file() -> None:
    """A file of trio's, each call of which is one in a thread."""
    async with await trio.open_file(__file__) as file:
        assert await file.read()


async def work_by_turns() -> None:
    """A thread that works, asks the loop for something, and works again."""

    def work() -> None:
        time.sleep(WORK)
        trio.from_thread.run(trio.lowlevel.checkpoint)
        time.sleep(WORK)
        trio.from_thread.run_sync(len, "")
        time.sleep(WORK)

    await trio.to_thread.run_sync(work)


WAYS: dict[str, Callable[[], Awaitable[object]]] = {
    "plain": lambda: trio.to_thread.run_sync(time.sleep, WORK),
    "limiter": lambda: trio.to_thread.run_sync(time.sleep, WORK, limiter=trio.CapacityLimiter(1)),
    "other limiter": lambda: trio.to_thread.run_sync(time.sleep, WORK, limiter=Limiter()),  # type: ignore[arg-type]
    "abandoned where need be": lambda: trio.to_thread.run_sync(time.sleep, WORK, abandon_on_cancel=True),
    "named": lambda: trio.to_thread.run_sync(time.sleep, WORK, thread_name="worker"),
    "by turns": work_by_turns,
    "generator": read_rows,
    "awaitable": lambda: _await(Awaited()),
    "file": read_file,
    "anyio": lambda: anyio.to_thread.run_sync(time.sleep, WORK),
    "anyio's limiter": lambda: anyio.to_thread.run_sync(time.sleep, WORK, limiter=anyio.CapacityLimiter(1)),
    "starlette": lambda: run_in_threadpool(time.sleep, WORK),
}


async def _await(value: Awaitable[object]) -> None:
    await value


@pytest.mark.parametrize("way", WAYS)
async def test_a_user_s_thread_holds_the_clock(app: App, client: TestClient, autojump_clock: Clock, way: str) -> None:
    """Whatever a handler runs in a thread, and however it comes to that, the clock waits for it."""

    @app.get("/")
    async def handler() -> str:
        for _ in range(3):
            await WAYS[way]()
        return "done"

    for each in (client, app.test_client()):
        assert (await each.get("/")).text == "done"
    assert trio.current_time() == 0


async def sleep_in_thread() -> None:
    """What each of the places runs."""
    await trio.to_thread.run_sync(time.sleep, WORK)


async def by_dependency(request: Request) -> str:
    """A dependency that works in a thread."""
    await sleep_in_thread()
    return "done"


@pytest.mark.parametrize(
    "place", ["handler", "nursery", "app", "dependency", "middleware", "stream", "mounted", "starlette", "socket"]
)
async def test_wherever_a_thread_is_started(autojump_clock: Clock, place: str) -> None:  # noqa: C901 - of many places
    """A thread holds the clock wherever in the app its task is."""
    app, inner = App(), App()
    tasks_done = 0

    async def task() -> None:
        nonlocal tasks_done
        await sleep_in_thread()
        tasks_done += 1

    @app.get("/handler")
    @inner.get("/")
    async def handler() -> str:
        await sleep_in_thread()
        return "done"

    @app.get("/nursery")
    async def nursery(nursery: trio.Nursery) -> str:
        nursery.start_soon(task)
        return "done"

    @app.get("/app")
    async def in_app(request: Request) -> str:
        request.app.nursery.start_soon(task)
        while not tasks_done:
            await trio.sleep(0)
        return "done"

    @app.get("/dependency")
    async def dependency(value: Annotated[str, Provide(by_dependency)]) -> str:
        return value

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        await sleep_in_thread()
        yield "done"

    @app.middleware
    async def middleware(request: Request, call_next: Any) -> Any:
        if request.path == "/middleware":
            await sleep_in_thread()
            return "done"
        return await call_next(request)

    @app.websocket("/socket")
    async def socket(ws: Any) -> None:
        await ws.accept()
        await sleep_in_thread()
        await ws.send("done")

    async def starlette(request: StarletteRequest) -> PlainTextResponse:
        await run_in_threadpool(time.sleep, WORK)
        return PlainTextResponse("done")

    app.mount("/mounted", inner)
    app.mount("/starlette", Starlette(routes=[StarletteRoute("/", starlette)]))
    async with TestClient(app) as client:
        if place == "socket":
            async with client.websocket("/socket") as ws:
                assert await ws.receive() == "done"
        else:
            assert (await client.get(f"/{place}{'/' * (place in ('mounted', 'starlette'))}")).text == "done"
    assert trio.current_time() == 0
    assert tasks_done == (place in ("nursery", "app"))


async def test_a_lifespan_s_threads(autojump_clock: Clock) -> None:
    """Threads of a lifespan hold the clock while the app starts, runs and stops."""
    app = App()
    done = []

    @app.lifespan
    @asynccontextmanager
    async def life(app: App) -> AsyncIterator[None]:
        await sleep_in_thread()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep_in_thread)
            yield
        await sleep_in_thread()
        done.append("stopped")

    async with TestClient(app):
        pass
    assert (done, trio.current_time()) == (["stopped"], 0)


async def test_a_thread_that_was_at_work_before(app: App, autojump_clock: Clock) -> None:
    """A thread that was started before the client, by the test itself for instance, holds the clock as well."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep_in_thread)
        await trio.testing.wait_all_tasks_blocked()
        async with TestClient(app):
            with trio.move_on_after(1) as limit:
                await trio.to_thread.run_sync(time.sleep, WORK)
    assert (limit.cancelled_caught, trio.current_time()) == (False, 0)


async def test_a_thread_that_is_abandoned(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A thread that its task no longer waits for is at work until it has returned: the clock waits for it."""
    done = []

    def work() -> None:
        time.sleep(WORK)
        done.append("thread")

    @app.get("/")
    async def handler() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, work, abandon_on_cancel=True))
            await trio.sleep(0)
            while not trio.testing.active_thread_count():
                await trio.sleep(0)
            nursery.cancel_scope.cancel()
        assert not done
        await trio.sleep(1)
        return ",".join(done)

    assert (await client.get("/")).text == "thread"
    assert trio.current_time() == 1


# What does not hold it


@pytest.mark.parametrize("abandons", [False, True], ids=["waited for", "may be abandoned"])
async def test_a_user_s_thread_may_wait_for_the_clock(
    app: App, client: TestClient, autojump_clock: Clock, *, abandons: bool
) -> None:
    """A thread that has the loop sleep, in its own task or in one of the system's, holds nothing meanwhile."""

    def work(token: trio.lowlevel.TrioToken | None) -> None:
        time.sleep(WORK)
        trio.from_thread.run(trio.sleep, 100, trio_token=token)
        time.sleep(WORK)

    @app.get("/")
    async def handler() -> str:
        for token in (None, trio.lowlevel.current_trio_token()):
            await trio.to_thread.run_sync(work, token, abandon_on_cancel=abandons)
        return "done"

    begin = time.perf_counter()
    assert (await client.get("/")).text == "done"
    assert trio.current_time() == 200
    assert time.perf_counter() - begin < PATIENCE


async def test_one_that_waits_beside_one_that_works(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A thread at work holds the clock though another one waits for that: first the work, then the time."""
    seen = []

    def waits() -> None:
        trio.from_thread.run(trio.sleep, 1)
        seen.append(("waited", trio.from_thread.run_sync(trio.current_time)))

    def works() -> None:
        time.sleep(WORK)
        seen.append(("worked", trio.from_thread.run_sync(trio.current_time)))

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> str:
        nursery.start_soon(trio.to_thread.run_sync, waits)
        nursery.start_soon(trio.to_thread.run_sync, works)
        return "done"

    await client.get("/")
    while len(seen) < 2:
        await trio.sleep(0.1)
    assert seen == [("worked", 0), ("waited", 1)]


async def test_a_sync_stream_whose_client_does_not_read(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A thread that waits for a client to take what it gave does not hold the clock that this client sleeps by."""

    @app.get("/")
    def handler() -> Iterator[bytes]:
        for _ in range(10):
            yield bytes(100_000)

    begin = time.perf_counter()
    size = 0
    async with client.stream("GET", "/") as response:
        async for chunk in response.aiter_raw():
            size += len(chunk)
            await trio.sleep(1)
    assert size == 1_000_000
    assert time.perf_counter() - begin < PATIENCE


async def test_a_thread_without_an_end(
    app: App, client: TestClient, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that waits for the clock in a way that nobody can tell holds it for a while, once, and no longer."""
    monkeypatch.setattr("trioweb.testing.clock.PATIENCE", 0.5)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> str:
        async def feed() -> None:
            for _ in range(100):
                await trio.sleep(10)
            jobs.put("job")

        nursery.start_soon(feed)
        return await trio.to_thread.run_sync(jobs.get)

    begin = time.perf_counter()
    assert (await client.get("/")).text == "job"
    assert trio.current_time() == 1000
    assert time.perf_counter() - begin < 25  # 100 waits take 50


async def test_a_thread_that_asks_again_and_again(
    app: App, client: TestClient, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that asks the loop every now and then whether something has happened does not hold it for ever."""
    monkeypatch.setattr("trioweb.testing.clock.PATIENCE", 0.5)
    ready = trio.Event()

    def work() -> str:
        while not trio.from_thread.run_sync(ready.is_set):
            time.sleep(0.001)
        return "done"

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> str:
        async def later() -> None:
            await trio.sleep(10)
            ready.set()

        nursery.start_soon(later)
        return await trio.to_thread.run_sync(work)

    assert (await client.get("/")).text == "done"
    assert trio.current_time() == 10


async def test_the_loop_serves_sockets_meanwhile(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """While a thread holds the clock the loop goes on: it may be the loop that the thread talks to."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

    def ask() -> str:
        with socket.create_connection(listener.socket.getsockname(), PATIENCE) as peer:
            peer.sendall(b"x")
            return peer.recv(10).decode()

    async def echo(stream: trio.SocketStream) -> None:
        await stream.send_all(2 * await stream.receive_some())

    @app.get("/")
    async def handler() -> str:
        return await trio.to_thread.run_sync(ask)

    begin = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        assert (await client.get("/")).text == "xx"
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 0
    assert time.perf_counter() - begin < PATIENCE


async def test_threads_of_others_hold_nothing(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A thread that is none of trio's is not waited for."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(PATIENCE,))
    thread.start()
    try:
        begin = time.perf_counter()
        await trio.sleep(3600)
        assert time.perf_counter() - begin < PATIENCE / 2
    finally:
        over.set()
        thread.join()
