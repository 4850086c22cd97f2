"""What is opened once, by a lifespan or ``async with``, and holds others open until it is left."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self


class Entered:
    """An async context manager whose subclass says what is open in its block. It can be entered again after that."""

    _opened: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise RuntimeError(f"{self!r} is open already: give it to one lifespan, or `async with`, only")
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._opened = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        stack, self._opened = self._opened, None
        if stack is not None:
            await stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        """Open what is to be closed with ``stack``; nothing unless overridden."""
