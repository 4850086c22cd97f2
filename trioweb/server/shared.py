"""What all connections of a worker share."""

from __future__ import annotations

from typing import NamedTuple

from trioweb.ground.http.asgi import LifespanState
from trioweb.server.config import ServerConfig
from trioweb.server.gate import Gate
from trioweb.server.http1.pulse import Pulse
from trioweb.server.hypercorn.context import Context


class Shared(NamedTuple):
    """What all connections of a worker share.

    Attributes:
        gate: the app and its limits.
        config: the server's configuration.
        context: the worker's stop and count of requests, for Hypercorn's protocols too.
        pulse: the time limits.
        state: that of the app's lifespan.
    """

    gate: Gate
    config: ServerConfig
    context: Context
    pulse: Pulse
    state: LifespanState
