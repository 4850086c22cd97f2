"""The types of ASGI, in one place: what a server hands to an application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""Any framework's: each has types of its own for the three."""

ASGI_VERSION: Final = {"version": "3.0", "spec_version": "2.3"}
"""What apps are told of ASGI by the server and the test client, as by other servers.

From 2.4 on frameworks rely on ``send`` to tell them that a client has left, and a stream that sleeps never hears of it.
"""
