"""The hub as users see it, whatever its engine."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Unpack

import msgspec
import trio

from trioweb.hub.engine import Engine
from trioweb.hub.entries import EVENTS, RESERVED, check_name, check_topic, encode
from trioweb.hub.feed import EventFeed
from trioweb.hub.subscription import LIMIT, Slow, Subscription
from trioweb.io.entered import Entered
from trioweb.messages.limits import StreamOptions
from trioweb.messages.response import stream_of
from trioweb.messages.stream_responses import EventStreamResponse


class HubStats(msgspec.Struct, frozen=True):
    """What a hub holds in this process.

    Attributes:
        topics: those with events or subscribers.
        subscribers: the open subscriptions.
        waiting_bytes: what waits for subscribers that are slow.
        dropped: the events that were left out for them, so far.
    """

    topics: int
    subscribers: int
    waiting_bytes: int
    dropped: int


class Hub(Entered):
    """The base of ``MemoryHub`` and ``RedisHub``, for annotations: make one of these.

    It is an async context manager: write ``app.lifespan(hub)``, or ``async with hub:``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        found = self.stats()
        return f"<{type(self).__name__}, {found.topics} topics, {found.subscribers} subscribers>"

    async def _open(self, stack: AsyncExitStack) -> None:
        await self._engine.connect(stack)
        self._nursery = nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(self._close, nursery)
        self._engine.begin(nursery)

    def _close(self, nursery: trio.Nursery) -> None:
        self._nursery = None
        self._engine.stop()
        nursery.cancel_scope.cancel()

    async def publish(self, topic: str, data: object, *, event: str | None = None) -> str:
        """Publish an event. Returns when the engine has it; waits for no subscriber. A cancellation meanwhile leaves it
        unknown whether Redis has it.

        Args:
            topic: any name.
            data: a ``str``, bytes or a JSON value. It is encoded once.
            event: a name, for ``addEventListener`` in browsers. An empty one is none.

        Returns:
            The id of the event.

        Raises:
            HubUnavailable: if the engine cannot be reached, within 5 seconds.
            RuntimeError: if the hub is not open.
            TypeError: if the data cannot be sent, or a name is no text.
            ValueError: if the name of the event is one of the hub's own, or has a CR, LF or NUL; or if a text has a
                lone surrogate.
        """
        check_topic(topic)
        if event is not None:
            if check_name("an event", event) in RESERVED:
                raise ValueError(f"event={event!r} is one of the hub's own events: give it another name")
            if any(c in "\r\n\0" for c in event):
                raise ValueError(f"event={event!r} has a CR, LF or NUL")
        kind, payload = encode(data)
        self._engine.check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self._engine.publish(EVENTS + topic, event or None, kind, payload)

    def subscribe(
        self,
        *topics: str,
        after: str | None = None,
        slow: Slow = "drop",
        limit: int = LIMIT,
        member: str | None = None,
    ) -> Subscription:
        """Subscribe to topics: ``async with hub.subscribe("news") as events``, and ``async for event in events``.

        Args:
            topics: at least one.
            after: the id of the last event that the subscriber has seen: it gets all that it has missed since, or first
                a gap. ``None`` for new events only.
            slow: what happens when more than ``limit`` bytes wait: ``"drop"`` drops the oldest events and has a gap
                in their place, ``"latest"`` keeps one event a topic, the newest, and ``"leave"`` ends the subscription
                with ``SlowSubscriber``.
            limit: bytes that may wait; each event counts 64 more than its data.
            member: a name under which the subscriber is one of the ``members`` of its topics. It gets the joins and
                leaves of others.

        Raises:
            TypeError: if there is no topic, or an argument is of the wrong type.
            ValueError: if ``slow`` or ``limit`` is another value.
        """
        return Subscription(self._engine, topics, after, slow, limit, member)

    def stream(
        self,
        *topics: str,
        after: str | None = None,
        slow: Slow = "drop",
        limit: int = LIMIT,
        member: str | None = None,
        ping: float | None = 15.0,
        **options: Unpack[StreamOptions],
    ) -> EventStreamResponse:
        """The same as an event stream, to return from a handler.

        ::

            @app.get("/news")
            async def news(request):
                return hub.stream("news", after=request.last_event_id)

        Args:
            topics: this and the next four as ``subscribe``. With ``slow="leave"`` the stream is aborted, which a client
                sees.
            after: the id of the last event that the client has seen.
            slow: what happens when more than ``limit`` bytes wait.
            limit: bytes that may wait, besides what the server writes.
            member: a name.
            ping: as ``EventStreamResponse``.
            options: the limits of the stream.

        Raises:
            TypeError: as ``subscribe``, as is ``ValueError``.
        """
        subscription = self.subscribe(*topics, after=after, slow=slow, limit=limit, member=member)
        response = EventStreamResponse(EventFeed(subscription), ping, **options)
        stream = stream_of(response)
        assert stream is not None  # noqa: S101 - an event stream is one
        stream.encode = bytes  # of frames that are encoded
        return response

    async def members(self, topic: str) -> list[str]:
        """The names of a topic's members in all workers, sorted. Waits for the engine.

        Raises:
            HubUnavailable: as ``publish``.
        """
        self._engine.check_open()
        return sorted(await self._engine.members(check_topic(topic)))

    def stats(self) -> HubStats:
        """What the hub holds in this process."""
        engine = self._engine
        waiting = sum(subscription.waiting for subscription in engine.subscriptions)
        topics = sum(name.startswith(EVENTS) for name in engine.logs)
        return HubStats(topics, len(engine.subscriptions), waiting, engine.dropped)

    def _cut(self, away: bool) -> None:
        """For ``trioweb.testing.cut_engine``."""
        self._engine.cut(away)
