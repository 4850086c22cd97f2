"""A stream's promises, by a producer in a task of its own and by one that sends what it gives: they are the same."""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, cast

import pytest
import trio
import trio.testing

from trioweb.exchange.watch import ClientWatch
from trioweb.ground.errors import ClientDisconnected, StreamTimeout
from trioweb.ground.http.asgi import Send
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.inbox import Inbox
from trioweb.io.outbox import ENDED, Outbox
from trioweb.io.transport import DirectTransport, Watcher
from trioweb.streams import channel, inline
from trioweb.streams.channel import TURN
from trioweb.streams.inline import InlineStream
from trioweb.streams.producer import Producer
from trioweb.streams.relay import relay
from trioweb.streams.stream import Stream

Clock = trio.testing.MockClock

LIMIT = 1000


class Client(DirectTransport):
    """A client that takes as much as its ``window`` says, and a server that looks every tenth of a second.

    Attributes:
        messages: what has left, a message each.
        ended: the end was sent.
        aborted: the response was broken off.
        watcher: who watches.
    """

    def __init__(self, nursery: trio.Nursery, window: float) -> None:
        self.messages: list[bytes] = []
        self.window = window
        self.ended = self.aborted = self.left = False
        self.watcher: Watcher | None = None
        self.status = 0
        self._rest = b""
        self._news = trio.Event()
        self._nursery = nursery
        self._gone = trio.Event()

    @property
    def body(self) -> bytes:
        """All that was taken."""
        return b"".join(self.messages)

    def take(self, more: float = math.inf) -> None:
        """Take so many bytes more."""
        self.window += more
        self._wake()

    def leave(self) -> None:
        """Go."""
        self.left = True
        self._gone.set()
        self._wake()
        if self.watcher is not None:
            self.watcher.left()

    def _wake(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def _put(self) -> None:
        if self.left:
            raise ClientDisconnected("left")
        size = int(min(len(self._rest), self.window))
        if size:
            self.messages.append(self._rest[:size])
            self.window -= size
            self._rest = self._rest[size:]

    # ASGI

    async def receive(self) -> dict[str, Any]:
        """Say when it has left."""
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take a message, when there is room for it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        await trio.lowlevel.checkpoint()
        if self.left:
            raise ClientDisconnected("left")
        await self.flushed()
        self._rest = message["body"]
        self._put()
        await self.flushed()
        self.ended = not message["more_body"]

    # The server

    @property
    def pending(self) -> bool:
        """See ``DirectTransport``."""
        return bool(self._rest)

    def offer(self, parts: list[bytes]) -> bool:
        """See ``DirectTransport``."""
        assert not self._rest
        self._rest = b"".join(parts)
        self._put()
        return not self._rest

    def flushed(self) -> Awaitable[None]:
        """See ``DirectTransport``."""
        return self._flushed()

    async def _flushed(self) -> None:
        while self._rest:
            await self._news.wait()
            self._put()

    def start(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """See ``DirectTransport``."""
        self._nursery.start_soon(async_fn)

    def watch(self, watcher: Watcher | None) -> None:
        """See ``DirectTransport``."""
        self.watcher = watcher

    async def look(self) -> None:
        """Have the watcher look when it is time."""
        due = -math.inf
        while True:
            await trio.sleep(0.1)
            if self.watcher is not None and due <= trio.current_time():
                due = self.watcher.look()

    def release(self, shield: trio.CancelScope | None) -> None:
        """See ``DirectTransport``."""
        self.left = True
        self._wake()
        if shield is not None:
            shield.cancel()

    async def abort(self) -> None:
        """See ``DirectTransport``."""
        self.aborted = True


class Opening:
    """Gives a head."""

    def head(self, _: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        """Give it."""
        del media_type
        return 200, []

    async def fail(self, failure: Exception) -> None:
        """Nobody calls it here."""


Talk = Callable[[Client], Awaitable[None]]


async def one_task(stream: Stream, client: Client) -> None:
    """Send a stream in one task."""
    outbox = Outbox(client.send, "1.1")
    outbox.transport = client
    try:
        await InlineStream(stream, "GET /test", outbox, client, Opening()).relay()
    finally:
        if outbox.state is not ENDED:
            with trio.CancelScope(shield=True):
                await outbox.break_off()
    await trio.lowlevel.checkpoint_if_cancelled()


async def two_tasks(stream: Stream, client: Client) -> None:
    """Send a stream by a producer in a task of its own, with a watch."""
    outbox = Outbox(client.send, "1.1")
    outbox.transport = client
    inbox = Inbox(cast("Any", client.receive))
    failure: Exception | None = None
    async with trio.open_nursery() as around, trio.open_nursery() as nursery:

        class Told:
            """Is told what became of the client."""

            def takes_nothing(self) -> None:
                nonlocal failure
                failure = StreamTimeout(f"the write_timeout of {stream.write_timeout} s")
                self.client_left()

            def client_left(self) -> None:
                outbox.gone = True
                nursery.cancel_scope.cancel()
                outbox.release()

            sends_nothing = takes_too_little = client_left

        watch = ClientWatch(Told(), inbox, outbox, stream.write_timeout)
        around.start_soon(watch.run)
        producer = Producer(stream, "GET /test")
        watch.watch_stream(producer)
        try:
            await relay(producer, nursery, outbox, Opening())
        except ClientDisconnected:
            pass
        except Exception as error:
            failure = error
        finally:
            if outbox.state is not ENDED:
                with trio.CancelScope(shield=True):
                    await outbox.break_off()
            watch.stop()
            with trio.CancelScope(shield=True):
                await producer.channel.finished()
    if failure is not None:
        raise failure


WAYS: dict[str, Callable[[Stream, Client], Awaitable[None]]] = {"one task": one_task, "two tasks": two_tasks}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each of the two ways."""
    return str(request.param)


async def nobody(client: Client) -> None:
    """A client that only reads."""


async def take_in_a_while(client: Client) -> None:
    """Take all that there is, once."""
    await trio.sleep(10)
    client.take()


async def deliver(
    way: str, source: Any, talk: Talk = nobody, *, window: float = math.inf, **options: Any
) -> tuple[Client, Exception | None]:
    """Send a stream to a client that talks; returns that, and what the stream has failed with."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        client = Client(nursery, window)
        nursery.start_soon(client.look)
        nursery.start_soon(talk, client)
        try:
            await WAYS[way](Stream(source, **{"buffer_size": LIMIT, **options}), client)
        except ClientDisconnected:
            pass
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    return client, failure


async def test_a_stream_leaves_whole(autojump_clock: Clock, way: str) -> None:
    """All that is yielded arrives in order, and then the end."""

    async def numbers() -> AsyncIterator[str]:
        for number in range(500):
            yield f"{number},"
            if number % 7 == 0:
                await trio.sleep(0)
            if number % 100 == 0:
                await trio.sleep(1)

    client, failure = await deliver(way, numbers())
    assert client.body.decode() == "".join(f"{number}," for number in range(500))
    assert (client.ended, client.aborted, failure) == (True, False, None)


async def test_a_source_that_was_not_begun_is_closed(autojump_clock: Clock) -> None:
    """Where the head cannot leave, what holds the chunks is let go of all the same."""

    class Chunks:
        """Async chunks that hold something."""

        closed = False

        def __aiter__(self) -> AsyncIterator[bytes]:
            """Itself."""
            return self

        async def __anext__(self) -> bytes:
            """A chunk."""
            raise AssertionError("nobody asks for one")

        async def aclose(self) -> None:
            """Let go."""
            self.closed = True

    class Refusing(Opening):
        """Has no head."""

        def head(self, _: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
            """Fail."""
            del media_type
            raise KeyError("no head")

    source = Chunks()
    stream = Stream(source, buffer_size=LIMIT, head_first=True)
    async with trio.open_nursery() as nursery:
        client = Client(nursery, math.inf)
        outbox = Outbox(client.send, "1.1")
        outbox.transport = client
        with pytest.raises(KeyError):
            await InlineStream(stream, "GET /test", outbox, client, Refusing()).relay()
    assert source.closed
    assert client.watcher is None


async def test_no_chunk_waits_for_another(autojump_clock: Clock, way: str) -> None:
    """What was yielded before a wait has left by then, whatever is waited for: time, an event, a task."""
    seen = []

    async def chunks() -> AsyncIterator[str]:
        blocked = trio.testing.wait_all_tasks_blocked
        waits: list[Callable[[], Awaitable[object]]] = [lambda: trio.sleep(1), blocked, child]
        for wait in waits:
            yield "a"
            yield "b"
            await wait()
            seen.append(clients[0].body)

    async def child() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)

    clients = []

    async def keep(client: Client) -> None:
        clients.append(client)

    await deliver(way, chunks(), keep)
    assert seen == [b"ab", b"abab", b"ababab"]


async def test_what_piles_up_leaves_as_one(autojump_clock: Clock, way: str) -> None:
    """Chunks without a wait between them are few messages."""

    async def chunks() -> AsyncIterator[bytes]:
        await trio.sleep(1)
        for _ in range(10):
            yield b"x"

    client, _ = await deliver(way, chunks())
    assert len(client.messages) <= 2


async def test_one_that_only_lets_others_run_is_sent_meanwhile(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Chunks between checkpoints leave while it goes on: at once where the last ones left long ago."""
    monkeypatch.setattr(inline, "TURN", 0.0)
    seen = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x"
            await trio.sleep(0)
            await trio.sleep(0)
            await trio.sleep(0)
            seen.append(len(clients[0].body))

    clients = []

    async def keep(client: Client) -> None:
        clients.append(client)

    await deliver(way, chunks(), keep)
    assert seen == [1, 2, 3, 4, 5]


async def test_checkpoints_cost_no_message_each(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one task, what a generator gives between checkpoints leaves together, once in each turn."""
    monkeypatch.setattr(inline, "TURN", math.inf)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x"
            await trio.sleep(0)

    client, _ = await deliver("one task", chunks())
    assert len(client.messages) <= 2
    assert client.body == b"x" * 10


async def test_a_client_that_does_not_read_stops_the_producer(autojump_clock: Clock, way: str) -> None:
    """At most the buffer and a chunk wait, besides the message that is being written; reading lets it go on."""
    given = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(100):
            yield bytes(100)
            given += 100

    async def talk(client: Client) -> None:
        await trio.sleep(1)
        assert given <= 3 * LIMIT + 200
        client.take(2500)
        await trio.sleep(1)
        assert 2500 <= given <= 2500 + 3 * LIMIT + 200
        client.take()

    client, failure = await deliver(way, chunks(), talk, window=0)
    assert (len(client.body), client.ended, failure) == (10_000, True, None)


async def test_a_generator_that_waits_meanwhile_is_sent_on(autojump_clock: Clock, way: str) -> None:
    """What the client has not taken leaves while the generator waits for something else, and what it gives then."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(300)
            await trio.sleep(10)

    async def talk(client: Client) -> None:
        await trio.sleep(1)
        assert len(client.body) == 100
        client.take(150)
        await trio.sleep(1)
        assert len(client.body) == 250
        await trio.sleep(10)
        client.take()
        await trio.sleep(1)
        assert len(client.body) == 600

    client, failure = await deliver(way, chunks(), talk, window=100)
    assert (len(client.body), client.ended, failure) == (900, True, None)


async def test_a_large_chunk_leaves_in_slices(autojump_clock: Clock, way: str) -> None:
    """No message is larger than twice the buffer, whatever the chunk."""

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(range(256)) * 40

    client, _ = await deliver(way, chunks())
    assert client.body == bytes(range(256)) * 40
    assert max(map(len, client.messages)) <= 2 * LIMIT


@pytest.mark.parametrize("wait", [trio.sleep_forever, lambda: trio.sleep(1000)])
async def test_a_client_that_leaves_ends_it_at_once(autojump_clock: Clock, way: str, wait: Any) -> None:
    """Where the generator sleeps, its client's leaving is raised there; its clean-up is done in its own task."""
    ended = []

    async def chunks() -> AsyncIterator[str]:
        task = trio.lowlevel.current_task()
        try:
            yield "x"
            await wait()
        finally:
            ended.append((trio.current_time(), trio.lowlevel.current_task() is task))

    async def talk(client: Client) -> None:
        await trio.sleep(3)
        client.leave()

    began = trio.current_time()
    client, failure = await deliver(way, chunks(), talk)
    assert ended == [(began + 3, True)]
    assert (client.ended, failure) == (False, None)


async def test_a_client_that_leaves_while_it_reads_nothing(autojump_clock: Clock, way: str) -> None:
    """A generator that waits for room hears of it at its yield."""
    ended = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(400)
        except BaseException as error:
            ended.append((trio.current_time(), type(error)))
            raise

    async def talk(client: Client) -> None:
        await trio.sleep(3)
        client.leave()

    began = trio.current_time()
    client, failure = await deliver(way, chunks(), talk, window=0)
    assert ended == [(began + 3, trio.Cancelled)]
    assert (client.ended, failure) == (False, None)


async def test_a_client_that_leaves_during_the_clean_up(autojump_clock: Clock, way: str) -> None:
    """A shielded clean-up is waited for, and nothing is said of the client that has left meanwhile."""
    steps = []

    async def chunks() -> AsyncIterator[str]:
        try:
            yield "x"
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
                steps.append(trio.current_time() - began)

    async def talk(client: Client) -> None:
        await trio.sleep(3)
        client.leave()

    began = trio.current_time()
    client, failure = await deliver(way, chunks(), talk)
    assert steps == [5]
    assert (client.ended, failure) == (False, None)


async def test_an_error_in_the_clean_up_of_a_client_that_left_is_heard_of(autojump_clock: Clock, way: str) -> None:
    """What a ``finally`` raises after the client has left is no departure."""

    async def chunks() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep_forever()
        finally:
            raise KeyError("clean-up")

    async def talk(client: Client) -> None:
        await trio.sleep(1)
        client.leave()

    with pytest.raises((KeyError, BaseExceptionGroup)) as caught:
        _, failure = await deliver(way, chunks(), talk)
        if failure is not None:
            raise failure
    assert caught.type is KeyError or caught.group_contains(KeyError)


async def test_a_deadline_around_yields(autojump_clock: Clock, way: str) -> None:
    """``move_on_after`` around yields ends what is in it, while it waits for room too; what follows is sent."""

    async def chunks() -> AsyncIterator[bytes]:
        with trio.move_on_after(5) as scope:
            while True:
                yield b"a" * 400
        assert scope.cancelled_caught
        yield b"b"

    client, failure = await deliver(way, chunks(), take_in_a_while, window=0)
    assert client.body.endswith(b"ab")
    assert (client.ended, failure) == (True, None)


async def test_a_scope_that_is_cancelled_from_elsewhere(autojump_clock: Clock, way: str) -> None:
    """Another task cancels a scope around a yield: what was accepted is sent, and the generator goes on."""
    scopes = []

    async def chunks() -> AsyncIterator[str]:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            yield "a"
            await trio.sleep_forever()
        yield "b"

    async def talk(client: Client) -> None:
        await trio.sleep(1)
        scopes[0].cancel()

    client, failure = await deliver(way, chunks(), talk)
    assert (client.body, client.ended, failure) == (b"ab", True, None)


async def test_a_nursery_around_yields(autojump_clock: Clock, way: str) -> None:
    """A child that fails while the generator waits for room is raised at the yield, and can be caught there."""

    async def fail() -> None:
        await trio.sleep(1)
        raise KeyError("child")

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                while True:
                    yield b"a" * 400
        except* KeyError:
            pass
        yield b"b"

    client, failure = await deliver(way, chunks(), take_in_a_while, window=0)
    assert client.body.endswith(b"ab")
    assert (client.ended, failure) == (True, None)


async def test_a_child_that_goes_on_ends_before_the_stream(autojump_clock: Clock, way: str) -> None:
    """A nursery of the generator's own closes before the stream ends, and its children feed it meanwhile."""

    async def feed(send: trio.MemorySendChannel[str]) -> None:
        with send:
            for letter in "abc":
                await trio.sleep(1)
                await send.send(letter)

    async def chunks() -> AsyncIterator[str]:
        send, receive = trio.open_memory_channel[str](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, send)
            async for letter in receive:
                yield letter

    client, failure = await deliver(way, chunks())
    assert (client.messages, client.ended, failure) == ([b"a", b"b", b"c"], True, None)


@pytest.mark.parametrize("what", ["leaves", "idle", "max_duration"])
async def test_one_that_swallows_its_end(autojump_clock: Clock, way: str, what: str) -> None:
    """A generator that takes its cancellation for nothing and yields on is closed all the same."""
    swallowed = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal swallowed
        while swallowed < 2000:
            try:
                yield bytes(200)
                await trio.sleep(1000)
            except trio.Cancelled:
                swallowed += 1

    async def talk(client: Client) -> None:
        if what == "leaves":
            await trio.sleep(1)
            client.leave()
        else:
            await trio.sleep(20)
            client.leave()

    options = {"leaves": {}, "idle": {"idle_timeout": 5}, "max_duration": {"max_duration": 5}}[what]
    client, _ = await deliver(way, chunks(), talk, **options)
    assert not client.ended
    assert 1 <= swallowed < 1000


async def test_time_limits(autojump_clock: Clock, way: str) -> None:
    """Nothing given for ``idle_timeout``, nothing taken for ``write_timeout``, all of it longer than ``max_duration``:
    each ends the stream in time with its name, and what was accepted before leaves.
    """

    async def silent() -> AsyncIterator[str]:
        yield "x"
        await trio.sleep_forever()

    async def flood() -> AsyncIterator[bytes]:
        while True:
            yield bytes(400)

    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "x"
            await trio.sleep(0.75)

    for source, window, options, body, seconds in (
        (silent(), math.inf, {"idle_timeout": 5}, b"x", 5),
        (flood(), 500, {"write_timeout": 7}, bytes(500), 7),
        (silent(), 0, {"write_timeout": 7}, b"", 7),
        (ticks(), math.inf, {"max_duration": 4}, b"x" * 6, 4),
        (ticks(), math.inf, {"max_duration": 4, "idle_timeout": 1, "write_timeout": 1}, b"x" * 6, 4),
    ):
        began = trio.current_time()
        client, failure = await deliver(way, source, window=window, **cast("Any", options))
        assert isinstance(failure, StreamTimeout)
        assert next(iter(options)) in str(failure)
        assert client.body == body
        assert (client.ended, client.aborted) == (False, True)
        assert seconds <= trio.current_time() - began <= seconds + 0.2


async def test_a_slow_client_is_in_time(autojump_clock: Clock, way: str) -> None:
    """The limit on a write is one on each message: a client that takes a little now and then is waited for."""

    async def flood() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(400)

    async def talk(client: Client) -> None:
        while not client.ended:
            await trio.sleep(1)
            client.take(500)

    client, failure = await deliver(way, flood(), talk, window=0, write_timeout=6)
    assert (len(client.body), client.ended, failure) == (8000, True, None)


async def test_pings(autojump_clock: Clock, way: str) -> None:
    """An idle stream is kept alive; a client that takes no ping for the write's limit is left."""

    async def silent() -> AsyncIterator[str]:
        yield "x"
        await trio.sleep(10.5)
        yield "y"

    client, failure = await deliver(way, silent(), ping=3, ping_chunk=b".")
    assert client.body == b"x...y"
    assert failure is None
    client, failure = await deliver(way, silent(), window=1, ping=3, ping_chunk=b".", write_timeout=5)
    assert client.body == b"x"
    assert "write_timeout" in str(failure)


async def test_a_ping_that_waits_leaves_later(autojump_clock: Clock, way: str) -> None:
    """A ping that the client does not take at once leaves when it does, though the generator is still silent."""

    async def silent() -> AsyncIterator[str]:
        yield "x"
        await trio.sleep(100)

    async def talk(client: Client) -> None:
        await trio.sleep(5)
        assert client.body == b"x"
        client.take(1)
        await trio.sleep(0.5)
        assert client.body == b"x."
        client.leave()

    await deliver(way, silent(), talk, window=1, ping=3, ping_chunk=b".")


async def test_no_ping_comes_before_the_head(autojump_clock: Clock, way: str) -> None:
    """A ping begins no response: what fails before the first chunk is still an ordinary error."""

    async def silent() -> AsyncIterator[str]:
        await trio.sleep(10)
        raise KeyError("early")
        yield ""

    client, failure = await deliver(way, silent(), ping=3, ping_chunk=b".")
    assert isinstance(failure, KeyError)
    assert (client.status, client.body) == (0, b"")


async def test_pings_do_not_count_as_chunks(autojump_clock: Clock, way: str) -> None:
    """A producer that gives nothing for its ``idle_timeout`` is ended, however many pings there were."""

    async def silent() -> AsyncIterator[str]:
        yield "x"
        await trio.sleep_forever()

    client, failure = await deliver(way, silent(), ping=3, ping_chunk=b".", idle_timeout=10)
    assert client.body == b"x..."
    assert "idle_timeout" in str(failure)


async def test_an_error_before_the_first_chunk(autojump_clock: Clock, way: str) -> None:
    """Nothing has left by then, so another answer can be given."""

    async def chunks() -> AsyncIterator[str]:
        await trio.sleep(1)
        raise KeyError("early")
        yield ""

    client, failure = await deliver(way, chunks())
    assert isinstance(failure, KeyError)
    assert (client.status, client.body, client.aborted) == (0, b"", False)


async def test_an_error_after_it(autojump_clock: Clock, way: str) -> None:
    """What was accepted before it leaves, the end does not, and the response is broken off."""

    async def chunks() -> AsyncIterator[str]:
        yield "x"
        yield "y"
        raise KeyError("late")

    client, failure = await deliver(way, chunks())
    assert isinstance(failure, KeyError)
    assert (client.body, client.ended, client.aborted) == (b"xy", False, True)


async def test_on_error_says_farewell(autojump_clock: Clock, way: str) -> None:
    """A last chunk that the user makes of an error ends the stream whole; the error is told all the same."""

    async def chunks() -> AsyncIterator[str]:
        yield "x"
        raise KeyError("late")

    client, failure = await deliver(way, chunks(), on_error=lambda error: f"[{error!r}]")
    assert (client.body, client.ended, client.aborted) == (b"x[KeyError('late')]", True, False)
    assert isinstance(failure, KeyError)


@pytest.mark.parametrize("chunk", [3, b"y", object()])
async def test_a_chunk_of_another_kind_is_raised_at_its_yield(autojump_clock: Clock, way: str, chunk: object) -> None:
    """What cannot be sent is refused where it was yielded, and the generator may yield something else."""

    async def chunks() -> AsyncIterator[Any]:
        yield "x"
        try:
            yield chunk
        except TypeError:
            yield "z"

    client, failure = await deliver(way, chunks())
    assert (client.body, client.ended, failure) == (b"xz", True, None)


async def test_no_chunk_at_all(autojump_clock: Clock, way: str) -> None:
    """A stream that gives nothing is an empty 200."""

    async def chunks() -> AsyncIterator[str]:
        await trio.sleep(1)
        return
        yield ""

    client, failure = await deliver(way, chunks())
    assert (client.status, client.body, client.ended, failure) == (200, b"", True, None)


async def test_a_tail_comes_last(autojump_clock: Clock, way: str) -> None:
    """What a format needs behind its chunks stands there, after a whole stream only."""

    async def chunks(fails: bool) -> AsyncIterator[str]:
        yield "x"
        if fails:
            raise KeyError("x")

    client, _ = await deliver(way, chunks(False), tail=lambda: b"!")
    assert (client.body, client.ended) == (b"x!", True)
    client, _ = await deliver(way, chunks(True), tail=lambda: b"!")
    assert (client.body, client.ended) == (b"x", False)


async def test_a_head_that_leaves_first(autojump_clock: Clock, way: str) -> None:
    """Where the head does not wait for a chunk it leaves at once, with what comes first."""

    async def chunks() -> AsyncIterator[str]:
        await trio.sleep(5)
        yield "x"

    async def talk(client: Client) -> None:
        await trio.sleep(1)
        assert (client.status, client.body) == (200, b"<")

    client, _ = await deliver(way, chunks(), talk, head_first=True, prelude=b"<")
    assert client.body == b"<x"


async def test_a_generator_that_has_ended_is_no_empty_stream(autojump_clock: Clock, way: str) -> None:
    """One that is sent twice is an error that says so."""

    async def chunks() -> AsyncIterator[str]:
        yield "x"

    generator = chunks()
    await deliver(way, generator)
    _, failure = await deliver(way, generator)
    assert "has ended already" in str(failure)


async def test_a_cancellation_from_outside(autojump_clock: Clock, way: str) -> None:
    """The request is cancelled: the generator hears of it where it waits, and the response is broken off."""
    ended = []

    async def chunks() -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        client = Client(nursery, math.inf)
        began = trio.current_time()
        with trio.move_on_after(4) as scope:
            await WAYS[way](Stream(chunks(), buffer_size=LIMIT), client)
    assert scope.cancelled_caught
    assert ended == [began + 4]
    assert (client.body, client.ended, client.aborted) == (b"x", False, True)


async def test_one_that_never_waits_lets_others_run(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A generator that only yields gives the loop its turn each millisecond, however fast its client takes all."""
    time = 0.0

    def perf_counter() -> float:
        nonlocal time
        time += TURN / 50
        return time

    for module in (inline, channel):
        monkeypatch.setattr(module, "perf_counter", perf_counter)
    turns = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5000):
            yield b"x" * 100

    async def talk(client: Client) -> None:
        while not client.ended:
            turns.append(len(client.body))
            await trio.lowlevel.checkpoint()

    await deliver(way, chunks(), talk)
    assert len(turns) > 20
    assert max(later - earlier for earlier, later in itertools.pairwise(turns)) < 50_000


async def test_context_variables(autojump_clock: Clock, way: str) -> None:
    """The generator sees what was set before it began, and keeps what it sets itself from yield to yield."""
    variable = ContextVar("variable", default="unset")

    async def chunks() -> AsyncIterator[str]:
        yield variable.get()
        variable.set("inside")
        await trio.sleep(1)
        yield variable.get()

    variable.set("outside")
    client, _ = await deliver(way, chunks())
    assert client.body == b"outsideinside"


async def test_a_source_that_is_no_generator(autojump_clock: Clock, way: str) -> None:
    """A channel is closed at the end, also where the client has left before it began; a list needs no wait."""
    client, _ = await deliver(way, ["a", "b"])
    assert client.body == b"ab"
    for head_first in (False, True):
        send, receive = trio.open_memory_channel[str](1)

        async def gone(client: Client) -> None:
            client.leave()

        client, failure = await deliver(way, receive, gone, head_first=head_first)
        assert failure is None
        with pytest.raises(trio.BrokenResourceError):
            send.send_nowait("x")


async def set_soon(event: trio.Event) -> None:
    """Let it wait first."""
    await trio.testing.wait_all_tasks_blocked()
    event.set()


async def test_no_cycle_keeps_a_stream_that_has_ended(autojump_clock: Clock) -> None:
    """In one task nothing of a stream is left to the garbage collector."""
    waits = trio.Event()

    async def chunks() -> AsyncIterator[str]:
        yield "x"
        await waits.wait()  # no sleep, whose end by a cancellation keeps all frames above it on newer Pythons

    gc.collect()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            client = Client(nursery, math.inf)
            nursery.start_soon(set_soon, waits)
            await one_task(Stream(chunks()), client)
        before = [one for one in gc.get_objects() if isinstance(one, InlineStream)]
    finally:
        gc.enable()
    assert not before


async def test_a_cancellation_while_the_rest_is_written(autojump_clock: Clock) -> None:
    """What the second task was writing is given up with the request: nothing of it runs on, and nothing leaves."""

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(100)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        client = Client(nursery, 10)
        with trio.move_on_after(4):
            await one_task(Stream(chunks()), client)
        assert not nursery.child_tasks
        client.take()
    assert len(client.body) == 10
    assert client.aborted


async def test_a_server_that_starts_no_task_is_told_of(autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rest cannot be written the stream fails, as by any error, and the generator ends."""

    def start(self: Client, async_fn: object) -> None:
        raise RuntimeError("no nursery")

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(100)
        await trio.sleep_forever()

    monkeypatch.setattr(Client, "start", start)
    client, failure = await deliver("one task", chunks(), window=10)
    assert str(failure) == "no nursery"
    assert not client.ended


async def test_a_head_that_fails_is_an_ordinary_error(autojump_clock: Clock) -> None:
    """What the head raises, when the first chunk is there, ends the generator; nothing has left."""

    def head(self: Opening, stream: Producer, media_type: str | None) -> tuple[int, RawHeaders]:
        raise KeyError("head")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        client = Client(nursery, math.inf)
        outbox = Outbox(cast("Send", client.send), "1.1")
        opening = Opening()
        opening.head = head.__get__(opening)  # type: ignore[method-assign]
        inlined = InlineStream(Stream(chunks()), "GET /test", outbox, client, opening)
        with pytest.raises(KeyError):
            await inlined.relay()
    assert (client.body, outbox.started) == (b"", False)
    assert inlined.opening is opening


async def test_a_server_that_keeps_the_head_waiting_is_no_server_for_this(autojump_clock: Clock) -> None:
    """The head is handed over without a wait: a ``send`` that waits there is told of."""

    class Slow(Client):
        """Waits."""

        async def send(self, _: Any) -> None:
            await trio.sleep(1)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        client = Slow(nursery, math.inf)
        outbox = Outbox(cast("Send", client.send), "1.1")
        with pytest.raises(RuntimeError, match="keeps the head of a response waiting"):
            await InlineStream(Stream(chunks()), "GET /test", outbox, client, Opening()).relay()
