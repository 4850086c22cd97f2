"""The clock that connections share."""

from __future__ import annotations

import math

import trio
import trio.testing

from trioweb.server.config import ServerConfig
from trioweb.server.wire.pulse import LONGEST, Pulse


class Client:
    """Something with a time limit."""

    def __init__(self, due: float) -> None:
        self.due = due
        self.late = 0

    def overdue(self) -> None:
        """Note it."""
        self.late += 1
        self.due = math.inf


async def test_who_is_late_hears_of_it_once(autojump_clock: trio.testing.MockClock) -> None:
    """A limit that is over is told at most one look later, and no other is; without limits nobody looks."""
    async with trio.open_nursery() as nursery:
        pulse = Pulse(ServerConfig(), nursery)
        nursery.start_soon(pulse.run)
        await trio.sleep(1000)  # nobody is there: no look, and the clock has stood still
        early, late, never = Client(trio.current_time() + 1), Client(trio.current_time() + 3), Client(math.inf)
        for client in (early, late, never):
            pulse.add(client)
        assert pulse.now == trio.current_time()
        assert pulse.after(2) == pulse.now + 2
        assert pulse.after(None) == math.inf
        await trio.sleep(1 + 2 * LONGEST)
        assert (early.late, late.late, never.late) == (1, 0, 0)
        pulse.discard(late)
        await trio.sleep(10)
        assert (early.late, late.late, never.late) == (1, 0, 0)
        nursery.cancel_scope.cancel()


async def test_the_date_is_that_of_the_second(autojump_clock: trio.testing.MockClock) -> None:
    """The server's own headers are made anew each second, and name this server."""
    async with trio.open_nursery() as nursery:
        config = ServerConfig()
        config.alt_svc_headers = ['h3=":443"']
        pulse = Pulse(config, nursery)
        nursery.start_soon(pulse.run)
        pulse.add(Client(math.inf))
        assert b'\r\nserver: trioweb\r\nalt-svc: h3=":443"\r\n' in pulse.fields
        assert pulse.fields.startswith(b"date: ")
        pulse.fields = b"old"
        await trio.sleep(1 + 2 * LONGEST)
        assert pulse.fields.startswith(b"date: ")
        nursery.cancel_scope.cancel()
