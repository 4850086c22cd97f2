"""Routes: what a decorator was given, what a router adds to that, and what tools around the app are told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypedDict

import msgspec

from trioweb.ground.errors import RouteError
from trioweb.ground.http.asgi import MutableScope, PathParams, Scope
from trioweb.ground.templates import without_converters
from trioweb.handlers.layers import Middleware, as_middlewares
from trioweb.handlers.markers import Provide
from trioweb.handlers.signatures import Function, label_of

WEBSOCKET: Final = "WEBSOCKET"
"""The method of a WebSocket's route."""
MOUNT: Final = "MOUNT"
"""The method of a mounted app's route."""


TOLD: Final = ("route", "endpoint", "path_params")
"""The keys of a scope by which an app tells ASGI middleware what has served it, as Starlette and FastAPI do."""


class RouterOptions(TypedDict, total=False):
    """The keywords of a router, and of ``include``: they are those of all its routes, WebSockets too.

    Attributes:
        max_body_size: bytes of a request body that is read whole, a form with its files too; that of its router or app
            unless given.
        middleware: the route's middleware, outermost first; it runs inside that of routers and app.
        dependencies: called before the handler, for what they do and not for a value: ``[Provide(login), ...]``. Those
            of the app come first, then those of its routers.
        tags: the groups that it stands in in the description of the API, those of its routers first.
        deprecated: clients should not call it any more. What a router says holds.
        responses: what else it answers, by the status: a sentence, the type of a JSON body, or the response as OpenAPI
            writes one. Those of its routers are added.
        include_in_schema: whether it is described at all; it is unless this is ``False``, here or for its router.
    """

    max_body_size: int | None
    middleware: Sequence[Middleware]
    dependencies: Sequence[Provide]
    tags: Sequence[str]
    deprecated: bool
    responses: Mapping[int | str, object]
    include_in_schema: bool


class RouteOptions(RouterOptions, total=False):
    """The keywords of every route decorator, besides those of ``RouterOptions``.

    Attributes:
        name: the name for ``url_for``; the handler's name unless given.
        status_code: the status of what the handler returns, unless that is a ``Response``; 200 unless given, and 204
            for ``None``.
        streaming: the route always streams: an iterable that the handler returns, a ``list`` too, is sent chunk by
            chunk.
        cancel_on_disconnect: whether the handler is cancelled if the client leaves before the response starts; only for
            GET, HEAD and OPTIONS unless given.
        timeout: seconds from the handler's start to the end of its response; ``App(timeout=...)`` unless given,
            ``None`` for no limit. A handler that has not returned by then is cancelled, and the client gets a 503; a
            plain ``def`` cannot be cancelled, so its 503 waits until it returns. A started stream is aborted.
        min_rate: bytes a second that a client must send of the body while the handler waits for it, and receive of the
            response; ``App(min_rate=...)`` unless given, ``None`` for no limit.
        summary: one line about it in the description of the API; the first of the handler's docstring unless given.
        description: more about it; the rest of the docstring, up to its sections, unless given.
    """

    name: str | None
    status_code: int
    streaming: bool
    cancel_on_disconnect: bool | None
    timeout: float | None
    min_rate: float | None
    summary: str
    description: str


class Route(msgspec.Struct, frozen=True):
    """A registered handler: its path with all prefixes, its methods, and the options that were given.

    What is mounted has one in ``scope["route"]``, too, whose path is its prefix.
    """

    path: str
    methods: frozenset[str]
    handler: Function
    name: str
    options: RouteOptions = msgspec.field(default_factory=RouteOptions)

    @property
    def where(self) -> str:
        """The route for messages, as in ``GET /users/{id}``."""
        return f"{' '.join(sorted(self.methods))} {self.path}"

    @property
    def path_format(self) -> str:
        """The path without converters, as OpenAPI and OpenTelemetry write it."""
        return without_converters(self.path)

    def __repr__(self) -> str:
        return f"<Route {self.where}, {label_of(self.handler)}>"

    @property
    def is_websocket(self) -> bool:
        """Whether it serves WebSockets: its only method is then ``WEBSOCKET``."""
        return WEBSOCKET in self.methods


