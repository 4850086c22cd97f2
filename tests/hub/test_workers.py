"""Three workers of ``trioweb run`` that share a hub: one of them is killed, and then Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count
from pathlib import Path

import h11
import pytest
import trio

from tests.hub.conftest import NEEDS_REDIS
from tests.hub.redis import Redis
from tests.servers import Server
from trioweb import ServerSentEvent
from trioweb.streams import EventReader

pytestmark = NEEDS_REDIS

LOOK = 0.05
"""Seconds between two looks at what the clients have."""
LOOKS = 60
"""Looks in which every client has every event, or a gap, after the last one was published: 3 seconds, but on a machine
that has other work each look waits for its turn as the workers do.
"""


async def ask(port: int, method: str, target: str, last: str | None = None) -> AsyncGenerator[bytes, None]:
    """The body of a response as it comes; it may break off."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        http = h11.Connection(h11.CLIENT)
        headers = [("host", "x"), *([("last-event-id", last)] if last else [])]
        request = h11.Request(method=method, target=target, headers=headers)
        await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        while not isinstance(event := http.next_event(), (h11.EndOfMessage, h11.ConnectionClosed)):
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Response) and event.status_code >= 300:
                raise OSError(event.status_code)
            elif isinstance(event, h11.Data):
                yield bytes(event.data)


class Client:
    """An ``EventSource``: it connects again and again, with the id of the last event that it has seen."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.last: str | None = None
        self.got: list[ServerSentEvent] = []

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with aclosing(ask(self._port, "GET", "/events", self.last)) as body:
                    async for event in EventReader(body):
                        self.got.append(event)
                        self.last = str(event.id)
            except (OSError, h11.RemoteProtocolError, trio.BrokenResourceError):
                pass
            await trio.sleep(0.1)

    @property
    def numbers(self) -> list[int | None]:
        """What it has got; ``None`` is a gap."""
        return [None if event.event == "gap" else int(event.data) for event in self.got]

    def check(self, published: list[int]) -> bool:
        """Whether it has all: no event is missing without a gap, none came twice, or in another order."""
        place, excused = 0, False
        for number in self.numbers:
            if number is None:
                excused = True
                continue
            assert number in published[place:], f"{number} came twice, or in another order: {self.numbers}"
            found = published.index(number, place)
            assert excused or found == place, (published[place:found], self.numbers)
            place, excused = found + 1, False
        return place == len(published)


async def answer(port: int, method: str, target: str) -> str:
    """A whole answer, of a worker that can give one."""
    while True:
        try:
            return b"".join([data async for data in ask(port, method, target)]).decode()
        except (OSError, h11.RemoteProtocolError, trio.BrokenResourceError):
            await trio.sleep(0.05)


async def test_workers_and_redis_are_killed(own_redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client has each event, or a gap, within three seconds, whoever was killed, with and without the data."""
    monkeypatch.setenv("HUB_URL", own_redis.url)
    server = Server("tests.hub.app:app", ["--workers", "3"], tmp_path, runner="trioweb")
    clients = [Client(server.port) for _ in range(12)]
    published: list[int] = []
    numbers = count()

    async def publish_some() -> None:
        for _ in range(20):
            published.append(next(numbers))
            await answer(server.port, "POST", f"/publish/{published[-1]}")

    async def all_have_all() -> None:
        for _ in range(LOOKS):
            if all(client.check(published) for client in clients):
                return
            await trio.sleep(LOOK)
        raise AssertionError([client.numbers[-3:] for client in clients])

    try:
        await trio.to_thread.run_sync(server.wait_until_ready)
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(client.run)
            while not all(client.got for client in clients):  # an event to resume from
                await answer(server.port, "POST", f"/publish/{next(numbers)}")
                await trio.sleep(0.1)
            last = next(numbers)
            await answer(server.port, "POST", f"/publish/{last}")
            while not all(client.numbers[-1] == last for client in clients):
                await trio.sleep(0.05)
            for client in clients:
                client.got.clear()
            await publish_some()
            await all_have_all()

            os.kill(int(await answer(server.port, "GET", "/worker")), signal.SIGKILL)
            await publish_some()
            await all_have_all()

            await trio.to_thread.run_sync(own_redis.kill)
            await trio.to_thread.run_sync(own_redis.start)
            await publish_some()
            await all_have_all()
            assert not any(None in client.numbers for client in clients)

            await trio.to_thread.run_sync(own_redis.kill)
            own_redis.wipe()
            await trio.to_thread.run_sync(own_redis.start)
            await publish_some()
            await all_have_all()
            assert all(None in client.numbers for client in clients)
            nursery.cancel_scope.cancel()
    finally:
        await trio.to_thread.run_sync(server.stop)
