"""``hub.stream``: a subscription as an event stream, on every server and behind whatever stands between."""

from __future__ import annotations

import gc
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from tests.hub.conftest import MakeHub
from tests.hub.test_hub import until
from tests.sites import SITES, Site, Talk, on_trioweb
from trioweb import App, Compression, EventStreamResponse, Request, Response, WebSocket
from trioweb.ground.http.events import ServerSentEvent
from trioweb.hub import Hub, MemoryHub, Subscription
from trioweb.middleware import CallNext
from trioweb.testing import TestClient

WHERE = {name: site for name, site in SITES.items() if "lifespan" not in name and "mounted" not in name}


async def map_nothing(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A map that changes nothing."""
    async for chunk in chunks:
        yield chunk


async def mapping(request: Request, call_next: CallNext) -> Response:
    """A middleware that maps all streams."""
    response: Response = await call_next(request)
    if response.body is None:
        response.map_stream(map_nothing)
    return response


def make_app(hub: Hub, **options: Any) -> App:
    """An app with a stream of a hub's events at ``/``, whose clients may read nothing for as long as a test takes."""
    app = App(min_rate=None)
    app.lifespan(hub)

    @app.get("/")
    async def stream(request: Request) -> Response:
        return hub.stream("a", "b", after=request.last_event_id, **options)

    return app


@pytest.fixture(params=[*WHERE, "behind a map"])
async def site(request: pytest.FixtureRequest, make_hub: MakeHub) -> AsyncIterator[tuple[Hub, Site]]:
    """An app with a hub, wherever it may run."""
    hub = make_hub()
    app = make_app(hub)
    if request.param not in WHERE:
        app.middleware(mapping)
    run: Callable[..., Any] = WHERE.get(request.param, on_trioweb)
    async with run(app) as site:
        yield hub, site


async def opened(site: Site, headers: dict[str, str] | None = None) -> Talk:
    """A stream whose head has come: so its client gets all that is published from now on."""
    talk = await site.request("/", "GET", headers or {}, b"")
    await talk.begun()
    return talk


def events(talk: Talk) -> list[tuple[bytes, ...]]:
    """The names and data of the events that have come."""
    return [match.groups() for match in re.finditer(rb"(?:event: (.*)\n)?id: .*\ndata: (.*)\n\n", talk.body)]


async def test_a_stream_has_the_events(site: tuple[Hub, Site]) -> None:
    """Names, ids and data are those of the events; text of several lines stays whole, bytes are text."""
    hub, where = site
    talk = await opened(where)
    first = await hub.publish("a", {"n": 1}, event="new")
    second = await hub.publish("b", "one\ntwo")
    third = await hub.publish("c", "not asked for")
    last = await hub.publish("a", b"bytes")
    await talk.until(b"bytes")
    assert third.encode() not in talk.body
    assert talk.headers["content-type"] == "text/event-stream"
    assert talk.body.decode() == (
        f'event: new\nid: {first}\ndata: {{"n":1}}\n\nid: {second}\ndata: one\ndata: two\n\nid: {last}\ndata: bytes\n\n'
    )


async def test_an_event_is_encoded_once(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many streams have it, of however many topics."""
    made: list[object] = []

    class Counted(ServerSentEvent, frozen=True):
        def encode(self) -> bytes:
            made.append(self.id)
            return super().encode()

    monkeypatch.setattr("trioweb.hub.entries.ServerSentEvent", Counted)
    hub = make_hub()
    async with on_trioweb(make_app(hub)) as site:
        talks = [await opened(site) for _ in range(5)]
        told = await hub.publish("a", "once")
        for talk in talks:
            await talk.until(b"data: once\n\n")
        assert made == [told]


async def test_a_stream_resumes(site: tuple[Hub, Site]) -> None:
    """``Last-Event-ID`` gets all that was missed, however much, and then new events."""
    hub, where = site
    first = await hub.publish("a", 0)
    for number in range(1, 700):
        await hub.publish("ab"[number % 2], number)
    talk = await opened(where, {"last-event-id": first})
    await hub.publish("a", 700)
    await talk.until(b"data: 700\n\n")
    assert [int(data) for _, data in events(talk)] == list(range(1, 701))


async def test_a_client_that_leaves_is_no_subscriber(site: tuple[Hub, Site]) -> None:
    """A subscription ends with its stream, and others go on."""
    hub, where = site
    stays, leaves = await opened(where), await opened(where)
    await leaves.leave()
    await hub.publish("a", 1)
    await stays.until(b"data: 1\n\n")
    await until(lambda: hub.stats().subscribers == 1)


async def test_a_stop_ends_streams(site: tuple[Hub, Site]) -> None:
    """Told to stop, a server ends them cleanly, and each client reconnects at a time of its own."""
    hub, where = site
    if not where.served:
        pytest.skip("in process nothing tells of a stop")
    talks = [await opened(where) for _ in range(5)]
    await hub.publish("a", "before")
    for talk in talks:
        await talk.until(b"data: before\n\n")
    where.stop()
    seconds = set()
    for talk in talks:
        await talk.end()
        assert talk.whole
        [retry] = re.findall(rb"data: before\n\nretry: (\d+)\n\n$", talk.body)
        seconds.add(int(retry))
    assert min(seconds) >= 500
    assert max(seconds) <= 2000
    assert len(seconds) > 1


# A client that does not read


async def flood(hub: Hub, count: int = 3000) -> None:
    """Publish 6 MB, which waits for nobody."""
    with trio.fail_after(60):
        for number in range(count):
            await hub.publish("a", f"{number:2000}")


@pytest.mark.parametrize("where", ["hypercorn", "trioweb run", "trioweb run, ASGI middleware"])
@pytest.mark.parametrize("slow", ["drop", "latest"])
async def test_a_client_that_reads_nothing(make_hub: MakeHub, where: str, slow: Any) -> None:
    """Its events wait within the limit; others get all; when it reads again it gets a gap, or the latest event."""
    hub = make_hub()
    async with SITES[where](make_app(hub, slow=slow, limit=30_000)) as site:
        lazy = await opened(site)
        async with hub.subscribe("a", limit=10**8) as quick:
            await flood(hub)
            async for event in quick:
                if int(event.data) == 2999:
                    break
        assert hub.stats().waiting_bytes <= 30_000 + 2064
        assert hub.stats().dropped > 400
        await hub.publish("b", "last")
        await lazy.until(b"data: last\n\n")
        numbers = [int(data) for name, data in events(lazy) if name is None and data.strip().isdigit()]
        gaps = [name for name, _ in events(lazy) if name == b"gap"]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 2999
        assert len(numbers) < 2500
        assert bool(gaps) == (slow == "drop")


@pytest.mark.parametrize("where", ["hypercorn", "trioweb run", "trioweb run, ASGI middleware"])
async def test_a_client_that_reads_late(make_hub: MakeHub, where: str) -> None:
    """What has waited for it comes before what is published while it catches up."""
    hub = make_hub()
    async with SITES[where](make_app(hub, limit=10**8)) as site:
        late = await opened(site)
        await flood(hub)
        await until(lambda: hub.stats().waiting_bytes > 10**5)
        for number in range(3000, 3200):
            await late.more()
            await hub.publish("a", f"{number:2000}")
        await hub.publish("b", "last")
        await late.until(b"data: last\n\n")
        assert [int(data) for name, data in events(late) if data != b"last"] == list(range(3200))


@pytest.mark.parametrize("where", ["hypercorn", "trioweb run", "trioweb run, ASGI middleware"])
async def test_a_client_that_reads_nothing_has_to_leave(make_hub: MakeHub, where: str) -> None:
    """With ``slow="leave"`` its stream is broken off at once, and nothing is kept for it."""
    hub = make_hub()
    async with SITES[where](make_app(hub, slow="leave", limit=30_000)) as site:
        lazy = await opened(site)
        await flood(hub)
        await until(lambda: hub.stats().subscribers == 0)
        assert hub.stats().waiting_bytes == 0
        await lazy.end()
        assert not lazy.whole


# In tests, under a clock that jumps


async def test_the_test_client(autojump_clock: trio.testing.MockClock) -> None:
    """Events arrive one by one, and an hour of silence takes no time; its pings are no events."""
    hub = MemoryHub()
    async with TestClient(make_app(hub)) as client, client.events("/") as stream:
        await hub.publish("a", 1, event="first")
        got = await anext(stream)
        assert (got.event, got.data) == ("first", "1")

        async def publish_later() -> None:
            await trio.sleep(3000)
            await hub.publish("b", "two")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_later)
            got = await anext(stream)
            assert (got.event, got.data) == (None, "two")


async def test_slow_readers_of_the_test_client(autojump_clock: trio.testing.MockClock) -> None:
    """A test sees a stream break off that does not take its events."""
    hub = MemoryHub()
    app = make_app(hub, slow="leave", limit=1000)
    async with TestClient(app, raise_app_exceptions=False) as client, client.stream("GET", "/") as response:
        await flood(hub, 200)
        with pytest.raises(httpx.RemoteProtocolError):
            await response.aread()


async def test_compression(make_hub: MakeHub) -> None:
    """Compressed events leave at once, too."""
    hub = make_hub()
    app = make_app(hub)
    app.middleware(Compression(minimum_size=1))
    accepted = {"accept-encoding": "gzip"}
    async with TestClient(app) as client, client.stream("GET", "/", headers=accepted) as response:
        await hub.publish("a", "x" * 100)
        async for text in response.aiter_text():
            assert "x" * 100 in text
            break


async def test_a_head_request_subscribes_to_nothing(make_hub: MakeHub) -> None:
    """``HEAD`` gets the head of the stream, and that is all."""
    hub = make_hub()
    async with TestClient(make_app(hub)) as client:
        response = await client.head("/")
        assert response.headers["content-type"] == "text/event-stream"
        assert hub.stats().subscribers == 0


async def test_it_is_an_event_stream(make_hub: MakeHub) -> None:
    """A handler returns an ``EventStreamResponse``, with its headers and the limits of streams."""
    hub = make_hub()
    response = hub.stream("a", ping=None, max_duration=5, write_timeout=2)
    assert isinstance(response, EventStreamResponse)
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
    with pytest.raises(TypeError, match="no option"):
        hub.stream("a", surprise=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="ping"):
        hub.stream("a", ping=-1)


async def test_websockets(make_hub: MakeHub) -> None:
    """A WebSocket handler iterates a subscription, and publishes what it gets."""
    app, hub = App(), make_hub()
    app.lifespan(hub)

    @app.websocket("/chat/{room}")
    async def chat(ws: WebSocket, room: str) -> None:
        await ws.accept()

        async def listen(task_status: trio.TaskStatus[None]) -> None:
            async with hub.subscribe(room) as events:
                task_status.started()
                async for event in events:
                    await ws.send_json(event.data)

        await ws.nursery.start(listen)
        async for text in ws:
            await hub.publish(room, {"said": text})

    async with TestClient(app) as client, client.websocket("/chat/x") as one, client.websocket("/chat/x") as two:
        await until(lambda: hub.stats().subscribers == 2)
        await one.send("hello")
        assert await one.receive_json() == {"said": "hello"}
        assert await two.receive_json() == {"said": "hello"}
    await until(lambda: hub.stats().subscribers == 0)


async def test_nothing_is_left_of_a_stream(make_hub: MakeHub) -> None:
    """What a client that has left held is freed without the garbage collector."""
    hub = make_hub()
    async with on_trioweb(make_app(hub)) as site:
        for turn in range(2):  # the first request makes what all share
            gc.collect()
            gc.disable()
            try:
                talk = await opened(site)
                await hub.publish("a", 1)
                await talk.until(b"data: 1\n\n")
                await talk.leave()
                await until(lambda: hub.stats().subscribers == 0)
                await site.quiet()
                await trio.sleep(0.02)
                assert not [each for each in gc.get_objects() if isinstance(each, Subscription)], turn
            finally:
                gc.enable()
