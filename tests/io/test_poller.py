"""The poller: one wait for all connections of a worker."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest
import trio
import trio.testing

from tests.servers import PATIENCE
from trioweb.io.poller import LEFT, READ, Poller


class Listener:
    """Notes what it hears."""

    def __init__(self, react: Callable[[], None] = lambda: None) -> None:
        self.events: list[int] = []
        self.was_deserted = 0
        self._react = react

    def heard(self, events: int) -> None:
        """Note it."""
        self.events.append(events)
        self._react()

    def deserted(self) -> None:
        """Note it."""
        self.was_deserted += 1


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    """One that runs."""
    poller = Poller()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        yield poller
        nursery.cancel_scope.cancel()


Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def sockets() -> Iterator[Pair]:
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with client, ours:
        ours.setblocking(False)
        yield ours, client


async def test_it_tells_what_is_new(poller: Poller, sockets: Pair) -> None:
    """What is there already, and all that comes, each once; that nothing more will come, though nobody reads."""
    ours, client = sockets
    client.send(b"x")
    listener = Listener()
    poller.add(ours.fileno(), listener)
    await trio.testing.wait_all_tasks_blocked()
    assert listener.events == [READ]
    await trio.testing.wait_all_tasks_blocked()
    assert listener.events == [READ]
    client.send(b"y")
    await trio.testing.wait_all_tasks_blocked()
    assert listener.events == [READ, READ]
    client.shutdown(socket.SHUT_WR)
    await trio.testing.wait_all_tasks_blocked()
    assert len(listener.events) == 3
    assert listener.events[-1] & LEFT


async def test_it_tells_of_a_reset(poller: Poller, sockets: Pair) -> None:
    """A connection that is broken has left, too."""
    ours, client = sockets
    listener = Listener()
    poller.add(ours.fileno(), listener)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    await trio.testing.wait_all_tasks_blocked()
    assert listener.events[-1] & LEFT


async def test_who_has_gone_hears_nothing(poller: Poller, sockets: Pair) -> None:
    """After ``discard`` nothing is told, and to discard what is not there is nothing."""
    ours, client = sockets
    listener = Listener()
    poller.add(ours.fileno(), listener)
    poller.discard(ours.fileno())
    poller.discard(ours.fileno())
    client.send(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert not listener.events
    poller.add(ours.fileno(), listener)
    await trio.testing.wait_all_tasks_blocked()
    assert listener.events == [READ]
    ours.close()
    poller.discard(ours.fileno())


async def test_one_that_goes_while_others_are_told(poller: Poller, sockets: Pair) -> None:
    """Whoever is discarded by what another one hears in the same moment hears nothing."""
    ours, client = sockets
    with socket.create_server(("127.0.0.1", 0)) as server:
        other_client = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    with other, other_client:
        listeners = []
        for own, rival in ((ours, other), (other, ours)):
            listeners.append(Listener(partial(poller.discard, rival.fileno())))
            poller.add(own.fileno(), listeners[-1])
        await trio.testing.wait_all_tasks_blocked()
        client.send(b"x")
        other_client.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(len(listener.events) for listener in listeners) == [0, 1]


async def test_all_hear_of_its_end(sockets: Pair) -> None:
    """When it is cancelled, whoever counts on it is told; who comes later, at once."""
    ours, client = sockets
    poller = Poller()
    first, second = Listener(), Listener()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        poller.add(ours.fileno(), first)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert first.was_deserted == 1
    poller.add(client.fileno(), second)
    assert second.was_deserted == 1
    poller.discard(ours.fileno())
    poller.discard(client.fileno())


async def test_one_that_talks_and_talks_lets_others_run(poller: Poller, sockets: Pair) -> None:
    """Between two looks other tasks have their turn."""
    ours, client = sockets
    turns = 0

    def more() -> None:
        if len(listener.events) < 50:
            ours.recv(10)
            client.send(b"x")

    async def count() -> None:
        nonlocal turns
        while len(listener.events) < 50:
            turns += 1
            await trio.lowlevel.checkpoint()

    listener = Listener(more)
    poller.add(ours.fileno(), listener)
    client.send(b"x")
    with trio.fail_after(PATIENCE):
        await count()
    assert turns >= 20
