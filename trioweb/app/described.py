"""The part of an app that knows its routes: finds their paths, and describes them as OpenAPI and on pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from trioweb.app.dispatch import Dispatcher
from trioweb.app.overrides import Overrides
from trioweb.app.router import Router
from trioweb.ground.errors import RouteError
from trioweb.ground.foreign import Taught, teach
from trioweb.ground.templates import CONVERTERS, Converter, Template, parse_template
from trioweb.handlers.endpoint import Endpoint, Planned, plan
from trioweb.handlers.markers import Provide
from trioweb.handlers.route import Route, RouterOptions
from trioweb.handlers.signatures import Function

if TYPE_CHECKING:
    from trioweb.openapi.schemas import Schema

T = TypeVar("T")


class Described(Router):
    """Routes that are planned, and can be found and described: see ``App``."""

    def __init__(self, dispatcher: Dispatcher, dependencies: Sequence[Provide], timeout: float | None) -> None:
        options: RouterOptions = {"dependencies": dependencies} if dependencies else {}
        super().__init__(**options)
        self._timeout = timeout
        self._overrides = Overrides(self._plan_again)
        self._dispatcher = dispatcher
        self._converters: dict[str, Converter] = dict(CONVERTERS)
        self._planned: list[Planned] = []

    @property
    def mounts(self) -> tuple[Route, ...]:
        """What is mounted, the longest prefix first: the path of each is its prefix, and its handler is the app."""
        return tuple(mount.route for mount in self._dispatcher.mounts)

    def add_converter(
        self,
        name: str,
        regex: str,
        parse: Callable[[str], object] = str,
        format: Callable[[Any], str] = str,  # noqa: A002
    ) -> None:
        """Add a converter for path parameters, before the routes that use it.

        Args:
            name: the name behind the colon, as in ``{day:date}``.
            regex: what it matches, within one segment of the path; without named groups.
            parse: text to value; if it raises ``ValueError`` the path does not match.
            format: value to text, for ``url_for``.

        Raises:
            RouteError: if there is a converter of that name.
        """
        if name in self._converters:
            raise RouteError(f"there is a converter {name!r} already: give this one another name")
        self._converters[name] = Converter(name, regex, parse, format)

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

    def url_for(self, name: str, /, **params: object) -> str:
        """The path of the route of this name, with percent-encoded parameters; without what the app is mounted under.

        Of a mounted app: see ``mount``. The whole URL is that of ``request.url_for``.

        Raises:
            LookupError: if no route has this name and these parameters.
            ValueError: if the route would not match the path.
        """
        return self._locate(name, params)[0]

    def _locate(self, name: str, params: Mapping[str, object]) -> tuple[str, bool]:
        return self._dispatcher.locate(name, params)

    @property
    def dependency_overrides(self) -> MutableMapping[Function, Function]:
        """What tests have called in the place of dependencies, those of other dependencies too, by their functions.

        ::

            app.dependency_overrides[user] = lambda: "ada"
            assert (await client.get("/me")).text == "ada"
            app.dependency_overrides.clear()

        A change holds for requests and WebSockets that begin after it, also on routes that are registered later; the
        description of the API stays as it is. A mounted app has its own.

        Raises:
            RouteError: from the change, which is undone: if a function has a parameter that nothing can fill, as of a
                dependency.
        """
        return self._overrides

    @dependency_overrides.setter
    def dependency_overrides(self, overrides: Mapping[Function, Function]) -> None:
        self._overrides.become(overrides)

    def openapi(self, *, title: str = "API", version: str = "0.1.0", description: str = "") -> Schema:
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

        kept: tuple[int, Schema] = (0, {})  # with the number of routes: others may be registered later

        def describe() -> Schema:  # in threads, several at once
            nonlocal kept
            if kept[0] != len(self._planned):
                kept = len(self._planned), self._describe(title, version, description)
            return kept[1]

        for place, handler in Pages(path.rstrip("/"), openapi_path, title, describe).handlers():
            self.get(place, name=f"docs:{place}", include_in_schema=False)(handler)

    def _describe(self, title: str, version: str, description: str) -> Schema:
        from trioweb.openapi.document import describe  # noqa: PLC0415 - few are asked for it

        return describe(self._planned, [mount.path for mount in self.mounts], title, version, description)

    def _register(self, route: Route) -> None:
        route = self._inherited(route)
        template = parse_template(route.path, self._converters)
        endpoint = self._plan(route, template)
        self._dispatcher.add(route.name, template, route.methods, endpoint)
        self._planned.append(Planned(route, template, endpoint))
        if self._overrides:
            self._plan_again()
        self._adopt(route)

    def _plan(self, route: Route, template: Template, overrides: Mapping[Function, Function] | None = None) -> Endpoint:
        timeout = None if route.is_websocket else self._timeout
        return plan(route, template.parameters, timeout=timeout, overrides=overrides or {})

    def _plan_again(self) -> None:
        for route, template, endpoint in self._planned:
            planned = self._plan(route, template, self._overrides) if self._overrides else endpoint
            self._dispatcher.replace(template, route.methods, planned)
