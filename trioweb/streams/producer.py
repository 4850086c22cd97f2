"""The producer's side of a stream: one task that starts, resumes and closes the user's generator.

Rules that this module alone enforces:

* A generator runs in one task, and its ``finally`` blocks have run when that task ends, whatever has ended it.
* A producer that was interrupted has not finished, even if its generator swallows the cancellation and returns.
* A feed needs no task but for what was missed: a publisher gives it the rest, and any end is set here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from functools import partial
from inspect import isasyncgen, isawaitable
from typing import Final, TypeVar, cast

import trio

from trioweb.ground.chunks import Encoder
from trioweb.ground.errors import StreamTimeout, taken, unwrap
from trioweb.streams.channel import ByteChannel, Outcome
from trioweb.streams.closing import close_generator, close_generators
from trioweb.streams.driver import First, drive, encoded, first_chunk
from trioweb.streams.feed import Feed
from trioweb.streams.sources import as_generator, framed, is_iterable, mapped, with_pings
from trioweb.streams.stream import Stream
from trioweb.streams.threaded import fill_from_thread, from_thread

T = TypeVar("T")
TASK: Final = "a stream's producer"
"""The name of the task: one string for all of them."""


class Producer:
    """Iterates the source of one stream, and fills ``channel``.

    After ``begin`` it waits with its first chunk for ``start``: middleware may add maps until then.
    """

    __slots__ = (
        "_begun", "_ended", "_handled", "_released", "_scope", "_timeout", "channel", "encoder", "ends",
        "interrupted", "on_end", "stream",
    )  # fmt: skip

    def __init__(self, stream: Stream, where: str) -> None:
        self.stream = stream
        stream.begun = True
        self._scope: trio.CancelScope | None = trio.CancelScope()  # `None` if a publisher gives the rest
        self._timeout: StreamTimeout | None = None
        self.ends = math.inf if stream.max_duration is None else trio.current_time() + stream.max_duration
        """When its ``max_duration`` is over, by trio's clock."""
        self._ended = False  # by `end`
        self.interrupted = False
        """It was cancelled by ``interrupt``."""
        self.on_end: Callable[[], None] | None = None
        """Called before its source is closed, at a stop or a disconnect: ends the tasks that send to the source."""
        self._handled: Exception | None = None  # an error that `on_error` has made a chunk of
        self._begun: trio.Event | None = None  # the first chunk is there, or the producer has ended
        self._released: trio.Event | None = None  # `start`, after `begin`
        self.encoder = Encoder(where, stream.encode)
        self.channel = ByteChannel(0 if stream.buffered else stream.buffer_size, stream.buffer_size)

    @property
    def where(self) -> str:
        """The route, for messages."""
        return self.encoder.where

    def cancel(self, timeout: StreamTimeout | None = None) -> None:
        """Cancel the source: the sender has ended, or the stream has exceeded a time limit. Does not block."""
        self._timeout = timeout
        if self._scope is not None:
            self._scope.cancel()
        elif self.channel.outcome is Outcome.RUNNING:
            self.channel.finish(*self._cut_off())
            self._timeout = None

    def _cut_off(self) -> tuple[Outcome, Exception | None]:
        """How a source has ended that was cancelled."""
        if self.interrupted or self.channel.closed:
            return Outcome.INTERRUPTED, None
        if self._ended:
            return Outcome.FINISHED, None
        return Outcome.FAILED, self._timeout

    @property
    def is_pushed(self) -> bool:
        """Whether a publisher gives the rest of a feed: no task runs for it."""
        return self._scope is None

    def end(self) -> None:
        """Cancel the source, and finish cleanly with the chunks so far. Does not block."""
        self._ended = True
        if self.on_end is not None:
            self.on_end()
        source = self.stream.source
        if not (isinstance(source, Feed) and source.end()):
            self.cancel(self._timeout)

    def interrupt(self) -> None:
        """Cancel the source, as a cancellation from outside does. Does not block."""
        self.interrupted = True
        self.cancel(self._timeout)

    def late(self) -> StreamTimeout:
        """The error of a stream that exceeds its ``max_duration``, or else its ``idle_timeout``."""
        if self.ends <= trio.current_time():
            return StreamTimeout(f"{self.where} took longer than its max_duration of {self.stream.max_duration} s")
        return StreamTimeout(f"{self.where} gave nothing for its idle_timeout of {self.stream.idle_timeout} s")

    async def begin(self, nursery: trio.Nursery) -> None:
        """Run it in a nursery, up to its first chunk or its end, and hold it there. A cancellation leaves it running.

        Raises:
            Exception: if it fails before that.
        """
        self._begun, self._released = trio.Event(), trio.Event()
        nursery.start_soon(self.run, name=TASK)
        await self._begun.wait()
        self.channel.raise_failure()

    def start(self, nursery: trio.Nursery) -> None:
        """Run it in a nursery, or, after ``begin``, let it go on. Does not block."""
        if self._released is None:
            nursery.start_soon(self.run, name=TASK)
        else:
            self._released.set()

    def abandon(self) -> None:
        """End it, since nothing more is taken from it. Safe to call twice. Does not block."""
        self.channel.close()
        self.cancel()
        if self._released is not None:
            self._released.set()

    async def run(self) -> None:  # noqa: C901, PLR0912 - each kind of source is awaited here, to save a frame
        """Produce to the end. Errors and cancellations are not raised, but set ``channel.outcome``.

        Raises:
            Exception: if it fails after the channel was closed, in a clean-up for instance: nothing else would tell.
        """
        outcome = Outcome.INTERRUPTED
        failure: Exception | None = None
        source, scope = self.stream.source, self._scope
        assert scope is not None  # noqa: S101 - it runs once
        try:
            with scope:
                goes_on = False
                if self.stream.maps or self._begun is not None:
                    await self._fill(scope)
                elif isasyncgen(source):
                    # Most streams, of which thousands may wait in here, save a frame.
                    await drive(self._check_fresh(source), self.channel, self.encoder, scope)  # type: ignore[arg-type]
                    self._add_tail()
                elif isinstance(source, Feed):
                    goes_on = await source.fill(self.channel)
                else:
                    await self._fill(scope)
                if trio.current_effective_deadline() > -math.inf:
                    outcome, failure = Outcome.FINISHED, self._handled
                    if goes_on:
                        outcome, self._scope = Outcome.RUNNING, None
        except Exception as error:
            outcome, failure = Outcome.FAILED, taken(error)
            if self.channel.closed:
                raise
        except trio.Cancelled:
            pass  # the sender sees the outcome, and sends what was accepted before the nursery closes
        finally:
            if outcome is Outcome.INTERRUPTED and scope.cancel_called:
                outcome, failure = self._cut_off()
            if outcome is not Outcome.RUNNING:
                self.channel.finish(outcome, failure)
            failure = self._timeout = self._handled = None
            if self._begun is not None:
                self._begun.set()

    async def _fill(self, scope: trio.CancelScope) -> None:
        stream, channel, encoder = self.stream, self.channel, self.encoder
        source = await self._resolve()
        generator = as_generator(source)
        if generator is not None:
            first = await self._first(partial(first_chunk, generator, encoder))
            try:
                if stream.maps:
                    try:
                        await self._fill_mapped(encoded(generator, channel, encoder, scope, first))
                    finally:
                        await close_generator(generator)  # a map may never have iterated it
                    return
                await drive(generator, channel, encoder, scope, first)
            finally:
                first = None  # the traceback of its error refers to this frame
        elif stream.maps or self._begun is not None:
            channel.limit = channel.piece = stream.buffer_size // 4  # two channels share the limit
            chunks = from_thread(cast("Iterable[object]", source), encoder, channel.limit)
            try:
                first = await self._first(chunks.__anext__)
                if first is not None and first.error is not None:
                    raise first.error
                await self._fill_mapped(chunks, b"" if first is None else first.data)
            finally:
                first = None
                await close_generator(chunks)
            return
        else:
            await fill_from_thread(cast("Iterable[object]", source), channel, encoder)
        self._add_tail()

    def _add_tail(self) -> None:
        if tail := self.stream.tail():
            self.channel.append(tail)

    async def _first(self, pull: Callable[[], Awaitable[bytes]]) -> First | None:
        """After ``begin``: the first chunk, when ``start`` is called; ``None`` if there is none, and without ``begin``.

        A cancellation in between is raised at the ``yield``, but not before ``start``, since the chunk may be sent.
        """
        if self._begun is None or self._released is None:
            return None
        try:
            first: First | None = First(await pull(), None)
        except StopAsyncIteration:  # not by `suppress`, whose frame would keep an exception group alive
            first = None
        self._begun.set()
        try:
            await self._released.wait()
        except BaseException as raised:
            with trio.CancelScope(shield=True):
                await self._released.wait()
            if first is None:
                raise
            return first._replace(error=raised)
        return first

    async def _fill_mapped(self, chunks: AsyncGenerator[bytes, None], before: bytes = b"") -> None:
        # Maps get all that is sent: pings, prelude and tail too.
        stream, channel = self.stream, self.channel
        if stream.maps and stream.on_error is not None:
            chunks = self._with_last_chunk(chunks, stream.on_error, begun=bool(before))
        if stream.ping is not None:
            chunks = with_pings(chunks, stream.ping, stream.ping_chunk)
        chunks = framed(chunks, stream.prelude or before, stream.tail)
        opened = [chunks]
        try:
            for function in stream.maps:
                chunks = mapped(function, chunks, self.encoder.where)
                opened.append(chunks)
            async for data in chunks:
                if channel.waiting > channel.limit:
                    await channel.make_room()
                channel.append(bytes(data))
        finally:
            await close_generators(opened)

    async def _with_last_chunk(
        self, chunks: AsyncGenerator[bytes, None], on_error: Callable[[Exception], object], *, begun: bool
    ) -> AsyncGenerator[bytes, None]:
        """The chunks, and after a failure the chunk of ``on_error``, which goes through the maps too."""
        try:
            async for data in chunks:
                begun = True
                yield data
        except Exception as raised:
            last = on_error(unwrap(raised)) if begun else None
            if last is None:
                raise
            self._handled = unwrap(raised)
            yield self.encoder.first(last)
        finally:
            await close_generator(chunks)

    async def _resolve(self) -> object:
        source = self.stream.source
        if is_iterable(source) or not callable(source):
            return self._check_fresh(source)
        made = source()
        if isawaitable(made):
            made = await made
        if not is_iterable(made):
            raise TypeError(
                f"{self.encoder.where}: the function that a stream was made from returned "
                f"{type(made).__qualname__}: return a generator or another iterable"
            )
        return self._check_fresh(made)

    def _check_fresh(self, source: T) -> T:
        """Refuse a generator that has ended: it would look like an empty stream."""
        if getattr(source, "ag_frame", source) is None or getattr(source, "gi_frame", source) is None:
            name = getattr(source, "__qualname__", source)
            raise RuntimeError(
                f"{self.encoder.where}: the generator {name} has ended already: make one for each "
                "response, or give the function that makes it, without calling it"
            )
        return source
