"""The part of an app that describes it: its routes as OpenAPI, and the pages that show them."""

from __future__ import annotations

from typing import Any, TypeAlias

from trioweb.app.dispatch import Dispatcher
from trioweb.app.router import Route, Router
from trioweb.ground.templates import Template
from trioweb.handlers.endpoint import Endpoint

Planned: TypeAlias = tuple[Route, Template, Endpoint]


class Described(Router):
    """Routes that are planned, and can be described: see ``App``."""

    _dispatcher: Dispatcher

    def __init__(self) -> None:
        super().__init__()
        self._planned: list[Planned] = []

    def openapi(self, *, title: str = "API", version: str = "0.1.0", description: str = "") -> dict[str, Any]:
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
        from trioweb.openapi.document import describe  # noqa: PLC0415 - few processes are asked for it
        from trioweb.openapi.operations import Described as Operation  # noqa: PLC0415

        routes = [
            Operation(route.path, route.methods, route.name, route.options, template, endpoint)
            for route, template, endpoint in self._planned
        ]
        mounts = [mount.prefix or "/" for mount in self._dispatcher.mounts]
        return describe(routes, mounts, title, version, description)
