"""Paths of URLs as names in a directory: what may be looked for at all."""

from __future__ import annotations

from typing import Final, NamedTuple

WELL_KNOWN: Final = ".well-known"
"""The one name with a dot that is there to be found (RFC 8615), first of its path."""


class Place(NamedTuple):
    """Where something is in a tree.

    Attributes:
        names: the names of the directories on the way, and its own last; none for the root.
        is_directory: the path ends in a slash, so only a directory can be meant.
    """

    names: tuple[str, ...]
    is_directory: bool

    @property
    def is_hidden(self) -> bool:
        """Whether a name in it begins with a dot, by which its owner keeps it out of listings: ``.git``, ``.env``."""
        names = self.names[1:] if self.names[:1] == (WELL_KNOWN,) else self.names
        return any(name.startswith(".") for name in names)


def parse_path(path: str, raw_path: bytes | None = None) -> Place | None:
    """The place that a path means, or ``None`` where no file can be there.

    A name is one that a directory can list: not empty, ``.`` or ``..``, without a slash of either kind, encoded or not,
    and without NUL. Nothing is normalised, so that one file has one path.

    Args:
        path: the decoded path below a mount: empty, or it begins with a slash.
        raw_path: the path as it was sent, where the server tells.
    """
    if raw_path is not None and b"%2f" in raw_path.partition(b"?")[0].lower():
        return None
    if "\0" in path or "\\" in path or (path and path[0] != "/"):
        return None
    names = tuple(path[1:].split("/")) if path else ()
    is_directory = bool(names) and not names[-1]
    if is_directory:
        names = names[:-1]
    if any(name in ("", ".", "..") for name in names):
        return None
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return Place(names, is_directory)
