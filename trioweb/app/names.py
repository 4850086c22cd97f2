"""Routes by name: from a name and parameters to a path."""

from __future__ import annotations

from collections.abc import Mapping

from trioweb.ground.templates import Template


class RouteNames:
    """The templates of an app's routes, by the names of the routes."""

    __slots__ = ("_templates",)

    def __init__(self) -> None:
        self._templates: dict[str, list[Template]] = {}

    def add(self, name: str, template: Template) -> None:
        """Add a route; several may have the same name."""
        self._templates.setdefault(name, []).append(template)

    def path(self, name: str, params: Mapping[str, object]) -> str:
        """The path of the route of this name that has these parameters.

        Raises:
            LookupError: if there is none.
            ValueError: if the route would not match the path.
        """
        templates = self._templates.get(name, [])
        for template in templates:
            if template.parameters.keys() == params.keys():
                return template.format(params)
        if not templates:
            raise LookupError(f"no route is named {name!r}: there are {', '.join(sorted(self._templates)) or 'none'}")
        wanted = " or ".join(f"({', '.join(template.parameters)})" for template in templates)
        raise LookupError(f"the route {name!r} takes {wanted}, got ({', '.join(params)})")
