"""A read-only mapping with repeated keys: for query strings and forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, overload

T = TypeVar("T")
D = TypeVar("D")


class MultiDict(Mapping[str, T]):
    """A mapping of names to values that keeps all values of a repeated name.

    ``d[name]`` is the last value, as in a form where a later field overrides an earlier one; ``getlist`` returns all,
    in order; ``items`` has each name once, ``multi_items`` every pair in the order of arrival.
    """

    __slots__ = ("_last", "_lists", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, T]] = ()) -> None:
        self._pairs = list(pairs)
        self._last = dict(self._pairs)
        self._lists: dict[str, list[T]] | None = None  # made on first use: most names are not repeated

    def __getitem__(self, name: str) -> T:
        return self._last[name]

    @overload
    def get(self, key: str, /) -> T | None: ...
    @overload
    def get(self, key: str, default: T | D, /) -> T | D: ...
    def get(self, key: str, default: object = None, /) -> object:
        """The last value of a name; ``default`` if there is none."""
        return self._last.get(key, default)  # not by `Mapping`, which raises and catches a `KeyError`

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MultiDict):
            return self._by_name() == other._by_name()
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def _by_name(self) -> dict[str, list[T]]:
        if self._lists is None:
            self._lists = {}
            for name, value in self._pairs:
                self._lists.setdefault(name, []).append(value)
        return self._lists

    def getlist(self, name: str) -> list[T]:
        """All values of ``name``, in the order of arrival."""
        return list(self._by_name().get(name, ()))

    def multi_items(self) -> list[tuple[str, T]]:
        """All pairs in the order of arrival, with repeated names."""
        return list(self._pairs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._pairs!r})"
