"""Metrics for Prometheus."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from tests.conftest import StartServer
from tests.servers import PATIENCE, ROOT, RUNNERS, Server, read_until
from trioweb import App, HTTPError, Request, Response, StreamingResponse, WebSocket
from trioweb.middleware import Metrics, RateLimit, metrics, metrics_page
from trioweb.testing import TestClient, WebSocketDenied

pytestmark = pytest.mark.skipif(importlib.util.find_spec("prometheus_client") is None, reason="needs prometheus-client")
APP = """
import os
import trio
from trioweb import App, JSONLinesResponse
from trioweb.middleware import Metrics, metrics_page

app = App()
app.add_middleware(Metrics)
app.get("/metrics")(metrics_page)

@app.get("/pid/{n:int}")
async def pid(n: int):
    return os.getpid()

@app.get("/sleep")
async def sleep():
    yield "x"
    await trio.sleep_forever()

@app.route("/{what}", methods=["GET", "POST"])
async def end(what: str):
    async def rows():
        yield {"filler": "x" * 1000}
        if what == "failed":
            raise ValueError("late")
        while what == "quiet":
            await trio.sleep_forever()
        while what != "complete":
            yield {"filler": "x" * 1000}
            await trio.sleep(0.001)
    if what == "hangs":
        await trio.sleep_forever()
    return JSONLinesResponse(rows(), max_duration=0.2 if what == "timeout" else None)
"""


def figures(text: str) -> dict[str, float]:
    """The value of each series."""
    return {name: float(value) for name, value in re.findall(r"^(\w.*) (\S+)$", text, re.MULTILINE)}


class Counted:
    """What is counted by an app since the last look, of one of its routes."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self._before: dict[str, float] = {}

    async def look(self, name: str) -> dict[str, float]:
        """The series of a metric that have changed, by their labels."""
        now = figures((await self._client.get("/metrics")).text)
        changed = {
            series.partition("{")[2].rstrip("}"): value - self._before.get(series, 0)
            for series, value in now.items()
            if series.partition("{")[0] == name and value != self._before.get(series, 0) and "/metrics" not in series
        }
        self._before = now
        return changed


