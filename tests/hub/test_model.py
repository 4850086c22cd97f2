"""What subscribers get, whatever happens: found by trying sequences that nobody has thought of.

Of each topic a subscriber gets the events in the order in which they were published, none twice, and none is left out
without a gap, or, with ``slow="latest"``, without a newer event.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hub.conftest import NEEDS_REDIS, PREFIXES
from tests.hub.redis import Redis
from tests.servers import PATIENCE
from trioweb.hub import Hub, HubEvent, HubUnavailable, MemoryHub, RedisHub, Subscription
from trioweb.testing import cut_engine

TOPICS = "abc"
HISTORY = 5

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(TOPICS), st.integers(1, 8)),
        st.tuples(st.just("join"), st.sets(st.sampled_from(TOPICS), min_size=1), st.sampled_from(["drop", "latest"])),
        st.tuples(st.just("read"), st.integers(0, 3), st.integers(1, 10)),
        st.tuples(st.just("away"), st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("cut"), st.sampled_from(TOPICS), st.integers(1, 8)),
    ),
    max_size=30,
)


class Reader:
    """A client that reads now and then, leaves, and comes back with the id of the last event that it has seen.

    Args:
        hub: the hub that it subscribes to.
        topics: its topics.
        slow: its policy.
        published: what is published, by topic.
    """

    def __init__(self, hub: Hub, topics: list[str], slow: Any, published: dict[str, list[int]]) -> None:
        self._hub = hub
        self._topics = topics
        self._slow = slow
        self._published = published
        self._next: dict[str, int] = {}  # by topic, the place of the next event among the published ones
        self._excused: set[str] = set()
        self._last: str | None = None
        self.events: Subscription | None = None

    async def open(self, hub: Hub | None = None) -> None:
        """Subscribe, perhaps at another worker. One that has seen nothing yet begins anew."""
        if self._last is None:
            self._next = {topic: len(self._published[topic]) for topic in self._topics}
        self._hub = hub or self._hub
        self.events = self._hub.subscribe(*self._topics, after=self._last, slow=self._slow, limit=400)
        await self.events.__aenter__()

    async def close(self) -> None:
        """Leave."""
        assert self.events is not None
        await self.events.__aexit__(None, None, None)

    async def read(self, most: int) -> None:
        """Read what has come, but not more than so many events."""
        assert self.events is not None
        for _ in range(most):
            event = None
            with trio.move_on_after(0.02):
                event = await anext(self.events)
            if event is None:
                return
            self._check(event)

    def _check(self, event: HubEvent) -> None:
        self._last = event.id
        if event.event == "gap":
            self._excused |= set(event.data["topics"])
            return
        place = self._published[event.topic].index(event.data)
        assert place >= self._next[event.topic], "an event came twice, or too late"
        if self._slow == "drop" and event.topic not in self._excused:
            assert place == self._next[event.topic], "an event is missing without a gap"
        self._excused.discard(event.topic)
        self._next[event.topic] = place + 1

    async def finish(self) -> None:
        """Read to the end."""
        with trio.fail_after(PATIENCE):
            while any(self._next[topic] < len(self._published[topic]) for topic in self._topics):
                await self.read(100)


async def run(actions: list[tuple[str, Any, Any]], hubs: list[Hub]) -> None:  # noqa: C901 - a list of actions
    """Do what a sequence says, and check it."""
    published: dict[str, list[int]] = defaultdict(list)
    readers: list[Reader] = []
    numbers, turn = count(), count()

    async def publish(topic: str, times: int) -> None:
        for _ in range(times):
            number = next(numbers)
            await hubs[next(turn) % len(hubs)].publish(topic, number)
            published[topic].append(number)

    for action, what, how in actions:
        if action == "publish":
            await publish(what, how)
        elif action == "join" and len(readers) < 4:
            readers.append(Reader(hubs[next(turn) % len(hubs)], sorted(what), how, published))
            await readers[-1].open()
        elif action == "read" and what < len(readers):
            await readers[what].read(how)
        elif action == "away" and what < len(readers):
            await readers[what].close()
            await publish("a", how)
            await readers[what].open(hubs[next(turn) % len(hubs)])
        elif action == "cut" and len(hubs) > 1:
            with cut_engine(hubs[0]):
                for _ in range(how):
                    number = next(numbers)
                    await hubs[1].publish(what, number)
                    published[what].append(number)
        elif action == "cut":
            with cut_engine(hubs[0]):
                try:
                    await hubs[0].publish(what, -1)
                except HubUnavailable:
                    continue
                raise AssertionError("published while the engine was away")
    for topic in TOPICS:
        await publish(topic, 1)
    for reader in readers:
        await reader.finish()
        await reader.close()
    assert not any(hub.stats().subscribers for hub in hubs)


@given(ACTIONS)
@settings(max_examples=150, deadline=None)
def test_one_worker(actions: list[tuple[str, Any, Any]]) -> None:
    """In one process."""

    async def main() -> None:
        async with MemoryHub(history=HISTORY) as hub:
            await run(actions, [hub])

    trio.run(main)


@NEEDS_REDIS
@given(actions=ACTIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_three_workers(redis: Redis, actions: list[tuple[str, Any, Any]]) -> None:
    """With three workers on one Redis; clients come back to any of them."""

    async def main() -> None:
        prefix = f"model{next(PREFIXES)}:"
        async with (
            RedisHub(redis.url, prefix=prefix, history=HISTORY) as one,
            RedisHub(redis.url, prefix=prefix, history=HISTORY) as two,
            RedisHub(redis.url, prefix=prefix, history=HISTORY) as three,
        ):
            await run(actions, [one, two, three])

    trio.run(main)
