"""What is mounted in an app."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from trioweb.exchange.mounted import where_mounted
from trioweb.ground.http.asgi import ASGIApp, LifespanState, MutableScope, Receive, Scope, Send
from trioweb.handlers.endpoint import Endpoint
from trioweb.handlers.route import Route, pass_out
from trioweb.handlers.signatures import Function
from trioweb.messages.response import Response


class Mount(NamedTuple):
    """A mounted ASGI app.

    Attributes:
        prefix: where it is mounted, ``""`` for all paths.
        app: the app.
        state: what its lifespan leaves to its requests, each of which gets a copy.
        endpoint: calls the app from behind middleware. Its route has the name of the mount, or none, and as its handler
            the app.
    """

    prefix: str
    app: ASGIApp
    state: LifespanState
    endpoint: Endpoint

    async def serve(self, scope: MutableScope, receive: Receive, send: Send) -> None:
        """Call the app."""
        inner = {**scope, "root_path": scope.get("root_path", "") + self.prefix}
        if self.state:
            inner["state"] = {**scope.get("state", {}), **self.state}
        try:
            await self.app(inner, receive, send)
        finally:
            pass_out(scope, inner, self.route)

    @property
    def route(self) -> Route:
        """What is known of the app by its mount."""
        assert self.endpoint.route is not None  # noqa: S101 - as `Dispatcher.mount` has planned it
        return self.endpoint.route

    @property
    def where(self) -> str:
        """The app for messages."""
        return where_mounted(self.route)


class Site(ABC):
    """An ASGI app whose requests, if mounted, are the app's own: with its error handlers and middleware.

    Attributes:
        endpoint: has what is the same for all requests.
    """

    endpoint: Endpoint

    @abstractmethod
    def find(self, scope: Scope, prefix: str, path: str) -> Function | Response:
        """What serves a request: a function without parameters.

        Args:
            scope: the request's.
            prefix: where this is mounted.
            path: the request's path, the prefix included.

        Raises:
            HTTPError: if nothing does.
        """

    @abstractmethod
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope by itself."""
