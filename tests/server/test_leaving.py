"""Streams of other frameworks under `trioweb run`, whose clients leave: they end, also while they sleep."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.conftest import starting
from tests.server.leaving_app import HAS_EVENTS, HAS_SSE_STARLETTE
from tests.servers import PATIENCE, Server, read_until, reset_connection

FRAMEWORKS = ["starlette", "middleware", "gzip", "fastapi", "litestar", "quart", "mounted/starlette", "mounted/fastapi"]
PATHS = [f"{framework}/{pause}" for framework in FRAMEWORKS for pause in ("sleepy", "chatty")] + ["starlette/poll"]
PATHS += ["litestar/events-sleepy", "litestar/events-chatty"]
if HAS_EVENTS:
    PATHS += ["fastapi/events-sleepy", "fastapi/events-chatty", "mounted/fastapi/events-sleepy"]
if HAS_SSE_STARLETTE:
    PATHS += ["starlette/events-sleepy", "starlette/events-chatty", "middleware/events-sleepy"]


@pytest.fixture(scope="module", params=["auto", "h11"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All of them, on one server: with HTTP/1.1 of our own, and with Hypercorn's."""
    starts = starting(tmp_path_factory)
    yield next(starts)("tests.server.leaving_app:app", "--http", request.param, runner="trioweb")
    next(starts, None)


@pytest.mark.parametrize("how", ["closes", "resets", "half-closes"])
@pytest.mark.parametrize("path", PATHS)
def test_a_stream_ends_with_its_client(server: Server, path: str, how: str) -> None:
    """However its client leaves, the stream is ended, and what its response has to do in the background is done."""
    name = path.removeprefix("mounted/").replace("/events-", ".events.").replace("/", ".")
    name = "poll" if path == "starlette/poll" else name
    begun, ended, background = (server.events.count(f"{name} {what}") for what in ("began", "ended", "background"))
    client = server.connect()
    client.settimeout(PATIENCE)
    client.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    read_until(client, b"\r\n\r\n")
    server.wait_for_event(f"{name} began", begun + 1)
    if how == "closes":
        client.close()
    elif how == "resets":
        reset_connection(client)
    else:
        client.shutdown(socket.SHUT_WR)
    server.wait_for_event(f"{name} ended", ended + 1)
    if name in {"starlette.sleepy", "middleware.sleepy", "gzip.sleepy"}:
        server.wait_for_event(f"{name} background", background + 1)
    client.close()
