"""What a function says of itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from typing import Any

import pytest

from trioweb import RouteError
from trioweb.handlers.signatures import Kind, Unresolved, kind_of, label_of, name_of, parameters_of


async def _async(a: int, b: Unknown = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _plain() -> None: ...


async def _async_generator() -> AsyncIterator[int]:
    yield 1


def _generator() -> Iterator[int]:
    yield 1


class _Object:
    async def __call__(self) -> None: ...


@wraps(_async)
def _decorated(*args: Any, **kwargs: Any) -> Any:
    return _async(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (_async, Kind.COROUTINE),
        (partial(_async, a=1), Kind.COROUTINE),
        (_Object(), Kind.COROUTINE),
        (_plain, Kind.THREAD),
        (_generator, Kind.GENERATOR),
        (_async_generator, Kind.GENERATOR),
    ],
)
def test_how_it_is_called(function: Callable[..., Any], kind: Kind) -> None:
    """An async function, a generator, and what needs a thread are told apart, under a partial too."""
    assert kind_of(function) is kind


def test_annotations_are_evaluated_one_by_one() -> None:
    """A name that only a type checker knows spoils its own annotation, and no other; a decorator hides none."""
    for function in (_async, _decorated, partial(_async)):
        parameters = parameters_of(function)
        assert parameters["a"].annotation is int
        assert parameters["b"].annotation == Unresolved("Unknown", "NameError: name 'Unknown' is not defined")


def test_names() -> None:
    """Messages name a function with its module, a partial by what is in it, an object by its class."""
    assert label_of(partial(_plain)) == "tests.test_signatures._plain"
    assert label_of(_Object()).endswith("_Object")
    assert name_of(_Object()) == "_Object"


def test_what_has_no_signature() -> None:
    """A function that tells nothing of its parameters is refused, with what to write instead."""
    with pytest.raises(RouteError, match="has no signature to look at: write a function around it"):
        parameters_of(type)
