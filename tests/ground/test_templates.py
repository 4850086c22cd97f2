"""Path templates: matching a path, and making one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from trioweb.ground.errors import RouteError
from trioweb.ground.routes import RouteTable
from trioweb.ground.templates import CONVERTERS, Converter, Pattern, parse_template

ID = UUID("12345678-1234-5678-1234-567812345678")
DATE = Converter("date", r"\d{4}-\d\d-\d\d", date.fromisoformat, str)
LOOSE = Converter("loose", r".*", str, str)
KNOWN = {**CONVERTERS, "date": DATE, "loose": LOOSE}


def match(source: str, path: str) -> dict[str, Any] | None:
    """What a table with this one route finds at a path."""
    table: RouteTable[str] = RouteTable()
    table.add(parse_template(source, KNOWN), frozenset({"GET"}), "it", "label")
    found = table.find("GET", path)
    return None if found is None else found[1]


@pytest.mark.parametrize(
    ("source", "path", "values"),
    [
        ("/", "/", {}),
        ("/", "", None),
        ("/a/b", "/a/b", {}),
        ("/a/b", "/a/b/", None),
        ("/a/b", "/a//b", None),
        ("/{x}", "/a", {"x": "a"}),
        ("/{x}", "/", None),
        ("/{x}", "/a/b", None),
        ("/{x}", "/a\nb", {"x": "a\nb"}),
        ("/{x:}", "/a", {"x": "a"}),
        ("/{x:str}", "/\xe9 %2F", {"x": "\xe9 %2F"}),
        ("/{x:int}", "/007", {"x": 7}),
        ("/{x:int}", "/-1", None),
        ("/{x:int}", "/1.0", None),
        ("/{x:int}", "/1\n", None),
        ("/{x:int}", "/\N{ARABIC-INDIC DIGIT THREE}", None),
        ("/{x:int}", "/" + "9" * 5000, None),
        ("/{x:float}", "/1.50", {"x": 1.5}),
        ("/{x:float}", "/2", {"x": 2.0}),
        ("/{x:float}", "/.5", None),
        ("/{x:float}", "/nan", None),
        ("/{x:float}", "/1e5", None),
        ("/{x:float}", "/" + "9" * 400, None),
        ("/{x:uuid}", f"/{ID}", {"x": ID}),
        ("/{x:uuid}", f"/{ID.hex.upper()}", {"x": ID}),
        ("/{x:uuid}", "/12345678", None),
        ("/{x:path}", "/a/b//c/", {"x": "a/b//c/"}),
        ("/{x:path}", "/", {"x": ""}),
        ("/f/{x:path}", "/f", None),
        ("/f/{x:path}", "/f/", {"x": ""}),
        ("/f/{x:path}/raw", "/f/a/b/raw", {"x": "a/b"}),
        ("/f/{x:path}/raw", "/f/a/b/rawer", None),
        ("/{a}/{x:path}/{b:int}", "/u/p/q/5", {"a": "u", "x": "p/q", "b": 5}),
        ("/{x}.json", "/a.b.json", {"x": "a.b"}),
        ("/v{x:int}.{y:int}", "/v1.20", {"x": 1, "y": 20}),
        ("/a.c", "/abc", None),
        ("/(a|b)+{x}", "/(a|b)+1", {"x": "1"}),
        ("/{x:date}", "/2024-02-29", {"x": date(2024, 2, 29)}),
        ("/{x:date}", "/2023-02-29", None),
    ],
)
def test_match(source: str, path: str, values: dict[str, Any] | None) -> None:
    """A path matches whole or not at all, and its parameters are of their converters' types."""
    found = match(source, path)
    assert found == values
    assert found is None or [type(value) for value in found.values()] == [
        type(value) for value in (values or {}).values()
    ]


