"""Trees of static files: a directory, or the data of a package. Everything here blocks: call it in worker threads.

Rules that this module alone enforces:

* Each name is opened relative to the open directory before it, so that moving a directory meanwhile does not lead out
  of the tree.
* A symbolic link is followed only to a file of the same tree, unless ``follow_symlinks`` is set.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, TypeAlias

from trioweb.io.disk import Facts, ObjectFile, Readable, open_regular

_STEP: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_HASHED: Final = 65536
"""Bytes that are hashed at a time."""

_MISSING: Final = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL, errno.EILSEQ,
})  # fmt: skip
"""Errors which say that there is no such file."""


def is_missing(error: OSError) -> bool:
    """Whether an error says that there is no such file."""
    return error.errno in _MISSING or isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError))


class Directory:
    """A directory on disk. It is opened again for each file, so that it may be replaced."""

    __slots__ = ("_follow", "_root")

    def __init__(self, root: str, follow: bool) -> None:
        self._root = root
        self._follow = follow

    def open(self, names: Sequence[str], *, read: bool, variant: str = "") -> tuple[Readable | None, Facts]:
        """Open a regular file.

        Args:
            names: the names of its directories, then its own.
            read: open it; otherwise only get its facts.
            variant: for its entity tag: see ``Facts.of``.

        Raises:
            IsADirectoryError: if it is not a regular file, or the tree itself.
            OSError: if it does not exist, or cannot be read.
        """
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
        """The names without symbolic links: they are resolved here, and those made meanwhile are not followed."""
        root = os.path.realpath(self._root)
        path = os.path.realpath(os.path.join(root, *names))  # noqa: PTH118
        if os.path.commonpath((root, path)) != root or path == root:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return Path(path).relative_to(root).parts


class Package:
    """The data of a package, from ``importlib.resources``.

    Files in a zip file have no times: their entity tag is a hash, computed once, since a package does not change while
    it is in use.
    """

    __slots__ = ("_follow", "_known", "_root")

    def __init__(self, root: Traversable, follow: bool) -> None:
        self._root = root
        self._follow = follow
        self._known: dict[tuple[str, ...], Facts] = {}  # of existing files only

    def open(self, names: Sequence[str], *, read: bool, variant: str = "") -> tuple[Readable | None, Facts]:
        """See ``Directory.open``."""
        place = self._root
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
        self, place: Traversable, names: tuple[str, ...], variant: str, *, read: bool
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


Tree: TypeAlias = Directory | Package
"""Files by name."""


def open_tree(source: str | os.PathLike[str] | Traversable, *, follow_symlinks: bool) -> Tree:
    """The tree at a path, or of ``importlib.resources.files(...)``.

    Raises:
        NotADirectoryError: if there is no such directory.
        TypeError: if ``source`` is neither.
    """
    tree: Tree
    if isinstance(source, (str, os.PathLike)):
        path = os.path.abspath(os.fspath(source))  # noqa: PTH100 - the functions below take text
        there, tree = os.path.isdir(path), Directory(path, follow_symlinks)  # noqa: PTH112
    elif isinstance(source, Traversable):
        there, tree = source.is_dir(), Package(source, follow_symlinks)
    else:
        raise TypeError(f"StaticFiles takes a directory or importlib.resources.files(...), got {source!r}")
    if not there:
        raise NotADirectoryError(f"StaticFiles({str(source)!r}): there is no such directory")
    return tree


def _hash(file: ObjectFile, variant: str) -> Facts:
    digest = hashlib.blake2b(digest_size=16)
    size = 0
    while data := file.read(size, _HASHED):
        digest.update(data)
        size += len(data)
    return Facts(size, f'"{digest.hexdigest()}{variant and "-" + variant}"', None)
