"""An engine that is away, that comes back with or without its data, and that several workers share."""

from __future__ import annotations

import shutil
import signal
import socket
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.hub.conftest import NEEDS_REDIS, MakeHub
from tests.hub.redis import Redis
from tests.hub.test_hub import counted, data, until
from tests.servers import PATIENCE
from trioweb.hub import Hub, HubUnavailable, MemoryHub, RedisHub, Subscription, scripts
from trioweb.testing import cut_engine

pytestmark = [
    # Of coredis, which leaves the streams of a lost connection to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def published(hub: Hub, topic: str, value: object) -> str:
    """Publish as soon as the engine is back."""
    with trio.fail_after(20):
        while True:
            try:
                return await hub.publish(topic, value)
            except HubUnavailable:
                await trio.sleep(0.05)


async def test_an_engine_that_is_cut_off(make_hub: MakeHub) -> None:
    """``publish`` and ``members`` raise; subscribers stay, and go on when the engine is back."""
    async with make_hub() as hub, hub.subscribe("a") as events:
        await hub.publish("a", 1)
        with cut_engine(hub):
            for use in (hub.publish("a", "lost"), hub.members("a")):
                with trio.fail_after(PATIENCE), pytest.raises(HubUnavailable):
                    await use
        await published(hub, "a", 2)
        assert await data(events, 2) == [1, 2]


async def test_a_cut_takes_no_time_under_a_mock_clock(autojump_clock: trio.testing.MockClock) -> None:
    """A test of an app cuts its hub off and restores it."""
    async with MemoryHub() as hub, hub.subscribe("a") as events:
        with cut_engine(hub), pytest.raises(HubUnavailable, match="cut off"):
            await hub.publish("a", "lost")
        await hub.publish("a", "kept")
        assert await data(events, 1) == ["kept"]


async def catch_up(events: Subscription, last: object) -> list[object]:
    """What comes, up to and with some data."""
    got: list[object] = []
    while last not in got:
        got += await data(events, 1)
    return got


@NEEDS_REDIS
class TestRedis:
    """What only an engine of its own can do."""

    async def test_workers_share_events(self, redis: Redis) -> None:
        """What one publishes, subscribers of all get; an id of one resumes at another."""
        async with RedisHub(redis.url, prefix="s1:") as one, RedisHub(redis.url, prefix="s1:") as two:
            async with one.subscribe("a") as here, two.subscribe("a") as there:
                first = await one.publish("a", 1)
                await two.publish("a", 2)
                assert await data(here, 2) == await data(there, 2) == [1, 2]
            await one.publish("a", 3)
            async with two.subscribe("a", after=first) as events:
                assert await data(events, 2) == [2, 3]

    async def test_other_prefixes_are_other_hubs(self, redis: Redis) -> None:
        """Hubs with another prefix share nothing."""
        one, two = RedisHub(redis.url, prefix="p1:"), RedisHub(redis.url, prefix="p2:")
        async with one, two, two.subscribe("a") as events:
            await one.publish("a", "one")
            await two.publish("a", "two")
            assert await data(events, 1) == ["two"]

    async def test_workers_share_members(self, redis: Redis) -> None:
        """Members are known to all; those of a worker that has crashed leave when their lease ends."""
        one, two = (RedisHub(redis.url, prefix="s2:", lease=2) for _ in range(2))
        async with one, one.subscribe("room", member="ada") as ada:
            async with two:
                async with two.subscribe("room", member="bob"), one.subscribe("room", member="bob"):
                    assert await two.members("room") == await one.members("room") == ["ada", "bob"]
                async with two.subscribe("room", member="eve"):
                    await trio.sleep(3)  # its lease is renewed
                    assert await one.members("room") == ["ada", "eve"]
                    two._cut(True)  # as if it had crashed: it tells nobody that it leaves
            assert await data(ada, 4) == ["join", "leave", "join", "leave"]
            assert await one.members("room") == ["ada"]

    async def test_a_restart_with_its_data(self, own_redis: Redis) -> None:
        """Killed and started again, it has all events: subscribers catch up without a gap, and nothing comes twice."""
        async with RedisHub(own_redis.url) as hub, RedisHub(own_redis.url) as other:
            async with hub.subscribe("a") as events, other.subscribe("a") as others:
                ids = [await hub.publish("a", number) for number in range(50)]
                await trio.to_thread.run_sync(own_redis.kill)
                with trio.fail_after(PATIENCE), pytest.raises(HubUnavailable):
                    await hub.publish("a", "lost")
                await trio.to_thread.run_sync(own_redis.start)
                for number in range(50, 60):
                    await published(other, "a", number)
                assert await data(events, 60) == await data(others, 60) == list(range(60))
            async with hub.subscribe("a", after=ids[10]) as events:
                assert await data(events, 49) == list(range(11, 60))

    async def test_a_restart_without_its_data(self, own_redis: Redis) -> None:
        """All subscribers have a gap, ids from before are a gap, and new events follow."""
        async with RedisHub(own_redis.url) as hub:
            async with hub.subscribe("a") as events:
                before = [await hub.publish("a", number) for number in range(50)]
                assert await data(events, 50) == list(range(50))
                await trio.to_thread.run_sync(own_redis.kill)
                own_redis.wipe()
                await trio.to_thread.run_sync(own_redis.start)
                await published(hub, "a", "new")
                assert await data(events, 2) == ["gap", "new"]
            async with hub.subscribe("a", after=before[10]) as events:
                assert (await data(events, 2))[0] == "gap"

    async def test_a_restart_with_a_part_of_its_data(self, own_redis: Redis, tmp_path: Path) -> None:
        """Numbers that are given again are other events: there is a gap, and nothing is left out after it."""
        hub, other = RedisHub(own_redis.url), RedisHub(own_redis.url)
        async with hub, other, hub.subscribe("a") as events, other.subscribe("b") as others:
            for number in range(10):
                await hub.publish("a", number)
            shutil.copytree(own_redis.directory, tmp_path / "old")
            for number in range(10, 20):
                await hub.publish("a", number)
            assert await data(events, 20) == list(range(20))
            await trio.to_thread.run_sync(own_redis.kill)
            own_redis.wipe()
            shutil.copytree(tmp_path / "old", own_redis.directory, dirs_exist_ok=True)
            await trio.to_thread.run_sync(own_redis.start)
            for number in range(30):
                await published(other, "a", f"new {number}")
            before = (await catch_up(events, "gap"))[:-1]
            assert before == []
            await published(other, "a", "last")
            await published(other, "b", "b")
            rest = await catch_up(events, "last")
            assert rest == [*[f"new {number}" for number in range(30)][31 - len(rest) :], "last"]
            # A worker may see itself that events are gone, and then be told so by the other one.
            assert await catch_up(others, "b") in (["b"], ["gap", "b"], ["gap", "gap", "b"])

    async def test_flushed_data(self, redis: Redis) -> None:
        """Data that somebody deletes in the engine is a gap for all."""
        async with RedisHub(redis.url, prefix="f:") as hub, hub.subscribe("a") as events:
            for number in range(20):
                await hub.publish("a", number)
            assert await data(events, 20) == list(range(20))
            client = hub._engine._link.client  # type: ignore[attr-defined]
            await client.delete([key async for key in client.scan_iter(match="f:*")])
            await hub.publish("a", "new")
            assert await data(events, 2) == ["gap", "new"]

    async def test_history_that_went_by_while_a_worker_was_away(self, redis: Redis) -> None:
        """A worker that comes back after more events than are kept has a gap, and then what is kept."""
        hub, other = (RedisHub(redis.url, prefix="h:", history=200) for _ in range(2))
        async with hub, other, hub.subscribe("a", limit=10**6) as events:
            await hub.publish("a", "first")
            await until(lambda: hub.stats().waiting_bytes > 0)
            with cut_engine(hub):
                for number in range(500):
                    await other.publish("a", number)
            assert await catch_up(events, 499) == ["first", "gap", *range(300, 500)]

    async def test_a_client_that_comes_back_to_a_worker_that_is_cut_off(self, redis: Redis) -> None:
        """It has seen more than this worker knows: it gets what follows when the engine is back, and nothing twice."""
        hub, other = (RedisHub(redis.url, prefix="c1:") for _ in range(2))
        async with hub, other, hub.subscribe("a"):
            with cut_engine(hub):
                ids = [await other.publish("a", number) for number in range(5)]
                async with hub.subscribe("a", after=ids[2]) as some, hub.subscribe("a", after=ids[4]) as all_of_them:
                    hub._cut(False)
                    await other.publish("a", 5)
                    assert await data(some, 3) == [3, 4, 5]
                    assert await data(all_of_them, 1) == [5]

    async def test_an_id_of_the_future_while_the_engine_is_away(self, redis: Redis) -> None:
        """An id that no event has is a gap as soon as that is known."""
        async with RedisHub(redis.url, prefix="c2:") as hub:
            epoch = (await hub.publish("a", 0)).rpartition("-")[0]
            with cut_engine(hub):
                async with hub.subscribe("a", after=f"{epoch}-{10**9}") as events:
                    hub._cut(False)
                    assert await data(events, 1) == ["gap"]
                    await published(hub, "a", 1)
                    assert await data(events, 1) == [1]

    async def test_data_that_is_lost_while_a_subscriber_is_given_its_history(self, redis: Redis) -> None:
        """It has the gap, too."""
        async with RedisHub(redis.url, prefix="c3:") as hub, hub.subscribe("a", limit=10**8) as others:
            first = await hub.publish("a", 0)
            for number in range(1, 700):
                await hub.publish("a", number)
            async with hub.subscribe("a", after=first) as events:
                assert await data(events, 10) == list(range(1, 11))
                engine: Any = hub._engine
                run = engine._link.run

                async def lose(script: str, *arguments: Any) -> Any:
                    found = await run(script, *arguments)
                    if script == scripts.FETCH:
                        engine._link.run = run
                        client = engine._link.client
                        await client.delete([key async for key in client.scan_iter(match="c3:*")])
                        await hub.publish("a", "new")
                        assert (await catch_up(others, "new"))[-2:] == ["gap", "new"]
                    return found

                engine._link.run = lose
                got = await catch_up(events, "new")
                assert got == [*range(11, 11 + len(got) - 2), "gap", "new"]

    async def test_an_event_takes_as_long_however_many_topics_there_are(self, redis: Redis) -> None:
        """Of the process, and of the engine: what is sent to it and what it runs does not grow."""
        lines: list[int] = []
        for many in (20, 500):
            async with RedisHub(redis.url, prefix=f"t{many}:") as hub, AsyncExitStack() as stack:
                for number in range(many):
                    await stack.enter_async_context(hub.subscribe(f"user {number}"))
                async with hub.subscribe("a") as events:
                    await hub.publish("a", 0)
                    assert await data(events, 1) == [0]
                    with counted() as count:
                        for number in range(20):
                            await hub.publish("a", number)
                            assert await data(events, 1) == [number]
            lines.append(count())
        assert lines[1] < 1.5 * lines[0]

    async def test_a_feed_that_is_short(self, redis: Redis) -> None:
        """An event that the feed names no more, since others were too many, is read nevertheless."""
        async with RedisHub(redis.url, prefix="c7:") as hub, hub.subscribe("a", "b") as events:
            await hub.publish("a", "first")
            assert await data(events, 1) == ["first"]
            script = (
                scripts.COMMON
                + """
                emit('e:a', '', '', 't', 'forgotten')
                call('XTRIM', P .. 'feed', 'MAXLEN', 0)
                emit('e:b', '', '', 't', 'last')
            """
            )
            client = hub._engine._link.client  # type: ignore[attr-defined]
            await client.eval(script, [], ["c7:", "x", 1000, -1, -1])
            assert await data(events, 2) == ["forgotten", "last"]

    async def test_an_event_between_the_look_and_the_first_event(self, redis: Redis) -> None:
        """What is published while a subscriber of a new topic is told the newest number is given to it."""
        async with RedisHub(redis.url, prefix="d1:") as hub, hub.subscribe("b") as others:
            link: Any = hub._engine._link  # type: ignore[attr-defined]
            run = link.run

            async def late(script: str, *arguments: Any) -> Any:
                found = await run(script, *arguments)
                if script == scripts.LOOK:
                    link.run = run
                    await hub.publish("a", 1)
                    await hub.publish("b", 2)
                    assert await data(others, 1) == [2]  # the reader has passed over the one before
                return found

            link.run = late
            async with hub.subscribe("a") as events:
                assert await data(events, 1) == [1]

    @pytest.mark.parametrize("lease", [None, 0, -1.0, "10"])
    def test_a_lease_is_a_number_of_seconds(self, lease: Any) -> None:
        """Any other is an error of the call."""
        with pytest.raises(ValueError, match="lease"):
            RedisHub(lease=lease)

    async def test_events_of_two_topics_while_one_is_read(self, redis: Redis) -> None:
        """They come in the order in which they were published."""
        async with RedisHub(redis.url, prefix="d2:") as hub, hub.subscribe("a", "b") as events:
            link: Any = hub._engine._link  # type: ignore[attr-defined]
            run = link.run

            async def more(script: str, *arguments: Any) -> Any:
                if script == scripts.FETCH:
                    link.run = run
                    await hub.publish("b", 2)
                    await hub.publish("a", 3)
                return await run(script, *arguments)

            await hub.publish("a", 0)
            assert await data(events, 1) == [0]
            link.run = more
            await hub.publish("a", 1)
            assert await data(events, 3) == [1, 2, 3]

    async def test_what_is_published_before_the_reader_reads(self, redis: Redis) -> None:
        """An event that is no history any more when the reader begins is no loss."""
        hub = RedisHub(redis.url, prefix="d3:", history_bytes=100)
        link: Any = hub._engine._link  # type: ignore[attr-defined]
        process, run = link.process, link.run
        first, begin = trio.Event(), trio.Event()

        async def late_process() -> Any:
            await first.wait()
            return await process()

        async def late(script: str, *arguments: Any) -> Any:
            if script == scripts.VERIFY:
                await begin.wait()
            return await run(script, *arguments)

        async with hub:
            link.process, link.run = late_process, late
            ids = [await hub.publish("a", "x" * 100)]
            first.set()
            await trio.sleep(0.1)
            ids += [await hub.publish("a", "x" * 100) for _ in range(2)]
            begin.set()
            await trio.sleep(0.1)
            await hub.publish("a", "y")
            async with hub.subscribe("a", after=ids[2]) as events:
                assert await data(events, 1) == ["y"]

    async def test_a_reply_that_is_lost(self, redis: Redis) -> None:
        """``publish`` tries again, and the event is there once."""
        async with RedisHub(redis.url, prefix="e1:") as hub, hub.subscribe("a") as events:
            link: Any = hub._engine._link  # type: ignore[attr-defined]
            run = link.run

            async def lose(script: str, *arguments: Any) -> Any:
                link.run = run
                await run(script, *arguments)
                raise OSError("lost")

            link.run = lose
            told = await hub.publish("a", 1)
            await hub.publish("a", 2)
            got = [await anext(events), await anext(events)]
            assert [event.data for event in got] == [1, 2]
            assert got[0].id == told

    async def test_a_publisher_that_is_cancelled_meanwhile(self, redis: Redis) -> None:
        """What has been sent is known to be published: the reply is waited for, and the id returned."""
        async with RedisHub(redis.url, prefix="e5:") as hub, hub.subscribe("a") as events:
            link: Any = hub._engine._link  # type: ignore[attr-defined]
            run, told = link.run, ""
            with trio.CancelScope() as scope:

                async def cancel(script: str, *arguments: Any) -> Any:
                    link.run = run
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
                    return await run(script, *arguments)

                link.run = cancel
                told = await hub.publish("a", 1)
            assert (await anext(events)).id == told

    async def test_numbers_that_are_given_again(self, redis: Redis) -> None:
        """Of an engine that came back with less, and has had as many events since, a subscriber has a gap."""
        async with RedisHub(redis.url, prefix="e2:") as hub, hub.subscribe("a") as events:
            for number in range(3):
                await hub.publish("a", number)
            assert await data(events, 3) == [0, 1, 2]
            engine: Any = hub._engine
            client = engine._link.client
            with cut_engine(hub):
                script = (
                    scripts.COMMON
                    + """
                    call('DEL', P .. 'e:a', P .. 'm:e:a')
                    call('HSET', P .. 'state', 'n', '0')
                    for _ = 1, 3 do emit('e:a', 'x', '', 't', 'other') end
                """
                )
                await client.eval(script, [], ["e2:", "x", 1000, -1, -1])
                engine._process = "another"
            assert await data(events, 1) == ["gap"]

    async def test_a_member_of_two_workers(self, redis: Redis) -> None:
        """It joins once and leaves once, whatever its connections."""
        one, two = (RedisHub(redis.url, prefix="e3:") for _ in range(2))
        async with one, two, one.subscribe("room", member="ada") as ada:
            async with one.subscribe("room", member="bob"), two.subscribe("room", member="bob"):
                pass
            await one.publish("room", "end")
            assert await data(ada, 3) == ["join", "leave", "end"]

    async def test_events_that_the_engine_has_dropped(self, redis: Redis) -> None:
        """A log that is gone, since it was too old or the memory too small, is a gap for those that have missed it."""
        one, two = (RedisHub(redis.url, prefix="e4:") for _ in range(2))
        async with one, two:
            ids = [await one.publish("a", number) for number in range(3)]
            await one._engine._link.client.delete(["e4:e:a"])  # type: ignore[attr-defined]
            async with two.subscribe("a", after=ids[0]) as late, two.subscribe("a", after=ids[2]) as early:
                await one.publish("a", 3)
                assert await data(late, 2) == ["gap", 3]
                assert await data(early, 1) == [3]

    async def test_a_read_that_fails(self, redis: Redis) -> None:
        """An event that could not be read when the feed named it is read as soon as possible, without another one."""
        async with RedisHub(redis.url, prefix="c9:") as hub, hub.subscribe("a") as events:
            link: Any = hub._engine._link  # type: ignore[attr-defined]
            run, failed = link.run, trio.Event()

            async def fail(script: str, *arguments: Any) -> Any:
                if script == scripts.FETCH and not failed.is_set():
                    failed.set()
                    raise OSError("lost")
                return await run(script, *arguments)

            link.run = fail
            await hub.publish("a", 1)
            await failed.wait()
            assert await data(events, 1) == [1]

    async def test_topics_that_a_process_does_not_have(self, redis: Redis) -> None:
        """The events of others are passed over, and a subscriber that comes between them gets all from then on."""
        one, two = (RedisHub(redis.url, prefix="c8:") for _ in range(2))
        async with one, two, trio.open_nursery() as nursery:
            sent = 0

            async def publish() -> None:
                nonlocal sent
                while True:
                    await two.publish("b", "x")
                    await two.publish("a", sent)
                    sent += 1

            nursery.start_soon(publish)
            for _ in range(30):
                before = sent
                async with one.subscribe("a") as events:
                    after = sent
                    got = await data(events, 3)
                assert got == [*range(got[0], got[0] + 3)]
                assert before <= got[0] <= after + 1
            nursery.cancel_scope.cancel()

    async def test_a_member_that_comes_back_at_once(self, redis: Redis) -> None:
        """A leave that arrives after the join that follows it, on another connection, is that of the former lease."""
        async with RedisHub(redis.url, prefix="c4:") as hub:
            link: Any = hub._engine._link  # type: ignore[attr-defined]
            run, left = link.run, trio.Event()

            async def late(script: str, *arguments: Any) -> Any:
                if script == scripts.LEAVE:
                    await left.wait()
                return await run(script, *arguments)

            link.run = late
            async with trio.open_nursery() as nursery:
                former = hub.subscribe("room", member="ada")
                await former.__aenter__()
                nursery.start_soon(former.__aexit__, None, None, None)
                await trio.testing.wait_all_tasks_blocked()
                async with hub.subscribe("room", member="ada"):
                    left.set()
                    await until(lambda: hub.stats().subscribers == 1)
                    await trio.sleep(0.1)
                    assert await hub.members("room") == ["ada"]

    async def test_a_member_that_outlives_its_hub(self, redis: Redis) -> None:
        """A task that leaves when the hub is closed leaves without an error: its lease ends."""
        hub = RedisHub(redis.url, prefix="c5:")
        async with trio.open_nursery() as nursery:

            async def listen(task_status: trio.TaskStatus[None]) -> None:
                async with hub.subscribe("a", member="ada") as events:
                    task_status.started()
                    assert [event async for event in events] == []
                    await closed.wait()

            closed = trio.Event()
            async with hub:
                await nursery.start(listen)
            closed.set()

    async def test_what_is_logged(self, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
        """One line says that the engine is away, and one that it is back, however long that takes."""
        async with RedisHub(redis.url, prefix="c6:") as hub:
            with cut_engine(hub):
                await until(lambda: bool(caplog.messages))
                await trio.sleep(1.5)
            await published(hub, "a", 1)
            await until(lambda: len(caplog.messages) > 1)
        away, back = caplog.messages
        assert "cannot be reached, and its subscribers wait: " in away
        assert "can be reached again" in back

    async def test_an_engine_that_is_not_there_at_the_start(self) -> None:
        """The lifespan fails, with an error that names the place and no password."""
        with pytest.raises(HubUnavailable, match=r"redis://127\.0\.0\.1:1/0 cannot be reached"):
            async with RedisHub("redis://user:secret@127.0.0.1:1/0"):
                pass

    async def test_a_password(self, tmp_path: Path) -> None:
        """The URL has user and password."""
        server = Redis(tmp_path, "--requirepass", "secret")
        server.start()
        try:
            async with RedisHub(server.url.replace("//", "//:secret@")) as hub, hub.subscribe("a") as events:
                await hub.publish("a", 1)
                assert await data(events, 1) == [1]
            with pytest.raises(HubUnavailable):
                async with RedisHub(server.url):
                    pass
        finally:
            server.close()

    async def test_tls(self, tmp_path: Path) -> None:
        """``rediss://`` is TLS; the certificate is checked."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
        options = [f"--tls-{name}={tmp_path / file}".split("=") for name, file in (
            ("cert-file", "server.pem"), ("key-file", "server.pem"), ("ca-cert-file", "ca.pem"),
        )]  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        (tmp_path / "data").mkdir()
        server = Redis(tmp_path / "data", "--tls-port", port, "--tls-auth-clients", "no", *chain(*options))
        server.start()
        url = f"rediss://127.0.0.1:{port}/0"
        try:
            async with RedisHub(f"{url}?ssl_ca_certs={tmp_path / 'ca.pem'}") as hub, hub.subscribe("a") as events:
                await hub.publish("a", 1)
                assert await data(events, 1) == [1]
            with pytest.raises(HubUnavailable):
                async with RedisHub(url):
                    pass
        finally:
            server.close()

    async def test_an_engine_that_does_not_answer(self, own_redis: Redis) -> None:
        """``publish`` raises in time if the process hangs, and works when it goes on."""
        assert own_redis.process is not None
        async with RedisHub(own_redis.url) as hub, hub.subscribe("a") as events:
            own_redis.process.send_signal(signal.SIGSTOP)
            with trio.fail_after(PATIENCE), pytest.raises(HubUnavailable, match="no answer"):
                await hub.publish("a", "who knows")
            own_redis.process.send_signal(signal.SIGCONT)
            await published(hub, "a", "last")
            assert await catch_up(events, "last") in (["who knows", "last"], ["last"])

    async def test_members_survive_an_engine_without_its_data(self, own_redis: Redis) -> None:
        """Leases are renewed, so members come back."""
        async with RedisHub(own_redis.url, lease=0.6) as hub, hub.subscribe("a", member="ada"):
            await trio.to_thread.run_sync(own_redis.kill)
            own_redis.wipe()
            await trio.to_thread.run_sync(own_redis.start)
            with trio.fail_after(PATIENCE):
                while True:
                    try:
                        if await hub.members("a") == ["ada"]:
                            break
                    except HubUnavailable:
                        pass
                    await trio.sleep(0.1)


async def test_nothing_is_kept_of_subscribers_that_have_left(make_hub: MakeHub) -> None:
    """Topics without subscribers and events take no memory."""
    async with make_hub(history=0) as hub:
        for number in range(50):
            async with hub.subscribe(f"topic {number}", member="ada"):
                await hub.publish(f"topic {number}", number)
        await until(lambda: hub.stats().subscribers == 0)
        assert hub.stats().topics == 0
