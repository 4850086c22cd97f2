"""Files that are opened, measured and read in worker threads."""

from __future__ import annotations

import errno
import io
import os
import socket
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from trioweb.ground.errors import ContentLengthError
from trioweb.ground.http.conditions import RESOLUTION
from trioweb.ground.http.ranges import Span
from trioweb.io import disk, sendfile
from trioweb.io.disk import DiskFile, Facts, ObjectFile, Readable, open_regular, read_spans
from trioweb.io.sendfile import Extent

DATA = bytes(range(256)) * 4096


def opened(path: Path) -> DiskFile:
    """A file, open."""
    file, _ = open_regular(str(path), read=True, follow=True)
    assert file is not None
    return file


def descriptors(path: Path) -> int:
    """How many descriptors of this process are of a file."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += entry.readlink() == path
        except FileNotFoundError:
            continue
    return count


def wait_for_strong_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so much time pass that what is there has not changed lately."""
    monkeypatch.setattr(disk, "time", SimpleNamespace(time=lambda: time.time() + 2 * RESOLUTION))


async def read_all(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """All of it."""
    return b"".join([chunk async for chunk in chunks])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 1 MiB."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "link to a fifo", "device"])
@pytest.mark.parametrize("read", [True, False])
def test_only_regular_files(tmp_path: Path, kind: str, read: bool) -> None:
    """What is no regular file is refused without being opened, at once."""
    path = tmp_path / "x"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to("fifo")
    with pytest.raises(IsADirectoryError, match="is not a regular file"):
        open_regular(str(path), read=read, follow=True)


def test_a_fifo_with_a_writer_is_left_alone(tmp_path: Path) -> None:
    """A writer that waits at a FIFO goes on waiting: nobody opens its other end."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(IsADirectoryError):
        open_regular(str(path), read=True, follow=True)
    with pytest.raises(OSError, match="No such device") as caught:
        os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    assert caught.value.errno == errno.ENXIO


def test_what_is_swapped_while_it_is_opened(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO that takes a file's place between the look and the opening is noticed, and closed again."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    own_open = os.open
    monkeypatch.setattr(os, "open", lambda _, *args, **options: own_open(fifo, *args, **options))
    with pytest.raises(IsADirectoryError, match="is not a regular file"):
        open_regular(str(path), read=True, follow=True)
    assert descriptors(fifo) == 0


def test_links_are_followed_where_they_may_be(path: Path, tmp_path: Path) -> None:
    """A symbolic link is a file where links are followed, and an ELOOP where not."""
    link = tmp_path / "link"
    link.symlink_to(path)
    file, status = open_regular(str(link), read=True, follow=True)
    assert file is not None
    file.close()
    assert status.st_size == len(DATA)
    for read in (True, False):
        with pytest.raises(OSError, match="symbolic links") as caught:
            open_regular(str(link), read=read, follow=False)
        assert caught.value.errno == errno.ELOOP


def test_a_look_opens_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is to be read nothing is opened, and what may not be read is refused all the same."""
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("opened"))
    file, status = open_regular(str(path), read=False, follow=True)
    assert (file, status.st_size) == (None, len(DATA))
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(PermissionError):
        open_regular(str(path), read=False, follow=True)


