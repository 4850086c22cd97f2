"""What a hub promises to those that publish and to those that subscribe, whatever its engine."""

from __future__ import annotations

import gc
import math
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from inspect import signature
from types import FrameType
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from tests.hub.conftest import MakeHub
from trioweb import App
from trioweb.hub import Hub, HubEvent, MemoryHub, RedisHub, SlowSubscriber, Subscription

PATIENCE = 60.0
"""Seconds after which what a test waits for has failed."""
OWN = ("gap", "join", "leave")


class Order(msgspec.Struct):
    """A value of a user's own."""

    number: int


async def take(events: Subscription, count: int) -> list[HubEvent]:
    """The next events."""
    with trio.fail_after(PATIENCE):
        return [await anext(events) for _ in range(count)]


async def data(events: Subscription, count: int) -> list[Any]:
    """The data of the next events, and the names of the hub's own."""
    return [event.event if event.event in OWN else event.data for event in await take(events, count)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.002)


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Counts the lines of Python that run meanwhile."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: lines
    finally:
        sys.settrace(before)


async def test_publish_waits_for_nobody(make_hub: MakeHub) -> None:
    """It returns though no subscriber reads."""
    async with make_hub() as hub, hub.subscribe("a"), hub.subscribe("a", slow="latest"), hub.subscribe("b"):
        with trio.fail_after(PATIENCE):
            for number in range(100):
                await hub.publish("a", number)
            await until(lambda: hub.stats().waiting_bytes > 0)


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ("text", "text"),
        ("two\nlines", "two\nlines"),
        ("", ""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"x"), b"x"),
        ({"a": [1, None]}, {"a": [1, None]}),
        (None, None),
        (1.5, 1.5),
        (Order(7), {"number": 7}),
    ],
)
async def test_subscribers_get_the_data(make_hub: MakeHub, given: object, got: object) -> None:
    """Text, bytes and JSON values arrive as such, with the topic, the name and the id of the event."""
    async with make_hub() as hub, hub.subscribe("orders", "other") as events:
        told = await hub.publish("orders", given, event="new")
        assert await take(events, 1) == [HubEvent("orders", told, "new", got)]


async def test_each_subscriber_gets_the_events_of_its_topics_in_order(make_hub: MakeHub) -> None:
    """Events of other topics are not given, and what was published before the subscription neither."""
    async with make_hub() as hub:
        await hub.publish("a", "before")
        async with hub.subscribe("a", "b") as both, hub.subscribe("b") as one:
            for topic in "abcab":
                await hub.publish(topic, topic)
            assert await data(both, 4) == ["a", "b", "a", "b"]
            assert await data(one, 2) == ["b", "b"]


async def test_many_subscribers(make_hub: MakeHub) -> None:
    """A thousand subscribers get the events of several publishers in one and the same order."""
    got: list[list[int]] = []

    async def subscribe(task_status: trio.TaskStatus[None]) -> None:
        async with hub.subscribe("x") as events:
            task_status.started()
            got.append(await data(events, 20))

    async with make_hub() as hub:
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                await nursery.start(subscribe)
            for number in range(20):
                nursery.start_soon(hub.publish, "x", number)
        assert sorted(got[0]) == list(range(20))
        assert got == [got[0]] * 1000


async def test_an_event_is_made_once(make_hub: MakeHub) -> None:
    """All subscribers of a process get one and the same object."""
    async with make_hub() as hub, hub.subscribe("a") as one, hub.subscribe("a", "b") as two:
        await hub.publish("a", {"long": list(range(100))})
        [here], [there] = await take(one, 1), await take(two, 1)
        assert here is there


async def test_other_tasks_run_while_an_event_is_given() -> None:
    """An event for a crowd is given to some at a time."""
    async with MemoryHub() as hub, AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(hub.subscribe("a")) for _ in range(3000)]
        await hub.publish("a", "x")
        assert 0 < hub.stats().waiting_bytes < len(crowd) * 65
        await until(lambda: hub.stats().waiting_bytes == len(crowd) * 65)


async def test_a_subscriber_that_was_away_gets_what_it_missed(make_hub: MakeHub) -> None:
    """The id of any event resumes all topics after it, and new events follow."""
    async with make_hub() as hub:
        ids = [await hub.publish(topic, number) for number, topic in enumerate("abcabc")]
        for index, last in enumerate(ids):
            async with hub.subscribe("a", "b", after=last) as events:
                missed = [number for number in (0, 1, 3, 4) if number > index]
                assert await data(events, len(missed)) == missed
        async with hub.subscribe("a", "b", after=ids[1]) as events:
            await hub.publish("b", "new")
            assert await data(events, 3) == [3, 4, "new"]


