"""The table of routes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioweb.ground import routes
from trioweb.ground.errors import RouteError
from trioweb.ground.routes import RouteTable
from trioweb.ground.templates import CONVERTERS, Pattern, parse_template


def table_of(*paths: str, method: str = "GET") -> RouteTable[str]:
    """A table in which each path's endpoint is the path."""
    table: RouteTable[str] = RouteTable()
    for path in paths:
        table.add(parse_template(path, CONVERTERS), frozenset({method}), path, f"handler of {path}")
    return table


def winner(table: RouteTable[str], path: str, method: str = "GET") -> str | None:
    """The endpoint at a path."""
    found = table.find(method, path)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("/users/me", "/users/{id}"), {"/users/me": "/users/me", "/users/you": "/users/{id}"}),
        (("/{a}/x", "/b/{c}"), {"/b/x": "/b/{c}", "/a/x": "/{a}/x", "/a/y": None}),
        (("/b/{c}/d", "/{a}/c/e"), {"/b/c/d": "/b/{c}/d", "/b/c/e": "/{a}/c/e", "/b/c/f": None}),
        (("/{x:int}", "/{x:float}", "/{x}"), {"/1": "/{x:int}", "/1.5": "/{x:float}", "/a": "/{x}"}),
        (("/{x}", "/{x:path}", "/"), {"/": "/", "/a": "/{x}", "/a/b": "/{x:path}"}),
        (("/v{x}", "/{x}", "/ver{x}"), {"/v1": "/v{x}", "/w1": "/{x}", "/ver2": "/ver{x}"}),
        (
            ("/f/{p:path}", "/f/{p:path}/raw", "/f/a"),
            {"/f/a": "/f/a", "/f/b": "/f/{p:path}", "/f/b/raw": "/f/{p:path}/raw"},
        ),
        (("/f/{p:path}", "/f/{x}/edit"), {"/f/a/edit": "/f/{x}/edit", "/f/a/b/edit": "/f/{p:path}"}),
    ],
)
def test_the_order_of_registration_does_not_matter(paths: tuple[str, ...], expected: dict[str, str | None]) -> None:
    """Plain text wins over parameters, the narrower over the wider, whatever came first."""
    for order in permutations(paths):
        table = table_of(*order)
        assert {path: winner(table, path) for path in expected} == expected


def test_parameters_have_their_routes_names() -> None:
    """Routes that differ in method and in the names of their parameters share a path, and each gets its own names."""
    table = table_of("/users/{id:int}/{what}")
    table.add(parse_template("/users/{user:int}/{thing}", CONVERTERS), frozenset({"PUT"}), "put", "label")
    assert table.find("GET", "/users/5/name") == ("/users/{id:int}/{what}", {"id": 5, "what": "name"})
    assert table.find("PUT", "/users/5/name") == ("put", {"user": 5, "thing": "name"})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/{a}", "/{b}"),
        ("/{a}/{b:path}", "/{b}/{a:path}"),
        ("/v{a:int}.x", "/v{b:int}.x"),
        ("/{a}", "/{b:str}"),
    ],
)
def test_routes_that_match_the_same_requests(first: str, second: str) -> None:
    """Two routes that match the same requests are an error that names both, and the first stays."""
    table = table_of(first)
    with pytest.raises(RouteError) as caught:
        table.add(parse_template(second, CONVERTERS), frozenset({"GET", "PUT"}), "second", "app.second")
    assert str(caught.value) == (
        f"app.second: GET {second} matches the same requests as the route {first} that is there "
        f"(handler of {first}): change a path or a method"
    )
    assert winner(table, first.replace("{a}", "1").replace("{a:int}", "1").replace("{b:path}", "1")) == first
    assert table.allowed(first.replace("{a}", "1").replace("{a:int}", "1").replace("{b:path}", "1")) == {
        "GET",
        "HEAD",
        "OPTIONS",
    }


