"""Closes the sources of streams.

A generator that catches everything may ignore ``GeneratorExit``. Python raises it once, and leaves what the generator
holds open until the garbage collector runs. Here it is raised up to ``ATTEMPTS`` times, and then an error names the
generator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

ATTEMPTS: Final = 10
"""How often ``GeneratorExit`` is raised in a generator: loops around a ``try`` often count to three or five."""


async def close_unused(source: Any) -> None:
    """Close a source that was not iterated: a file, a channel, or a generator, of which no code runs."""
    if hasattr(source, "aclose"):
        await source.aclose()
    elif not callable(source) and hasattr(source, "close"):
        source.close()


async def close_generator(generator: AsyncGenerator[object, None]) -> None:
    """Close an async generator, even one suspended in a nursery, which wraps ``GeneratorExit`` in a group.

    Raises:
        RuntimeError: if it yields after each of ``ATTEMPTS`` attempts.
    """
    try:
        if getattr(generator, "ag_frame", None) is not None and getattr(generator, "ag_await", None) is None:
            for _ in range(ATTEMPTS - 1):
                # `aclose()` only once, and last: after it Python does not resume a generator that has ignored it.
                await generator.athrow(GeneratorExit)
        await generator.aclose()
    except (GeneratorExit, StopAsyncIteration):
        pass
    except BaseExceptionGroup as group:
        rest = group.split(GeneratorExit)[1]
        try:
            if rest is not None:
                raise rest from None
        finally:
            del rest
    except RuntimeError as error:
        if getattr(generator, "ag_frame", None) is None:
            raise
        raise _ignored_exit(generator) from error


async def close_generators(generators: list[AsyncGenerator[bytes, None]]) -> None:
    """Close several generators, last first, even if closing one raises."""
    try:
        await close_generator(generators.pop())
    finally:
        if generators:
            await close_generators(generators)


def close_iterator(iterator: Any) -> None:
    """Close a sync generator, or another iterator with a ``close`` method.

    Raises:
        RuntimeError: if it yields after each of ``ATTEMPTS`` attempts.
    """
    if not hasattr(iterator, "close"):
        return
    for left in reversed(range(ATTEMPTS)):
        try:
            iterator.close()
        except RuntimeError as error:
            if getattr(iterator, "gi_frame", None) is None:
                raise
            if not left:
                raise _ignored_exit(iterator) from error
        else:
            return


def _ignored_exit(generator: object) -> RuntimeError:
    name = getattr(generator, "__qualname__", type(generator).__qualname__)
    return RuntimeError(
        f"{name} ignored GeneratorExit {ATTEMPTS} times, and what it holds stays open: write `except Exception` where "
        "it says `except BaseException` or `except:`"
    )