async def test_resuming_while_others_publish_loses_and_repeats_nothing(make_hub: MakeHub) -> None:
    """What is published while a subscriber is given its history comes after it, once."""
    async with make_hub(history=5000) as hub:
        first = await hub.publish("x", 0)
        for number in range(1, 600):
            await hub.publish("x", number)

        async def publish() -> None:
            for number in range(600, 1200):
                await hub.publish("x", number)

        async with trio.open_nursery() as nursery, hub.subscribe("x", after=first) as events:
            nursery.start_soon(publish)
            assert await data(events, 1199) == list(range(1, 1200))


@pytest.mark.parametrize("options", [{"history": 3}, {"history_bytes": 3 * 65}])
async def test_history_that_does_not_reach_back_is_a_gap(make_hub: MakeHub, options: dict[str, int]) -> None:
    """The first event is then a gap, that says of which topics events are missing; what is kept follows."""
    async with make_hub(**options) as hub:
        first = await hub.publish("a", 0)
        other = await hub.publish("b", 1)
        for number in range(2, 8):
            await hub.publish("a", number)
        async with hub.subscribe("a", "b", after=first) as events:
            gap, *rest = await take(events, 5)
            assert (gap.event, gap.data) == ("gap", {"topics": ["a"]})
            assert [event.data for event in rest] == [1, 5, 6, 7]
        async with hub.subscribe("b", after=other) as events:
            await hub.publish("b", "no gap")
            assert await data(events, 1) == ["no gap"]


async def test_the_id_of_a_gap_resumes(make_hub: MakeHub) -> None:
    """A subscriber that leaves after a gap gets what is kept when it comes back, and nothing twice."""
    async with make_hub(history=3) as hub:
        first = await hub.publish("a", 0)
        for number in range(1, 8):
            await hub.publish("a", number)
        async with hub.subscribe("a", after=first) as events:
            [gap] = await take(events, 1)
        async with hub.subscribe("a", after=gap.id) as events:
            assert await data(events, 3) == [5, 6, 7]


async def test_history_without_events_is_a_gap(make_hub: MakeHub) -> None:
    """With ``history=0`` a subscriber that has missed something gets a gap, and one that has not gets none."""
    async with make_hub(history=0) as hub:
        first = await hub.publish("a", 0)
        second = await hub.publish("a", 1)
        async with hub.subscribe("a", after=first) as late, hub.subscribe("a", after=second) as early:
            await hub.publish("a", 2)
            assert await data(late, 2) == ["gap", 2]
            assert await data(early, 1) == [2]


@pytest.mark.parametrize("size", [0, 100])
async def test_history_of_few_bytes(make_hub: MakeHub, size: int) -> None:
    """The newest event is kept, however large it is."""
    async with make_hub(history_bytes=size) as hub:
        first = await hub.publish("a", "x" * 1000)
        second = await hub.publish("a", "y" * 1000)
        await hub.publish("a", "z" * 1000)
        async with hub.subscribe("a", after=first) as late, hub.subscribe("a", after=second) as early:
            assert await data(late, 2) == ["gap", "z" * 1000]
            assert await data(early, 1) == ["z" * 1000]


async def test_history_of_all_time(make_hub: MakeHub) -> None:
    """``math.inf`` seconds are no limit."""
    async with make_hub(history_seconds=math.inf) as hub:
        first = await hub.publish("a", 0)
        await hub.publish("a", 1)
        async with hub.subscribe("a", after=first) as events:
            assert await data(events, 1) == [1]


@pytest.mark.parametrize("wrong", ["x", "-", "1-2-x", "9", "0-99999999999999999999", "deadbeef-1"])
async def test_an_id_that_says_nothing_is_a_gap(make_hub: MakeHub, wrong: str) -> None:
    """An id of another hub, or any other text, gets a gap first."""
    async with make_hub() as hub:
        await hub.publish("a", 0)
        async with hub.subscribe("a", after=wrong) as events:
            await hub.publish("a", 1)
            assert await data(events, 3) == ["gap", 0, 1]


