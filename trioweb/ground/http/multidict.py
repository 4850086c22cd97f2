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

    __slots__ = ("_lists", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, T]] = ()) -> None:
        self._pairs = list(pairs)
        self._lists: dict[str, list[T]] = {}
        for name, value in self._pairs:
            self._lists.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> T:
        return self._lists[name][-1]

    @overload
    def get(self, key: str, /) -> T | None: ...
    @overload
    def get(self, key: str, default: T | D, /) -> T | D: ...
    def get(self, key: str, default: object = None, /) -> object:
        """The last value of a name; ``default`` if there is none."""
        values = self._lists.get(key)  # not by `Mapping`, which raises and catches a `KeyError`
        return default if values is None else values[-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MultiDict):
            return self._lists == other._lists
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def getlist(self, name: str) -> list[T]:
        """All values of ``name``, in the order of arrival."""
        return list(self._lists.get(name, ()))

    def multi_items(self) -> list[tuple[str, T]]:
        """All pairs in the order of arrival, with repeated names."""
        return list(self._pairs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._pairs!r})"
