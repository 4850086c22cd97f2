"""Opens, measures and reads files in worker threads: the event loop never waits for a disk.

Rules that this module alone enforces:

* Only regular files are opened: to open a FIFO or a device may block for ever, or have effects.
* The open descriptor is measured, so that size and content are those of the same file.
* A descriptor is closed once, in a thread: the last close of a deleted file frees all of its blocks.
* Data in the system's page cache is read without a thread, if the system promises not to wait for a disk.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import IO, Any, Final, NamedTuple, TypeVar

import trio

from trioweb.ground.errors import ContentLengthError
from trioweb.ground.http.conditions import file_tag
from trioweb.ground.http.ranges import Span
from trioweb.io.sendfile import Extent, read_ahead
from trioweb.io.threads import in_thread, thread_work

T = TypeVar("T")

MOST_BLOCK: Final = 1048576
"""The most bytes of one read, for each stream."""
READ_AT_ONCE: Final = 65536
"""Bytes that are read as a file is opened: most files are not larger, and need only one call of a thread."""

_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Readable:
    """A file that can be read at any position. ``read`` and ``close`` block: call them in a worker thread."""

    __slots__ = ()

    descriptor = -1
    """The descriptor of a file that the system can send by itself; negative if there is none."""

    def read_ready(self, position: int, into: memoryview) -> int | None:  # noqa: ARG002
        """Read what needs no wait. Returns the number of bytes; ``None`` if a thread must read. Does not block."""
        return None

    def read(self, position: int, count: int) -> bytes:
        """Read at most ``count`` bytes; none at the end of the file."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it. Safe to call twice."""
        raise NotImplementedError


class Facts(NamedTuple):
    """The metadata of a file.

    Attributes:
        size: in bytes.
        etag: the entity tag.
        modified: the time of the last change, in seconds since the epoch; ``None`` if it is not known.
    """

    size: int
    etag: str
    modified: float | None

    @classmethod
    def of(cls, status: os.stat_result, variant: str = "") -> Facts:
        """The metadata in a file's status; ``variant`` makes the tags of codings of one file differ."""
        tag = file_tag(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, time.time(), variant)
        return cls(status.st_size, tag, status.st_mtime)


class DiskFile(Readable):
    """A descriptor of a regular file."""

    __slots__ = ("_waits", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._waits = _NO_WAIT is None

    def read_ready(self, position: int, into: memoryview) -> int | None:
        """See ``Readable``. Some file systems of Linux promise not to wait."""
        if self._waits:
            return None
        try:
            return os.preadv(self.descriptor, [into], position, _NO_WAIT or 0)
        except BlockingIOError:
            return None
        except OSError:  # not supported by this file system; or an error that the thread will get too
            self._waits = True
            return None

    def read(self, position: int, count: int) -> bytes:
        """See ``Readable``. The system then reads on, while this is sent to the client."""
        data = os.pread(self.descriptor, count, position)
        read_ahead(self.descriptor, position + len(data))
        return data

    def close(self) -> None:
        """See ``Readable``."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()  # in a response that was never sent


class ObjectFile(Readable):
    """A seekable file object, whose position nothing else uses."""

    __slots__ = ("_file",)

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, position: int, count: int) -> bytes:
        """See ``Readable``."""
        self._file.seek(position)
        return self._file.read(count)

    def measure(self) -> int:
        """The size in bytes. Blocks."""
        return self._file.seek(0, io.SEEK_END)

    def close(self) -> None:
        """See ``Readable``."""
        self._file.close()


def open_regular(
    name: str, dir_fd: int | None = None, *, read: bool, follow: bool
) -> tuple[DiskFile | None, os.stat_result]:
    """Open a regular file, and measure the open descriptor. Blocks, but not for ever: call it in a worker thread.

    Args:
        name: the path.
        dir_fd: the directory that the path is relative to.
        read: open the file; if not, its status is looked up by name.
        follow: follow symbolic links.

    Raises:
        OSError: if the file does not exist, is not a regular file, or cannot be read.
    """
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=follow)
    _check_regular(name, status)
    if not read:
        if not os.access(name, os.R_OK, dir_fd=dir_fd, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return None, status
    file = DiskFile(os.open(name, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW, dir_fd=dir_fd))
    try:
        status = os.fstat(file.descriptor)
        _check_regular(name, status)
    except BaseException:
        file.close()
        raise
    return file, status


def _check_regular(name: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    if not stat.S_ISREG(status.st_mode):
        raise IsADirectoryError(f"{name!r} is not a regular file, which is all that can be sent")


async def in_file_thread(function: Callable[..., T], *args: object) -> T:
    """Call a function that uses files in a worker thread; a cancellation waits until it has returned.

    These threads have a limit of their own: handlers that use all of the other threads do not delay files.
    """
    return await in_thread(function, *args, limiter=thread_work().files)


async def close_file(file: Readable) -> None:
    """Close a file in a worker thread. A cancellation waits until it is closed."""
    with trio.CancelScope(shield=True):
        await in_file_thread(file.close)


async def read_spans(
    file: Readable,
    spans: Sequence[Span],
    heads: Sequence[bytes],
    tail: bytes,
    first: bytes,
    buffer_size: int,
    *,
    extents: bool = False,
) -> AsyncGenerator[Any, None]:
    """The bytes of spans of a file, in large blocks. The file is closed at the end.

    Data in the page cache is read at once, and any other block in one call of a thread. No thread waits for the client.

    Args:
        file: the file.
        spans: the spans to read.
        heads: bytes before each span, as in ``multipart/byteranges``; empty for none.
        tail: bytes after the last span.
        first: the beginning of the first span, if it was read already.
        buffer_size: that of the stream: a block is twice as large, which the channel passes on without a copy.
        extents: give the middle of a long span as an ``Extent``.

    Raises:
        ContentLengthError: if the file has become shorter.
    """
    block = min(max(2 * buffer_size, READ_AT_ONCE), MOST_BLOCK)
    memory = thread_work().memory(block)
    extents = extents and file.descriptor >= 0
    try:
        for index, (start, stop) in enumerate(spans):
            if heads:
                yield heads[index]
            position = start
            while position < stop:
                if extents and position > start and stop - position > 2 * block:
                    extent = Extent(file.descriptor, position, stop - block)
                    yield extent
                    extents = extent.start > position
                    position = extent.start
                    continue
                count = min(block, stop - position)
                if first:
                    data, first = first, b""
                elif ready := file.read_ready(position, memory[:count]):
                    data = bytes(memory[:ready])
                else:
                    data = await in_file_thread(file.read, position, count)
                if not data:
                    raise ContentLengthError(
                        f"the file became shorter while it was sent: it ends {stop - position} bytes early"
                    )
                position += len(data)
                yield data
        if tail:
            yield tail
    finally:
        await close_file(file)