async def test_history_of_a_while(make_hub: MakeHub) -> None:
    """``history_seconds`` bounds what is kept by its age."""
    async with make_hub(history_seconds=2) as hub:
        first = await hub.publish("a", 0)
        await hub.publish("a", 1)
        await trio.sleep(2.1)  # the rest takes far less
        await hub.publish("a", 2)
        async with hub.subscribe("a", after=first) as events:
            assert await data(events, 2) == ["gap", 2]


# Slow subscribers


async def test_drop_drops_the_oldest_and_says_so(make_hub: MakeHub) -> None:
    """Past the limit the oldest events make room, and one gap stands in their place."""
    async with make_hub() as hub, hub.subscribe("a", limit=10 * 164) as events:
        for number in range(30):
            await hub.publish("a", f"{number:100}")
        await until(lambda: hub.stats().dropped == 20)
        gap, *rest = await take(events, 11)
        assert gap.event == "gap"
        assert [int(event.data) for event in rest] == list(range(20, 30))
        await hub.publish("a", "more")
        assert await data(events, 1) == ["more"]
        async with hub.subscribe("a", after=gap.id) as again:
            assert [int(text) for text in await data(again, 10)] == list(range(20, 30))


@pytest.mark.parametrize("slow", ["drop", "latest", "leave"])
async def test_an_event_larger_than_the_limit(make_hub: MakeHub, slow: Any) -> None:
    """A subscriber for which nothing else waits gets it, whatever is to happen with slow ones."""
    async with make_hub() as hub, hub.subscribe("a", slow=slow, limit=1000) as events:
        for number in range(3):
            await hub.publish("a", f"{number:5000}")
            assert [int(text) for text in await data(events, 1)] == [number]
        assert hub.stats().dropped == 0


async def test_latest_keeps_one_event_a_topic(make_hub: MakeHub) -> None:
    """Past the limit the newest event of each topic is kept, without a gap, until the subscriber has caught up."""
    async with make_hub() as hub, hub.subscribe("a", "b", slow="latest", limit=1000) as events:
        await hub.publish("b", "only")
        for number in range(30):
            await hub.publish("a", f"{number:100}")
        await until(lambda: hub.stats().dropped == 29)
        assert [text.strip() for text in await data(events, 2)] == ["only", "29"]
        await hub.publish("a", 1)
        await hub.publish("a", 2)
        assert await data(events, 2) == [1, 2]


async def test_a_gap_names_each_topic_that_has_lost_events(make_hub: MakeHub) -> None:
    """Past the limit one gap stands for what is missing of several topics."""
    async with make_hub() as hub, hub.subscribe("a", "b", "c", limit=4 * 164) as events:
        for number in range(12):
            await hub.publish("ab"[number % 2], f"{number:100}")
        await until(lambda: hub.stats().dropped == 8)
        gap, *rest = await take(events, 5)
        assert (gap.event, sorted(gap.data["topics"])) == ("gap", ["a", "b"])
        assert [int(event.data) for event in rest] == [8, 9, 10, 11]


async def test_leave_lets_as_much_wait_as_the_limit(make_hub: MakeHub) -> None:
    """A subscriber for which just as many bytes wait as its limit is not slow yet; with the next event it is."""
    async with make_hub() as hub, hub.subscribe("a", slow="leave", limit=10 * 164) as events:
        for number in range(10):
            await hub.publish("a", f"{number:100}")
        await until(lambda: hub.stats().waiting_bytes == 10 * 164)
        await hub.publish("a", "one more")
        await until(lambda: hub.stats().dropped > 0)
        with pytest.raises(SlowSubscriber):
            await take(events, 1)


async def test_leave_ends_the_subscription(make_hub: MakeHub) -> None:
    """Past the limit the iteration raises, and nothing is kept."""
    async with make_hub() as hub, hub.subscribe("a", slow="leave", limit=1000) as events:
        for number in range(30):
            await hub.publish("a", f"{number:100}")
        await until(lambda: hub.stats().dropped > 0)
        with pytest.raises(SlowSubscriber, match="limit of 1000"):
            await take(events, 1)
        assert hub.stats().waiting_bytes == 0


@pytest.mark.parametrize("slow", ["drop", "latest", "leave"])
async def test_what_waits_is_bounded(make_hub: MakeHub, slow: Any) -> None:
    """At most ``limit`` bytes wait for a subscriber, or one event, however large it is."""
    async with make_hub() as hub, hub.subscribe("a", "b", slow=slow, limit=1000) as events:
        del events
        for number in range(50):
            await hub.publish("ab"[number % 2], "x" * 300)
            assert hub.stats().waiting_bytes <= 1000 + 364
        await hub.publish("a", "x" * 5000)
        await trio.sleep(0.01)
        assert hub.stats().waiting_bytes <= 5064


