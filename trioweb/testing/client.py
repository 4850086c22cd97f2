"""The test client: httpx's client on an app in the same process, with time by trio's clock."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import httpx
import trio

from trioweb.ground.http.asgi import ASGI_VERSION, ASGIApp
from trioweb.testing.clock import hold_clock
from trioweb.testing.events import EventSource
from trioweb.testing.lifespan import Life
from trioweb.testing.tasks import at_work
from trioweb.testing.transport import BUFFERED, MAX_BUFFERED, ASGITransport
from trioweb.testing.websocket import WebSocketSession

TIMEOUT: Final = 3600.0
"""Seconds of trio's clock that a read may get nothing, unless the test says otherwise: under a mock clock no time."""


class TestClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for any ASGI app, ours or not, in the same process.

    With ``async with`` it runs the app's lifespan, and requests run in tasks of their own: responses stream, the app's
    ``send`` waits until the test reads, and leaving a ``stream`` block is a client that leaves. Without, each call runs
    to its end and is gathered.

    ::

        async def test_ticks(autojump_clock):
            async with TestClient(app) as client:
                async with client.stream("GET", "/ticks") as response:
                    async for line in response.aiter_lines():
                        assert line == '{"tick":0}'
                        break

    A client may misbehave: it reads slowly by sleeping between reads, stops reading by not reading on, leaves by
    leaving the block or by a cancellation; ``response.extensions["conversation"].half_close()`` ends only its own side.

    Args:
        app: the app.
        raise_app_exceptions: an error in the app, also one in the middle of a stream, is raised in the test as itself;
            ``False`` shows what a client sees: the 500, or ``httpx.RemoteProtocolError`` for a response broken off.
        timeout: seconds of trio's clock that a read may get nothing; ``None`` for ever. Then ``httpx.ReadTimeout``.
        max_buffered: bytes that a response may have which is not streamed; beyond it ``httpx.ReadError``.
        http_version: what the app is told.
        client: the host and port that the app is told.
        root_path: the prefix that the app is told it is mounted under.
        options: what ``httpx.AsyncClient`` takes: ``base_url``, ``headers``, ``cookies``, ``follow_redirects`` ...

    Raises:
        Exception: from ``async with``: what the app's start-up failed with; at its end what its shutdown failed with,
            or what failed in the app after its responses and was raised nowhere yet.
    """

    __test__ = False  # pytest would take it for a class of tests

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_app_exceptions: bool = True,
        timeout: float | None = TIMEOUT,
        max_buffered: int = MAX_BUFFERED,
        http_version: Literal["1.0", "1.1", "2"] = "1.1",
        client: tuple[str, int] | None = ("testclient", 50000),
        root_path: str = "",
        **options: Any,
    ) -> None:
        scope = {
            "asgi": dict(ASGI_VERSION),
            "http_version": http_version,
            "client": client,
            "root_path": root_path,
        }
        self._app = app
        self._scope = scope
        self._seconds = timeout
        self._raises = raise_app_exceptions
        self._app_transport = ASGITransport(
            app, scope, raise_app_exceptions=raise_app_exceptions, max_buffered=max_buffered
        )
        self._sources: list[EventSource] = []
        self._life: Life | None = None
        self._manager: Any = None
        options.setdefault("base_url", "http://testserver")
        super().__init__(transport=self._app_transport, timeout=timeout, **options)

    def __repr__(self) -> str:
        return f"<TestClient of {self._app!r}, {'running' if self._app_transport.nursery else 'not running'}>"

    async def __aenter__(self) -> Self:
        """Start the app. Cancelling it stops the app again."""
        await super().__aenter__()
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        hold_clock()
        self._life = Life(self._app_transport.state, raise_app_exceptions=self._raises)
        nursery.start_soon(self._life.run, self._app)
        try:
            await self._life.start()
        except BaseException:
            await self._close_nursery()
            raise
        self._app_transport.nursery = nursery
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Have all clients leave, wait for what still runs, stop the app, and raise what was raised nowhere yet."""
        transport = self._app_transport
        life, nursery = cast("Life", self._life), cast("trio.Nursery", transport.nursery)
        errors: list[Exception] = []
        try:
            for source in self._sources:
                await source.aclose()
            for conversation in list(transport.conversations):
                conversation.leave()
            with trio.move_on_after(float("inf") if self._seconds is None else self._seconds) as scope:
                for conversation in list(transport.conversations):
                    await conversation.done.wait()
                await life.stop()
            if scope.cancelled_caught:
                errors.append(
                    trio.TooSlowError(
                        f"the app was still at work {self._seconds:g} s after the last client: {at_work(nursery)}"
                    )
                )
        except Exception as error:
            errors.append(error)
        finally:
            transport.nursery = None
            await self._close_nursery()
            await super().__aexit__(exc_type, exc_value, traceback)
        errors += filter(None, [conversation.take_error() for conversation in transport.conversations])
        if errors and exc_value is None:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("errors in the app", errors)

    async def _close_nursery(self) -> None:
        # Without the test's own exception, which the nursery would wrap in a group: its tasks raise none.
        manager, self._manager = self._manager, None
        manager._nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)

    def announce_stop(self) -> None:
        """Tell the app that its server stops, as Hypercorn's SIGTERM does: event streams end, ``app.stopping`` is set.

        It comes before the end of the client's block, which is the stop itself.

        ::

            async with client.stream("GET", "/clock") as response:
                client.announce_stop()
                await response.aread()  # whole, also where the events had no end
        """
        self._app_transport.stopping.set()

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """See httpx. A response that is not streamed is bounded by ``max_buffered``."""
        request.extensions = {**request.extensions, BUFFERED: not stream}
        return await super().send(request, stream=stream, **options)

    def events(
        self,
        url: str,
        *,
        last_event_id: str | None = None,
        reconnect: bool = False,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> EventSource:
        """Read server-sent events: an async iterator of ``ServerSentEvent``, and a context manager that leaves them.

        ::

            async with client.events("/clock") as events:
                async for event in events:
                    assert event.event == "tick"
                    break

        Args:
            url: where they are.
            last_event_id: the id of an event that was seen before.
            reconnect: connect again when the stream ends or breaks, as a browser does: after ``retry`` milliseconds
                of trio's clock (3,000 unless the stream said otherwise), with the last id.
            method: the method.
            headers: more headers.
            options: what ``client.build_request`` takes: ``params``, ``json`` ...

        Raises (in the iteration):
            httpx.RemoteProtocolError: the answer is no event stream, or was broken off.
        """
        source = EventSource(self, method, url, last_event_id, reconnect, {**(headers or {})}, options)
        self._sources.append(source)
        return source

    def websocket(
        self, url: str, *, subprotocols: list[str] | None = None, headers: Mapping[str, str] | None = None
    ) -> contextlib.AbstractAsyncContextManager[WebSocketSession]:
        """Open a WebSocket: ``async with client.websocket("/ws") as ws``, with the verbs of the server's side.

        ::

            async with client.websocket("/echo") as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"

        Args:
            url: where it is.
            subprotocols: what the client speaks, best first.
            headers: more headers.

        Raises:
            WebSocketDenied: the app refused it, with a status.
        """
        request = self.build_request("GET", url, headers=headers)
        raw_path, _, query = request.url.raw_path.partition(b"?")
        scope = {
            **self._scope,
            "type": "websocket",
            "scheme": "wss" if request.url.scheme == "https" else "ws",
            "path": httpx.URL(request.url).path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (request.url.host, request.url.port or 80),
            "subprotocols": subprotocols or [],
            "state": self._app_transport.state.copy(),
        }
        stopping = self._app_transport.stopping
        return WebSocketSession.open(self._app, scope, self._seconds, stopping, raise_app_exceptions=self._raises)