@pytest.mark.parametrize(
    ("source", "values", "path"),
    [
        ("/", {}, "/"),
        ("/{x}", {"x": "a b?"}, "/a%20b%3F"),
        ("/{x}", {"x": "\xe9%"}, "/%C3%A9%25"),
        ("/{x}", {"x": 5}, "/5"),
        ("/{x:int}/", {"x": 7}, "/7/"),
        ("/{x:float}", {"x": 1.5}, "/1.5"),
        ("/{x:uuid}", {"x": ID}, f"/{ID}"),
        ("/f/{x:path}", {"x": "a b/c"}, "/f/a%20b/c"),
        ("/\xe9/{x}.{y}", {"x": "a", "y": "b"}, "/%C3%A9/a.b"),
        ("/{x:date}", {"x": date(2024, 2, 29)}, "/2024-02-29"),
    ],
)
def test_format(source: str, values: dict[str, Any], path: str) -> None:
    """A path is made from parameters, percent-encoded so that it leads back to them."""
    made = parse_template(source, KNOWN).format(values)
    assert made == path
    found = match(source, unquote(made))
    assert found == {name: str(value) if source == "/{x}" else value for name, value in values.items()}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("/{x}", ""),
        ("/{x}", "a/b"),
        ("/{x}", "\ud800"),
        ("/{x:int}", -1),
        ("/{x:int}", "abc"),
        ("/{x:float}", -0.5),
        ("/{x:float}", math.inf),
        ("/{x:float}", math.nan),
        ("/{x:uuid}", "nope"),
        ("/{x:date}", "today"),
        ("/{x:loose}", "a/b"),
    ],
)
def test_format_refuses_what_would_not_match(source: str, value: Any) -> None:
    """A value whose path would not lead back to the route is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        parse_template(source, KNOWN).format({"x": value})


def test_the_refusal_names_the_parameter() -> None:
    """The message has the value, the parameter and the template."""
    with pytest.raises(ValueError, match=r"'a/b' for \{x\}: that makes a path that '/u/\{x\}' would not match"):
        parse_template("/u/{x}", KNOWN).format({"x": "a/b"})
    with pytest.raises(ValueError, match=r"'a' is not for \{x\} of '/u/\{x:int\}': invalid literal"):
        parse_template("/u/{x:int}", KNOWN).format({"x": "a"})


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.integers(0), st.floats(0, allow_infinity=False), st.uuids(), TEXT)
@example("a", 0, 0.1234567891, ID, "b")
@example("a", 0, 5e-324, ID, "/")
@example("a", 0, 1.7976931348623157e308, ID, "%2F")
@example("..", 10**30, 1e22, ID, "../x//")
def test_round_trip(text: str, number: int, real: float, uuid: UUID, path: str) -> None:
    """The path for some parameters gives the same parameters back."""
    assume(text and "/" not in text)
    values: Mapping[str, Any] = {"a": text, "b": number, "c": real, "d": uuid, "e": path}
    source = "/x/{a}/{b:int}/{c:float}/y-{d:uuid}/{e:path}"
    made = parse_template(source, KNOWN).format(values)
    assert made.isascii()
    assert match(source, unquote(made)) == values


@given(TEXT, TEXT)
@example("a", "b-c")
def test_round_trip_within_a_segment(first: str, second: str) -> None:
    """Where two parameters share a segment, a path is made only if it gives the same parameters back."""
    template = parse_template("/{a}-{b}", KNOWN)
    try:
        made = template.format({"a": first, "b": second})
    except ValueError:
        return
    assert match("/{a}-{b}", unquote(made)) == {"a": first, "b": second}


@pytest.mark.timeout(5)  # matching in quadratic time takes much longer
@pytest.mark.parametrize(
    ("source", "path"),
    [("/{a}-{b}.txt", "/" + "-" * 100_000), ("/f/{a:path}/x/{b:path}/end", "/f" + "/x" * 50_000)],
)
def test_matching_takes_linear_time(source: str, path: str) -> None:
    """A long path that does not match is turned down in time that grows with its length and no faster."""
    assert match(source, path) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "the path '' must start with \"/\": write '/'"),
        ("users", "the path 'users' must start with \"/\": write '/users'"),
        ("/{x", "'/{x': its braces do not pair up: write {name} or {name:converter}"),
        ("/x}", "'/x}': its braces do not pair up"),
        ("/{{x}}", "'/{{x}}': its braces do not pair up"),
        ("/{}", "'/{}': {} is not a parameter name: use a Python identifier"),
        ("/{a b}", "'/{a b}': {a b} is not a parameter name"),
        ("/{1}", "'/{1}': {1} is not a parameter name"),
        ("/{x}/{x}", "'/{x}/{x}': the parameter {x} stands twice: give each its own name"),
        ("/{x}/{x:path}", "'/{x}/{x:path}': the parameter {x} stands twice"),
        (
            "/{x:slug}",
            "'/{x:slug}': there is no converter 'slug' for {x}; there are date, float, int, loose, path, str, uuid",
        ),
    ],
)
def test_what_is_no_template(source: str, message: str) -> None:
    """A mistake in a template is a RouteError that shows it and says what to write."""
    with pytest.raises(RouteError) as caught:
        parse_template(source, KNOWN)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("regex", ["(", "[a", "*", "(?i)a", "(?P<_0>a)"])
def test_a_regex_that_does_not_compile(regex: str) -> None:
    """A converter's regex that cannot be used is a RouteError where a template names it."""
    with pytest.raises(RouteError, match="the regex of a converter does not compile"):
        parse_template("/{x:bad}", {"bad": Converter("bad", regex, str, str)})