def inherit(where: str, defaults: RouteOptions, options: RouteOptions) -> RouteOptions:
    """The options of a route in a router: its own replace the router's, or are added to them.

    Raises:
        RouteError: if its middleware is no list of function middlewares, its dependencies none of ``Provide``, its tags
            none of text, or its responses are no mapping.
    """
    inherited: RouteOptions = {**defaults, **options}
    if "middleware" in options:
        inherited["middleware"] = (*defaults.get("middleware", ()), *as_middlewares(where, options["middleware"]))
    if "dependencies" in options:
        own = as_dependencies(where, options["dependencies"])
        inherited["dependencies"] = (*defaults.get("dependencies", ()), *own)
    if "tags" in options:
        tags = (*defaults.get("tags", ()), *_as_tags(where, options["tags"]))
        inherited["tags"] = tuple(dict.fromkeys(tags))
    if "responses" in options:
        if not isinstance(options["responses"], Mapping):
            raise RouteError(f"{where}: responses is a mapping: write responses={{404: ...}}")
        inherited["responses"] = {**defaults.get("responses", {}), **options["responses"]}
    if defaults.get("deprecated"):
        inherited["deprecated"] = True
    if not defaults.get("include_in_schema", True):
        inherited["include_in_schema"] = False
    return inherited


def check_options(where: str, given: Iterable[str], known: Mapping[str, object], kind: str) -> None:
    """Check that keywords are options.

    Raises:
        TypeError: if one is not.
    """
    if unknown := set(given) - known.keys():
        raise TypeError(f"{where}: a {kind} has no option {min(unknown)!r}: there are {', '.join(known)}")


def _as_tags(where: str, given: Iterable[str]) -> tuple[str, ...]:
    listed = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else given
    tags = tuple(getattr(each, "value", each) for each in listed)  # of an enumeration
    if not all(isinstance(each, str) for each in tags):
        raise RouteError(f'{where}: tags is a list of text, got {given!r}: write tags=["..."]')
    return tags


def as_dependencies(where: str, given: Iterable[Provide]) -> tuple[Provide, ...]:
    """Check the dependencies of a route, or of all routes of a router.

    Raises:
        RouteError: if they are no list of ``Provide(function)``.
    """
    if not isinstance(given, Iterable):
        raise RouteError(f"{where}: dependencies is a list: write dependencies=[{_as_written(given)}]")
    found = tuple(given)
    for each in found:
        if not isinstance(each, Provide):
            raise RouteError(f"{where}: dependencies has {each!r}: write dependencies=[{_as_written(each)}]")
    return found


def _as_written(given: object) -> str:
    """A dependency as it is to be written."""
    name = "function" if isinstance(given, (Provide, type)) else getattr(given, "__name__", "function")
    return f"Provide({name})"


def pass_out(scope: MutableScope, inner: Scope, mount: Route) -> None:
    """Leave in a scope what a mounted app has left in its own: the whole path of its route, for tools around both.

    Args:
        scope: that of the app in which it is mounted.
        inner: the mounted app's. An app of another framework may have added prefixes to its ``root_path``.
        mount: its route; all that is known of an app that tells none.
    """
    route, found = inner.get("route"), mount
    params: PathParams = {}
    if route is not None:
        at = inner["root_path"][len(scope.get("root_path", "")) :]
        path = "" if hasattr(route, "routes") else getattr(route, "path", "")  # a mount of Starlette's is in `at`
        methods, name = getattr(route, "methods", None) or (), getattr(route, "name", None) or ""
        found = Route(at + path, frozenset(methods), inner.get("endpoint", mount.handler), name)
        params = inner.get("path_params", params)
    scope.update(route=found, endpoint=found.handler, path_params=params)
