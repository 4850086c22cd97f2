"""Values that msgspec has made: nothing that a type promises is missing from them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar

import annotated_types
import msgspec
import pydantic
import pytest

from trioweb.ground.errors import InputError
from trioweb.ground.faults import decode_json
from trioweb.ground.values import json_decoder

T = TypeVar("T")


@dataclass
class Plain:
    """A dataclass of the common kind."""

    name: str
    price: float = 1.0
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    """One that cannot be changed."""

    size: int = 1


@dataclass(slots=True)
class Slotted:
    """One whose instances always have all."""

    size: int = 1


@dataclass
class Tree:
    """One that holds others of its own."""

    size: int = 1
    children: list[Tree] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    """One that is generic."""

    content: T
    label: str = "none"


@dataclass
class Derives:
    """One that sets a field by itself."""

    size: int = 1

    def __post_init__(self) -> None:
        self.size += 1


class Holder(msgspec.Struct):
    """A Struct around a dataclass."""

    item: Plain


class Keys(TypedDict, total=False):
    """A dict with a dataclass in it."""

    item: Frozen


class Pair(NamedTuple):
    """A tuple with a dataclass in it."""

    first: Frozen
    second: int


class Unhashable:
    """No type, and nothing to look up by."""

    __hash__ = None  # type: ignore[assignment]


PLAIN = {"name": "a", "price": 1.0, "tags": []}


@pytest.mark.parametrize(
    ("annotation", "sent", "got"),
    [
        (Plain, b'{"name":"a"}', PLAIN),
        (Plain, b'{"name":"a","price":2}', {**PLAIN, "price": 2.0}),
        (Frozen, b"{}", {"size": 1}),
        (Slotted, b"{}", {"size": 1}),
        (Derives, b"{}", {"size": 2}),
        (Tree, b'{"children":[{},{"size":2}]}', {"size": 1, "children": [{"size": 1, "children": []},
                                                                         {"size": 2, "children": []}]}),
        (Box[Frozen], b'{"content":{}}', {"content": {"size": 1}, "label": "none"}),
        (Holder, b'{"item":{"name":"a"}}', {"item": PLAIN}),
        (Keys, b'{"item":{}}', {"item": {"size": 1}}),
        (Keys, b"{}", {}),
        (Pair, b"[{},2]", [{"size": 1}, 2]),
        (list[Plain], b'[{"name":"a"}]', [PLAIN]),
        (tuple[int, Frozen], b"[1,{}]", [1, {"size": 1}]),
        (dict[str, Frozen], b'{"a":{}}', {"a": {"size": 1}}),
        (Annotated[list[Frozen], msgspec.Meta(max_length=1)], b"[{}]", [{"size": 1}]),
        (Frozen | int | list[Frozen] | None, b"[{}]", [{"size": 1}]),
        (Frozen | int | list[Frozen] | None, b"{}", {"size": 1}),
        (Frozen | int | list[Frozen] | None, b"1", 1),
        (None, b'[{"a":1}]', [{"a": 1}]),
    ],
)  # fmt: skip
def test_what_was_not_sent_is_in_what_is_sent_back(annotation: Any, sent: bytes, got: Any) -> None:
    """A value that is encoded again has the defaults of its dataclasses, wherever in its type they stand."""
    assert msgspec.json.decode(msgspec.json.encode(json_decoder(annotation)(sent))) == got


def test_what_needs_nothing_is_left_alone() -> None:
    """A type without such a dataclass is decoded by msgspec itself."""
    for annotation in (int, list[str], Slotted, dict[str, Any]):
        assert type(json_decoder(annotation)).__name__ == "builtin_function_or_method"


def test_a_type_that_is_none() -> None:
    """What is no type is refused by msgspec, in its own words."""
    with pytest.raises(TypeError, match="not supported"):
        json_decoder(Unhashable())


class Checked(msgspec.Struct):
    """A class whose field has a condition that msgspec does not know."""

    n: Annotated[int, annotated_types.Gt(0)] = 1


def test_a_condition_that_nobody_would_check() -> None:
    """What only another package could check is refused within a Struct: no value would be held to it."""
    with pytest.raises(TypeError, match=r"Gt\(gt=0\) means nothing here: write msgspec.Meta"):
        json_decoder(Checked)


@pytest.mark.parametrize("annotation", [Annotated[int, annotated_types.Gt(0)], list[pydantic.PositiveInt]])
def test_a_condition_that_pydantic_checks(annotation: Any) -> None:
    """A note that pydantic knows is checked by it; without pydantic the type is refused."""
    good, bad = (b"[1]", b"[0]") if annotation != Annotated[int, annotated_types.Gt(0)] else (b"1", b"0")
    assert json_decoder(annotation)(good) in ([1], 1)
    with pytest.raises(InputError, match="Input should be greater than 0"):
        decode_json(json_decoder(annotation), bad, "The body", ("body",))
    code = (
        "import sys, annotated_types\nfrom typing import Annotated\nsys.modules['pydantic'] = None\n"
        "from trioweb.ground.values import json_decoder\njson_decoder(Annotated[int, annotated_types.Gt(0)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "has a condition that only pydantic checks, which is not installed" in done.stderr
