"""Uploaded files and the storage of their bytes. Files on disk are accessed in worker threads only.

Memory: a form holds ``SPOOL_SIZE`` bytes of its files in memory. More is written to one temporary file, which has no
name in any directory: the system removes it when the process ends, for whatever reason. All files of a form share it,
since a process may open far fewer files than a form may have.
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
"""Bytes of a form's files that are held in memory; more are written to a temporary file, as many at a time."""
PIECE: Final = 2**18
"""Bytes of a chunk when an uploaded file is iterated."""
BATCH: Final = 2**20
"""Bytes that one hop to a worker thread writes when an upload is saved."""


class Spool:
    """The bytes of all files of a form, one file after the other. Only one task at a time may add to it."""

    __slots__ = ("_closed", "_file", "_lock", "_pending", "_written", "pending_size")

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._written = 0
        self._file: IO[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self.pending_size = 0
        """Bytes in memory."""

    @property
    def size(self) -> int:
        """Bytes of all files so far."""
        return self._written + self.pending_size

    @property
    def on_disk(self) -> bool:
        """Whether there is a temporary file."""
        return self._file is not None

    def add(self, data: bytes) -> None:
        """Add bytes. Does not block; the caller flushes when more than ``SPOOL_SIZE`` is pending."""
        self._pending.append(data)
        self.pending_size += len(data)

    async def flush(self) -> None:
        """Write the pending bytes to the temporary file. A cancellation waits for a write that has begun."""
        if self.pending_size:
            await in_thread(self._write)

    def _write(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the request
        self._file.seek(self._written)  # a write that failed halfway, on a full disk, is repeated from the same place
        _write_all(self._file, self._pending)
        self._written += self.pending_size
        self._pending.clear()
        self.pending_size = 0

    async def read(self, start: int, size: int) -> bytes:
        """``size`` bytes from ``start`` on; waits for a worker thread if they are on disk."""
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
        with self._lock:  # else the file could be closed meanwhile, and its descriptor belong to another file
            if self._file is None:
                raise _gone()
            while size and (piece := os.pread(self._file.fileno(), size, start)):
                pieces.append(piece)
                start, size = start + len(piece), size - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Free the memory and remove the file. Safe to call twice; completes also when cancelled."""
        self._closed = True
        self._pending.clear()
        if self._file is not None:
            with trio.CancelScope(shield=True):  # in a thread: removing gigabytes takes a file system some time
                await in_thread(self._remove)

    def _remove(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()


def _gone() -> RuntimeError:
    return RuntimeError("an uploaded file is gone when its request has ended: save it, or read it, before that")


class UploadFile:
    """An uploaded file. It can be read until its request has ended; then it is removed.

    ``async for`` iterates over its bytes in chunks, from the current position.

    Attributes:
        filename: the name that the client sent, without directories; ``""`` if the browser's user has chosen no file. A
            client chooses it, ``.htaccess`` for instance: do not use it as a path.
        content_type: the content type that the client sent, or ``None``.
        size: the number of bytes.
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
        """The next ``size`` bytes, or all that are left; ``b""`` at the end.

        Waits for a worker thread if the file is on disk. A cancellation does not change the position.

        Raises:
            RuntimeError: if the request has ended.
        """
        left = self.size - self._at
        size = left if size < 0 else min(size, left)
        data = await self._spool.read(self._start + self._at, size)
        self._at += len(data)
        return data

    async def seek(self, offset: int) -> None:
        """Set the position of the next ``read``: bytes from the beginning of the file, at most its size."""
        await trio.lowlevel.checkpoint()
        self._at = max(0, min(offset, self.size))

    def __aiter__(self) -> UploadFile:
        return self

    async def __anext__(self) -> bytes:
        if data := await self.read(PIECE):
            return data
        raise StopAsyncIteration

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Write all bytes to a file, in worker threads; returns the number of bytes.

        The file is written under another name and then renamed, replacing an existing one. A cancellation, or an error,
        leaves no file behind.

        Args:
            path: the file; do not make it from ``filename``, which a client chooses.

        Raises:
            OSError: if the file cannot be written.
            RuntimeError: if the request has ended.
        """
        return await save_to(path, UploadFile(self._spool, self._start, self.size, "", None))

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!r} {self.content_type} {self.size} bytes>"


async def save_to(path: str | os.PathLike[str], chunks: AsyncIterable[bytes]) -> int:
    """See ``UploadFile.save``. Devices and pipes are written to directly; what ``chunks`` raises is raised."""
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


def _write_all(file: IO[bytes], pieces: list[bytes]) -> None:
    rest = memoryview(b"".join(pieces))
    while rest:
        rest = rest[file.write(rest) :]


def _finish(file: IO[bytes], pieces: list[bytes], unfinished: str | None, final: str) -> None:
    with file:
        _write_all(file, pieces)
    if unfinished is not None:
        os.replace(unfinished, final)  # noqa: PTH105


def _discard(file: IO[bytes], unfinished: str | None) -> None:
    file.close()
    if unfinished is not None:
        os.unlink(unfinished)  # noqa: PTH108
