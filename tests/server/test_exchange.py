"""The request cycle on a real server: clients that leave, uploads that nobody reads, and odd requests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

from tests.conftest import StartServer
from tests.servers import ROOT, RUNNERS, H2Client, Server, read_all, read_until

UPLOAD = b"u" * 4_000_000


def test_an_http2_client_that_resets_cancels_a_get(quiet_server: Server) -> None:
    """The same over HTTP/2, where one stream of a connection is reset."""
    client = H2Client(quiet_server)
    stream = client.request("/waits")
    quiet_server.wait_for_event("waits started")
    client.cancel(stream)
    quiet_server.wait_for_event("waits ended")
    stream = client.request("/")
    client.pump("ended", stream)
    assert client.received[stream] == b"ok"
    client.close()


def test_clients_that_leave_while_a_response_starts(quiet_server: Server) -> None:
    """Clients that leave at the moment of the answer harm nobody: the same worker serves on."""
    workers = quiet_server.workers
    for path in ("/", "/lines/10", "/flood", "/events", "/large", "/waits", "/breaks-before-not"):
        for _ in range(20):
            quiet_server.request(path).close()
    client = H2Client(quiet_server)
    for path in ("/", "/lines/10", "/flood", "/events", "/large", "/waits") * 5:
        client.cancel(client.request(path))
    stream = client.request("/")
    client.pump("ended", stream)
    assert client.received[stream] == b"ok"
    client.close()
    assert quiet_server.curl("/") == (0, b"ok")
    assert quiet_server.workers == workers


def test_an_unread_upload_does_not_block_its_http2_neighbours(quiet_server: Server) -> None:
    """On an HTTP/2 connection where one request's body is not read, the others are served."""
    client = H2Client(quiet_server)
    upload = client.request("/ignored-body", "POST", [("content-length", "1000000")], end=False)
    client.pump("data", upload)
    assert client.received[upload] == b"answered"
    stream = client.request("/")
    client.pump("ended", stream)
    assert client.received[stream] == b"ok"
    client.close()


def test_an_http2_client_that_sends_on_after_its_answer(quiet_server: Server) -> None:
    """Frames of a body that come after the answer to it was complete harm nobody: the same worker serves on."""
    workers = quiet_server.workers
    client = H2Client(quiet_server)
    upload = client.request("/ignored-body", "POST", [("content-length", "1000000")], end=False)
    client.pump("ended", upload)
    assert client.received[upload] == b"answered"
    client.send_after_the_end(upload, bytes(10_000))
    stream = client.request("/")
    client.pump("ended", stream)
    assert client.received[stream] == b"ok"
    client.close()
    assert quiet_server.workers == workers


def test_a_body_is_streamed_back_while_it_arrives(quiet_server: Server) -> None:
    """A handler may read a stream and yield one: what was sent comes back before the rest is sent."""
    with quiet_server.request("/echo", "POST", "Transfer-Encoding: chunked\r\n") as client:
        for word in (b"first", b"other"):
            client.sendall(b"5\r\n" + word + b"\r\n")
            read_until(client, word)
        client.sendall(b"0\r\n\r\n")
        read_until(client, b"0\r\n\r\n")


def test_a_large_upload_is_echoed_whole(quiet_server: Server, http: list[str]) -> None:
    """Four megabytes go in and come out at the same time, whole."""
    command = ["curl", "-sS", "-m", "15", *http, "-H", "Expect:", "--data-binary", "@-", quiet_server.url + "/echo"]
    done = subprocess.run(command, input=UPLOAD, capture_output=True, check=False)
    assert (done.returncode, done.stdout == UPLOAD) == (0, True)


# A client whose own kernel still holds most of the body shows its leaving only to who writes to it.
@pytest.mark.parametrize(
    ("path", "size"),
    [("/half-read", 300_000), ("/half-read/stream", 300_000), ("/half-read/stream", 20_000_000)],
)
def test_a_client_that_leaves_behind_an_unread_body(quiet_server: Server, path: str, size: int) -> None:
    """A client that leaves is noticed though most of its body waits to be read."""
    with quiet_server.request(path, "POST", f"Content-Length: {size}\r\n") as client:
        client.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            client.sendall(bytes(size))
        quiet_server.wait_for_event("half-read waits")
    quiet_server.wait_for_event("half-read cancelled")
    quiet_server.stop()


