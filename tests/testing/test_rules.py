"""The rules of streams in process, by the test client: each beside its test on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trioweb import App, HTTPError
from trioweb.testing import TestClient

Clock = trio.testing.MockClock


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


@pytest.fixture
async def client(app: App) -> AsyncIterator[TestClient]:
    """A client that sees what any client would."""
    async with TestClient(app, raise_app_exceptions=False) as client:
        yield client


async def test_rule_1_one_task(app: App, client: TestClient) -> None:
    """A generator is started, resumed and closed in one task, also when its client leaves."""
    tasks = []

    @app.get("/")
    async def handler() -> AsyncIterator[str]:
        try:
            while True:
                tasks.append(trio.lowlevel.current_task())
                yield "x" * 100_000
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()
            tasks.append(trio.lowlevel.current_task())

    async with client.stream("GET", "/") as response:
        for _ in range(5):
            await anext(response.aiter_raw())
            break
    assert len(tasks) >= 3
    assert len(set(tasks)) == 1


async def test_rule_2_a_nursery_around_a_yield(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """A child's failure is raised at the `yield` that waits for a test that does not read, and nothing is lost."""
    accepted = 0

    async def fail() -> None:
        await trio.sleep(5)
        raise KeyError

    @app.get("/")
    async def handler() -> AsyncIterator[str]:
        nonlocal accepted
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                while True:
                    accepted += 1
                    yield "x" * 65536
        except* KeyError:
            pass
        yield "after"

    async with client.stream("GET", "/") as response:
        await trio.sleep(10)
        body = await response.aread()
    assert body == b"x" * 65536 * accepted + b"after"


async def test_rule_3_bounded_in_bytes(app: App, client: TestClient) -> None:
    """Of a hundred megabytes no more than the message, the buffer and one chunk are made before they are read."""
    made = 0

    @app.get("/")
    async def handler() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(100_000):
            made += 1000
            yield bytes(1000)

    async with client.stream("GET", "/") as response:
        await trio.testing.wait_all_tasks_blocked()
        assert made <= 2 * 65536 + 2 * 1000
        largest = 0
        async for chunk in response.aiter_raw():
            largest = max(largest, len(chunk))
            if made > 1_000_000:
                break
    assert largest <= 2 * 65536


async def test_rule_4_coalesced_never_delayed(app: App, client: TestClient, autojump_clock: Clock) -> None:
    """Chunks that pile up leave as one message; a chunk leaves at the moment of its `yield`."""

    @app.get("/many")
    async def many() -> AsyncIterator[str]:
        for _ in range(1000):
            yield "line\n"

    @app.get("/slow")
    async def slow() -> AsyncIterator[str]:
        for _ in range(3):
            yield "x"
            await trio.sleep(3000)

    async with client.stream("GET", "/many") as response:
        assert len([chunk async for chunk in response.aiter_raw()]) <= 3
    start, times = trio.current_time(), []
    async with client.stream("GET", "/slow") as response:
        async for _ in response.aiter_raw():
            times.append(trio.current_time() - start)
    assert times == [0, 3000, 6000]


async def test_rule_5_an_error_before_the_first_chunk(app: App, client: TestClient) -> None:
    """An error before the first chunk has its status; a stream without a chunk is an empty 200."""

    @app.get("/error")
    async def error() -> AsyncIterator[str]:
        if app:
            raise HTTPError(418)
        yield ""

    @app.get("/empty")
    async def empty() -> AsyncIterator[str]:
        if not app:
            yield ""

    assert (await client.get("/error")).status_code == 418
    response = await client.get("/empty")
    assert (response.status_code, response.content) == (200, b"")


async def test_rule_6_an_error_after_the_first_chunk(app: App, client: TestClient) -> None:
    """An error after the first chunk breaks the response off, with what was accepted before it."""

    @app.get("/")
    async def handler() -> AsyncIterator[str]:
        yield "accepted"
        raise ZeroDivisionError

    received = b""
    with pytest.raises(httpx.RemoteProtocolError, match="broken off after 8 bytes"):
        async with client.stream("GET", "/") as response:
            async for chunk in response.aiter_raw():
                received += chunk
    assert received == b"accepted"


@pytest.mark.parametrize("how", ["leaves", "half-closes"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_rule_7_a_client_that_leaves(
    app: App, client: TestClient, autojump_clock: Clock, caplog: Any, how: str, method: str
) -> None:
    """A client that leaves, or ends its side, cancels a generator that sleeps an hour, at once and without a log."""
    closed = []

    @app.route("/", methods=[method])
    async def handler() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep(3600)
        finally:
            closed.append(trio.current_time())

    async with client.stream(method, "/") as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"x"
        await trio.sleep(10)
        if how == "half-closes":
            response.extensions["conversation"].half_close()
            await trio.testing.wait_all_tasks_blocked()
            assert closed == [10]
    assert closed == [10]
    assert not caplog.records
