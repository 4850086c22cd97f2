"""Map the paths of URLs to names in a directory, and refuse those that no file can have."""

from __future__ import annotations

from typing import Final, NamedTuple

WELL_KNOWN: Final = ".well-known"
"""The only name with a dot that is public (RFC 8615), as the first of a path."""


class Place(NamedTuple):
    """The location of a file or directory in a tree.

    Attributes:
        names: the names of the directories that contain it, then its own; empty for the root.
        is_directory: the path ends with a slash: it can only name a directory.
    """

    names: tuple[str, ...]
    is_directory: bool

    @property
    def is_hidden(self) -> bool:
        """Whether a name begins with a dot, as ``.git`` and ``.env`` do: such files are not meant to be served."""
        names = self.names[1:] if self.names[:1] == (WELL_KNOWN,) else self.names
        return any(name.startswith(".") for name in names)


def parse_path(path: str, raw_path: bytes | None = None) -> Place | None:
    """The location that a path names, or ``None`` if no file can have it.

    A name is not empty, ``.`` or ``..``, and has no NUL and no slash or backslash, percent-encoded ones included.
    Nothing is normalised, so that a file has one path.

    Args:
        path: the decoded path below a mount: empty, or it begins with a slash.
        raw_path: the path as it was sent, if the server tells.
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