def make(prefix: str) -> App:  # noqa: C901 - a route of each kind
    """An app with metrics, whose routes no other test has."""
    app = App()
    app.add_middleware(Metrics)
    app.get("/metrics")(metrics_page)
    inner = App()
    app.mount(f"/{prefix}/inner", inner)

    @app.get(f"/{prefix}/{{n:int}}")
    async def number(n: int) -> int:
        if n == 500:
            raise ValueError(n)
        if n > 400:
            raise HTTPError(n)
        return n

    @app.get(f"/{prefix}/stream")
    async def stream(nursery: trio.Nursery) -> AsyncIterator[str]:
        nursery.start_soon(trio.sleep, 1000)
        yield "x"
        await trio.sleep(100)
        yield "y"

    @app.get(f"/{prefix}/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "x"
        await trio.sleep(0)
        raise ValueError("late")

    @app.get(f"/{prefix}/slow")
    async def slow() -> None:
        await trio.sleep_forever()

    @inner.get("/{name}")
    async def inside(name: str) -> str:
        return name

    @app.websocket(f"/{prefix}/chat/{{room}}")
    async def chat(ws: WebSocket, room: str) -> None:
        if room == "closed":
            raise HTTPError(403)
        await ws.accept()
        if await ws.receive() == "fail":
            raise ValueError("fail")

    return app


async def test_requests_are_counted_by_route() -> None:
    """A request is counted by the template of its route, its status, and whether all of the response was sent."""
    async with TestClient(make("a"), raise_app_exceptions=False) as client:
        counted = Counted(client)
        await counted.look("http_requests_total")
        for n in (1, 2, 3, 404, 500):
            await client.get(f"/a/{n}")
        await client.get("/a/inner/tea")
        for path in ("/wp-login.php", "/a/nothing/here"):
            await client.get(path)
        await client.request("BREW", "/a/1")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/a/breaks")
        assert await counted.look("http_requests_total") == {
            'method="GET",outcome="complete",route="/a/{n:int}",status="200"': 3,
            'method="GET",outcome="complete",route="/a/{n:int}",status="404"': 1,
            'method="GET",outcome="complete",route="/a/{n:int}",status="500"': 1,
            'method="GET",outcome="complete",route="/a/inner/{name}",status="200"': 1,
            'method="GET",outcome="complete",route="none",status="404"': 2,
            'method="OTHER",outcome="complete",route="none",status="405"': 1,
            'method="GET",outcome="failed",route="/a/breaks",status="200"': 1,
        }


async def test_who_has_ended_it(autojump_clock: object) -> None:
    """What is not sent whole says by whom: the client, an error, or a time limit; if there are more, the first."""
    app = App()
    app.add_middleware(Metrics)
    app.get("/metrics")(metrics_page)

    @app.post("/g/{what}", cancel_on_disconnect=True, timeout=100)
    async def end(request: Request, what: str, nursery: trio.Nursery) -> Response:
        async def rows() -> AsyncIterator[str]:
            yield "x"
            await trio.sleep(1)
            if what == "failed":
                raise ValueError("late")
            if what == "task":
                nursery.start_soon(fail)
            if what == "left":
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("since it was cancelled")
            await trio.sleep(1000)

        async def fail() -> None:
            raise ValueError("in the nursery")

        if what == "late":
            await trio.sleep(1000)
        return StreamingResponse(rows(), max_duration=50 if what == "duration" else None)

    async with TestClient(app, raise_app_exceptions=False) as client:
        counted = Counted(client)
        await counted.look("http_requests_total")
        for what in ("failed", "task", "timeout", "duration"):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post(f"/g/{what}", content=b"body")
        await client.post("/g/late")
        async with client.stream("POST", "/g/left") as response:
            await anext(aiter(response.aiter_raw()))
            await trio.sleep(2)
        await trio.testing.wait_all_tasks_blocked()
        series = 'method="POST",outcome="{}",route="/g/{{what}}",status="{}"'
        assert await counted.look("http_requests_total") == {
            series.format("failed", 200): 2,
            series.format("timeout", 200): 2,
            series.format("complete", 503): 1,
            series.format("left", 200): 1,
        }


@pytest.mark.parametrize("runner", RUNNERS)
def test_who_has_ended_it_on_a_server(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    """Both servers tell a client that leaves from an error, a time limit and a stop, whatever the method."""
    monkeypatch.setenv(metrics.DIRECTORY, str(tmp_path / "counts"))
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "config.toml").write_text("graceful_timeout = 0.5\n")
    server = start_server("shop:app", "-c", "config.toml", runner=runner, directory=tmp_path)
    length = "Content-Length: 4\r\n"
    for method, headers, body in (("GET", "", b""), ("POST", length, b"body")):
        for what in ("complete", "failed", "timeout"):
            with server.request(f"/{what}", method, headers, body) as client:
                while client.recv(65536):
                    if what == "complete":
                        break
        with server.request("/left", method, headers, body) as client:
            read_until(client, b"filler")
    end = time.monotonic() + PATIENCE
    want = {(method, outcome): 1 for method in ("GET", "POST") for outcome in ("complete", "failed", "timeout", "left")}
    with server.request("/hangs"):
        while scrape(server)[RUNNING] < 2:
            assert time.monotonic() < end, server.output
    want["GET", "left"] += 1
    while (found := outcomes(server.curl("/metrics")[1].decode())) != want:
        assert time.monotonic() < end, (found, server.output)
    with server.request("/stopped", "POST", length, b"body") as client, server.request("/quiet", "POST") as other:
        read_until(client, b"filler")
        read_until(other, b"filler")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
    again = start_server("shop:app", runner=runner, directory=tmp_path)
    assert outcomes(again.curl("/metrics")[1].decode()) == {**want, ("POST", "stopped"): 2}


def outcomes(text: str) -> dict[tuple[str, str], int]:
    """The requests of the route ``/{what}`` by method and outcome."""
    series = r'^http_requests_total\{method="(\w+)",outcome="(\w+)",route="/{what}",status="\w+"\} (\d+)'
    counts: Counter[tuple[str, str]] = Counter()
    for method, outcome, count in re.findall(series, text, re.MULTILINE):
        counts[method, outcome] += int(count)
    return dict(counts)


async def test_a_stream_lasts_to_its_last_byte(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    """A stream counts as under way, and its duration ends with its last byte, not with the head or its nursery."""
    monkeypatch.setattr(metrics, "perf_counter", trio.current_time)
    async with TestClient(make("b")) as client:
        counted = Counted(client)
        await counted.look("http_requests_running")
        async with client.stream("GET", "/b/stream") as response:
            await anext(aiter(response.aiter_raw()))
            assert await counted.look("http_requests_running") == {'kind="http"': 1}
            assert await counted.look("http_requests_total") == {}
        await trio.sleep(2000)
        response = await client.get("/b/stream")
        assert response.text == "xy"
        seconds = await counted.look("http_request_duration_seconds_sum")
    assert seconds['method="GET",route="/b/stream"'] == pytest.approx(100, abs=1)


async def test_handshakes_that_middleware_denies() -> None:
    """A handshake that never reaches its handler counts with the status of its denial, and its route."""
    app = make("h")
    app.middleware(RateLimit(1, per=60, key=lambda request: "all" if request.is_websocket else None))
    async with TestClient(app) as client:
        counted = Counted(client)
        await counted.look("http_requests_total")
        async with client.websocket("/h/chat/open") as ws:
            await ws.send("x")
        for _ in range(2):
            with pytest.raises(WebSocketDenied):
                await client.websocket("/h/chat/open").__aenter__()
        with pytest.raises(WebSocketDenied):
            await client.websocket("/h/nothing").__aenter__()
        assert await counted.look("http_requests_total") == {
            'method="WEBSOCKET",outcome="complete",route="/h/chat/{room}",status="101"': 1,
            'method="WEBSOCKET",outcome="complete",route="/h/chat/{room}",status="429"': 2,
            'method="WEBSOCKET",outcome="complete",route="none",status="429"': 1,
        }
        assert await counted.look("http_requests_running") == {}


async def test_a_client_that_leaves() -> None:
    """A client that leaves before the response has no status, and is no longer under way."""
    async with TestClient(make("c")) as client:
        counted = Counted(client)
        await counted.look("http_requests_total")
        with trio.move_on_after(0.05):
            await client.get("/c/slow")
        await trio.testing.wait_all_tasks_blocked()
        assert await counted.look("http_requests_total") == {
            'method="GET",outcome="left",route="/c/slow",status="none"': 1
        }
        assert await counted.look("http_requests_running") == {}


async def test_websockets() -> None:
    """A WebSocket counts as one request, from its handshake to its close; a denied one has the status of that."""
    async with TestClient(make("d"), raise_app_exceptions=False) as client:
        counted = Counted(client)
        await counted.look("http_requests_total")
        async with client.websocket("/d/chat/open") as ws:
            assert await counted.look("http_requests_running") == {'kind="websocket"': 1}
            await ws.send("x")
        async with client.websocket("/d/chat/left") as ws:
            pass
        async with client.websocket("/d/chat/fails") as ws:
            await ws.send("fail")
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/d/chat/closed"):
                pass
        assert await counted.look("http_requests_total") == {
            'method="WEBSOCKET",outcome="complete",route="/d/chat/{room}",status="101"': 2,
            'method="WEBSOCKET",outcome="failed",route="/d/chat/{room}",status="101"': 1,
            'method="WEBSOCKET",outcome="complete",route="/d/chat/{room}",status="403"': 1,
        }


async def test_what_clients_think_of_makes_no_series() -> None:
    """Paths and methods that nobody has registered share one series each."""
    async with TestClient(make("e")) as client:
        before = len(figures((await client.get("/metrics")).text))
        for number in range(200):
            await client.request(f"M{number}", f"/{number}")
        await client.get("/e/1")
        await client.get("/e/2")
        after = len(figures((await client.get("/metrics")).text))
        assert after - before < 5 * len(metrics.BUCKETS)


async def test_the_format_is_agreed_on() -> None:
    """A client that takes OpenMetrics gets it, any other Prometheus's text."""
    async with TestClient(make("f")) as client:
        plain = await client.get("/metrics")
        opened = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert opened.text.endswith("# EOF\n")


def test_without_prometheus_client() -> None:
    """What is missing is named."""
    code = "import sys; sys.modules['prometheus_client'] = None; from trioweb.middleware import Metrics; Metrics(None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.endswith("Metrics needs prometheus-client: pip install trioweb[metrics]\n")


def scrape(server: Server) -> dict[str, float]:
    """What any worker says that all of them have counted."""
    return figures(server.curl("/metrics")[1].decode())


COUNT = 'http_requests_total{method="GET",outcome="complete",route="/pid/{n:int}",status="200"}'
RUNNING = 'http_requests_running{kind="http"}'


@pytest.mark.parametrize("runner", ["trioweb", "hypercorn"])
def test_all_workers_count_together(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    """Whichever worker is asked, it tells what all of them have counted."""
    monkeypatch.setenv(metrics.DIRECTORY, str(tmp_path / "counts"))
    (tmp_path / "shop.py").write_text(APP)
    server = start_server("shop:app", "-w", "3", runner=runner, directory=tmp_path)
    asked = 0
    pids: set[bytes] = set()
    end = time.monotonic() + PATIENCE
    while len(pids) < 3:
        assert time.monotonic() < end, server.output
        pids.add(server.curl(f"/pid/{asked}")[1])
        asked += 1
    while scrape(server).get(COUNT) != asked:  # a client may have its answer before that is counted
        assert time.monotonic() < end, server.output
    for _ in range(6):
        assert scrape(server)[COUNT] == asked


def test_workers_that_have_ended(start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker has counted stays when it is killed, and what was under way in it and its files do not."""
    counts = tmp_path / "counts"
    monkeypatch.setenv(metrics.DIRECTORY, str(counts))
    (tmp_path / "shop.py").write_text(APP)
    server = start_server("shop:app", runner="trioweb", directory=tmp_path)
    asked = files = 0
    for turn in range(4):
        for n in range(5):
            assert server.curl(f"/pid/{n}")[0] == 0
            asked += 1
        with server.request("/sleep") as client:
            assert client.recv(100)
            assert scrape(server)[RUNNING] == 2  # and the one that asks
            [worker] = server.workers
            os.kill(worker, signal.SIGKILL)
            server.wait_for_output(f"worker {worker} was killed")
        end = time.monotonic() + PATIENCE
        while server.workers in ([], [worker]) or server.curl("/pid/1")[0]:
            assert time.monotonic() < end, server.output
        asked += 1
        while (found := scrape(server))[COUNT] != asked:
            assert time.monotonic() < end, server.output
        assert found[RUNNING] == 1
        assert found['http_request_duration_seconds_count{method="GET",route="/pid/{n:int}"}'] == asked
        if turn:
            assert len(list(counts.iterdir())) == files
        files = len(list(counts.iterdir()))
