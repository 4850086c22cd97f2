"""The writing end: whole messages, in turn, and nobody is waited for without a way out."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.http1.conftest import PATIENCE
from trioweb.server.wire import writing
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import FILE_UNSENT, JOINED, TURN, UNSENT, ClientLeftError

LARGE = 20_000_000
"""Bytes that the system does not take at once."""


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


async def drain(client: trio.SocketStream, size: int) -> bytes:
    """Read so many bytes."""
    data = bytearray()
    with trio.fail_after(PATIENCE):
        while len(data) < size:
            data += await client.receive_some(1 << 20)
    return bytes(data)


async def test_what_is_not_taken_at_once_waits(pair: tuple[Wire, trio.SocketStream]) -> None:
    """Parts leave as one, as far as they are taken now; the rest is pending until somebody writes it."""
    wire, client = pair
    assert wire.write_nowait([b"a", b"b" * JOINED, b"c"])
    assert not wire.rest
    assert await drain(client, JOINED + 2) == b"a" + b"b" * JOINED + b"c"
    parts: list[bytes | memoryview] = [b"<", bytes(LARGE), memoryview(b"|"), bytes(LARGE), b">"]
    assert not wire.write_nowait(parts)
    assert wire.rest
    assert not wire.writing
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.flushed)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.writing
        assert await drain(client, 2 * LARGE + 3) == b"".join(parts)
    assert (bool(wire.rest), wire.writing) == (False, False)


@pytest.mark.parametrize("size", [0, 1, JOINED, JOINED + 1, 1_000_000])
async def test_every_byte_in_order(pair: tuple[Wire, trio.SocketStream], size: int) -> None:
    """Whatever the size of a message, and of what stands around it."""
    wire, client = pair
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            for number in range(5):
                await wire.write(b"%d(" % number, b"x" * size, b")")

        nursery.start_soon(write)
        expected = b"".join(b"%d(%b)" % (number, b"x" * size) for number in range(5))
        assert await drain(client, len(expected)) == expected


async def test_flushing_can_be_given_up(pair: tuple[Wire, trio.SocketStream]) -> None:
    """A flush that is cancelled loses nothing, and breaks nothing: another one goes on."""
    wire, client = pair
    data = bytes(range(256)) * 80_000
    wire.write_nowait([data])
    for _ in range(3):
        with trio.move_on_after(0.01) as scope:
            await wire.flushed()
        assert scope.cancelled_caught
        assert wire.rest
        assert (wire.writing, wire.broken) == (False, False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.flushed)
        assert await drain(client, len(data)) == data


async def test_a_message_comes_behind_what_is_pending(pair: tuple[Wire, trio.SocketStream]) -> None:
    """Whoever writes writes first what others have left."""
    wire, client = pair
    wire.write_nowait([bytes(LARGE)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.write, b"<", b"next", b">")
        assert (await drain(client, LARGE + 6)).endswith(b"\0<next>")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "behind another"])
async def test_a_write_that_is_given_up_breaks_the_connection(
    pair: tuple[Wire, trio.SocketStream], waits: bool
) -> None:
    """Nobody can know what of it has left: nothing can follow."""
    wire, _ = pair
    if waits:
        wire.write_nowait([bytes(LARGE)])
    with trio.move_on_after(0.01) as scope:
        await wire.write(b"", bytes(LARGE), b"")
    assert scope.cancelled_caught
    assert wire.broken
    with pytest.raises(ClientLeftError):
        await wire.write(b"x", b"", b"")


async def test_who_writes_to_one_that_has_left_is_told(pair: tuple[Wire, trio.SocketStream]) -> None:
    """At once, or while he waits for it to take what there is."""
    wire, client = pair
    wire.write_nowait([bytes(LARGE)])
    with trio.fail_after(PATIENCE), pytest.raises(ClientLeftError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.aclose_forcefully, client)
            try:
                await wire.flushed()
            except ClientLeftError:
                assert wire.broken
                with pytest.raises(ClientLeftError):
                    wire.write_nowait([b"x"])
                with pytest.raises(ClientLeftError):
                    wire.send_nowait(b"x")
                nursery.cancel_scope.cancel()
                await trio.sleep(0)
        await wire.write(b"", b"x", b"")


async def test_nothing_more_is_written_to_one_that_is_broken(pair: tuple[Wire, trio.SocketStream]) -> None:
    """Whatever has broken it: nobody waits for it, though the system does not know."""
    wire, _ = pair
    wire.write_nowait([bytes(LARGE)])
    wire.broken = True
    with trio.fail_after(PATIENCE), pytest.raises(ClientLeftError):
        await wire.flushed()


async def test_a_file_is_gone_on_with_when_there_is_room_for_much(
    pair: tuple[Wire, trio.SocketStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the system sends a file it is asked seldom, for megabytes; what is written from memory waits for less."""
    wire, _ = pair
    seen: list[int] = []

    def unsent() -> int:
        return wire.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

    async def send_file(*_: Any) -> int:
        seen.append(unsent())
        await trio.lowlevel.checkpoint()
        return 4

    monkeypatch.setattr(writing, "send_file", send_file)
    assert unsent() == UNSENT
    assert await wire.send_file(0, 0, 4) == 4
    assert (seen, unsent()) == ([FILE_UNSENT], UNSENT)
