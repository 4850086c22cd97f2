"""Parts of files that the system sends by itself."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.io.test_disk import DATA
from trioweb.io import sendfile
from trioweb.io.sendfile import AHEAD, MOST_AT_ONCE, send_file
from trioweb.io.threads import thread_work

PATIENCE = 10.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the server's end, which never waits, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        server, _ = listener.accept()
    server.setblocking(False)
    with server, client:
        yield server, client


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A descriptor of a file of 1 MiB."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def fill(server: socket.socket) -> int:
    """Fill a connection up; returns how many bytes that takes."""
    size = 0
    try:
        while True:
            size += server.send(bytes(65536))
    except BlockingIOError:
        return size


def descriptors() -> list[str]:
    """What this process has open."""
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


async def receive(client: socket.socket, count: int) -> bytes:
    """So many bytes, or what there is before the end, read in a thread."""

    def read() -> bytes:
        data = b""
        while len(data) < count and (part := client.recv(count - len(data))):
            data += part
        return data

    return await trio.to_thread.run_sync(read)


async def test_a_part_of_a_file(pair: tuple[socket.socket, socket.socket], file: int) -> None:
    """A part of a file arrives as it is, in as many pieces as the socket needs, and nothing else of it."""
    server, client = pair
    position, stop = 12_345, 1_000_000
    before = descriptors()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                nonlocal position
                while position < stop:
                    position += await send_file(server, file, position, stop - position)
                server.shutdown(socket.SHUT_WR)

            nursery.start_soon(send)
            data = await receive(client, len(DATA))
    assert data == DATA[12_345:1_000_000]
    assert descriptors() == before


async def test_who_waits_for_the_client(pair: tuple[socket.socket, socket.socket], file: int) -> None:
    """A client that takes nothing is waited for without a thread; when it reads, it goes on."""
    server, client = pair
    size = fill(server)
    done = trio.Event()

    async def send() -> None:
        assert await send_file(server, file, 0, 100_000) > 0
        done.set()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not done.is_set()
            assert not thread_work().files.borrowed_tokens
            await receive(client, size)
            await done.wait()
    assert (await receive(client, 100)) == DATA[:100]


async def test_the_loop_goes_on_while_the_disk_is_slow(
    pair: tuple[socket.socket, socket.socket], file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system is asked in a thread of the files' own, at most 4 MiB at a time: meanwhile the loop turns."""
    server, _ = pair
    asked = []

    def slow(sock: int, descriptor: int, position: int, count: int) -> int:
        trio.from_thread.run(trio.lowlevel.checkpoint)  # as long as the loop does not turn this does not return
        assert trio.from_thread.run_sync(lambda: thread_work().files.borrowed_tokens) == 1
        asked.append((threading.get_ident() == loop, descriptor, position, count))
        return 7

    loop = threading.get_ident()
    monkeypatch.setattr(os, "sendfile", slow)
    with trio.fail_after(PATIENCE):
        assert await send_file(server, file, 5, 10**12) == 7
    assert asked == [(False, file, 5, MOST_AT_ONCE)]


async def test_what_comes_next_is_read_ahead(
    pair: tuple[socket.socket, socket.socket], file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system is told to have ready what comes behind the part that it has taken."""
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(sendfile, "_fadvise", lambda *args: asked.append(args))
    sent = await send_file(pair[0], file, 1000, 5000)
    assert asked == [(file, 1000 + sent, AHEAD, os.POSIX_FADV_WILLNEED)]
    monkeypatch.setattr(sendfile, "_fadvise", None)
    assert await send_file(pair[0], file, 1000, 5000) > 0


async def test_what_the_system_cannot_send(
    pair: tuple[socket.socket, socket.socket], file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent of what is no file, at the end of one, and where the system has no way for it."""
    server, client = pair
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb"):  # noqa: PTH123 - descriptors
        assert await send_file(server, reading, 0, 10) == 0
    assert await send_file(server, file, len(DATA), 10) == 0
    with monkeypatch.context() as patch:
        patch.delattr(os, "sendfile")
        assert await send_file(server, file, 0, 10) == 0
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)


@pytest.mark.parametrize("how", ["reset", "closed here"])
async def test_a_client_that_has_left(pair: tuple[socket.socket, socket.socket], file: int, how: str) -> None:
    """To a client that has left nothing is sent; that is for the next ordinary write to tell."""
    server, client = pair
    before = descriptors()
    if how == "reset":
        fill(server)
        client.close()  # with something unread
        before = [entry for entry in descriptors() if entry in before]
    else:
        server.close()
        before = descriptors()
    with trio.fail_after(PATIENCE):
        assert await send_file(server, file, 0, 1000) == 0
    assert descriptors() == before


async def test_a_connection_that_is_closed_meanwhile(
    pair: tuple[socket.socket, socket.socket], file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the socket ends a wait for its client; and what its number stands for afterwards gets no byte."""
    server, _ = pair
    fill(server)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                assert await send_file(server, file, 0, 1000) == 0

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.05)
            trio.lowlevel.notify_closing(server)
            server.close()
    other = tmp_path / "other"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        again, _ = listener.accept()
    again.setblocking(False)
    taken: list[int] = []

    def swap(sock: int, *args: Any) -> int:
        number = again.fileno()
        again.close()
        taken.append(os.open(other, os.O_RDWR | os.O_CREAT))
        assert number in taken  # else this shows nothing
        return own_sendfile(sock, *args)

    own_sendfile = os.sendfile
    monkeypatch.setattr(os, "sendfile", swap)
    with client:
        assert await send_file(again, file, 0, 1000) == 1000
        assert await receive(client, 2000) == DATA[:1000]  # it was under way
    assert other.read_bytes() == b""
    os.close(taken[0])


async def test_a_cancelled_wait_has_sent_nothing(pair: tuple[socket.socket, socket.socket], file: int) -> None:
    """A cancellation while the client takes nothing leaves nothing sent and nothing open."""
    server, client = pair
    size = fill(server)
    before = descriptors()
    with trio.move_on_after(0.05) as scope:
        await send_file(server, file, 0, 1000)
    assert scope.cancelled_caught
    assert descriptors() == before
    assert not any(await receive(client, size))
    server.send(b"end")
    assert await receive(client, 3) == b"end"


async def test_room_that_was_taken(
    pair: tuple[socket.socket, socket.socket], file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the socket has no room after all, it is waited for again."""
    calls: list[object] = []

    def answer(*args: object) -> int:
        calls.append(args)
        if len(calls) == 1:
            raise BlockingIOError
        return 7

    monkeypatch.setattr(os, "sendfile", answer)
    assert await send_file(pair[0], file, 0, 10) == 7
