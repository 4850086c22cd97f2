"""The bytes of one client: turns, wakings, and what is known of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.server.http1.conftest import PATIENCE, cut_while_somebody_waits
from trioweb.io.transport import Watcher
from trioweb.server.streams import RECEIVE_SIZE
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import ClientLeftError


class Counter(Watcher):
    """Counts."""

    def __init__(self) -> None:
        self.left_count = 0

    def left(self) -> None:
        """Count."""
        self.left_count += 1


async def test_who_reads_can_be_woken_and_loses_nothing(pair: tuple[Wire, trio.SocketStream]) -> None:
    """A read that is woken returns nothing; the next one has the bytes."""
    wire, client = pair
    found: list[bytes | None] = []

    async def read() -> None:
        found.append(await wire.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        wire.wake()
    assert found == [None]
    await client.send_all(b"hello")
    assert await wire.read() == b"hello"
    assert wire.read_nowait() is None


@pytest.mark.parametrize("reset", [True, False])
async def test_whoever_waits_hears_of_a_cut(pair: tuple[Wire, trio.SocketStream], reset: bool) -> None:
    """A connection that is cut ends a read and a write that wait; and cutting it again is nothing."""
    wire, _ = pair
    await cut_while_somebody_waits(wire, reset=reset)
    wire.cut(reset=True)
    assert await wire.read() == b""
    assert wire.read_nowait() == b""
    assert wire.has_left()
    with pytest.raises(ClientLeftError):
        await wire.write(b"x", b"", b"")


async def test_a_client_that_left_is_seen_by_who_reads(pair: tuple[Wire, trio.SocketStream]) -> None:
    """The end of what a client sends is read as nothing, by who waits and by who only looks."""
    wire, client = pair
    assert not wire.has_left()
    await client.send_eof()
    with trio.fail_after(PATIENCE):
        while not wire.has_left():
            await trio.sleep(0.001)
    assert wire.read_nowait() == b""
    assert wire.broken


async def test_a_client_that_leaves_is_told_of(pair: tuple[Wire, trio.SocketStream]) -> None:
    """With a poller, whoever watches hears of it though nobody reads; once nobody watches, nobody hears."""
    wire, client = pair
    watcher = Counter()
    wire.watch(watcher)
    await client.send_all(b"more")
    await trio.testing.wait_all_tasks_blocked()
    assert (watcher.left_count, wire.broken) == (0, False)
    await client.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert (watcher.left_count, wire.broken) == ((1, True) if wire.is_watched else (0, False))


async def test_one_that_has_left_is_told_of_at_once(pair: tuple[Wire, trio.SocketStream]) -> None:
    """Whoever begins to watch when the client has left already hears of it then."""
    wire, client = pair
    await client.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    watcher = Counter()
    wire.watch(watcher)
    assert watcher.left_count == wire.is_watched


async def test_nobody_watches_any_more(pair: tuple[Wire, trio.SocketStream]) -> None:
    """Where nobody watches, a client that says it will send no more can still be answered."""
    wire, client = pair
    watcher = Counter()
    wire.watch(watcher)
    wire.watch(None)
    await client.send_all(b"last words")
    await client.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    wire.deserted()
    assert (watcher.left_count, wire.broken) == (0, False)
    assert await wire.read() == b"last words"
    await wire.write(b"", b"answer", b"")
    assert await client.receive_some() == b"answer"
    assert await wire.read() == b""


async def test_what_is_read_in_parts_is_all_there(pair: tuple[Wire, trio.SocketStream]) -> None:
    """More than one read takes, and what comes while it is read: every byte, and then the end."""
    wire, client = pair
    size = 5 * RECEIVE_SIZE
    received = 0

    async def send() -> None:
        for _ in range(3):
            await client.send_all(bytes(size))
            await trio.testing.wait_all_tasks_blocked()
        await client.send_eof()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while part := await wire.read():
                received += len(part)
    assert received == 3 * size


async def test_a_read_that_is_cancelled_loses_nothing(pair: tuple[Wire, trio.SocketStream]) -> None:
    """The next one has what has come meanwhile."""
    wire, client = pair
    with trio.move_on_after(0.01) as scope:
        await wire.read()
    assert scope.cancelled_caught
    await client.send_all(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert await wire.read() == b"x"


async def test_who_looked_waits_all_the_same(pair: tuple[Wire, trio.SocketStream]) -> None:
    """What was taken without a wait is not waited for once more: a read waits for what comes next."""
    wire, client = pair
    await client.send_all(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert wire.read_nowait() == b"x"
    async with trio.open_nursery() as nursery:
        found: list[bytes | None] = []

        async def read() -> None:
            found.append(await wire.read())

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert not found
        await client.send_all(b"y")
    assert found == [b"y"]


async def test_whoever_reads_hears_of_a_close(pair: tuple[Wire, trio.SocketStream]) -> None:
    """A connection that is closed ends a read that waits."""
    wire, _ = pair

    async def read() -> None:
        assert await wire.read() == b""

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            wire.close()
    wire.close()


async def test_a_stream_is_released_for_others(pair: tuple[Wire, trio.SocketStream]) -> None:
    """What has not been read is there for who goes on with the stream."""
    wire, client = pair
    await client.send_all(b"x")
    await trio.testing.wait_all_tasks_blocked()
    stream = wire.release_stream()
    assert await stream.receive_some() == b"x"
    await stream.send_all(b"y")
    assert await client.receive_some() == b"y"
    with trio.move_on_after(0.01) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught
    wire.close()
    await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("end", ["close", "release"])
async def test_the_poller_forgets_what_is_over(pair: tuple[Wire, trio.SocketStream], end: str) -> None:
    """Nothing is told of a connection that is closed, or somebody else's, and nothing of it is kept."""
    wire, _ = pair
    assert wire._poller is None or len(wire._poller._listeners) == 1
    released = wire.release_stream() if end == "release" else None
    if released is None:
        wire.close()
    assert wire._poller is None or not wire._poller._listeners
    if released is not None:
        await trio.aclose_forcefully(released)