def test_another_method_is_another_route() -> None:
    """A place whose method fits wins over one that stands nearer and has other methods."""
    table = table_of("/users/me")
    table.add(parse_template("/users/{id}", CONVERTERS), frozenset({"PUT"}), "put", "label")
    assert table.find("PUT", "/users/me") == ("put", {"id": "me"})
    assert table.find("PUT", "/users/you") == ("put", {"id": "you"})
    assert table.find("GET", "/users/you") is None
    assert table.find("DELETE", "/users/me") is None


def test_head() -> None:
    """``HEAD`` is answered by ``GET``, unless it has a route of its own."""
    table = table_of("/a", "/{x}/b")
    assert table.find("HEAD", "/a") == ("/a", {})
    assert table.find("HEAD", "/1/b") == ("/{x}/b", {"x": "1"})
    table.add(parse_template("/a", CONVERTERS), frozenset({"HEAD"}), "head", "label")
    assert table.find("HEAD", "/a") == ("head", {})
    assert table.find("GET", "/a") == ("/a", {})


def test_allowed() -> None:
    """The methods at a path are those of every route there, with those that follow; none where there is no route."""
    table = table_of("/users/me")
    table.add(parse_template("/users/{id}", CONVERTERS), frozenset({"PUT", "DELETE"}), "put", "label")
    assert table.allowed("/users/me") == {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
    assert table.allowed("/users/you") == {"OPTIONS", "PUT", "DELETE"}
    assert table.allowed("/users") == set()
    assert table.allowed("") == set()


ODD = table_of(
    "/",
    "/a",
    "/a/",
    "/{x}",
    "/{x:int}/{y:float}",
    "/a/{z:uuid}",
    "/{x}-{y}.{z}",
    "/v{n:int}",
    "/f/{p:path}",
    "/f/{p:path}/raw/{n:int}",
)


@given(st.text() | st.text("/a1.-vf{}%\n\0").map("/".__add__))
@example("/" + "9" * 5000)
@example("/1/" + "9" * 5000)
@example("/" * 100_000)
@example("/f/" + "a/" * 100_000)
@example("/f//raw/\N{SUPERSCRIPT TWO}")
@example("/\ud800")
def test_any_path_has_an_answer(path: str) -> None:
    """Whatever path a client asks for, there is a route or there is none."""
    found = ODD.find("GET", path)
    assert (found is not None) == ("GET" in ODD.allowed(path))
    assert ODD.find("PUT", path) is None
    if found is not None:
        assert path.startswith("/")
        assert list(found[1]) == list(parse_template(found[0], CONVERTERS).parameters)


def test_the_work_is_bounded_by_the_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up tries each pattern once at most, also where every branch fits and none leads anywhere."""
    depth = 7
    paths = ["/" + "/".join(choice) for choice in _choices(depth)]
    table = table_of(*(f"{path}/end" for path in paths))
    tried: list[str] = []
    match = Pattern.match

    def counting(self: Pattern, text: str) -> tuple[Any, ...] | None:
        tried.append(self.shape)
        return match(self, text)

    monkeypatch.setattr(Pattern, "match", counting)
    assert table.find("GET", "/1" * depth + "/nowhere") is None
    assert len(tried) == sum(2**level for level in range(1, depth + 1))
    tried.clear()
    assert table.find("GET", "/1" * 100_000) is None
    assert len(tried) == sum(2**level for level in range(1, depth + 1))


def test_a_long_path_is_walked_no_deeper_than_the_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The segments that are looked at are as many as the routes have, however many a client sends."""
    walked: list[str | None] = []
    walk = routes._walk

    def counting(node: Any, rest: str | None, found: tuple[Any, ...]) -> Any:
        walked.append(rest)
        return walk(node, rest, found)

    monkeypatch.setattr(routes, "_walk", counting)
    table = table_of("/{a}/{b}/{c}")
    assert table.find("GET", "/x" * 50_000) is None
    assert len(walked) == 4


def _choices(depth: int) -> list[tuple[str, ...]]:
    if depth == 0:
        return [()]
    return [(*rest, part) for rest in _choices(depth - 1) for part in (f"{{a{depth}:int}}", f"{{a{depth}:float}}")]
