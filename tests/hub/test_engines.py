"""An engine that is away."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.hub.conftest import MakeHub
from tests.hub.test_hub import data, until
from trioweb.hub import HubUnavailable, MemoryHub
from trioweb.testing import cut_engine


async def test_an_engine_that_is_cut_off(make_hub: MakeHub) -> None:
    """``publish`` and ``members`` raise within 5 seconds; subscribers stay, and go on when the engine is back."""
    async with make_hub() as hub, hub.subscribe("a") as events:
        await hub.publish("a", 1)
        with cut_engine(hub):
            for use in (hub.publish("a", "lost"), hub.members("a")):
                with trio.fail_after(5), pytest.raises(HubUnavailable):
                    await use
        await trio.sleep(0.6)
        await hub.publish("a", 2)
        assert await data(events, 2) == [1, 2]


async def test_a_cut_takes_no_time_under_a_mock_clock(autojump_clock: trio.testing.MockClock) -> None:
    """A test of an app cuts its hub off and restores it."""
    async with MemoryHub() as hub, hub.subscribe("a") as events:
        with cut_engine(hub), pytest.raises(HubUnavailable, match="cut off"):
            await hub.publish("a", "lost")
        await hub.publish("a", "kept")
        assert await data(events, 1) == ["kept"]


async def test_nothing_is_kept_of_subscribers_that_have_left(make_hub: MakeHub) -> None:
    """Topics without subscribers and events take no memory."""
    async with make_hub(history=0) as hub:
        for number in range(50):
            async with hub.subscribe(f"topic {number}", member="ada"):
                await hub.publish(f"topic {number}", number)
        await until(lambda: hub.stats().subscribers == 0)
        assert hub.stats().topics == 0
