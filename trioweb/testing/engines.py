"""Cuts a hub off from its engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Hub(Protocol):
    """A ``trioweb.hub.Hub``: this folder is below that."""

    def _cut(self, away: bool) -> None: ...


@contextmanager
def cut_engine(hub: Hub) -> Iterator[None]:
    """Inside of this block the engine of a hub cannot be reached: ``publish`` raises, and subscribers wait.

    ::

        from trioweb.hub import HubUnavailable, MemoryHub

        async with MemoryHub() as hub:
            with cut_engine(hub), pytest.raises(HubUnavailable):
                await hub.publish("news", "lost")
    """
    hub._cut(True)
    try:
        yield
    finally:
        hub._cut(False)