@pytest.mark.parametrize("path", ["/101/-", "/1000/-", "/100/1", "/200/-5", "/200/5_0", "/200/+5"])
def test_a_head_that_cannot_be_sent(server: Server, path: str) -> None:
    """A status or a length that no server can send is a 500, and the worker serves on."""
    workers = server.workers
    code, body = server.curl("/odd-head" + path, "-w", "%{http_code}")
    assert (code, body[-3:]) == (0, b"500")
    assert server.curl("/") == (0, b"ok")
    assert server.workers == workers


def test_children_of_a_request_outlive_its_response(quiet_server: Server) -> None:
    """What was started in the request's nursery goes on after the response, also when the client has left."""
    with quiet_server.request("/children") as client:
        read_until(client, b"answered")
        assert "child done" not in quiet_server.events
    quiet_server.wait_for_event("child done")


def test_a_large_response_reaches_a_slow_client(quiet_server: Server) -> None:
    """A body in one piece of 8 MiB arrives whole, and frees its writes when the client leaves before that."""
    with quiet_server.request("/large") as client:
        read_until(client, b"\r\n\r\n")
    code, body = quiet_server.curl("/large")
    assert (code, len(body)) == (0, 8 * 2**20)
    code, body = quiet_server.curl("/large", "--http2-prior-knowledge")
    assert (code, len(body)) == (0, 8 * 2**20)


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/text/a%2Fb", 404, ""),
        ("/text/%zz", 200, "%zz"),
        ("/text/%C3%BC", 200, "ü"),
        ("/text/%ff%fe", 400, ""),
        ("/text/%EF%BF%BD", 200, "�"),
        ("/text/" + "x" * 12_000, 200, "x" * 12_000),
        ("/text/%00%0d%0a", 200, "\0\r\n"),
        ("/nowhere/%0d%0aset-cookie:x", 404, ""),
        ("/" + "a/" * 4000, 404, ""),
        ("//evil.example/", 404, ""),
        ("http://x/text/absolute", 200, "absolute"),
        ("/text/x/?a=%0d%0ab", 308, ""),
    ],
)
def test_odd_targets_are_answered(quiet_server: Server, target: str, status: int, text: str) -> None:
    """Malformed escapes, bytes that are not UTF-8 and very long paths get an answer, never a traceback."""
    with quiet_server.request(target, headers="Connection: close\r\n") as client:
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status)
    assert b"\nset-cookie" not in head
    if status == 200:
        assert json.loads(body) == {"text": text}


def test_options_of_the_whole_server(quiet_server: Server) -> None:
    """`OPTIONS *` asks about the server as a whole and is answered."""
    with quiet_server.request("*", "OPTIONS", "Connection: close\r\n") as client:
        assert read_all(client).startswith(b"HTTP/1.1 204")


def test_header_bytes_outside_ascii(quiet_server: Server) -> None:
    """Header bytes outside ASCII reach the handler as Latin-1 and are answered."""
    with quiet_server.connect() as client:
        client.sendall(b"GET /header HTTP/1.1\r\nHost: x\r\nX-Test: \xfcber\xff\r\nConnection: close\r\n\r\n")
        assert json.loads(read_all(client).partition(b"\r\n\r\n")[2]) == {"x": "über\xff"}


def test_a_server_without_trio_says_how_to_start(start_server: StartServer) -> None:
    """Under asyncio the first request fails, and the log says to run `hypercorn -k trio`."""
    server = start_server("tests.server.app:app", "-k", "asyncio")
    with server.request("/", headers="Connection: close\r\n") as client:
        assert read_all(client).startswith(b"HTTP/1.1 500")
    assert "run it with `hypercorn -k trio module:app`" in server.output


FAILING = {
    "its own": """
from trioweb import App
app = App()
@app.lifespan
async def life(app):
    raise OSError("no database")
    yield
""",
    "a mounted app's": """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from trioweb import App
@asynccontextmanager
async def life(app):
    raise OSError("no database")
    yield
app = App()
app.mount("/old", Starlette(lifespan=life))
""",
}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("whose", FAILING)
def test_a_lifespan_that_fails_stops_the_server(
    whose: str, runner: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A lifespan that fails at start-up ends the server with its error in the log, a mounted app's of others too."""
    directory = tmp_path_factory.mktemp("app")
    (directory / "broken.py").write_text(FAILING[whose])
    command = [sys.executable, "-m", *RUNNERS[runner], "--bind", "127.0.0.1:0", "broken:app"]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=15, env={"PYTHONPATH": str(ROOT)}
    )
    assert "OSError: no database" in done.stderr + done.stdout
    assert runner == "hypercorn" or done.returncode == 3