def test_facts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The facts of a file are its size, when it was modified, and a tag that is weak as long as it is new."""
    status = path.stat()
    facts = Facts.of(status)
    assert (facts.size, facts.modified) == (len(DATA), status.st_mtime)
    assert facts.etag.startswith('W/"')
    assert Facts.of(status, "br").etag != facts.etag
    os.utime(path, (1000, 1000))
    assert Facts.of(path.stat()).etag.startswith('W/"')
    wait_for_strong_tags(monkeypatch)
    tag = Facts.of(path.stat()).etag
    assert tag.startswith('"')
    path.write_bytes(bytes(len(DATA)))
    os.utime(path, (1000, 1000))
    assert Facts.of(path.stat()).etag != tag


def test_descriptors_are_closed_once(path: Path) -> None:
    """A file is closed by its close, however often that is called, and with its object where it never was."""
    file = opened(path)
    assert descriptors(path) == 1
    file.close()
    file.close()
    assert descriptors(path) == 0
    file = opened(path)
    del file
    assert descriptors(path) == 0


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("buffer_size", [64, 65536, 10**9])
async def test_spans_are_read(path: Path, ready: bool, buffer_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans come in order, framed, in blocks of a bounded size, from memory and from a thread alike."""
    if not ready:
        monkeypatch.setattr(disk, "_NO_WAIT", None)
    spans = [Span(5, 300_005), Span(0, 1), Span(900_000, len(DATA)), Span(7, 7)]
    heads = [b"<1>", b"<2>", b"<3>", b"<4>"]
    chunks = [chunk async for chunk in read_spans(opened(path), spans, heads, b"<end>", DATA[5:9], buffer_size)]
    assert (
        b"".join(chunks)
        == b"".join(head + DATA[slice(*span)] for head, span in zip(heads, spans, strict=True)) + b"<end>"
    )
    assert max(map(len, chunks)) <= disk.MOST_BLOCK
    assert descriptors(path) == 0


async def test_what_is_in_memory_takes_no_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the system has in memory is read without a hop to a thread; only its close is one."""
    path.read_bytes()
    file = opened(path)
    if file.read_ready(0, memoryview(bytearray(1))) is None:
        pytest.skip("this file system does not tell whether it would wait")
    monkeypatch.setattr(file.__class__, "read", lambda *_: pytest.fail("a thread was asked"))
    assert await read_all(read_spans(file, [Span(0, len(DATA))], [], b"", b"", 65536)) == DATA


def test_what_would_wait_is_for_a_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in memory, or what nobody knows of, is not read on the loop; a file system is asked once."""
    file = opened(path)
    memory = memoryview(bytearray(10))
    calls = []

    def preadv(*args: object) -> int:
        calls.append(args)
        raise error

    monkeypatch.setattr(os, "preadv", preadv)
    error: OSError = BlockingIOError()
    assert file.read_ready(0, memory) is None
    assert file.read_ready(0, memory) is None
    error = OSError(errno.EOPNOTSUPP, "no")
    assert file.read_ready(0, memory) is None
    assert file.read_ready(0, memory) is None
    assert len(calls) == 3
    assert ObjectFile(io.BytesIO(b"x")).read_ready(0, memory) is None


