"""The types of ASGI: what a server passes to an application.

Messages and scopes are mappings from ``str`` to ``Any``, by the ASGI specification; each framework has types of its own
for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
PathParams: TypeAlias = Mapping[str, Any]
"""``scope["path_params"]``: the values of the path parameters by name, as converters, also the user's, parsed them."""
MutableScope: TypeAlias = dict[str, Any]
"""A scope that a server or a test makes, and still adds to."""
Message: TypeAlias = dict[str, Any]
"""What ``receive`` returns and ``send`` takes."""
LifespanState: TypeAlias = dict[str, Any]
"""What an app's lifespan has yielded: each request's scope has a copy as its ``state``."""
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""An app of any framework."""

ASGI_VERSION: Final = {"version": "3.0", "spec_version": "2.3"}
"""``scope["asgi"]`` of the server and the test client.

From 2.4 on frameworks notice only in ``send`` that a client has left: a stream that sleeps would never be cancelled.
"""
