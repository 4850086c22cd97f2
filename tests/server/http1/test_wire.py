"""The bytes of one client: turns, wakings, and what is known of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.server.http1.conftest import PATIENCE
from trioweb.server.http1.wire import TURN, ClientLeftError, Wire


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Wire, trio.SocketStream]]:
    """A connection: the server's end, and the client's."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.testing.open_stream_to_socket_listener(listener)
    wire = Wire(await listener.accept())
    yield wire, client
    wire.close()
    await client.aclose()
    await listener.aclose()


async def test_one_who_writes_and_writes_lets_others_run(pair: tuple[Wire, trio.SocketStream]) -> None:
    """A task whose writes never wait still takes turns with others."""
    wire, _ = pair
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        before = turns
        begin = trio.current_time()
        while trio.current_time() < begin + 20 * TURN:
            await wire.take_turns()
        assert turns > before + 2
        nursery.cancel_scope.cancel()


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


async def test_waking_a_reader_does_not_disturb_a_writer(pair: tuple[Wire, trio.SocketStream]) -> None:
    """A write that waits goes on when somebody who reads is woken, and arrives whole."""
    wire, client = pair
    size = 20_000_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.write, b"<", bytes(size), b">")
        nursery.start_soon(wire.read)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            wire.wake()
            await trio.testing.wait_all_tasks_blocked()
        received = 0
        while received < size + 2:
            part = await client.receive_some(1 << 20)
            received += len(part)
    assert part.endswith(b">")


async def test_writers_and_readers_wait_for_their_turn(pair: tuple[Wire, trio.SocketStream]) -> None:
    """What two tasks write does not get mixed up; of two that read, one gets the bytes, and the other looks again."""
    wire, client = pair
    found: list[bytes | None] = []

    async def read() -> None:
        found.append(await wire.read())

    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b", b"c"):
            nursery.start_soon(wire.write, b"", letter * 5_000_000, b"")
        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        data = bytearray()
        while len(data) < 15_000_000:
            data += await client.receive_some(1 << 20)
        await client.send_all(b"x")
    assert sorted({data[begin : begin + 5_000_000].count(data[begin]) for begin in (0, 5_000_000, 10_000_000)}) == [
        5_000_000
    ]
    assert sorted(found, key=bool) == [None, b"x"]


@pytest.mark.parametrize("reset", [True, False])
async def test_whoever_waits_hears_of_a_cut(pair: tuple[Wire, trio.SocketStream], reset: bool) -> None:
    """A connection that is cut ends a read and a write that wait; and cutting it again is nothing."""
    wire, _ = pair
    errors: list[Exception] = []

    async def write() -> None:
        try:
            await wire.write(b"", bytes(20_000_000), b"")
        except OSError as error:
            errors.append(error)

    async def read() -> None:
        assert await wire.read() == b""

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            wire.cut(reset=reset)
    wire.cut(reset=True)
    assert len(errors) == 1
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


async def test_a_file_waits_for_its_turn(pair: tuple[Wire, trio.SocketStream], tmp_path: Path) -> None:
    """What the system sends stands in line with what is written, and waits for the client as that does."""
    wire, client = pair
    path = tmp_path / "file"
    path.write_bytes(b"file")
    size = 16 * 2**20
    with path.open("rb") as file, trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                assert await wire.send_file(file.fileno(), 0, 4) == 4
                await wire.write(b"", b"end", b"")

            nursery.start_soon(wire.write, b"", bytes(size), b"")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(send)
            data = b""
            while len(data) < size + 7:
                data += await client.receive_some()
        assert data[size:] == b"fileend"
        wire.cut(reset=False)
        assert await wire.send_file(file.fileno(), 0, 4) == 0


async def test_nothing_follows_what_was_interrupted(pair: tuple[Wire, trio.SocketStream], tmp_path: Path) -> None:
    """After a write that a cancellation has cut short the system sends nothing: it would stand amid something else."""
    wire, client = pair
    path = tmp_path / "file"
    path.write_bytes(b"file")
    with trio.move_on_after(0.05):
        await wire.write(b"", bytes(16 * 2**20), b"")
    with path.open("rb") as file:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send_file, file.fileno(), 0, 4)
            await trio.testing.wait_all_tasks_blocked()
        wire.close()
    data = b""
    while part := await client.receive_some():
        data += part
    assert not any(data)
