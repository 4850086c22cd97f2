"""The inbox: one owner of `receive`, a body for those who ask, and the client's leaving for those who watch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trioweb.ground.errors import ClientDisconnected, HTTPError
from trioweb.io.inbox import DISCARD_LIMIT, GLANCE_SECONDS, Inbox
from trioweb.io.transport import READ_AHEAD


class Wire:
    """A scripted `receive` that notices a second reader, of a server that tells what is at hand or does not; or a
    memory channel's own, as Hypercorn has it, which can be asked.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._next: dict[str, Any] | None = None
        self._send, self._receive = trio.open_memory_channel[dict[str, Any]](math.inf)
        self._busy = False
        self._sent = 0

    async def receive(self) -> dict[str, Any]:
        """Give the next message."""
        assert not self._busy, "two tasks are in receive"
        self._busy = True
        try:
            message = self._next or await self._receive.receive()
        finally:
            self._busy, self._next = False, None
        return message

    def receive_nowait(self, receive: object) -> dict[str, Any] | None:
        """Give a part of the body that is there."""
        assert receive == self.receive
        assert not self._busy
        if self._next is None:
            try:
                self._next = self._receive.receive_nowait()
            except trio.WouldBlock:
                return None
        if self._next["type"] != "http.request":
            return None
        message, self._next = self._next, None
        return message

    def inbox(self) -> Inbox:
        """An inbox on this."""
        if self._kind == "channel":
            return Inbox(self._receive.receive)
        inbox = Inbox(self.receive)
        if self._kind == "server that tells":
            inbox.at_hand = self.receive_nowait
        return inbox

    @property
    def taken(self) -> int:
        """Messages that were taken."""
        return self._sent - self._receive.statistics().current_buffer_used - (self._next is not None)

    def _put(self, message: dict[str, Any]) -> None:
        self._sent += 1
        self._send.send_nowait(message)

    def body(self, *chunks: bytes, more: bool = False) -> None:
        """Let some of a body arrive."""
        for index, chunk in enumerate(chunks):
            last = not more and index == len(chunks) - 1
            self._put({"type": "http.request", "body": chunk, "more_body": not last})

    def leave(self) -> None:
        """Let the client leave."""
        self._put({"type": "http.disconnect"})


@pytest.fixture(params=["plain server", "server that tells", "channel"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """The server's side."""
    return Wire(request.param)


async def test_a_body_is_read_in_order_to_its_end(wire: Wire) -> None:
    """Chunks come as they were sent, empty ones left out, and then nothing."""
    wire.body(b"a", b"", b"b", b"")
    inbox = wire.inbox()
    assert [await inbox.read() for _ in range(4)] == [b"a", b"b", b"", b""]


@pytest.mark.parametrize("pieces", [[b""], [b"a"], [b"a", b""], [b"a", b"b"]])
async def test_a_body_that_is_there_leaves_no_time_limit_behind(wire: Wire, pieces: list[bytes]) -> None:
    """When the body is whole, the scope around its reader has no deadline any more, however it has come."""
    wire.body(*pieces)
    inbox = wire.inbox()
    inbox.timeout, inbox.timer = 5.0, (scope := trio.CancelScope())
    read = [await inbox.read() for _ in range(len(pieces) + 1)]
    assert b"".join(read) == b"".join(pieces)
    assert inbox.drained
    assert scope.deadline == math.inf


async def test_a_client_that_leaves_breaks_the_read(wire: Wire) -> None:
    """A body whose client left before its end raises, and is never taken for whole."""
    wire.body(b"a", more=True)
    wire.leave()
    inbox = wire.inbox()
    assert await inbox.read() == b"a"
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            await inbox.read()


async def test_a_whole_body_is_read_after_its_client_left(wire: Wire) -> None:
    """What arrived whole can be read also after the client has left."""
    wire.body(b"a", b"b")
    wire.leave()
    inbox = wire.inbox()
    await inbox.departed()
    assert [await inbox.read() for _ in range(3)] == [b"a", b"b", b""]


async def test_a_watcher_and_a_reader_share_one_receive(wire: Wire) -> None:
    """While a task watches for the client, another reads: nothing is lost, and only one is in `receive`."""
    inbox = wire.inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.departed)
        await trio.testing.wait_all_tasks_blocked()
        received = []
        for number in range(100):
            wire.body(b"%d" % number, more=True)
            received.append(await inbox.read())
        wire.body(b"")
        assert await inbox.read() == b""
        wire.leave()
    assert received == [b"%d" % number for number in range(100)]
    assert inbox.gone


async def test_a_cancelled_reader_loses_nothing(wire: Wire, autojump_clock: trio.testing.MockClock) -> None:
    """A read that is cancelled while it waits leaves what comes later to the next one."""
    inbox = wire.inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.departed)
        with trio.move_on_after(1):
            await inbox.read()
        wire.body(b"later")
        assert await inbox.read() == b"later"
        wire.leave()


