"""The part of an app that describes it: its routes as OpenAPI, and the pages that show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from trioweb.app.dispatch import Dispatcher
from trioweb.app.router import Router
from trioweb.ground.foreign import Taught, teach
from trioweb.ground.templates import Template
from trioweb.handlers.endpoint import Endpoint, Route
from trioweb.handlers.markers import Provide

T = TypeVar("T")
Document: TypeAlias = dict[str, Any]
"""A document of OpenAPI."""
Planned: TypeAlias = tuple[Route, Template, Endpoint]


class Described(Router):
    """Routes that are planned, and can be described: see ``App``."""

    _dispatcher: Dispatcher

    def __init__(self, dependencies: Sequence[Provide]) -> None:
        super().__init__(dependencies=dependencies)
        self._planned: list[Planned] = []

    def add_type(
        self,
        cls: type[T],
        *,
        encode: Callable[[T], object] | None = None,
        decode: Callable[[Any], T] | None = None,
        schema: Mapping[str, object] | None = None,
    ) -> None:
        """Say how the objects of a class are sent and made, before the routes that use it.

        ::

            app.add_type(Money, encode=str, decode=Money.parse, schema={"type": "string", "examples": ["9.50 EUR"]})

        It holds for its subclasses, and for all apps of the process, since a response that is made by hand has no app.
        ``Path``, IP addresses and networks are known; so are classes of pydantic and attrs, dataclasses and Structs.

        Args:
            cls: the class.
            encode: makes something with a JSON form of an object; objects cannot be sent unless given.
            decode: makes an object of what JSON, or a text, was sent; a ``ValueError`` says that it does not fit.
                Clients can send none unless given.
            schema: the JSON Schema of what is sent.

        Raises:
            TypeError: if the class needs no such words, or neither function is given.
        """
        if encode is None and decode is None:
            raise TypeError(f"add_type({cls.__qualname__}) says nothing: give encode=..., decode=... or both")
        teach(cls, Taught(encode, decode, dict(schema or {})))

    def openapi(self, *, title: str = "API", version: str = "0.1.0", description: str = "") -> Document:
        """The description of the app's routes as an OpenAPI 3.2 document.

        It is made anew at each call, of the routes that are registered by then, and is the caller's to change. Those of
        mounted apps are not described.

        Args:
            title: the name of the API.
            version: the version of the API.
            description: more about it; may be Markdown.

        Raises:
            ValueError: if what the routes say of themselves contradicts itself, or is not OpenAPI.
        """
        return self._describe(title, version, description)

    def add_docs(
        self,
        path: str = "/docs",
        *,
        openapi_path: str = "/openapi.json",
        title: str = "API",
        version: str = "0.1.0",
        description: str = "",
    ) -> None:
        """Serve the description of the app, and pages that show it: all operations, and one that tries the streams.

        They are from this package: nothing of another host is loaded, and no script stands in a page. Whoever reaches
        the app can read them; put ``middleware`` before them, or leave them out in production.

        Args:
            path: where the page is; that of the streams is below it.
            openapi_path: where the document is.
            title: the name of the API.
            version: the version of the API.
            description: more about it; may be Markdown.

        Raises:
            RouteError: if there are such routes already.
        """
        from trioweb.openapi.pages import Pages  # noqa: PLC0415 - only where it is asked for

        kept: dict[int, Document] = {}  # by the number of routes: others may be registered later

        def describe() -> Document:
            if len(self._planned) not in kept:
                kept.clear()
                kept[len(self._planned)] = self._describe(title, version, description)
            return kept[len(self._planned)]

        for place, handler in Pages(path.rstrip("/"), openapi_path, title, describe).handlers():
            self.get(place, name=f"docs:{place}", include_in_schema=False)(handler)

    def _describe(self, title: str, version: str, description: str) -> Document:
        from trioweb.openapi.document import describe  # noqa: PLC0415 - few are asked for it
        from trioweb.openapi.operations import Described as Operation  # noqa: PLC0415

        routes = [
            Operation(route.path, route.methods, route.name, route.options, template, endpoint)
            for route, template, endpoint in self._planned
        ]
        mounts = [mount.prefix or "/" for mount in self._dispatcher.mounts]
        return describe(routes, mounts, title, version, description)