async def test_history_does_not_count_as_slow(make_hub: MakeHub) -> None:
    """What a subscriber has missed is given to it whole, far beyond its limit."""
    async with make_hub() as hub:
        first = await hub.publish("a", 0)
        for number in range(1, 500):
            await hub.publish("a", number)
        async with hub.subscribe("a", after=first, slow="leave", limit=1000) as events:
            assert await data(events, 499) == list(range(1, 500))


async def test_what_a_subscriber_holds_of_history_is_bounded(make_hub: MakeHub) -> None:
    """One that comes back and reads nothing holds a few events, not all that it has missed."""
    size, many = 20_000, 30
    async with make_hub(history=100) as hub, AsyncExitStack() as stack:
        for number in range(100):
            await hub.publish("a", f"{number:{size}}")
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(many):
                await stack.enter_async_context(hub.subscribe("a", after="0"))
                for number in range(20):  # of each, what it holds is history no more for others
                    await hub.publish("a", f"{number:{size}}")
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < (many + 20) * (65536 + 2 * size)  # and 20 for what is on its way


async def test_a_subscriber_that_reads_on_gets_all_of_a_long_history(make_hub: MakeHub) -> None:
    """However large its events are, and of however many topics."""
    async with make_hub() as hub:
        first = await hub.publish("a", "first")
        for number in range(40):
            await hub.publish("abc"[number % 3], f"{number:{[10, 30_000, 100_000][number % 7 % 3]}}")
        async with hub.subscribe("a", "b", "c", after=first) as events:
            assert [int(text) for text in await data(events, 40)] == list(range(40))


async def test_a_long_history_of_several_topics(make_hub: MakeHub) -> None:
    """It is taken piece by piece, in the order of all of them."""
    async with make_hub() as hub:
        first = await hub.publish("a", "first")
        for number in range(1200):
            await hub.publish("abc"[number % 3], number)
        async with hub.subscribe("a", "b", "c", after=first) as events:
            assert await data(events, 1200) == list(range(1200))


async def test_topics_that_come_and_go_take_no_memory(autojump_clock: trio.testing.MockClock) -> None:
    """With ``history_seconds`` what is too old goes, though nothing more happens in its topic."""
    async with MemoryHub(history_seconds=60) as hub, hub.subscribe("news", member="ada"):
        for number in range(2000):
            async with hub.subscribe(f"room {number}", member="bob"):
                await hub.publish(f"room {number}", number)
            await trio.sleep(1)
        assert hub.stats().topics < 200


async def test_subscribers_of_many_topics_leave() -> None:
    """How long one takes does not grow with the others."""
    lines: list[int] = []
    for many in (100, 1600):
        async with MemoryHub(history=0) as hub, AsyncExitStack() as stack:
            for number in range(many):
                await stack.enter_async_context(hub.subscribe(f"user {number}"))
            with counted() as count:
                async with hub.subscribe("one"):
                    await hub.publish("one", 1)
                await hub.publish("two", 2)
            lines.append(count())
    assert lines[1] < 2 * lines[0]


# Members


async def test_members_join_and_leave(make_hub: MakeHub) -> None:
    """``members`` tells who is there; those who are get the joins and leaves of others, and nobody else does."""
    async with make_hub() as hub, hub.subscribe("room") as stranger:
        assert await hub.members("room") == []
        async with hub.subscribe("room", member="ada") as ada:
            async with hub.subscribe("room", member="bob"), hub.subscribe("room", member="bob"):
                assert await hub.members("room") == ["ada", "bob"]
                assert await hub.members("other") == []
                await hub.publish("room", "hi")
            assert await hub.members("room") == ["ada"]
            got = await take(ada, 3)
            assert [(event.topic, event.event, event.data) for event in got] == [
                ("room", "join", "bob"), ("room", None, "hi"), ("room", "leave", "bob"),
            ]  # fmt: skip
        assert await hub.members("room") == []
        await hub.publish("room", "end")
        assert await data(stranger, 2) == ["hi", "end"]


