"""Trees of files that are served: a directory, or the data of a package. All of it blocks: for worker threads.

Rules that this module alone enforces:

* A name is looked up in the directory that was opened before it, so nothing that is moved meanwhile leads out.
* A symbolic link is followed only to what is in the same tree, unless all are to be followed.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, Protocol

from trioweb.io.disk import Facts, ObjectFile, Readable, open_regular

_STEP: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_HASHED: Final = 65536
"""Bytes that are hashed at a time."""

_MISSING: Final = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL, errno.EILSEQ,
})  # fmt: skip
"""What says that a path leads to no file."""


class Tree(Protocol):
    """Files by their names."""

    def open(self, names: Sequence[str], *, read: bool, variant: str = "") -> tuple[Readable | None, Facts]:
        """Open a regular file.

        Args:
            names: the directories on the way, and its own.
            read: open it; otherwise only look.
            variant: for its entity tag: see ``Facts.of``.

        Raises:
            IsADirectoryError: it is something else, or the tree itself.
            OSError: it is not there, or cannot be read.
        """
        ...


def is_missing(error: OSError) -> bool:
    """Whether an error says that there is no such file."""
    return error.errno in _MISSING or isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError))


def open_tree(source: str | os.PathLike[str] | Traversable, *, follow_symlinks: bool) -> Tree:
    """The tree at a path, or at what ``importlib.resources.files`` gives.

    Raises:
        NotADirectoryError: there is no directory.
        TypeError: it is neither.
    """
    tree: Tree
    if isinstance(source, (str, os.PathLike)):
        path = os.path.abspath(os.fspath(source))  # noqa: PTH100 - as text, which is what the system takes
        there, tree = os.path.isdir(path), Directory(path, follow_symlinks)  # noqa: PTH112
    elif isinstance(source, Traversable):
        there, tree = source.is_dir(), Package(source, follow_symlinks)
    else:
        raise TypeError(f"StaticFiles takes a directory or importlib.resources.files(...), got {source!r}")
    if not there:
        raise NotADirectoryError(f"StaticFiles({str(source)!r}): there is no such directory")
    return tree


class Directory:
    """A directory on disk. It is opened anew each time, so it may be replaced."""

    __slots__ = ("_follow", "_root")

    def __init__(self, root: str, follow: bool) -> None:
        self._root = root
        self._follow = follow

    def open(self, names: Sequence[str], *, read: bool, variant: str = "") -> tuple[Readable | None, Facts]:
        """See ``Tree``."""
        if not names:
            raise IsADirectoryError(self._root)
        file: Readable | None
        if self._follow:
            file, status = open_regular(os.path.join(self._root, *names), read=read, follow=True)  # noqa: PTH118
        else:
            try:
                file, status = self._walk(names, read=read)
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                    raise
                file, status = self._walk(self._without_links(names), read=read)
        return file, Facts.of(status, variant)

    def _walk(self, names: Sequence[str], *, read: bool) -> tuple[Readable | None, os.stat_result]:
        fd = os.open(self._root, _STEP)
        try:
            for name in names[:-1]:
                inner = os.open(name, _STEP | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = inner
            return open_regular(names[-1], fd, read=read, follow=False)
        finally:
            os.close(fd)

    def _without_links(self, names: Sequence[str]) -> Sequence[str]:
        """Where links lead to within the tree. What is put in their place meanwhile is not followed."""
        root = os.path.realpath(self._root)
        path = os.path.realpath(os.path.join(root, *names))  # noqa: PTH118
        if os.path.commonpath((root, path)) != root or path == root:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return Path(path).relative_to(root).parts


class Package:
    """The data of a package, as ``importlib.resources`` gives it: perhaps in a zip file, where there are no times.

    Such a file is hashed when it is first asked for, for its entity tag; a package does not change while it is in use.
    """

    __slots__ = ("_follow", "_known", "_root")

    def __init__(self, root: Traversable, follow: bool) -> None:
        self._root = root
        self._follow = follow
        self._known: dict[tuple[str, ...], Facts] = {}  # at most one for each file that there is

    def open(self, names: Sequence[str], *, read: bool, variant: str = "") -> tuple[Readable | None, Facts]:
        """See ``Tree``."""
        place: Any = self._root
        for name in names:
            if not place.is_dir():
                raise NotADirectoryError(name)
            place = place.joinpath(name)
            if not self._follow and isinstance(place, Path) and place.is_symlink():
                raise FileNotFoundError(name)
        if place.is_dir():
            raise IsADirectoryError(str(place))
        if isinstance(place, Path):
            file, status = open_regular(str(place), read=read, follow=self._follow)
            return file, Facts.of(status, variant)
        if not place.is_file():
            raise FileNotFoundError(str(place))
        return self._open_object(place, tuple(names), variant, read=read)

    def _open_object(
        self, place: Any, names: tuple[str, ...], variant: str, *, read: bool
    ) -> tuple[Readable | None, Facts]:
        if not read and names in self._known:
            return None, self._known[names]
        file = ObjectFile(place.open("rb"))
        try:
            if names not in self._known:
                self._known[names] = _hash(file, variant)
        except BaseException:
            file.close()
            raise
        if not read:
            file.close()
        return file if read else None, self._known[names]


def _hash(file: ObjectFile, variant: str) -> Facts:
    digest = hashlib.blake2b(digest_size=16)
    size = 0
    while data := file.read(size, _HASHED):
        digest.update(data)
        size += len(data)
    return Facts(size, f'"{digest.hexdigest()}{variant and "-" + variant}"', None)
