"""The example ``examples/gateway``: all parts in process, and with two workers, Redis and an upstream of its own."""

from __future__ import annotations

import http.cookiejar
import json
import logging
import os
import re
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
import trio
import trio.testing
from openapi_spec_validator import OpenAPIV32SpecValidator
from playwright.sync_api import Page, expect
from websockets.sync.client import ClientConnection, connect

from examples.gateway import make
from examples.gateway.settings import Settings
from tests.conftest import StartServer
from tests.examples import gateway_upstream
from tests.hub.redis import Redis
from tests.servers import PATIENCE, ROOT, Server, read_until
from trioweb import App
from trioweb.middleware import RequestIDFilter
from trioweb.testing import TestClient, WebSocketDenied

EXAMPLE = "gateway"
ADA = {"authorization": "Bearer secret"}
BOB = {"authorization": "Bearer another"}
OWN = {"sec-fetch-site": "same-origin"}
COMPLETIONS = "/v1/chat/completions"
LINES = 350
"""Of Python in the example at most."""


def question(text: str) -> dict[str, object]:
    """What a client sends."""
    return {"model": "stub", "messages": [{"role": "user", "content": text}]}


@pytest.fixture
def app(tmp_path: Path) -> App:
    """A gateway of the test's own."""
    return make(Settings(keys="ada=secret,bob=another", directory=str(tmp_path)))


@pytest.fixture
async def client(app: App) -> AsyncIterator[TestClient]:
    """Its client, and behind it the upstream in the same process."""
    async with TestClient(gateway_upstream.app) as far:
        app.state.services.upstream._transport = Far(far)
        async with TestClient(app, raise_app_exceptions=False) as client:
            yield client


class Far(httpx.AsyncBaseTransport):
    """The way to the upstream."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Have the upstream answer, its body still to come."""
        return await self._client.send(request, stream=True)


def test_it_is_small() -> None:
    """The whole of it is no longer than what a service of this kind may be."""
    lines = [line for path in (ROOT / "examples/gateway").glob("*.py") for line in path.read_text().splitlines()]
    assert 100 < len(lines) <= LINES


async def test_tokens_are_events_and_counted(client: TestClient) -> None:
    """The upstream's events are passed on to the last, and what was used is there as JSON, CSV and JSON lines."""
    response = await client.post(COMPLETIONS, json=question("one two three"), headers=ADA)
    assert response.headers["content-type"] == "text/event-stream"
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert [json.loads(event)["choices"][0]["delta"] for event in data[:-1]] == [
        {"content": "one"}, {"content": "two"}, {"content": "three"}, {}]  # fmt: skip
    assert data[-1] == "[DONE]"
    assert (await client.get("/usage", headers=ADA)).json() == {"questions": 1, "tokens": 3}
    assert (await client.get("/usage", headers=BOB)).json() == {"questions": 0, "tokens": 0}
    assert (await client.get("/usage.csv", headers=ADA)).text == "id,model,tokens,outcome\r\n1,stub,3,complete\r\n"
    assert json.loads((await client.get("/usage.jsonl", headers=ADA)).text)["tokens"] == 3
    assert re.search(r'gateway_tokens_total\{model="stub"\} [3-9]', (await client.get("/metrics")).text)


@pytest.mark.parametrize(("text", "status", "after"), [("FAIL", 502, None), ("BUSY", 429, "7"), ("BREAK", 502, None)])
async def test_an_upstream_that_fails_at_once_has_its_status(
    client: TestClient, text: str, status: int, after: str | None
) -> None:
    """What fails before the first token is an ordinary error."""
    response = await client.post(COMPLETIONS, json=question(text), headers=ADA)
    assert (response.status_code, response.headers.get("retry-after")) == (status, after)
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_upstream_that_breaks_off_is_not_taken_for_whole(client: TestClient) -> None:
    """What came before the break was used; the client's answer ends in the wrong place."""
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(COMPLETIONS, json=question("one BREAK two"), headers=ADA)
    assert "1,stub,1,cut" in (await client.get("/usage.csv", headers=ADA)).text


