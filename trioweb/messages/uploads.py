"""Files that came with a form, and where their bytes are kept. Files are touched in worker threads only.

Memory: a form keeps ``SPOOL_SIZE`` bytes of its files in memory. Past that, what piles up goes to one temporary file,
which has no name in any directory: it is gone with the process that has it open, whatever ends that. One file for all
files of a form, since a process may open far fewer files than a form may bring.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import threading
from collections.abc import AsyncIterable
from typing import IO, Final

import trio

from trioweb.io.threads import in_thread

SPOOL_SIZE: Final = 2**20
"""Bytes of a form's files that are held in memory; past them, what one write to a temporary file takes. A request."""
PIECE: Final = 2**18
"""Bytes of an uploaded file that its iteration gives at a time."""
PIECES: Final = 1024
"""Pieces that one system call writes: what Linux allows. They are not joined, which would copy them."""
BATCH: Final = 2**20
"""Bytes that one hop to a worker thread writes, or copies, when an upload is saved."""


class Spool:
    """The bytes of all files of one form, one behind the other. One task at a time adds to it."""

    __slots__ = ("_closed", "_file", "_lock", "_pending", "_written", "pending_size")

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._written = 0
        self._file: IO[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self.pending_size = 0
        """Bytes that wait for ``flush``, or for the end of the request."""

    @property
    def size(self) -> int:
        """Bytes of all files so far."""
        return self._written + self.pending_size

    @property
    def on_disk(self) -> bool:
        """Whether there is a temporary file."""
        return self._file is not None

    def add(self, data: bytes) -> None:
        """Take some bytes. Does not block; the caller flushes when more than ``SPOOL_SIZE`` is pending."""
        self._pending.append(data)
        self.pending_size += len(data)

    async def flush(self) -> None:
        """Write what is pending to the temporary file. A cancellation waits for a write that has begun."""
        if self.pending_size:
            await in_thread(self._write)

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the request
        # Written at its place: a write that failed halfway, on a full disk, leaves nothing that would be found twice.
        _write_all(self._file, self._pending, self._written)
        self._written += self.pending_size
        self._pending.clear()
        self.pending_size = 0

    async def read(self, start: int, size: int) -> bytes:
        """So many bytes from ``start`` on, none of them missing."""
        if self._closed:
            raise _gone()
        if self._file is None:
            if len(self._pending) > 1:
                self._pending = [b"".join(self._pending)]
            await trio.lowlevel.checkpoint()
            return b"".join(self._pending)[start : start + size]
        await self.flush()
        return await in_thread(self._read, start, size)

    def _read(self, start: int, size: int) -> bytes:
        pieces = []
        with self._lock:  # else the number of a file that is closed meanwhile could be another's
            if self._file is None:
                raise _gone()
            while size and (piece := os.pread(self._file.fileno(), size, start)):
                pieces.append(piece)
                start, size = start + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Forget everything and remove the file. Safe to call twice; a cancellation does not keep it from that."""
        self._closed = True
        self._pending.clear()
        if self._file is not None:
            with trio.CancelScope(shield=True):  # in a thread: to give back gigabytes takes a file system a while
                await in_thread(self._remove)

    def _remove(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()


def _gone() -> RuntimeError:
    return RuntimeError("an uploaded file is gone when its request has ended: save it, or read it, before that")


class UploadFile:
    """A file that came with a form. It can be read until its request has ended; then it is removed.

    Iterate it with ``async for`` for its bytes in pieces, from where the last ``read`` ended.

    Attributes:
        filename: as the client named it, without directories; ``""`` where a browser's user has chosen none. It is
            what a client says: never use it as a path by itself, since it may be ``.htaccess`` as well.
        content_type: what the client says of it, or ``None``.
        size: its bytes.
    """

    __slots__ = ("_at", "_spool", "_start", "content_type", "filename", "size")

    def __init__(self, spool: Spool, start: int, size: int, filename: str, content_type: str | None) -> None:
        self._spool = spool
        self._start = start
        self._at = 0
        self.size = size
        self.filename = filename
        self.content_type = content_type

    async def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, all that are left unless given; ``b""`` at the end.

        Waits for a worker thread where the file is on disk. A cancellation loses nothing.

        Raises:
            RuntimeError: its request has ended.
        """
        left = self.size - self._at
        size = left if size < 0 else min(size, left)
        data = await self._spool.read(self._start + self._at, size)
        self._at += len(data)
        return data

    async def seek(self, offset: int) -> None:
        """Go to a place for the next ``read``, counted from the file's beginning."""
        await trio.lowlevel.checkpoint()
        self._at = max(0, min(offset, self.size))

    def __aiter__(self) -> UploadFile:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.read(PIECE):
            return data
        raise StopAsyncIteration

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Write all of it to a file, in worker threads; returns its bytes.

        The file has its name only when it is whole: one of that name is then replaced. A cancellation, or an error,
        leaves nothing behind.

        Args:
            path: where to; not made from ``filename``, which a client has chosen.

        Raises:
            OSError: it cannot be written.
            RuntimeError: its request has ended.
        """
        return await save_to(path, UploadFile(self._spool, self._start, self.size, "", None))

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!r} {self.content_type} {self.size} bytes>"


async def save_to(path: str | os.PathLike[str], chunks: AsyncIterable[bytes]) -> int:
    """Write chunks to a file that has its name only when it is whole. What is no regular file is written to as it is.

    Returns:
        The bytes written.

    Raises:
        OSError: it cannot be written.
        Exception: what ``chunks`` raised.
    """
    file, unfinished, final = await in_thread(_open, os.fspath(path))
    written, pending, size = 0, list[bytes](), 0
    try:
        async for chunk in chunks:
            pending.append(chunk)
            size += len(chunk)
            if size >= BATCH:
                await in_thread(_write_all, file, pending)
                written += size
                pending, size = [], 0
        await in_thread(_finish, file, pending, unfinished, final)
    except BaseException:
        with trio.CancelScope(shield=True):
            await in_thread(_discard, file, unfinished)
        raise
    return written + size


def _open(path: str) -> tuple[IO[bytes], str | None, str]:
    final = os.path.realpath(path)
    if os.path.isdir(final):  # noqa: PTH112 - `path` may be bytes, as everywhere else
        raise IsADirectoryError(f"{path!r} is a directory: save an upload under a name in it")
    if os.path.lexists(final) and not stat.S_ISREG(os.lstat(final).st_mode):
        return open(final, "wb", buffering=0), None, final  # noqa: PTH123
    unfinished = os.path.join(os.path.dirname(final), f".{secrets.token_hex(8)}.part")  # noqa: PTH118, PTH120
    return open(unfinished, "xb", buffering=0), unfinished, final  # noqa: PTH123


def _write_all(file: IO[bytes], pieces: list[bytes], offset: int | None = None) -> None:
    fd = file.fileno()
    for begin in range(0, len(pieces), PIECES):
        rest: list[bytes | memoryview] = list(pieces[begin : begin + PIECES])
        while rest:
            count = os.writev(fd, rest) if offset is None else os.pwritev(fd, rest, offset)
            offset = None if offset is None else offset + count
            while rest and count >= len(rest[0]):
                count -= len(rest.pop(0))
            if count:
                rest[0] = memoryview(rest[0])[count:]


def _finish(file: IO[bytes], pieces: list[bytes], unfinished: str | None, final: str) -> None:
    with file:
        _write_all(file, pieces)
    if unfinished is not None:
        os.replace(unfinished, final)  # noqa: PTH105


def _discard(file: IO[bytes], unfinished: str | None) -> None:
    file.close()
    if unfinished is not None:
        os.unlink(unfinished)  # noqa: PTH108