async def test_joins_and_leaves_are_resumed(make_hub: MakeHub) -> None:
    """A member that was away gets the joins and leaves that it has missed, in their order among the events."""
    async with make_hub() as hub:
        async with hub.subscribe("room", member="ada") as ada:
            await hub.publish("room", 1)
            [seen] = await take(ada, 1)
        async with hub.subscribe("room", member="bob"):
            await hub.publish("room", 2)
        async with hub.subscribe("room", member="ada", after=seen.id) as ada:
            got = [(event.event, event.data) for event in await take(ada, 3)]
            assert got == [("join", "bob"), (None, 2), ("leave", "bob")]


async def test_a_member_that_joins_misses_nothing(make_hub: MakeHub) -> None:
    """Without a history, too, a member gets what is published after it has joined, and no gap for its own joining."""
    async with make_hub(history=0) as hub, hub.subscribe("room", member="ada") as events:
        await hub.publish("room", 1)
        assert await data(events, 1) == [1]


# Use and misuse


def defaults(function: Callable[..., object]) -> dict[str, object]:
    """The defaults of a function's parameters."""
    parameters = signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def test_defaults() -> None:
    """What is not said is the same for a stream and a subscription, and for both engines."""
    reading: dict[str, object] = {"after": None, "slow": "drop", "limit": 65536, "member": None}
    keeping: dict[str, object] = {"history": 1000, "history_seconds": None, "history_bytes": None}
    assert defaults(Hub.subscribe) == reading
    assert defaults(Hub.stream) == {**reading, "ping": 15.0}
    assert defaults(MemoryHub) == keeping
    of_redis = {"url": "redis://localhost:6379/0", "prefix": "trioweb:", "lease": 10.0}
    assert defaults(RedisHub) == {**keeping, **of_redis}


async def test_statistics(make_hub: MakeHub) -> None:
    """``stats`` counts topics, subscribers, and the bytes that wait."""
    async with make_hub() as hub, hub.subscribe("a"), hub.subscribe("a", "b"):
        await hub.publish("a", "x" * 100)
        await until(lambda: hub.stats().waiting_bytes == 2 * 164)
        found = hub.stats()
        assert (found.topics, found.subscribers, found.dropped) == (2, 2, 0)
        assert "2 topics, 2 subscribers" in repr(hub)


async def test_a_closed_hub_ends_the_iteration(make_hub: MakeHub) -> None:
    """Subscribers of a hub that is closed see the end, after what they have got."""
    ended = trio.Event()

    async def listen(task_status: trio.TaskStatus[None]) -> None:
        async with hub.subscribe("a") as events:
            task_status.started()
            async for _ in events:
                pass
            ended.set()

    async with trio.open_nursery() as nursery:
        async with make_hub() as hub:
            await nursery.start(listen)
        with trio.fail_after(PATIENCE):
            await ended.wait()