async def test_a_watcher_reads_ahead_no_further_than_its_bound(wire: Wire) -> None:
    """Of a body that nobody reads, the watcher holds one bound and one message; empty messages count too."""
    inbox = wire.inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.departed)
        wire.body(*[bytes(READ_AHEAD // 4)] * 20, more=True)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.taken == 4
        nursery.cancel_scope.cancel()


async def test_a_discarded_body_is_taken_up_to_its_limit(wire: Wire) -> None:
    """A body that nobody wants is taken and thrown away as it comes, up to the limit, then held back."""
    inbox = wire.inbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.departed)
        wire.body(*[bytes(2**20)] * 20, more=True)
        inbox.discard()
        await trio.testing.wait_all_tasks_blocked()
        assert wire.taken == DISCARD_LIMIT // 2**20 + 1
        inbox.discard(unbounded=True)
        await trio.testing.wait_all_tasks_blocked()
        assert wire.taken == 20
        nursery.cancel_scope.cancel()


async def test_a_discarded_body_cannot_be_read(wire: Wire) -> None:
    """Whoever asks for a body that was thrown away is told so, instead of getting the rest of it."""
    wire.body(b"a", b"b")
    inbox = wire.inbox()
    inbox.discard()
    with pytest.raises(RuntimeError, match="before the first yield"):
        await inbox.read()


async def test_waiting_for_the_end_of_a_discarded_body(wire: Wire, autojump_clock: trio.testing.MockClock) -> None:
    """The wait for the rest of an upload ends with it, or after two seconds."""
    inbox = wire.inbox()
    wire.body(b"a", more=True)
    inbox.discard()
    await inbox.discarded()
    assert trio.current_time() == pytest.approx(2)
    assert not inbox.complete
    wire.body(b"b")
    await inbox.discarded()
    assert inbox.complete
    assert trio.current_time() == pytest.approx(2)


async def test_a_reader_waits_so_long(wire: Wire, autojump_clock: MockClock) -> None:
    """Where nothing comes for its timeout the reader gets a 408; what comes later is not waited for."""
    inbox = wire.inbox()
    inbox.timeout = 5
    wire.body(b"a", more=True)
    assert await inbox.read() == b"a"
    begin = trio.current_time()
    with pytest.raises(HTTPError, match=r"Nothing of the request body came for 5 s\.") as caught:
        await inbox.read()
    assert trio.current_time() - begin == 5
    assert caught.value.status == 408
    assert caught.value.headers == {"connection": "close"}
    inbox.discard()
    await inbox.discarded()
    assert trio.current_time() - begin == 5


async def test_reads_in_turn_are_not_disturbed(wire: Wire, autojump_clock: MockClock) -> None:
    """While somebody reads, nobody else does; once that has ceased the client's leaving is looked for again."""
    inbox = wire.inbox()
    left = trio.Event()

    async def watch() -> None:
        await inbox.departed()
        left.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(20):
            wire.body(b"%d" % number, more=True)
            assert await inbox.read() == b"%d" % number
        begin = trio.current_time()
        wire.leave()
        await left.wait()
        assert trio.current_time() - begin <= 2 * GLANCE_SECONDS


async def test_a_body_whose_length_is_known(wire: Wire) -> None:
    """A body is whole when as many bytes are there as it has: nobody waits for the server to say so."""
    inbox = wire.inbox()
    inbox.expected = 5
    wire.body(b"ab", b"cde", more=True)
    assert [await inbox.read() for _ in range(3)] == [b"ab", b"cde", b""]
    assert (inbox.complete, wire.taken) == (True, 2)


async def test_a_scope_as_a_timer(wire: Wire, autojump_clock: MockClock) -> None:
    """A reader inside of a scope that is lent is timed by that, and no more once the body is whole."""
    inbox = wire.inbox()
    inbox.timeout = 5
    with trio.CancelScope() as scope:
        inbox.timer = scope
        wire.body(b"ab", more=True)
        await inbox.read()
        await trio.sleep(3)
        await inbox.read()
    assert scope.cancelled_caught
    assert trio.current_time() == 8
    with trio.CancelScope() as scope:
        inbox.timer = scope
        wire.body(b"cd")
        await inbox.read()
        assert await inbox.read() == b""
        await trio.sleep(100)
    assert not scope.cancelled_caught
