"""The test client: httpx's client on an app in the same process, with timeouts by trio's clock."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

import httpx
import trio

from trioweb.ground.http.asgi import ASGI_VERSION, ASGIApp
from trioweb.io.tasks import at_work
from trioweb.testing.clock import hold_clock
from trioweb.testing.events import EventSource
from trioweb.testing.lifespan import Life
from trioweb.testing.transport import BUFFERED, MAX_BUFFERED, ASGITransport
from trioweb.testing.websocket import WebSocketSession

TIMEOUT: Final = 3600.0
"""Seconds of trio's clock without data until a read times out, unless given: no time under a mock clock."""


class TestClient(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` for any ASGI app, in the same process.

    With ``async with`` it runs the app's lifespan, and requests run in tasks of their own: responses stream, the app's
    ``send`` waits until the test reads, and the exit of a ``stream`` block disconnects the client. Without
    ``async with``, each call runs to its end, and its response is buffered.

    ::

        async def test_ticks(autojump_clock):
            async with TestClient(app) as client:
                async with client.stream("GET", "/ticks") as response:
                    async for line in response.aiter_lines():
                        assert line == '{"tick":0}'
                        break

    To test clients that misbehave, sleep between reads, stop reading, or leave the block early. The call of
    ``response.extensions["conversation"].half_close()`` ends only the client's side of the connection.
    ``response.extensions["early_hints"]`` has the links of 103 responses, ``["trailers"]`` what came after the body.

    Args:
        app: the app.
        raise_app_exceptions: raise the app's errors in the test, also in the middle of a stream. ``False`` shows what a
            client sees: the 500, or ``httpx.RemoteProtocolError`` for an aborted response.
        timeout: seconds of trio's clock without data until a read raises ``httpx.ReadTimeout``; ``None`` for no limit.
        max_buffered: bytes of a response that is not streamed; more raises ``httpx.ReadError``.
        http_version: the version in the scope.
        client: the host and port in the scope.
        root_path: the prefix in the scope.
        options: those of ``httpx.AsyncClient``: ``base_url``, ``headers``, ``cookies``, ``follow_redirects`` ...

    Raises:
        Exception: from ``async with``: an error of the app's start-up; at its end an error of the shutdown, or one that
            the app raised after its responses.
        trio.TooSlowError: if the app has not started within the timeout, or has not ended.
    """

    __test__ = False  # pytest would collect it

    _life: Life
    _manager: contextlib.AbstractAsyncContextManager[trio.Nursery]
    _nursery: trio.Nursery

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
        self._seconds = timeout
        self._raises = raise_app_exceptions
        self._app_transport = ASGITransport(
            app, scope, raise_app_exceptions=raise_app_exceptions, max_buffered=max_buffered
        )
        self._sources: list[EventSource] = []
        options.setdefault("base_url", "http://testserver")
        super().__init__(transport=self._app_transport, timeout=timeout, **options)

    def __repr__(self) -> str:
        return f"<TestClient of {self._app!r}, {'running' if self._app_transport.nursery else 'not running'}>"

    async def __aenter__(self) -> Self:
        """Start the app. A cancellation stops it again, and so does the timeout."""
        await super().__aenter__()
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        hold_clock()
        transport = self._app_transport
        self._life = Life(transport.state, transport.stopping, raise_app_exceptions=self._raises)
        self._nursery.start_soon(self._life.run, self._app)
        try:
            with self._limit() as scope:
                await self._life.start()
            if scope.cancelled_caught:
                raise self._late("has not started within", "")
        except BaseException:
            await self._close_nursery()
            raise
        transport.nursery = self._nursery
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Disconnect all clients, wait for the app, stop it, and raise its errors that were not raised yet."""
        transport = self._app_transport
        errors: list[Exception] = []
        try:
            for source in self._sources:
                await source.aclose()
            for conversation in list(transport.conversations):
                conversation.leave()
            with self._limit() as scope:
                for conversation in list(transport.conversations):
                    await conversation.done.wait()
                await self._life.stop()
            if scope.cancelled_caught:
                errors.append(self._late("was still at work", " after the last client"))
        except Exception as error:
            errors.append(error)
        finally:
            transport.nursery = None
            await self._close_nursery()
            await super().__aexit__(exc_type, exc_value, traceback)
        errors += filter(None, [conversation.take_error() for conversation in transport.conversations])
        if errors and exc_value is None:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("errors in the app", errors)

    def _limit(self) -> trio.CancelScope:
        return trio.CancelScope(relative_deadline=float("inf") if self._seconds is None else self._seconds)

    def _late(self, what: str, since: str) -> trio.TooSlowError:
        return trio.TooSlowError(f"the app {what} {self._seconds:g} s{since}: {at_work(self._nursery)}")

    async def _close_nursery(self) -> None:
        # The nursery would wrap the test's exception in a group, so it does not get it: its tasks raise none.
        manager, nursery = self._manager, self._nursery
        del self._manager, self._nursery
        nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)

    def announce_stop(self) -> None:
        """Tell the app that its server stops, as a SIGTERM would: event streams end, ``app.stopping`` is set.

        The end of the client's block is the stop itself.

        ::

            async with client.stream("GET", "/clock") as response:
                client.announce_stop()
                await response.aread()  # complete, also if the events had no end
        """
        self._app_transport.stopping.set()

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """See httpx. A response that is not streamed has at most ``max_buffered`` bytes."""
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
        """Read server-sent events: an async iterator of ``ServerSentEvent``, and a context manager that disconnects.

        ::

            async with client.events("/clock") as events:
                async for event in events:
                    assert event.event == "tick"
                    break

        Args:
            url: the URL.
            last_event_id: the id of the last event that the client has seen.
            reconnect: connect again when the stream ends or is aborted, as a browser does: with the last id, after
                ``retry`` milliseconds of trio's clock (3,000 unless the stream has set it).
            method: the method.
            headers: more headers.
            options: those of ``client.build_request``: ``params``, ``json`` ...

        Raises (in the iteration):
            httpx.RemoteProtocolError: if the response is not an event stream, or was aborted.
        """
        source = EventSource(self, method, url, last_event_id, reconnect, {**(headers or {})}, options)
        self._sources.append(source)
        return source

    def websocket(
        self, url: str, *, subprotocols: list[str] | None = None, headers: Mapping[str, str] | None = None
    ) -> contextlib.AbstractAsyncContextManager[WebSocketSession]:
        """Open a WebSocket: ``async with client.websocket("/ws") as ws``, with the methods of the server's side.

        ::

            async with client.websocket("/echo") as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"

        Args:
            url: the URL.
            subprotocols: those that the client offers, preferred ones first.
            headers: more headers.

        Raises:
            WebSocketDenied: if the app refused it, with a status.
        """
        return self._handshake(self.build_request("GET", url, headers=headers), subprotocols).open(self._app)

    def _handshake(self, request: httpx.Request, subprotocols: list[str] | None) -> WebSocketSession:
        scheme = "wss" if request.url.scheme == "https" else "ws"
        transport = self._app_transport
        scope = transport.scope_of(request, type="websocket", scheme=scheme, subprotocols=subprotocols or [])
        return WebSocketSession(scope, transport.stopping, self._seconds, raise_app_exceptions=self._raises)
