"""What the server refuses itself: the same answer and the same line in the log, whatever protocol has read it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from tests.server.running import read_all, settle
from tests.server.test_access_log import HANDSHAKE, Client, Lines, log, logging_to

__all__ = ["log"]  # a fixture

http1 = pytest.mark.parametrize("http", ["auto", "h11"])


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """An app that waits for all of a body, and does not answer."""
    assert scope["type"] != "lifespan"
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/waits":
        await trio.sleep_forever()


@http1
@pytest.mark.parametrize(
    ("sent", "options", "status", "detail"),
    [
        (b"GET /a HTTP/1.1\r\nHo", {"head_timeout": 0.1}, 408, "The request head did not come."),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", {"server_names": ["y"]}, 404, "No server of this name is here."),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", {"body_timeout": 0.1}, 408,
            "The request body did not come.",
        ),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", {}, 500, None),
    ],
)  # fmt: skip
async def test_refusals(
    log: Lines, http: str, sent: bytes, options: dict[str, Any], status: int, detail: str | None
) -> None:
    """A refusal is a problem document that ends the connection, and one line in the log with its status."""
    async with logging_to(log, silent, http, **options) as running, await running.connect() as client:
        await client.send_all(sent)
        await settle()
        with trio.fail_after(10):
            head, _, body = (await read_all(client)).partition(b"\r\n\r\n")
        entry = await log.entry()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]} == {
        b"content-type", b"content-length", b"connection", b"date", b"server",
    }  # fmt: skip
    assert b"server: trioweb" in head
    assert (json.loads(body)["status"], json.loads(body).get("detail")) == (status, detail)
    assert (entry["status"], entry["outcome"]) == (status, "complete")


@pytest.mark.parametrize("http", ["auto", "h11", "2"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_busy_server(log: Lines, http: str, method: str) -> None:
    """Beyond max_requests_in_flight a request gets the same 503 over each protocol, and is logged."""
    async with logging_to(log, silent, http, max_requests_in_flight=1) as running, await running.connect() as first:
        await first.send_all(b"GET /waits HTTP/1.1\r\nHost: x\r\n\r\n")
        await settle()
        async with await running.connect() as second:
            client = Client(second, http)
            await client.ask(method, "/a", *([] if http == "2" else [("connection", "close")]))
            if http == "2":
                await client.until(b"")
                body = client.body
            else:
                head, _, body = (await read_all(second)).partition(b"\r\n\r\n")
                assert b"retry-after: 1\r\n" in head
                assert head.startswith(b"HTTP/1.1 503 ")
            assert (json.loads(body)["detail"] if body else None) == (
                "The server is busy." if method == "GET" else None
            )  # fmt: skip
        entry = await log.entry()
    assert (entry["status"], entry["outcome"], entry["method"]) == (503, "complete", method)


@pytest.mark.parametrize(
    ("handshake", "status", "detail"),
    [
        (HANDSHAKE.replace("13", "12"), 426, "The handshake of a WebSocket asks for version 13."),
        (HANDSHAKE.replace("==", "="), 400, "The handshake of a WebSocket has one key of 16 bytes, and no body."),
        (HANDSHAKE, 500, None),
    ],
)
async def test_a_handshake(log: Lines, handshake: str, status: int, detail: str | None) -> None:
    """A handshake is refused with the same document."""
    async with logging_to(log, silent) as running, await running.connect() as client:
        await client.send_all(f"GET /a HTTP/1.1\r\nHost: x\r\n{handshake}\r\n".encode())
        head, _, body = (await read_all(client)).partition(b"\r\n\r\n")
        entry = await log.entry()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/problem+json" in head
    assert (json.loads(body)["status"], json.loads(body).get("detail")) == (status, detail)
    assert entry["status"] == status
