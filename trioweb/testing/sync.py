"""The test client for tests that are plain functions: httpx's own client, on an app that runs in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import httpx
import trio

from trioweb.ground.http.asgi import ASGIApp
from trioweb.testing.client import TestClient
from trioweb.testing.events import EventSource
from trioweb.testing.plain import SyncEventSource, SyncWebSocketSession
from trioweb.testing.portal import Portal
from trioweb.testing.transport import BUFFERED, MAX_BUFFERED

TIMEOUT: Final = 30.0
"""Seconds without data until a read times out, unless given: of the real clock, for which a test waits."""
_END: Final = b""
"""Stands for the end of an upload, of which no chunk is empty."""


class SyncTestClient(httpx.Client):
    """As ``TestClient``, for tests without trio: an ``httpx.Client``, and the app runs on trio in a thread of its own.

    With ``with`` it runs the app's lifespan, and responses stream; otherwise each call runs to its end, and its
    response is buffered.

    ::

        def test_ticks():
            with SyncTestClient(app) as client:
                assert client.get("/hello").text == "Hello!"
                with client.stream("GET", "/ticks") as response:
                    assert next(response.iter_lines()) == '{"tick":0}'

    The clock is the real one: a test that waits for an hour of events is an async one.

    Args:
        app: the app, of any framework that runs on trio.
        raise_app_exceptions: see ``TestClient``, as for the others.
        timeout: seconds without data until a read raises ``httpx.ReadTimeout``; ``None`` for no limit.
        max_buffered: bytes of a response that is not streamed.
        http_version: the version in the scope.
        client: the host and port in the scope.
        root_path: the prefix in the scope.
        options: those of ``httpx.Client``: ``base_url``, ``headers``, ``cookies``, ``follow_redirects`` ...

    Raises:
        Exception: from ``with``: an error of the app's start-up; at its end an error of the shutdown, or one that the
            app raised after its responses.
        RuntimeError: in a task of trio, which it would block.
    """

    __test__ = False  # pytest would collect it

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
        self._inner = TestClient(
            app,
            raise_app_exceptions=raise_app_exceptions,
            timeout=timeout,
            max_buffered=max_buffered,
            http_version=http_version,
            client=client,
            root_path=root_path,
        )
        self._portal: Portal | None = None
        options.setdefault("base_url", "http://testserver")
        super().__init__(transport=_Transport(self), timeout=timeout, **options)

    def __repr__(self) -> str:
        return f"<SyncTestClient of {self._inner._app!r}, {'running' if self._portal else 'not running'}>"

    def __enter__(self) -> Self:
        """Start the app."""
        super().__enter__()
        self._portal = Portal(self._inner).__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Disconnect all clients, stop the app, and raise its errors that were not raised yet."""
        portal, self._portal = self._portal, None
        try:
            if portal is not None:
                portal.__exit__(exc_type, exc_value, traceback)
        finally:
            super().__exit__(exc_type, exc_value, traceback)

    def announce_stop(self) -> None:
        """Tell the app that its server stops: see ``TestClient.announce_stop``."""

        async def announce() -> None:
            self._inner.announce_stop()

        with self._loop() as portal:
            portal.call(announce)

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """See httpx. A response that is not streamed has at most ``max_buffered`` bytes."""
        request.extensions = {**request.extensions, BUFFERED: not stream}
        return super().send(request, stream=stream, **options)

    @contextmanager
    def websocket(
        self, url: str, *, subprotocols: list[str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[SyncWebSocketSession]:
        """Open a WebSocket: ``with client.websocket("/ws") as ws``, with the methods of the server's side.

        Args:
            url: the URL.
            subprotocols: those that the client offers, preferred ones first.
            headers: more headers.

        Raises:
            WebSocketDenied: if the app refused it, with a status.
        """
        session = self._inner._handshake(self.build_request("GET", url, headers=headers), subprotocols)
        with self._loop() as portal, portal.hold(session.open(self._inner._app)):
            yield SyncWebSocketSession(portal, session)

    @contextmanager
    def events(
        self,
        url: str,
        *,
        last_event_id: str | None = None,
        reconnect: bool = False,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Iterator[SyncEventSource]:
        """Read server-sent events: ``with client.events("/clock") as events: for event in events: ...``.

        Args:
            url: the URL.
            last_event_id: the id of the last event that the client has seen.
            reconnect: connect again when the stream ends or is aborted, as a browser does.
            method: the method.
            headers: more headers.
            options: those of ``client.build_request``: ``params``, ``json`` ...

        Raises (in the iteration):
            httpx.RemoteProtocolError: if the response is not an event stream, or was aborted.
        """
        with self._loop() as portal:
            sender = cast("httpx.AsyncClient", _Sender(self))
            source = EventSource(sender, method, url, last_event_id, reconnect, {**(headers or {})}, options)
            with portal.hold(source):
                yield SyncEventSource(portal, source)

    def _loop(self) -> AbstractContextManager[Portal]:
        """The loop in which the app runs; without ``with``, one for this call."""
        return Portal(nullcontext()) if self._portal is None else nullcontext(self._portal)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(request.stream, httpx.AsyncByteStream):
            request = httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                stream=_Upload(request.stream),
                extensions=request.extensions,
            )
        return await self._inner._app_transport.handle_async_request(request)


class _Sender:
    """What an ``EventSource`` needs of a client."""

    def __init__(self, client: SyncTestClient) -> None:
        self.build_request = client.build_request
        self._client = client

    async def send(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        del stream  # it always is
        return await self._client._answer(request)


class _Transport(httpx.BaseTransport):
    def __init__(self, client: SyncTestClient) -> None:
        self._client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._client._loop() as portal:
            response = portal.call(self._client._answer, request)
        stream = response.stream
        if not isinstance(stream, httpx.SyncByteStream):
            stream = _Download(portal, stream)
        return httpx.Response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )


class _Upload(httpx.AsyncByteStream):
    """A body that the test's own iterator makes, in worker threads."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = filter(None, self._chunks)
        while chunk := await trio.to_thread.run_sync(next, chunks, _END):
            yield chunk


class _Download(httpx.SyncByteStream):
    """The body of a response, chunk by chunk."""

    def __init__(self, portal: Portal, stream: httpx.AsyncByteStream) -> None:
        self._portal = portal
        self._stream = stream
        self._chunks = aiter(stream)

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._portal.call(self._following)) is not None:
            yield chunk

    async def _following(self) -> bytes | None:
        return await anext(self._chunks, None)

    def close(self) -> None:
        """Disconnect, unless the response has ended or the app does not run any more."""
        with suppress(trio.RunFinishedError):
            self._portal.call(self._stream.aclose)
