"""HTTP fields (RFC 9110, section 5), with case-insensitive names.

Rules that this module alone enforces: a name is a token; a value has no control character, so that no CR, LF or NUL can
split a message; both are Latin-1 on the wire.
"""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping
from typing import TypeAlias, cast
from urllib.parse import quote

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
HeaderSource: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-zA-Z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Headers(MutableMapping[str, str]):
    """A case-insensitive multi-mapping of header names to values.

    ``h[name]`` is the first value; ``h[name] = value`` replaces all values of the name; ``append`` adds one, as for
    ``set-cookie``; ``getlist`` returns all of them. Each name is iterated once.

    Args:
        source: a mapping, or (name, value) pairs in which names may repeat.

    Raises:
        ValueError: if a name is not a token, or a value has a control character or one outside Latin-1.
    """

    __slots__ = ("raw",)

    raw: RawHeaders
    """The fields on the wire: lower-case names and values as bytes, in order."""

    def __init__(self, source: HeaderSource | None = None) -> None:
        self.raw = []
        if source is None:  # the common case: first, since isinstance with an ABC is slow
            return
        if isinstance(source, Headers):
            self.raw += source.raw
        else:
            pairs = source.items() if isinstance(source, Mapping) else source
            for name, value in cast("Iterable[tuple[str, str]]", pairs):
                self.append(name, value)

    @classmethod
    def from_raw(cls, raw: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Headers from a server: unchecked, with the names in lower case."""
        headers = cls()
        headers.raw = [(name.lower(), value) for name, value in raw]
        return headers

    def __getitem__(self, name: str) -> str:
        key = _key(name)
        for known, value in self.raw:
            if known == key:
                return value.decode("latin-1")
        raise KeyError(name)

    def __setitem__(self, name: str, value: str) -> None:
        pair = (_valid_name(name), _valid_value(name, value))
        kept = [item for item in self.raw if item[0] != pair[0]]
        kept.append(pair)
        self.raw = kept

    def __delitem__(self, name: str) -> None:
        key = _key(name)
        kept = [item for item in self.raw if item[0] != key]
        if len(kept) == len(self.raw):
            raise KeyError(name)
        self.raw = kept

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.has(_key(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1") for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name for name, _ in self.raw})

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Headers):
            return sorted(self.raw) == sorted(other.raw)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def items(self) -> ItemsView[str, str]:
        """Each name once, with its first value."""
        first = dict(reversed(self.multi_items()))
        return {name: first[name] for name in self}.items()

    def has(self, key: bytes) -> bool:
        """Whether there is a header of this lower-case name: as ``in``, without encoding the name."""
        return any(name == key for name, _ in self.raw)

    def append(self, name: str, value: str) -> None:
        """Add a header, and keep those of the same name."""
        self.raw.append((_valid_name(name), _valid_value(name, value)))

    def update_from(self, source: HeaderSource) -> None:
        """Set all headers of ``source``, repeated ones too; they replace those of the same names."""
        given = Headers(source)
        names = {name for name, _ in given.raw}
        self.raw = [item for item in self.raw if item[0] not in names] + given.raw

    def getlist(self, name: str) -> list[str]:
        """All values of ``name``, in order."""
        key = _key(name)
        return [value.decode("latin-1") for known, value in self.raw if known == key]

    def multi_items(self) -> list[tuple[str, str]]:
        """All headers in order, with repeated names."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw]

    def __repr__(self) -> str:
        return f"Headers({self.multi_items()!r})"


def is_token(text: str) -> bool:
    """Whether a text is a token (RFC 9110, section 5.6.2), as the names of headers, methods and cookies are."""
    return text.isascii() and _TOKEN.fullmatch(text.encode()) is not None


def _key(name: str) -> bytes:
    return name.lower().encode("latin-1", "replace")


def _valid_name(name: str) -> bytes:
    try:
        raw = name.encode("ascii").lower()
    except (UnicodeEncodeError, AttributeError):
        raw = b""
    if not _TOKEN.fullmatch(raw):
        raise ValueError(f"{name!r} is not a header name: use letters, digits and hyphens (RFC 9110, section 5.1)")
    return raw


def _valid_value(name: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name!r} must be a str, got {type(value).__name__}: write str(...)")
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"the value of header {name!r} has a character outside Latin-1: percent-encode it "
            "(RFC 8187 tells how for file names)"
        ) from None
    if _CONTROL.search(raw):
        raise ValueError(f"the value of header {name!r} has a control character (CR, LF, NUL ...): {value!r}")
    return raw.strip(b" \t")


def content_disposition(kind: str, filename: str | None) -> str:
    """A ``content-disposition`` value (RFC 6266); a file name may have any characters (RFC 8187).

    Args:
        kind: ``"attachment"`` or ``"inline"``.
        filename: the suggested name. A name outside ASCII is sent twice, once with substitutes for old clients; so is
            one with a percent sign, which some clients decode.
    """
    if filename is None:
        return kind
    safe = re.sub(r"[\x00-\x1f\x7f/\\]", "_", filename)
    plain = safe.encode("ascii", "replace").decode("ascii").replace("?", "_") if not safe.isascii() else safe
    value = f'{kind}; filename="{plain.replace(chr(34), chr(92) + chr(34))}"'
    if plain != safe or "%" in safe:
        value += f"; filename*=UTF-8''{quote(safe.encode('utf-8', 'replace'), safe='')}"
    return value


def vary_on(headers: Headers, name: str) -> None:
    """Add the name of a request header to ``vary`` (RFC 9110, section 12.5.5), unless it is there."""
    named = {field.strip().lower() for value in headers.getlist("vary") for field in value.split(",")}
    if not named & {"*", name.lower()}:
        headers["vary"] = ", ".join([*headers.getlist("vary"), name])
