"""The route table: finds the endpoint for a method and a path.

It is a tree of path segments. At each segment plain text wins over a pattern, whatever the order of registration, and
the search backtracks from a branch that does not match. A node has one parent and one depth, so a look-up visits each
node at most once: its time is bounded by the number of routes, not by combinations of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from trioweb.ground.errors import RouteError
from trioweb.ground.templates import Pattern, Template

E = TypeVar("E")


class Place(Generic[E]):
    """The endpoints of one path template, one for each method."""

    __slots__ = ("endpoints", "labels", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.labels: dict[str, str] = {}  # by method, for messages
        self.endpoints: dict[str, tuple[E, tuple[str, ...]]] = {}  # by method, with the names of the path parameters

    def allowed(self) -> set[str]:
        """The methods of its endpoints, and the automatic ones."""
        methods = set(self.endpoints)
        return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


class _Node(Generic[E]):
    __slots__ = ("patterns", "place", "static", "tails")

    def __init__(self) -> None:
        self.static: dict[str, _Node[E]] = {}
        self.patterns: list[tuple[Pattern, _Node[E]]] = []
        self.tails: list[tuple[Pattern, Place[E]]] = []
        self.place: Place[E] | None = None


class RouteTable(Generic[E]):
    """The endpoints by path and method."""

    def __init__(self) -> None:
        self._root: _Node[E] = _Node()
        self._plain: dict[str, Place[E]] = {}  # templates without parameters: one dict look-up finds them

    def add(self, template: Template, methods: frozenset[str], endpoint: E, label: str) -> None:
        """Register an endpoint.

        Raises:
            RouteError: if another route matches the same requests.
        """
        place = self._place(template)
        taken = sorted(methods & place.endpoints.keys())
        if taken:
            raise RouteError(
                f"{label}: {' '.join(taken)} {template.source} matches the same requests as the route "
                f"{place.source} that is there ({place.labels[taken[0]]}): change a path or a method"
            )
        for method in methods:
            place.labels[method] = label
        self.put(template, methods, endpoint)

    def put(self, template: Template, methods: frozenset[str], endpoint: E) -> None:
        """Have another endpoint in the place of one that was added."""
        place, names = self._place(template), tuple(template.parameters)
        for method in methods:
            place.endpoints[method] = (endpoint, names)

    def _place(self, template: Template) -> Place[E]:
        node = self._root
        for segment in template.segments:
            if isinstance(segment, str):
                node = node.static.setdefault(segment, _Node())
            else:
                node = _shared(node.patterns, segment, _Node())
        if template.tail is not None:
            return _shared(node.tails, template.tail, Place(template.source))
        if node.place is None:
            node.place = Place(template.source)
        if not template.parameters:
            self._plain[template.source] = node.place
        return node.place

    def find(self, method: str, path: str) -> tuple[E, dict[str, object]] | None:
        """The endpoint for a request and the values of its path parameters, or ``None``.

        ``HEAD`` falls back on ``GET`` of the same path. After ``None``, ``allowed`` tells a 404 from a 405.
        """
        place = self._plain.get(path)
        if place is not None:
            plain = place.endpoints.get(method)
            if plain is not None:
                return plain[0], {}
        for place, values in self._places(path):
            found = place.endpoints.get(method)
            if found is None and method == "HEAD":
                found = place.endpoints.get("GET")
            if found is not None:
                endpoint, names = found
                return endpoint, dict(zip(names, values, strict=True))
        return None

    def allowed(self, path: str) -> set[str]:
        """The methods that routes answer at this path; empty if no route matches it."""
        return set().union(*(place.allowed() for place, _ in self._places(path)))

    def _places(self, path: str) -> Iterator[tuple[Place[E], tuple[object, ...]]]:
        if path[:1] == "/":
            yield from _walk(self._root, path[1:], ())


def _walk(node: _Node[E], rest: str | None, found: tuple[object, ...]) -> Iterator[tuple[Place[E], tuple[object, ...]]]:
    if rest is None:  # no segment is left
        if node.place is not None:
            yield node.place, found
        return
    segment, slash, after = rest.partition("/")
    remaining = after if slash else None
    child = node.static.get(segment)
    if child is not None:
        yield from _walk(child, remaining, found)
    for pattern, child in node.patterns:
        values = pattern.match(segment)
        if values is not None:
            yield from _walk(child, remaining, (*found, *values))
    for pattern, place in node.tails:
        values = pattern.match(rest)
        if values is not None:
            yield place, (*found, *values)


S = TypeVar("S")


def _shared(children: list[tuple[Pattern, S]], pattern: Pattern, new: S) -> S:
    """The child with a pattern of the same shape; if there is none, add ``new`` and sort by rank."""
    for known, child in children:
        if known.shape == pattern.shape:
            return child
    children.append((pattern, new))
    children.sort(key=lambda item: item[0].rank)
    return new