async def test_keys_and_questions_that_are_wrong(client: TestClient) -> None:
    """Who has no key gets a 401, what does not fit a 422 that names it, and a form a 415."""
    for headers, challenge in (({}, "Bearer"), ({"authorization": "Bearer no"}, 'Bearer error="invalid_token"')):
        response = await client.post(COMPLETIONS, json=question("one"), headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, challenge)
    response = await client.post(COMPLETIONS, json={**question("one"), "model": "none"}, headers=ADA)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "model"]
    assert (await client.post(COMPLETIONS, data={"model": "stub"}, headers=ADA)).status_code == 415


async def test_documents(client: TestClient) -> None:
    """A file comes back to who has sent it, and to nobody else."""
    sent = await client.post("/documents", files={"document": ("a.txt", b"hello")}, headers=ADA)
    assert (sent.status_code, sent.json()["name"], sent.json()["size"]) == (201, "a.txt", 5)
    path = f"/documents/{sent.json()['id']}"
    back = await client.get(path, headers=ADA)
    assert (back.content, back.headers["content-disposition"]) == (b"hello", 'attachment; filename="a.txt"')
    assert (await client.get(path, headers=BOB)).status_code == 404


async def test_a_page_and_a_chat_by_session(client: TestClient) -> None:
    """A browser signs in by its key, and its socket by the session; other sites' pages are refused."""
    form = (await client.get("/")).text
    assert re.search(r'name="csrf_token" type="hidden" value="[^"{]+"', form)
    assert (await client.post("/login", data={"key": "wrong"}, headers=OWN)).status_code == 403
    assert (await client.post("/login", data={"key": "secret"}, headers=OWN)).status_code == 303
    assert 'id="lines"' in (await client.get("/")).text
    async with client.websocket("/chat") as ada, client.websocket("/chat", headers=BOB) as bob:
        await trio.testing.wait_all_tasks_blocked()
        await bob.send_json({"text": "hello"})
        assert await ada.receive_json() == await bob.receive_json() == {"who": "bob", "text": "hello"}
    for headers, status in (({"origin": "https://evil.example"}, 403), ({"cookie": "session="}, 401)):
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/chat", headers=headers):
                pass
        assert denied.value.status_code == status
        client.cookies.clear()


async def test_limits(tmp_path: Path) -> None:
    """Who asks too often is told to wait."""
    async with TestClient(make(Settings(keys="ada=secret", directory=str(tmp_path), rate=2))) as client:
        statuses = [(await client.get("/usage", headers=ADA)).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_ids_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged of a request has the id that its response has."""
    caplog.handler.addFilter(RequestIDFilter())
    with caplog.at_level(logging.INFO, "gateway"):
        response = await client.post(COMPLETIONS, json=question("one"), headers=ADA)
    [record] = [record for record in caplog.records if record.name == "gateway"]
    assert record.getMessage() == "ada used 1 tokens of stub: complete"
    assert vars(record)["request_id"] == response.headers["x-request-id"]


async def test_it_describes_itself(client: TestClient) -> None:
    """The description is valid, and has a page."""
    document = (await client.get("/openapi.json")).json()
    OpenAPIV32SpecValidator(document).validate()
    assert {COMPLETIONS, "/usage", "/usage.csv", "/documents"} <= document["paths"].keys()
    assert "itemSchema" in document["paths"][COMPLETIONS]["post"]["responses"]["200"]["content"]["text/event-stream"]
    assert (await client.get("/docs")).status_code == 200


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({}, "missing required field `keys`"),
        ({"GATEWAY_KEYS": "ada"}, r"`\$.keys`"),
        ({"GATEWAY_KEYS": "ada=secret", "GATEWAY_RATE": "0"}, r"`\$.rate`"),
        ({"GATEWAY_KEYS": "ada=secret", "GATEWAY_PORT": "1"}, "unknown field `port`"),
    ],
)
def test_settings_that_are_wrong(environ: dict[str, str], text: str) -> None:
    """A service that could not work does not start, and says which variable it is; no key is shown."""
    with pytest.raises(SystemExit, match=text):
        Settings.load(environ)
    assert "secret" not in repr(Settings(keys="ada=secret"))


@pytest.fixture(scope="module")
def upstream(start_server: StartServer) -> Server:
    """The model, in a process of its own."""
    return start_server("tests.examples.gateway_upstream:app")


@pytest.fixture(scope="module")
def two(start_server: StartServer, upstream: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway with two workers, which meet at a Redis."""
    redis = Redis(tmp_path_factory.mktemp("redis"))
    redis.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GATEWAY_KEYS", "ada=secret,bob=another")
            patch.setenv("GATEWAY_UPSTREAM", upstream.url)
            patch.setenv("GATEWAY_REDIS", redis.url)
            patch.setenv("GATEWAY_DIRECTORY", str(tmp_path_factory.mktemp("data")))
            patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path_factory.mktemp("counts")))
            server = start_server("examples.gateway:from_environment()", "-w", "2", runner="trioweb")
        server.wait_for_workers(2)
        yield server
    finally:
        redis.close()


