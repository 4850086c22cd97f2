"""Two ways to ask an app in process: the test client's, and a server small enough to script, message by message."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import trio
import trio.testing

from tests.shapes import Shape
from trioweb import App
from trioweb.ground.http.asgi import ASGIApp
from trioweb.testing import TestClient

Message = dict[str, Any]


class Exchange:
    """One request to an app, in a task of its own.

    ``window`` is how many messages the client takes before it stops reading; ``open_window`` gives more. ``leave`` is
    the client's leaving. ``messages`` is what came so far; ``chunks`` the bodies among it.
    """

    def __init__(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: Sequence[bytes] | None = (b"",),
        window: float = math.inf,
        endless: bool = False,
        **scope: Any,
    ) -> None:
        self.scope: Message = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": list(headers),
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "extensions": {}, **scope,
        }  # fmt: skip
        self.messages: list[Message] = []
        self.done = trio.Event()
        self.error: Exception | None = None
        self.cancelled_sends = 0
        self.receivers = 0
        self._body = list(body) if body is not None else []
        self._endless = endless or body is None
        self._window = window
        self._opened = trio.lowlevel.ParkingLot()
        self._left = trio.Event()

    async def run(self, app: App) -> None:
        """Call the app; returns when it does. What it breaks a response off for, it raises: that is ``error``."""
        try:
            await app(self.scope, self.receive, self._send)
        except Exception as error:
            if not self.messages or not self.messages[-1].get("more_body", True):
                raise
            self.error = error
        finally:
            self.done.set()

    def open_window(self, messages: float = math.inf) -> None:
        """Take so many more messages."""
        self._window += messages
        self._opened.unpark_all()

    def leave(self) -> None:
        """Leave: the app hears of it, and what it sends from now on goes nowhere."""
        self._left.set()
        self.open_window()

    async def receive(self) -> Message:
        """What the app calls."""
        assert self.receivers == 0, "two tasks are in receive"
        self.receivers += 1
        try:
            await trio.lowlevel.checkpoint()
            if self._body:
                chunk = self._body.pop(0)
                return {"type": "http.request", "body": chunk, "more_body": bool(self._body) or self._endless}
            await self._left.wait()
            return {"type": "http.disconnect"}
        finally:
            self.receivers -= 1

    async def _send(self, message: Message) -> None:
        try:
            await trio.lowlevel.checkpoint()
            while self._window <= 0:
                await self._opened.park()
        except trio.Cancelled:
            self.cancelled_sends += 1
            raise
        self._window -= 1
        if not self._left.is_set():
            self.messages.append(message)

    @property
    def status(self) -> int:
        """The status that was sent."""
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that were sent."""
        return {name.decode(): value.decode("latin-1") for name, value in self.messages[0]["headers"]}

    @property
    def chunks(self) -> list[bytes]:
        """The bodies of the messages so far."""
        return [message["body"] for message in self.messages[1:]]

    @property
    def body(self) -> bytes:
        """All of the body so far."""
        return b"".join(self.chunks)

    @property
    def complete(self) -> bool:
        """Whether the end was sent."""
        return bool(self.messages) and not self.messages[-1].get("more_body", True)


def request_of(shape: Shape, path: str = "/", method: str | None = None, **options: Any) -> Exchange:
    """The request that a handler of a shape needs."""
    headers, body = shape.content()
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    if body:
        fields.append((b"content-length", b"%d" % len(body)))
    return Exchange(method or shape.method, path, fields, [body], **options)


@dataclass
class Answer:
    """What a client made of a response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(
    app: App,
    path: str,
    method: str = "GET",
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] = (),
    query_string: bytes = b"",
    root_path: str = "",
) -> Answer:
    """Send a request with the test client, and take all of the response and of what the request started."""
    url = httpx.URL(f"http://testserver{path}").copy_with(query=query_string or None)
    client = TestClient(app, raise_app_exceptions=False, root_path=root_path)
    whole = b"".join(body)
    async with client.stream(method, url, headers=list(headers), content=whole or None) as response:
        return Answer(response.status_code, response.headers, await response.aread())


async def ask_for(app: App, shape: Shape, path: str = "/", **options: Any) -> Answer:
    """The same, for a handler of a shape."""
    headers, body = shape.content()
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    return await ask(app, path, shape.method, headers=fields, body=[body], **options)


async def shake(
    app: ASGIApp, path: str, *told: str, gone: bool = False, limit: float = math.inf, **scope: Any
) -> list[str]:
    """Call an app for a WebSocket whose peer does this, and then nothing. Returns the types of what it sends.

    Args:
        app: the app.
        path: what the peer asks for.
        told: the types of the messages that the app gets, each when it waits.
        gone: it cannot send any.
        limit: seconds after which it is cancelled.
        scope: more of the scope.
    """
    sent: list[str] = []
    left = iter(told)

    async def receive() -> Message:
        await trio.testing.wait_all_tasks_blocked()
        for kind in left:
            return {"type": kind}
        await trio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        if gone:
            raise OSError("it is gone")
        sent.append(message["type"])

    with trio.move_on_after(limit):
        await app({"type": "websocket", "path": path, "headers": [], **scope}, receive, send)
    return sent


@asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    """Run an app's lifespan around a block, as a server does."""
    async with TestClient(app, raise_app_exceptions=False):
        yield app