async def test_threads_do_the_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a read would wait, a worker thread waits, one hop a block, and the loop goes on meanwhile."""
    threads: list[int] = []
    file = opened(path)
    file._waits = True
    own_read = DiskFile.read

    def read(self: DiskFile, position: int, count: int) -> bytes:
        threads.append(threading.get_ident())
        trio.from_thread.run(trio.lowlevel.checkpoint)  # as long as the loop does not turn this does not return
        return own_read(self, position, count)

    monkeypatch.setattr(DiskFile, "read", read)
    assert await read_all(read_spans(file, [Span(0, len(DATA))], [], b"", b"", 65536)) == DATA
    assert len(threads) == 8
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("heads", [[], [b"<1>"]])
@pytest.mark.parametrize("ready", [True, False])
async def test_a_file_that_becomes_shorter(path: Path, heads: list[bytes], ready: bool) -> None:
    """A file that is cut while it is sent is an error, never an end, and is closed."""
    file = opened(path)
    file._waits = not ready
    chunks = read_spans(file, [Span(0, len(DATA))], heads, b"<end>", b"", 65536)
    for _ in range(2):
        await anext(chunks)
    os.truncate(path, 200_000)
    with pytest.raises(ContentLengthError, match=r"became shorter .* ends \d+ bytes early"):
        await read_all(chunks)
    assert descriptors(path) == 0


async def test_a_file_that_grows(path: Path) -> None:
    """Of a file that grows no more is read than was promised."""
    chunks = read_spans(opened(path), [Span(0, len(DATA))], [], b"", b"", 65536)
    first = await anext(chunks)
    with path.open("ab") as more:
        more.write(b"more")
    assert first + await read_all(chunks) == DATA


async def test_a_reader_that_is_left(path: Path) -> None:
    """A reader that is closed, or cancelled while its thread reads, has closed its file."""
    chunks = read_spans(opened(path), [Span(0, len(DATA))], [], b"", b"", 65536)
    await anext(chunks)
    await chunks.aclose()
    assert descriptors(path) == 0

    class Slow(Readable):
        closed = 0

        def read(self, *_: object) -> bytes:
            trio.from_thread.run_sync(scope.cancel)
            assert not self.closed
            return b"x"

        def close(self) -> None:
            self.closed += 1

    slow: Readable = Slow()
    with trio.CancelScope() as scope:
        async with aclosing(read_spans(slow, [Span(0, 100)], [], b"", b"", 65536)) as chunks:
            async for _ in chunks:
                await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert isinstance(slow, Slow)
    assert slow.closed == 1


async def test_what_is_long_need_not_be_read(path: Path) -> None:
    """All between the first block of a span and its last may be an extent: what is not sent of that is read."""
    spans = [Span(3, len(DATA)), Span(0, 300_000), Span(7, 200_000)]
    heads = [b"<1>", b"<2>", b"<3>"]
    steps = iter([400_000, 100_000, 0])
    sent = b""
    extents = []
    async for piece in read_spans(opened(path), spans, heads, b"<end>", b"", 65536, extents=True):
        if isinstance(piece, Extent):
            extents.append((piece.start, piece.stop))
            step = next(steps)
            sent += DATA[piece.start : piece.start + step]
            piece.start += step
        else:
            sent += piece
    assert sent == b"".join(head + DATA[slice(*span)] for head, span in zip(heads, spans, strict=True)) + b"<end>"
    # After one that was not taken at all there is no other: what cannot be sent once can never be.
    first, last = 3 + 131_072, len(DATA) - 131_072
    assert extents == [(first, last), (first + 400_000, last), (first + 500_000, last)]
    assert descriptors(path) == 0


@pytest.mark.parametrize("size", [1, 131_072, 3 * 131_072])
async def test_what_is_short_is_read(path: Path, size: int) -> None:
    """A span of three blocks has no extent."""
    chunks = read_spans(opened(path), [Span(0, size)], [], b"", b"", 65536, extents=True)
    assert await read_all(chunks) == DATA[:size]


async def test_what_the_system_does_not_know_is_read() -> None:
    """A file object has no extent."""
    file = ObjectFile(io.BytesIO(DATA))
    chunks = read_spans(file, [Span(0, len(DATA))], [], b"", b"", 65536, extents=True)
    assert await read_all(chunks) == DATA


def test_what_follows_is_read_ahead(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a thread has read, the system is asked for what comes next."""
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(sendfile, "_fadvise", lambda *args: asked.append(args))
    file = opened(path)
    assert file.read(100, 50) == DATA[100:150]
    assert asked == [(file.descriptor, 150, sendfile.AHEAD, os.POSIX_FADV_WILLNEED)]


@pytest.mark.parametrize("taken", [0, 100_000])
async def test_an_extent_of_a_file_that_becomes_shorter(path: Path, taken: int) -> None:
    """Where a file ends within an extent, however much of that was sent, it has become shorter."""
    pieces = read_spans(opened(path), [Span(0, len(DATA))], [], b"", b"", 65536, extents=True)
    await anext(pieces)
    extent = await anext(pieces)
    os.truncate(path, extent.start + taken)
    extent.start += taken
    with pytest.raises(ContentLengthError, match="became shorter"):
        async for piece in pieces:
            assert isinstance(piece, Extent)  # and nothing comes of it any more
    assert descriptors(path) == 0