def asked(server: Server, text: str) -> tuple[int, bytes]:
    """Ask the model by curl."""
    body = json.dumps(question(text))
    return server.curl(COMPLETIONS, "-w", "%{http_code}", "-H", "authorization: Bearer secret", "--json", body)


def test_two_workers_proxy_and_count_together(two: Server) -> None:
    """Tokens come through whichever worker, a failure has its status, and each worker tells what both have counted."""
    for _ in range(10):
        code, printed = asked(two, "one two")
        assert code == 0
        assert printed.endswith(b"data: [DONE]\n\n200")
    assert asked(two, "FAIL")[1].endswith(b"502")
    code, printed = two.curl("/metrics")
    assert code == 0
    found = re.search(rb'http_requests_total\{[^}]*route="/v1/chat/completions",status="200"\} (\d+)', printed)
    assert found is not None
    assert int(found[1]) == 10
    assert b'gateway_tokens_total{model="stub"} 20.0' in printed


def test_a_client_that_leaves(two: Server, upstream: Server) -> None:
    """The upstream is left at once, and what was used until then is written down."""
    upstream.forget()
    body = json.dumps(question("one two FOREVER three")).encode()
    headers = f"Authorization: Bearer another\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with two.request(COMPLETIONS, "POST", headers, body) as client:
        read_until(client, b"FOREVER")
    upstream.wait_for_event("closed")
    end = time.monotonic() + PATIENCE
    while b",stub,3,cut" not in two.curl("/usage.csv", "-H", "authorization: Bearer another")[1]:
        assert time.monotonic() < end, two.output
        time.sleep(0.02)


def test_a_chat_across_workers(two: Server) -> None:
    """What one says all hear, in one order, whichever worker they are connected to; a session holds at both."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    request = urllib.request.Request(two.url + "/login", urlencode({"key": "secret"}).encode(), OWN)
    assert opener.open(request, timeout=PATIENCE).status == 200
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)
    place = f"{two.url.replace('http', 'ws')}/chat"
    with ExitStack() as stack:
        people = []
        for busy in two.workers:  # each worker takes one, while the other one is held
            os.kill(busy, signal.SIGSTOP)
            try:
                client = connect(place, additional_headers={"cookie": cookies}, open_timeout=PATIENCE)
                people.append(stack.enter_context(client))
            finally:
                os.kill(busy, signal.SIGCONT)
        for number in range(3):
            say(people, number)


def say(people: list[ClientConnection], number: int) -> None:
    """Have each of them say a number, which all hear."""
    for person in people:
        person.send(json.dumps({"text": str(number)}))
        for hearer in people:
            assert next_line(hearer) == {"who": "ada", "text": str(number)}


def test_a_browser(two: Server, page: Page) -> None:
    """The page has a browser sign in, and shows what is said; its text is no HTML."""
    page.goto(two.url)
    page.get_by_label("Key").fill("another")
    page.get_by_role("button").click()
    field = page.get_by_label("Say")
    field.fill("hello <b>you</b>")
    page.wait_for_function("socket.readyState === 1")
    field.press("Enter")
    expect(page.locator("#lines li")).to_have_text(["bob: hello <b>you</b>"])


def next_line(client: ClientConnection) -> dict[str, str]:
    """What is said next."""
    line: dict[str, str] = json.loads(client.recv(PATIENCE))
    return line