def test_a_regex_keeps_to_itself() -> None:
    """An alternation or a group in a converter's regex reaches no further than its parameter."""
    sizes = Converter("size", "s|(m)|l", str, str)
    pattern = parse_template("/t-{x:size}-{y:size}", {"size": sizes}).segments[0]
    assert isinstance(pattern, Pattern)
    assert pattern.match("t-s-l") == ("s", "l")
    assert (pattern.match("t-s"), pattern.match("s"), pattern.match("l")) == (None, None, None)


@given(
    st.lists(st.sampled_from(["", ".", "-", "--", "a", ".-", "-a-"]), min_size=3, max_size=5),
    st.text(".-ab/", max_size=14),
)
@example(["", "--", ""], "a---b")
@example(["", "", ""], "ab")
@example(["-", "-", "-"], "--")
@example(["a", "a", "a"], "aaaaa")
def test_parameters_of_any_text_are_split_as_a_regex_would(plain: list[str], text: str) -> None:
    """Where all parameters are ``str``, what each of them takes is what a regular expression would give it."""
    source = "/" + plain[0] + "".join(f"{{x{index}}}{after}" for index, after in enumerate(plain[1:]))
    pattern = parse_template(source, CONVERTERS).segments[0]
    assert isinstance(pattern, Pattern)
    found = re.fullmatch("([^/]+)".join(map(re.escape, plain)), text)
    assert pattern.match(text) == (None if found is None else found.groups())


def test_a_name_with_an_ending_may_be_long() -> None:
    """The length of a text is bounded only where a regular expression is needed."""
    name = "a.b-" * 5000
    assert match("/{name}.{ending}", f"/{name}.txt") == {"name": name, "ending": "txt"}


def test_converters_that_come_later() -> None:
    """Without converters all is checked but their names."""
    assert list(parse_template("/{x:later}/{y}", None).parameters) == ["x", "y"]
    with pytest.raises(RouteError, match="stands twice"):
        parse_template("/{x:later}/{x}", None)


def test_parameters_in_order() -> None:
    """The parameters are known by name with their converters, in the order of the template."""
    parameters = parse_template("/{b}/{a:int}-{c:uuid}/{d:path}", KNOWN).parameters
    assert [(name, converter.name) for name, converter in parameters.items()] == [
        ("b", "str"),
        ("a", "int"),
        ("c", "uuid"),
        ("d", "path"),
    ]
