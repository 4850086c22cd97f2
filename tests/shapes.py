"""The shapes of a handler: the ways of writing one, for all of which the same promises hold.

A scenario is what a handler does: an ``async def`` that takes nothing, or an async generator function. A shape makes a
handler of it, and registers that. Tests take the fixture ``shape``, and so are done for each.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import msgspec
import trio

from trioweb import App, Provide, Request, Response
from trioweb.middleware import CallNext

Scenario = Callable[[], Any]
JSON = {"content-type": "application/json"}


class Order(msgspec.Struct):
    """A typed body."""

    n: int


async def given() -> str:
    """A dependency."""
    return "given"


async def opened() -> AsyncIterator[str]:
    """A dependency that yields."""
    yield "opened"


async def pass_on(request: Request, call_next: CallNext) -> Response:
    """A middleware that changes nothing."""
    return await call_next(request)


async def value_of(scenario: Scenario) -> Any:
    """What a handler that does this returns: a stream, where the scenario yields."""
    value = scenario()
    return await value if isinstance(value, Awaitable) else value


def takes_nothing(scenario: Scenario) -> Callable[..., Any]:
    """It is the scenario, and yields where that does."""
    return scenario


def takes_request(scenario: Scenario) -> Callable[..., Any]:
    """It takes the request."""

    async def handler(request: Request) -> Any:
        return await value_of(scenario)

    return handler


def awaits_once(scenario: Scenario) -> Callable[..., Any]:
    """It waits before it does anything."""

    async def handler() -> Any:
        await trio.lowlevel.checkpoint()
        return await value_of(scenario)

    return handler


def has_a_dependency(scenario: Scenario) -> Callable[..., Any]:
    """It is given a value."""

    async def handler(it: Annotated[str, Provide(given)]) -> Any:
        assert it == "given"
        return await value_of(scenario)

    return handler


def has_one_that_yields(scenario: Scenario) -> Callable[..., Any]:
    """It is given what is held until its response is sent."""

    async def handler(it: Annotated[str, Provide(opened)]) -> Any:
        assert it == "opened"
        return await value_of(scenario)

    return handler


def takes_the_nursery(scenario: Scenario) -> Callable[..., Any]:
    """It takes the nursery, and a task runs there for a moment."""

    async def handler(nursery: trio.Nursery) -> Any:
        nursery.start_soon(trio.lowlevel.checkpoint)
        return await value_of(scenario)

    return handler


def takes_json(scenario: Scenario) -> Callable[..., Any]:
    """It takes a typed body."""

    async def handler(order: Order) -> Any:
        assert order.n == 1
        return await value_of(scenario)

    return handler


def depending(handler: Callable[..., Any], dependency: Callable[..., Any]) -> Callable[..., Any]:
    """A handler that has one more dependency."""

    async def wrapped(*, more: Any, **arguments: Any) -> Any:
        return await value_of(partial(handler, **arguments))

    more = inspect.Parameter("more", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Any, Provide(dependency)])
    signature = inspect.signature(handler, eval_str=True)
    wrapped.__signature__ = signature.replace(parameters=[*signature.parameters.values(), more])  # type: ignore[attr-defined]
    return wrapped


@dataclass(frozen=True)
class Shape:
    """A way of writing a handler.

    Attributes:
        name: of it.
        write: makes a handler that does what a scenario does.
        behind: a middleware stands around it.
        methods: that it is written for.
        body: what its requests have to have.
    """

    name: str
    write: Callable[[Scenario], Callable[..., Any]]
    behind: bool = False
    methods: tuple[str, ...] = ("GET", "POST")
    body: Any = None

    def add(
        self,
        app: App,
        scenario: Scenario,
        path: str = "/",
        *,
        dependency: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        """Have an app answer a path by what a scenario does.

        Args:
            app: that.
            scenario: what the handler does.
            path: of the route.
            dependency: one more that the handler has.
            options: of the route.
        """
        handler = self.write(scenario)
        if dependency is not None:
            handler = depending(handler, dependency)
        middleware = [*([pass_on] if self.behind else []), *options.pop("middleware", ())]
        for method in self.methods:
            app.route(path, [method], middleware=middleware, **options)(handler)

    @property
    def method(self) -> str:
        """What to ask it by."""
        return self.methods[0]

    def content(self, padding: int = 0) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of a request, which may have so many bytes more than it needs."""
        if self.body is None and not padding:
            return {}, b""
        return JSON, json.dumps(self.body).encode() + b" " * padding


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("takes nothing", takes_nothing),
        Shape("takes the request", takes_request),
        Shape("awaits once", awaits_once),
        Shape("a dependency", has_a_dependency),
        Shape("a dependency that yields", has_one_that_yields),
        Shape("takes the nursery", takes_the_nursery),
        Shape("behind middleware", takes_nothing, behind=True),
        Shape("behind middleware, takes the request", takes_request, behind=True),
        Shape("takes JSON", takes_json, methods=("POST",), body={"n": 1}),
    )
}
