"""The stop of the server, for an app. Only the first request shows which server that is."""

from __future__ import annotations

import trio

from trioweb.exchange.lifespan import AppNursery
from trioweb.exchange.policy import Policy
from trioweb.ground.http.asgi import Scope, Send
from trioweb.io.hypercorn import find_transport
from trioweb.io.transport import PLAIN


class Stopping:
    """The server's stop during one lifespan of an app.

    Attributes:
        event: set when the server is told to stop.
        listening: ``listen`` need not be called any more.
    """

    __slots__ = ("_policy", "event", "listening")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        policy.stopping = False
        self.event = trio.Event()
        self.listening = False

    def listen(self, scope: Scope, send: Send) -> None:
        """Watch for the stop in the app's nursery, if the server announces it."""
        nursery = self._policy.nursery
        if self.listening or nursery is None:
            return
        self.listening = True
        transport = find_transport(scope, send)
        if transport is not PLAIN:
            nursery.start_own(transport.watch_stop, lambda grace: self._announce(grace, nursery))
            nursery.start_own(self._policy.writes.sweep)

    def _announce(self, grace: float, nursery: AppNursery) -> None:
        self.event.set()
        nursery.start_own(self._policy.writes.break_all_after, grace)
        self._policy.stopping = True
        for running in list(self._policy.to_end):
            running.end()
