"""What tests have called in the place of dependencies. Routes are planned anew at each change: requests pay nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Self

from trioweb.ground.errors import RouteError
from trioweb.handlers.mistakes import named
from trioweb.handlers.signatures import Function


class Overrides(MutableMapping[Function, Function]):
    """A dict that tells of its changes. A change that cannot be is undone, and its error raised.

    Args:
        on_change: called after each change.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._fakes: dict[Function, Function] = {}

    def __getitem__(self, function: Function) -> Function:
        return self._fakes[function]

    def __iter__(self) -> Iterator[Function]:
        return iter(self._fakes)

    def __len__(self) -> int:
        return len(self._fakes)

    def __repr__(self) -> str:
        return repr(self._fakes)

    def __setitem__(self, function: Function, fake: Function) -> None:
        self.become({**self._fakes, function: fake})

    def __delitem__(self, function: Function) -> None:
        fakes = dict(self._fakes)
        del fakes[function]
        self.become(fakes)

    def __ior__(self, others: Mapping[Function, Function]) -> Self:
        self.become({**self._fakes, **others})
        return self

    def clear(self) -> None:
        """Call all dependencies themselves again."""
        self.become({})

    def become(self, fakes: Mapping[Function, Function]) -> None:
        """Have these, and no others."""
        for function in fakes:
            if not callable(function):
                raise RouteError(
                    f"dependency_overrides has fakes by the functions that they replace, got {function!r}: write "
                    f"app.dependency_overrides[{named(function)}] = ..."
                )
        before, self._fakes = self._fakes, dict(fakes)
        try:
            self._on_change()
        except BaseException:
            self._fakes = before
            self._on_change()
            raise
