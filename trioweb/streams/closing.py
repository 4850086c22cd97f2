"""How what a stream is made from is closed.

A generator that catches everything may swallow what closes it. Python gives up after the first time, and would leave
what the generator holds open until the collector comes. Here it is told again, ``ATTEMPTS`` times in all, and an error
names it then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

ATTEMPTS: Final = 10
"""Times that a generator is told to end. A loop around a ``try`` often counts its errors, to three or to five."""


async def close_unused(source: Any) -> None:
    """Close a source that holds something: a file, a channel, a generator. One that was not started runs no code."""
    if hasattr(source, "aclose"):
        await source.aclose()
    elif not callable(source) and hasattr(source, "close"):
        source.close()


async def close_generator(generator: AsyncGenerator[object, None]) -> None:
    """Close an async generator. It may be suspended inside a nursery of its own, which wraps what closing it raises.

    Raises:
        RuntimeError: if it yields after each of ``ATTEMPTS`` attempts.
    """
    try:
        if getattr(generator, "ag_frame", None) is not None and getattr(generator, "ag_await", None) is None:
            for _ in range(ATTEMPTS - 1):
                # Not `aclose()`: after that Python resumes the generator no more, whether it has ended or not.
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
        raise _disobedient(generator) from error


async def close_generators(generators: list[AsyncGenerator[bytes, None]]) -> None:
    """Close several, the last one first, whatever closing one of them raises."""
    try:
        await close_generator(generators.pop())
    finally:
        if generators:
            await close_generators(generators)


def close_iterator(iterator: Any) -> None:
    """Close a sync generator, or another iterator that can be closed.

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
                raise _disobedient(iterator) from error
        else:
            return


def _disobedient(generator: object) -> RuntimeError:
    name = getattr(generator, "__qualname__", type(generator).__qualname__)
    return RuntimeError(
        f"{name} ignored GeneratorExit {ATTEMPTS} times, and what it holds stays open: write `except Exception` where "
        "it says `except BaseException` or `except:`"
    )
