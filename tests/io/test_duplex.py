"""Both directions of one WebSocket: the order of messages, one owner of `receive`, one message at a time."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from trioweb.exchange.clock import Watch
from trioweb.ground.errors import WebSocketDisconnect
from trioweb.io.duplex import RELEASE_SECONDS, Duplex
from trioweb.io.transport import COUNTED, LOOK_SECONDS, READ_AHEAD, Transport


class Wire(Transport):
    """A scripted server that notices a second reader, and a second writer."""

    def __init__(self) -> None:
        self._put, self._take = trio.open_memory_channel[dict[str, Any]](math.inf)
        self._reading = False
        self._writing = False
        self.taken = 0
        self.sent: list[dict[str, Any]] = []
        self.stuck = False
        self.left = False
        self.released = 0
        self.tell({"type": "websocket.connect"})

    def tell(self, message: dict[str, Any]) -> None:
        """Let a message come."""
        self._put.send_nowait(message)

    def say(self, *messages: str | bytes) -> None:
        """Let the peer send."""
        for message in messages:
            self.tell(
                {"type": "websocket.receive", "text": message, "bytes": None}
                if isinstance(message, str)
                else {"type": "websocket.receive", "bytes": message}
            )

    def leave(self, **why: Any) -> None:
        """Let the peer leave."""
        self.tell({"type": "websocket.disconnect", **why})

    async def receive(self) -> dict[str, Any]:
        """See ASGI."""
        assert not self._reading, "two tasks are in receive"
        self._reading = True
        try:
            message = await self._take.receive()
        finally:
            self._reading = False
        self.taken += 1
        return message

    async def send(self, message: dict[str, Any]) -> None:
        """See ASGI."""
        assert not self._writing, "two tasks are in send"
        self._writing = True
        try:
            await trio.lowlevel.checkpoint()
            if self.stuck:
                await trio.sleep_forever()
        finally:
            self._writing = False
        self.sent.append(message)

    def has_left(self) -> bool:
        """See ``Transport``."""
        return self.left

    def release(self, shield: trio.CancelScope | None) -> None:
        """See ``Transport``."""
        del shield
        self.released += 1


@pytest.fixture
def wire() -> Wire:
    """The server's side."""
    return Wire()


@asynccontextmanager
async def opened(wire: Wire, write_timeout: float | None = None, *, accept: bool = True) -> AsyncIterator[Duplex]:
    """A WebSocket that is watched until the block ends."""
    duplex = Duplex(wire.receive, wire.send, write_timeout)
    duplex.transport = wire
    assert await duplex.connected()
    async with trio.open_nursery() as nursery:
        nursery.start_soon((watching := Watch(duplex, duplex)).run)
        try:
            if accept:
                await duplex.accept(None, [])
            yield duplex
        finally:
            duplex.stop()
            watching.stop()


async def test_messages_come_in_order_to_their_end(wire: Wire) -> None:
    """Text and bytes come as they were sent, empty ones too; then it raises the peer's code and reason."""
    async with opened(wire) as duplex:
        wire.say("a", b"b", "", b"")
        wire.leave(code=4000, reason="enough")
        assert [await duplex.receive() for _ in range(4)] == ["a", b"b", "", b""]
        for _ in range(2):
            with pytest.raises(WebSocketDisconnect) as left:
                await duplex.receive()
            assert (left.value.code, left.value.reason) == (4000, "enough")


async def test_a_peer_that_says_nothing_when_it_leaves(wire: Wire) -> None:
    """Where the server gives no code it is 1005."""
    async with opened(wire) as duplex:
        wire.leave()
        with pytest.raises(WebSocketDisconnect) as left:
            await duplex.receive()
        assert left.value.code == 1005


@pytest.mark.parametrize(
    ("before", "then", "words"),
    [
        ("", "send", "not accepted yet cannot send: await ws.accept"),
        ("", "receive", "not accepted yet cannot receive: await ws.accept"),
        ("", "close", "not accepted yet cannot close"),
        ("accept", "accept", "open cannot accept: it was accepted before"),
        ("accept", "deny", "open cannot deny"),
        ("accept close", "send", "closed by this side cannot send: nothing can follow"),
        ("accept close", "accept", "closed by this side cannot accept"),
        ("deny", "accept", "denied cannot accept: nothing can follow a refusal"),
        ("deny", "send", "denied cannot send"),
        ("deny", "deny", "denied cannot deny"),
    ],
)
async def test_what_is_out_of_order(wire: Wire, before: str, then: str, words: str) -> None:
    """A message out of order is an error that says what to do, and nothing is sent."""
    async with opened(wire, accept=False) as duplex:
        calls: dict[str, Any] = {
            "accept": lambda: duplex.accept(None, []),
            "deny": lambda: duplex.deny([{"type": "websocket.close"}]),
            "send": lambda: duplex.send("x"),
            "receive": duplex.receive,
            "close": lambda: duplex.close(1000, "", ended=False),
        }
        for event in before.split():
            await calls[event]()
        sent = len(wire.sent)
        with pytest.raises(RuntimeError, match=words):
            await calls[then]()
        assert len(wire.sent) == sent


async def test_a_close_is_sent_once(wire: Wire) -> None:
    """Closing twice sends one close; what was not received by then is thrown away, and its code is what is heard."""
    async with opened(wire) as duplex:
        wire.say("a")
        await wait_all_tasks_blocked()
        await duplex.close(4001, "mine", ended=False)
        await duplex.close(4002, "again", ended=False)
        wire.say("b")
        wire.leave(code=4001)
        await duplex.disconnected()
        with pytest.raises(WebSocketDisconnect) as closed:
            await duplex.receive()
        assert (closed.value.code, closed.value.reason) == (4001, "mine")
    assert [message["type"] for message in wire.sent] == ["websocket.accept", "websocket.close"]