async def test_a_cancelled_iteration_loses_nothing(make_hub: MakeHub) -> None:
    """A timeout around the wait for an event leaves the subscription as it was."""
    async with make_hub() as hub, hub.subscribe("a") as events:
        with trio.move_on_after(0.01):
            await anext(events)
        await hub.publish("a", 1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(events)
        assert scope.cancelled_caught
        assert await data(events, 1) == [1]


async def test_a_cancelled_publish_publishes_nothing(make_hub: MakeHub) -> None:
    """In a scope that is cancelled already, ``publish`` raises and nobody gets the event."""
    async with make_hub() as hub, hub.subscribe("a") as events:
        with trio.CancelScope() as scope:
            scope.cancel()
            await hub.publish("a", 1)
        assert scope.cancelled_caught
        await hub.publish("a", 2)
        assert await data(events, 1) == [2]


async def test_publishing_from_a_thread(make_hub: MakeHub) -> None:
    """A plain function in a worker thread publishes by ``trio.from_thread``."""
    async with make_hub() as hub, hub.subscribe("a") as events:
        told = await trio.to_thread.run_sync(
            lambda: trio.from_thread.run(partial(hub.publish, "a", "by thread", event="new"))
        )
        assert await take(events, 1) == [HubEvent("a", told, "new", "by thread")]


NAMES = ["a b", "\u00e4\u2603", "two\nlines", "a\0b", "control", "e:", "p:a", "*", "%d", "-", "x" * 5000, "\U0001f600"]


@pytest.mark.parametrize("name", NAMES)
async def test_names(make_hub: MakeHub, name: str) -> None:
    """Any text is a topic or the name of a member: it arrives as it is, alone, from history and in a gap."""
    async with make_hub() as hub, hub.subscribe(name, member=name) as events, hub.subscribe("a", name) as others:
        told = await hub.publish(name, 1)
        assert await take(events, 1) == await take(others, 1) == [HubEvent(name, told, None, 1)]
        assert await hub.members(name) == [name]
        async with hub.subscribe(name, after="0") as again:
            gap, kept = await take(again, 2)
            assert (gap.topic, gap.data, kept.data) == (name, {"topics": [name]}, 1)


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb"])
async def test_names_that_have_no_bytes(make_hub: MakeHub, name: str) -> None:
    """A lone surrogate, which a client may have sent, is an error where it is given, and the hub goes on."""
    async with make_hub() as hub, hub.subscribe("a", member="ada") as events:
        with pytest.raises(ValueError, match="without lone surrogates"):
            await hub.publish(name, 1)
        with pytest.raises(ValueError, match="an event is a name"):
            await hub.publish("a", 1, event=name)
        with pytest.raises(ValueError, match="a topic is a name"):
            await hub.members(name)
        for use in (hub.subscribe, hub.stream):
            with pytest.raises(ValueError, match="a topic is a name"):
                use(name)
            with pytest.raises(ValueError, match="a member is a name"):
                use("a", member=name)
        with pytest.raises(UnicodeEncodeError):
            await hub.publish("a", {"a": name})
        await hub.publish("a", 2)
        assert await data(events, 1) == [2]


async def test_an_empty_name_of_an_event(make_hub: MakeHub) -> None:
    """It is none, as it is for browsers."""
    async with make_hub() as hub, hub.subscribe("a") as events:
        told = await hub.publish("a", 1, event="")
        assert await take(events, 1) == [HubEvent("a", told, None, 1)]


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("a", object()), {}, TypeError),
        (("", "x"), {}, TypeError),
        ((1, "x"), {}, TypeError),
        (("a", "x"), {"event": "gap"}, ValueError),
        (("a", "x"), {"event": "join"}, ValueError),
        (("a", "x"), {"event": "a\nb"}, ValueError),
        (("a", "x"), {"event": 7}, TypeError),
    ],
)
async def test_what_cannot_be_published(
    make_hub: MakeHub, arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception]
) -> None:
    """Wrong topics, data and names are errors where they are published."""
    async with make_hub() as hub:
        with pytest.raises(error):
            await hub.publish(*arguments, **options)


@pytest.mark.parametrize(
    ("topics", "options", "error"),
    [
        ((), {}, TypeError),
        (("",), {}, TypeError),
        (("a",), {"slow": "wait"}, ValueError),
        (("a",), {"limit": -1}, ValueError),
        (("a",), {"after": 7}, TypeError),
        (("a",), {"member": 7}, TypeError),
    ],
)
async def test_what_cannot_be_subscribed_to(
    make_hub: MakeHub, topics: tuple[str, ...], options: dict[str, Any], error: type[Exception]
) -> None:
    """Wrong topics and options are errors of the call, of ``stream`` as well."""
    hub = make_hub()
    with pytest.raises(error):
        hub.subscribe(*topics, **options)
    with pytest.raises(error):
        hub.stream(*topics, **options)


async def test_a_hub_is_opened_before_it_is_used(make_hub: MakeHub) -> None:
    """Outside of a lifespan the error says what to write; so it does for a subscription outside of its block."""
    hub = make_hub()

    async def is_not_open() -> None:
        with pytest.raises(RuntimeError, match=r"app\.lifespan"):
            await hub.publish("a", 1)
        with pytest.raises(RuntimeError, match=r"app\.lifespan"):
            await hub.members("a")
        with pytest.raises(RuntimeError, match=r"app\.lifespan"):
            async with hub.subscribe("a"):
                pass
        app = App()
        app.get("/")(lambda: hub.stream("a"))
        with pytest.raises(RuntimeError, match=r"app\.lifespan"):
            await app.test_client().get("/")
        assert hub.stats().subscribers == 0

    await is_not_open()
    for turn in range(2):  # it may be opened again
        async with hub, hub.subscribe("a", member="ada") as events:
            await hub.publish("a", turn)
            assert await data(events, 1) == [turn]
        await is_not_open()
    async with hub:
        with pytest.raises(RuntimeError, match=r"async with"):
            await anext(hub.subscribe("a"))
        with pytest.raises(RuntimeError, match="one lifespan"):
            await hub.__aenter__()
