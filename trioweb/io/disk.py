"""Files that are opened, measured and read in worker threads: the loop never waits for a disk.

Rules that this module alone enforces:

* Only regular files are opened. To open a FIFO or a device may wait for ever, or do something.
* What is measured is the descriptor that is read, so the two cannot be of different files.
* A descriptor is closed once, in a thread: the last close of a file that was deleted frees all its blocks.
* What the system has in memory is read at once, without a thread, where it promises not to wait for a disk.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
import trio

from trioweb.ground.errors import ContentLengthError
from trioweb.ground.http.conditions import file_tag
from trioweb.ground.http.ranges import Span
from trioweb.io.sendfile import read_ahead
from trioweb.io.threads import in_thread, thread_work

T = TypeVar("T")

MOST_BLOCK: Final = 1048576
"""Bytes that are read at a time at most, a stream."""
READ_AT_ONCE: Final = 65536
"""Bytes that are read with the opening of a file: most files are not larger, and need no other hop to a thread."""

_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Readable(Protocol):
    """What can be read from any position. ``read`` and ``close`` block: call them in a worker thread."""

    @property
    def descriptor(self) -> int:
        """Of a file that the system can send by itself; negative where there is none."""
        ...

    def read_ready(self, position: int, into: memoryview) -> int | None:
        """Read what is there without waiting; how many bytes that are, or ``None`` where a thread has to wait for them.

        It does not block.
        """
        ...

    def read(self, position: int, count: int) -> bytes:
        """At most so many bytes from there; none at the end."""
        ...

    def close(self) -> None:
        """Close it. Safe to call twice."""
        ...


class Facts(NamedTuple):
    """What is known of a file.

    Attributes:
        size: its bytes.
        etag: its entity tag.
        modified: when it was modified, in seconds since the epoch; ``None`` where nothing tells.
    """

    size: int
    etag: str
    modified: float | None

    @classmethod
    def of(cls, status: os.stat_result, variant: str = "") -> Facts:
        """The facts that a file system has; ``variant`` tells a coding from others of the same content."""
        tag = file_tag(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, time.time(), variant)
        return cls(status.st_size, tag, status.st_mtime)


class DiskFile:
    """A descriptor of a regular file."""

    __slots__ = ("_waits", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._waits = _NO_WAIT is None

    def read_ready(self, position: int, into: memoryview) -> int | None:
        """See ``Readable``: Linux promises it, for the file systems that know how."""
        if self._waits:
            return None
        try:
            return os.preadv(self.descriptor, [into], position, _NO_WAIT or 0)
        except BlockingIOError:
            return None
        except OSError:  # this file system does not, or there is an error that the thread will meet as well
            self._waits = True
            return None

    def read(self, position: int, count: int) -> bytes:
        """See ``Readable``. What comes after it is being read, too, while this is on its way to the client."""
        data = os.pread(self.descriptor, count, position)
        read_ahead(self.descriptor, position + len(data))
        return data

    def close(self) -> None:
        """See ``Readable``."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()  # of a response that nobody sent, outside of any request


class ObjectFile:
    """A file object that can seek; its position is this one's alone."""

    __slots__ = ("_file", "descriptor")

    def __init__(self, file: Any) -> None:
        self._file = file
        self.descriptor = -1

    def read_ready(self, position: int, into: memoryview) -> int | None:
        """See ``Readable``: nobody knows whether it would wait."""

    def read(self, position: int, count: int) -> bytes:
        """See ``Readable``."""
        self._file.seek(position)
        data: bytes = self._file.read(count)
        return data

    def measure(self) -> int:
        """How many bytes it has."""
        size: int = self._file.seek(0, io.SEEK_END)
        return size

    def close(self) -> None:
        """See ``Readable``."""
        self._file.close()


def open_regular(
    name: str, dir_fd: int | None = None, *, read: bool, follow: bool
) -> tuple[DiskFile | None, os.stat_result]:
    """Open a regular file, and measure what was opened. Blocks, but not for ever: call it in a worker thread.

    Args:
        name: its path.
        dir_fd: the directory that the path is relative to.
        read: open it; otherwise nothing is opened, and what is returned is only what would be found.
        follow: follow symbolic links.

    Raises:
        OSError: it is not there, is not a regular file, or cannot be read.
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
    """Call a function that looks at files in a worker thread; a cancellation waits until it has returned.

    The threads are of a number of their own: handlers that hold all others up do not hold up files.
    """
    return await in_thread(function, *args, limiter=thread_work().files)


async def close_file(file: Readable) -> None:
    """Close a file, whatever is cancelled meanwhile."""
    with trio.CancelScope(shield=True):
        await in_file_thread(file.close)


class Extent(msgspec.Struct):
    """A part of a file that need not be read, where its sender can have the system send it.

    Attributes:
        file: its descriptor.
        start: where it begins. Who sends some of it moves this on; where that is not done, it is read after all.
        stop: where it ends.
    """

    file: int
    start: int
    stop: int


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
    """The bytes of spans of a file, in large blocks, and then close it.

    What is in the system's memory takes no thread; the rest a hop for each block. No thread waits for the client.

    Args:
        file: what to read.
        spans: what of it.
        heads: what goes before each span, where that is framed.
        tail: what goes after the last.
        first: what was read of the first span already.
        buffer_size: of the stream. A block is twice that, which leaves as one message, without a copy.
        extents: of what is long, all between the first block and the last may be given as an ``Extent``.

    Raises:
        ContentLengthError: it has become shorter.
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