async def test_reading_ahead_is_bounded(wire: Wire) -> None:
    """Messages that nobody receives are taken only up to a bound, by size and by number; then the peer has to wait."""
    async with opened(wire) as duplex:
        start = wire.taken
        wire.say(*["x" * (READ_AHEAD // 4)] * 10)
        await wait_all_tasks_blocked()
        assert wire.taken - start == 4
        for _ in range(10):
            await duplex.receive()
        start = wire.taken
        wire.say(*[b""] * 1000)
        await wait_all_tasks_blocked()
        assert wire.taken - start == READ_AHEAD // COUNTED


async def test_leaving_is_noticed_behind_what_waits(wire: Wire, autojump_clock: MockClock) -> None:
    """A peer that leaves is noticed though its messages are not received, and these can still be, all of them."""
    async with opened(wire) as duplex:
        told: list[float] = []
        duplex.on_left = lambda: told.append(trio.current_time())
        wire.say(*["x" * READ_AHEAD] * 3)
        wire.leave(code=1000)
        await trio.sleep(5)
        assert not told
        wire.left = True
        start = trio.current_time()
        await trio.sleep(2 * LOOK_SECONDS)
        assert len(told) == 1
        assert told[0] - start <= LOOK_SECONDS
        with pytest.raises(WebSocketDisconnect):
            await duplex.send("x")
        assert [len(await duplex.receive()) for _ in range(3)] == [READ_AHEAD] * 3
        with pytest.raises(WebSocketDisconnect) as left:
            await duplex.receive()
        assert left.value.code == 1000
        assert len(told) == 1


async def test_messages_leave_one_after_the_other(wire: Wire) -> None:
    """Tasks that send at the same time do so in turn; each message leaves whole."""
    async with opened(wire) as duplex, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(duplex.send, str(number))
        nursery.start_soon(duplex.send, bytearray(b"bytes"))
    assert sorted(str(message.get("text", message.get("bytes"))) for message in wire.sent[1:]) == [
        "0", "1", "2", "3", "4", "b'bytes'",
    ]  # fmt: skip


async def test_no_cancellation_reaches_send(wire: Wire, autojump_clock: MockClock) -> None:
    """A cancellation waits until the message has left; one that waits for its turn sends nothing."""
    async with opened(wire) as duplex:
        slow = trio.CancelScope()
        real = wire.send

        async def send(message: dict[str, Any]) -> None:
            await trio.sleep(5)
            await real(message)

        duplex._send = send
        async with trio.open_nursery() as nursery:

            async def first() -> None:
                with slow:
                    await duplex.send("first")

            async def second() -> None:
                await trio.sleep(1)
                with trio.move_on_after(1):
                    await duplex.send("second")

            nursery.start_soon(first)
            nursery.start_soon(second)
            await trio.sleep(3)
            slow.cancel()
    assert [message.get("text") for message in wire.sent[1:]] == ["first"]


async def test_a_peer_that_takes_nothing(wire: Wire, autojump_clock: MockClock) -> None:
    """A message that is not taken for the write timeout is given up: the server is woken, then the send cancelled."""
    async with opened(wire, write_timeout=5) as duplex:
        await trio.sleep(3)
        wire.stuck = True
        wire.say("unread")
        start = trio.current_time()
        with pytest.raises(WebSocketDisconnect) as broken:
            await duplex.send("x")
        assert trio.current_time() - start == pytest.approx(5 + RELEASE_SECONDS)
        assert (broken.value.code, duplex.timed_out, wire.released) == (1006, True, 1)
        with pytest.raises(WebSocketDisconnect):
            await duplex.receive()


async def test_slow_is_not_stuck(wire: Wire, autojump_clock: MockClock) -> None:
    """The limit is for each message: a peer that takes every one in time is kept, however long all of them take."""
    async with opened(wire, write_timeout=5) as duplex:
        real = wire.send

        async def send(message: dict[str, Any]) -> None:
            await trio.sleep(4)
            await real(message)

        duplex._send = send
        for _ in range(5):
            await duplex.send("x")
        await trio.sleep(50)
        assert not duplex.gone
    assert len(wire.sent) == 6


@pytest.mark.parametrize("error", [OSError, trio.BrokenResourceError])
async def test_a_server_that_raises(wire: Wire, error: type[Exception]) -> None:
    """Where ``send`` itself says that the peer has left, that is what is raised, and noticed."""
    async with opened(wire) as duplex:
        told: list[int] = []
        duplex.on_left = lambda: told.append(1)

        async def send(_: Any) -> None:
            raise error

        duplex._send = send
        with pytest.raises(WebSocketDisconnect):
            await duplex.send("x")
        assert told == [1]
        assert duplex.gone


async def test_a_peer_that_is_gone_at_once(wire: Wire) -> None:
    """A server may have nothing to say but that the peer has left."""

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect"}

    duplex = Duplex(receive, wire.send, None)
    assert not await duplex.connected()
    with pytest.raises(WebSocketDisconnect):
        await duplex.accept(None, [])


async def test_a_cancellation_of_the_watch_wakes_a_stuck_send(wire: Wire, autojump_clock: MockClock) -> None:
    """A server that cancels everything is not held up by a peer that takes nothing, nor by a full queue of its own."""
    wire.stuck = False
    with trio.move_on_after(3) as scope:
        async with opened(wire) as duplex:
            wire.stuck = True
            await duplex.send("x")
    assert scope.cancelled_caught
    assert wire.released == 1
    assert trio.current_time() == pytest.approx(3 + RELEASE_SECONDS)
